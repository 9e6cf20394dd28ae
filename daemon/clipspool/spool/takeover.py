"""Chooses whose clips `clipspool recover` takes over: dead daemons' only, or one that is named."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from clipspool.jobs.records import Peer
from clipspool.jobs.text import iso
from clipspool.spool.peers import SILENT_SECONDS, Mark, by_journal, life_of, marks_in, server_time
from clipspool.spool.recovery import survey
from clipspool.spool.root import Root


class Refused(Exception):
    """It cannot be taken over, and why."""


def others_in(inbox: str, root: Root, own: Mark, known: set[str]) -> list[Peer]:
    """Find whose clips lie in an inbox besides this journal's, and which of those live. Raises OSError."""
    found = survey(inbox, root, own.journal, known)
    counts = Counter(one.journal for one in (*found.foreign, *found.cut))
    if not counts:
        return []
    seen = marks_in(root)
    server_now = server_time(root)
    peers = {}
    for journal, clips in counts.items():
        mark = seen.get(journal)
        seen_at = None if mark is None else time.time() - max(server_now - mark.at, 0.0)
        host = "" if mark is None else mark.mark.host
        peers[journal] = Peer(inbox, journal, host, life_of(mark, own, server_now), clips, seen_at)
    return by_journal(peers)


def chosen(peers: Iterable[Mapping[str, object]], wanted: str | None, now: float) -> Sequence[str]:
    """Give the journals to take over: the one that begins so, or all whose daemons do not live.

    Raises Refused for one that lives, that nobody has, or that is two.
    """
    by_id: dict[str, Mapping[str, object]] = {}
    for peer in peers:
        journal = str(peer["journal"])
        # One inbox may show it living that is silent in another: its file server may be out of its reach.
        if journal not in by_id or peer["life"] == "living":
            by_id[journal] = peer
    if wanted is None:
        return sorted(journal for journal, peer in by_id.items() if peer["life"] != "living")
    matching = sorted(journal for journal in by_id if wanted and journal.startswith(wanted))
    if not matching:
        raise Refused(f"No clips of a journal {wanted} lie in the inboxes.")
    if len(matching) > 1:
        raise Refused(f"{wanted} begins {' and '.join(matching)}: say more of it.")
    if by_id[matching[0]]["life"] == "living":
        raise Refused(living(by_id[matching[0]], now))
    return matching


def living(peer: Mapping[str, object], now: float) -> str:
    """Say that a daemon lives, and what to do."""
    host, journal, seen_at = peer["host"], peer["journal"], peer["seen_at"]
    ago = f"{max(now - float(seen_at), 0.0):.0f} s ago" if isinstance(seen_at, int | float) else "just now"
    who = f"{host} (journal {journal})" if host else f"The clipspool with the journal {journal}"
    return (
        f"{who} lives: it was last seen {ago}. Stop it first; one that died is taken over once it was "
        f"silent for {SILENT_SECONDS:.0f} s."
    )


def listed(peer: Mapping[str, object]) -> str:
    """Name a daemon and its clips in a line."""
    clips = f"{peer['clips']} clips" if peer["clips"] != 1 else "1 clip"
    who = f"{peer['host']}, journal {peer['journal']}" if peer["host"] else f"journal {peer['journal']}"
    seen_at = peer["seen_at"]
    seen = (
        f"last seen {iso(float(seen_at))}" if isinstance(seen_at, int | float) else "it left no sign of life"
    )
    return f"  {clips} in {peer['inbox']}, of {who} ({peer['life']}; {seen})"


def plain(peer: Peer) -> dict[str, object]:
    """Give a peer as it goes from the daemon to the command."""
    return {
        "inbox": peer.inbox,
        "journal": peer.journal,
        "host": peer.host,
        "life": peer.life.value,
        "clips": peer.clips,
        "seen_at": peer.seen_at,
    }


def refuse_living(peers: Iterable[Peer], journals: Collection[str]) -> None:
    """Raise Refused where a daemon lives that is to be taken over: it may have come back meanwhile."""
    for peer in peers:
        if peer.journal in journals and peer.is_living:
            raise Refused(living(plain(peer), time.time()))
