"""Chooses whose clips `clipspool recover` takes over: those of daemons that do not run, or of one by name."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from clipspool.jobs.faults import OperatorError
from clipspool.jobs.records import Peer
from clipspool.jobs.text import iso
from clipspool.spool.peers import SILENT_SECONDS, Mark, by_journal, marks_in, peer_of, server_time
from clipspool.spool.recovery import survey
from clipspool.spool.root import Root


class NotTakenOver(OperatorError):
    """It cannot be taken over, and why."""


def others_in(inbox: str, root: Root, own: Mark, known: set[str]) -> list[Peer]:
    """Return the other daemons that have clips in an inbox. Raises OSError."""
    found = survey(inbox, root, own.journal, known)
    counts = Counter(one.journal for one in (*found.foreign, *found.cut))
    if not counts:
        return []
    seen, server_now, now = marks_in(root), server_time(root), time.time()
    return by_journal(
        peer_of(inbox, journal, seen.get(journal), own, clips, server_now, now)
        for journal, clips in counts.items()
    )


def chosen(peers: Iterable[Peer], wanted: str | None, now: float) -> Sequence[str]:
    """Return the journals to take over: the one that begins so, or all whose daemons do not run.

    Raises NotTakenOver for a daemon that runs, and for a name that no journal or more than one begins with.
    """
    by_id: dict[str, Peer] = {}
    for peer in peers:
        # A daemon may show in one inbox that it runs, and not in another, whose file server it cannot reach.
        if peer.journal not in by_id or peer.is_living:
            by_id[peer.journal] = peer
    if wanted is None:
        return sorted(journal for journal, peer in by_id.items() if not peer.is_living)
    matching = sorted(journal for journal in by_id if wanted and journal.startswith(wanted))
    if not matching:
        raise NotTakenOver(f"No inbox has clips of a journal {wanted}.")
    if len(matching) > 1:
        raise NotTakenOver(f"{wanted} is the beginning of {' and '.join(matching)}: give more of it.")
    refuse_living([by_id[matching[0]]], matching, now)
    return matching


def refuse_living(peers: Iterable[Peer], journals: Collection[str], now: float | None = None) -> None:
    """Raise NotTakenOver where a daemon runs whose clips are asked for: it may have been started again."""
    for peer in peers:
        if peer.journal in journals and peer.is_living:
            seen_at = peer.seen_at
            ago = max((time.time() if now is None else now) - seen_at, 0.0) if seen_at is not None else 0.0
            name = peer.name[0].upper() + peer.name[1:] if not peer.host else peer.name
            raise NotTakenOver(
                f"{name} is running: last seen {ago:.0f} s ago. Stop it first; the clips of one that crashed "
                f"can be taken over once it was silent for {SILENT_SECONDS:.0f} s."
            )


def listed(peer: Peer) -> str:
    """Return a line that names a daemon and its clips."""
    clips = f"{peer.clips} clips" if peer.clips != 1 else "1 clip"
    who = f"{peer.host}, journal {peer.journal}" if peer.host else f"journal {peer.journal}"
    seen = "it left no sign of life" if peer.seen_at is None else f"last seen {iso(peer.seen_at)}"
    return f"  {clips} in {peer.inbox}, of {who} ({peer.life.value}; {seen})"
