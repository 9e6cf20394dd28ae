"""Finds which daemons share an inbox and which of them run, by the small file that each keeps there.

`.clipspool/daemons/JOURNAL.toml` is rewritten once a minute. Its age is taken by the file server's clock:
the times of two files on the same server are compared, never one with the clock of this machine.
"""

from __future__ import annotations

import os
import re
import socket
import time
import tomllib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import tomli_w

from clipspool.jobs.nouns import replace
from clipspool.jobs.records import Life, Peer
from clipspool.jobs.text import span
from clipspool.spool.guard import forgiving
from clipspool.spool.root import Root
from clipspool.system.atomic import OURS, Rel, join, temporary_name, unlink
from clipspool.system.process import boot_id

DAEMONS = f"{OURS}/daemons"
KEEP_SECONDS = 60.0
"""How often a mark is written: each takes a few calls to the file server."""
SILENT_SECONDS = 150.0
"""A daemon of another machine whose mark is older has ended, or cannot reach the file server."""
_BYTES_MAX = 4096
_MARKS_MAX = 256
_JOURNAL = re.compile(r"[0-9A-Za-z_-]{1,64}")
_SUFFIX = ".toml"
_COPIED = (
    "another clipspool serves a copy of this journal, on {host}: both would pay for the same clips; "
    "stop one of them, and give it a journal of its own"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a daemon writes into an inbox to identify itself."""

    journal: str
    host: str
    place: str = ""
    """Where the journal lies: a daemon that is restarted with the same journal file has the same place."""
    boot: str = ""
    pids: str = ""
    """Its PID namespace: a container has one of its own."""
    pid: int = 0
    begun: str = ""
    """When its process began, as the kernel counts: process numbers are used again."""
    is_stopped: bool = False
    epoch: int = 0
    """The lead's epoch in a farm, whose nodes share one journal; 0 where one daemon has it alone."""

    def to_toml(self) -> bytes:
        """Return it as TOML; without an epoch of 0, which earlier versions do not know."""
        body = asdict(self)
        if not self.epoch:
            del body["epoch"]
        return tomli_w.dumps(body).encode()

    @classmethod
    @lru_cache(maxsize=64)  # read before each request, and changed every few seconds
    def from_toml(cls, data: bytes) -> Mark:
        """Read a mark from its text; raises ValueError where it is none."""
        try:
            body = tomllib.loads(data.decode())
            mark = cls(**body)
        except (TypeError, RecursionError) as error:
            raise ValueError(str(error)) from error
        kinds = [(getattr(mark, name), type(getattr(_NOBODY, name))) for name in mark.__slots__]
        if not all(type(value) is kind for value, kind in kinds) or not _JOURNAL.fullmatch(mark.journal):
            raise ValueError("it is no mark of a daemon")
        return replace(mark, host="".join(c for c in mark.host[:255] if c.isprintable()))


_NOBODY = Mark("", "")


@dataclass(frozen=True, slots=True)
class SeenMark:
    """A mark, and when it was written by the file server's clock, Unix seconds."""

    mark: Mark
    at: float


def is_journal(text: str) -> bool:
    """Whether a text can be a journal's identity: anybody may have written what an inbox holds."""
    return _JOURNAL.fullmatch(text) is not None


def own_mark(journal_id: str, journal: Path, epoch: int = 0) -> Mark:
    """Return the mark of this process as the daemon of a journal; `epoch` is its lead's, in a farm."""
    machine = ""
    with suppress(OSError):
        machine = Path("/etc/machine-id").read_text().strip()
    host = socket.gethostname()
    folder = (0, 0)
    with suppress(OSError):  # copies of one container may share all the rest
        here = journal.parent.stat()
        folder = (here.st_dev, here.st_ino)
    where = f"{machine}:{host}:{folder}:{journal.absolute()}"
    place = blake2b(where.encode("utf-8", "surrogateescape"), digest_size=8)
    return Mark(
        journal=journal_id,
        host=host,
        place=place.hexdigest(),
        boot=boot_id(),
        pids=_process_numbers(),
        pid=os.getpid(),
        begun=_begun(os.getpid()),
        epoch=epoch,
    )


def mark_name(journal_id: str) -> Rel:
    """Return the path of a daemon's mark."""
    return join(DAEMONS, journal_id + _SUFFIX)


def marks_in(root: Root) -> dict[str, SeenMark]:
    """Read the marks of all daemons in an inbox, by journal. Raises Unavailable, and OSError."""
    names = sorted(root.names_if_there(DAEMONS))[:_MARKS_MAX]
    found = [mark_of(root, name.removesuffix(_SUFFIX)) for name in names if name.endswith(_SUFFIX)]
    return {one.mark.journal: one for one in found if one is not None}


def mark_of(root: Root, journal_id: str) -> SeenMark | None:
    """Read the mark of a journal's daemon; None where none can be read. Raises Unavailable."""
    if not is_journal(journal_id):
        return None
    # It may be removed meanwhile, or none of ours.
    with forgiving(OSError, ValueError), root.open(mark_name(journal_id)) as file:
        mark = Mark.from_toml(file.read(_BYTES_MAX) or b"")
        return SeenMark(mark, os.fstat(file.fileno()).st_mtime) if mark.journal == journal_id else None
    return None


def copy_served(root: Root, own: Mark, now: Callable[[], float] = time.time) -> str:
    """Return a sentence where another running daemon serves a copy of this journal; empty where none does.

    Both write the same mark. `now` is used where the file server's time is not known. Raises Unavailable.
    """
    seen = mark_of(root, own.journal)
    if seen is None or _is_process(seen.mark, own) or _led_before(seen.mark, own):
        return ""
    server_now = now()
    with forgiving(OSError):  # a full disk, perhaps
        server_now = server_time(root)
    if life_of(seen, own, server_now) is not Life.LIVING:
        return ""
    return _COPIED.format(host=seen.mark.host or "another machine")


def _is_process(mark: Mark, own: Mark) -> bool:
    """Whether a mark is of this very process."""
    return replace(mark, host=own.host, is_stopped=own.is_stopped, epoch=own.epoch) == own


def _led_before(mark: Mark, own: Mark) -> bool:
    """Whether a mark is of a node that led the same farm before this one.

    Two leaders with one epoch use copies of one database, and one with a later epoch has replaced this one.
    """
    return 0 < mark.epoch < own.epoch


def host_of(root: Root, journal_id: str) -> str:
    """Return the machine of a journal's daemon; empty where its mark cannot be read."""
    with suppress(OSError):
        seen = mark_of(root, journal_id)
        return "" if seen is None else seen.mark.host
    return ""


def server_time(root: Root) -> float:
    """Return the file server's time, by the date of a file made for it. Raises OSError."""
    name = temporary_name()
    with root.folder(OURS, make=True) as folder:
        try:
            with root.create_in(name, folder) as file:
                file.write(b"\n")
                os.fsync(file.fileno())
            return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
        finally:
            with suppress(OSError):
                unlink(name, folder)


def life_of(seen: SeenMark | None, own: Mark, server_now: float) -> Life:
    """Return whether another daemon runs; `server_now` is the time by the clock that dated its mark."""
    if seen is None:
        return Life.UNKNOWN
    mark = seen.mark
    if mark.is_stopped:
        return Life.STOPPED
    if mark.boot and (mark.boot, mark.pids) == (own.boot, own.pids):
        is_alive = _is_alive(mark)
        if is_alive is not None:
            return Life.LIVING if is_alive else Life.ENDED
    if server_now - seen.at < SILENT_SECONDS:
        # One journal file has one daemon at a time: the one that used it before has ended.
        return Life.ENDED if mark.place and mark.place == own.place else Life.LIVING
    return Life.SILENT


def peer_of(
    inbox: str, journal: str, seen: SeenMark | None, own: Mark, clips: int, server_now: float, now: float
) -> Peer:
    """Return another daemon that has `clips` clips in an inbox; `now` is this machine's time."""
    seen_at = None if seen is None else now - max(server_now - seen.at, 0.0)
    host = "" if seen is None else seen.mark.host
    return Peer(inbox, journal, host, life_of(seen, own, server_now), clips, seen_at)


def _is_alive(mark: Mark) -> bool | None:
    """Whether a process of this machine runs; None where that is not known."""
    try:
        os.kill(mark.pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return None
    except PermissionError:
        pass  # another user's: it is there
    begun = _begun(mark.pid)
    return begun == mark.begun if begun and mark.begun else None


def _begun(pid: int) -> str:
    """Return when a process began; empty where it is gone or hidden."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    state, begun = fields[0], fields[19]
    return f"ended {begun}" if state in {"Z", "X"} else begun


def _process_numbers() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""


def silence(peer: Peer, now: float) -> str:
    """Return in words when a daemon was last seen."""
    if peer.life is Life.UNKNOWN or peer.seen_at is None:
        return "it left no sign of life"
    ago = f"{span(max(now - peer.seen_at, 1.0))} ago"
    how = {Life.STOPPED: "it was stopped", Life.ENDED: "it has ended"}.get(peer.life, "it was last seen")
    return f"{how} {ago}" if peer.life is Life.SILENT or peer.is_living else f"{how}, last seen {ago}"


def by_journal(peers: Iterable[Peer]) -> list[Peer]:
    """Return peers in order: first those whose clips nobody works on."""
    return sorted(peers, key=lambda peer: (peer.is_living, -peer.clips, peer.journal))
