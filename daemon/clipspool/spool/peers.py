"""Tells which daemons share an inbox and which of them live, by the small file that each keeps there.

`.clipspool/daemons/JOURNAL.toml` is written anew once a minute. Its age is taken by the file server's clock:
the times of two files on the same server are compared, never one with the clock of this machine.
"""

from __future__ import annotations

import os
import re
import socket
import time
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path

import tomli_w

from clipspool.jobs.records import Life, Peer
from clipspool.jobs.text import span
from clipspool.spool.root import Root, Unavailable
from clipspool.system.atomic import OURS, NotRegular, Rel, join, temporary_name
from clipspool.system.boot import boot_id

DAEMONS = f"{OURS}/daemons"
KEEP_SECONDS = 60.0
"""A mark is written this often: each is a few calls to the file server."""
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
    """What a daemon leaves in an inbox to be known by."""

    journal: str
    host: str
    place: str = ""
    """Equal for two daemons that use the same journal file, one after the other."""
    boot: str = ""
    pids: str = ""
    """The number space of its process: a container has one of its own."""
    pid: int = 0
    begun: str = ""
    """When its process began, as the kernel counts: numbers of processes are used again."""
    is_stopped: bool = False

    def to_toml(self) -> bytes:
        """Write it down."""
        return tomli_w.dumps(asdict(self)).encode()

    @classmethod
    def from_toml(cls, data: bytes) -> Mark:
        """Read it back; raises ValueError when it is none."""
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
class Seen:
    """A mark, and when it was written by the file server's clock, Unix seconds."""

    mark: Mark
    at: float


def is_journal(text: str) -> bool:
    """Tell whether a text can be a journal's identity: anybody may have made what lies in an inbox."""
    return _JOURNAL.fullmatch(text) is not None


def own_mark(journal_id: str, journal: Path) -> Mark:
    """Make the mark of this process as the daemon of a journal."""
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
    )


def mark_name(journal_id: str) -> Rel:
    """Name the file of a daemon's mark."""
    return join(DAEMONS, journal_id + _SUFFIX)


def marks_in(root: Root) -> dict[str, Seen]:
    """Read the marks of all daemons in an inbox, by journal. Raises Unavailable, and OSError."""
    found: dict[str, Seen] = {}
    try:
        names = root.names(DAEMONS)
    except (FileNotFoundError, NotADirectoryError):
        return found
    for name in sorted(names)[:_MARKS_MAX]:
        if not name.endswith(_SUFFIX) or not is_journal(name.removesuffix(_SUFFIX)):
            continue
        try:
            with root.open(join(DAEMONS, name)) as file:
                at = os.fstat(file.fileno()).st_mtime
                mark = Mark.from_toml(file.read(_BYTES_MAX) or b"")
        except Unavailable:
            raise
        except (OSError, NotRegular, ValueError):  # removed meanwhile, or not one of ours
            continue
        if mark.journal == name.removesuffix(_SUFFIX):
            found[mark.journal] = Seen(mark, at)
    return found


def mark_of_journal(root: Root, journal_id: str) -> Seen | None:
    """Read the mark of a journal's daemon; None where none can be read. Raises Unavailable."""
    try:
        with root.open(mark_name(journal_id)) as file:
            at = os.fstat(file.fileno()).st_mtime
            mark = Mark.from_toml(file.read(_BYTES_MAX) or b"")
    except Unavailable:
        raise
    except (OSError, ValueError):
        return None
    return Seen(mark, at) if mark.journal == journal_id else None


def copy_served(root: Root, own: Mark, now: Callable[[], float] = time.time) -> str:
    """Say where another living daemon serves a copy of this journal; empty where none does.

    Both write the same mark. `now` serves where the file server does not give its time. Raises Unavailable.
    """
    seen = mark_of_journal(root, own.journal)
    if seen is None or _is_process(seen.mark, own):
        return ""
    try:
        server_now = server_time(root)
    except Unavailable:
        raise
    except OSError:  # a full disk, perhaps
        server_now = now()
    if life_of(seen, own, server_now) is not Life.LIVING:
        return ""
    return _COPIED.format(host=seen.mark.host or "another machine")


def _is_process(mark: Mark, own: Mark) -> bool:
    """Tell whether a mark is of this very process."""
    return replace(mark, host=own.host, is_stopped=own.is_stopped) == own


def host_of(root: Root, journal_id: str) -> str:
    """Name the machine of a daemon that left its mark; empty where it left none, or it cannot be read."""
    if not is_journal(journal_id):
        return ""
    try:
        return Mark.from_toml(root.read(mark_name(journal_id), _BYTES_MAX)).host
    except (OSError, ValueError):
        return ""


def server_time(root: Root) -> float:
    """Ask the file server for its time, by the date of a file that is made for it. Raises OSError."""
    name = temporary_name()
    with root.folder(OURS, make=True) as folder:
        try:
            with root.create_in(name, folder) as file:
                file.write(b"\n")
                os.fsync(file.fileno())
            return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
        finally:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)


def life_of(seen: Seen | None, own: Mark, server_now: float) -> Life:
    """Tell whether another daemon lives; `server_now` is the time by the clock that dated its mark."""
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
        # One journal file has one daemon at a time: whoever used it before us has ended.
        return Life.ENDED if mark.place and mark.place == own.place else Life.LIVING
    return Life.SILENT


def _is_alive(mark: Mark) -> bool | None:
    """Tell whether a process of this machine runs; None where that is not shown."""
    try:
        os.kill(mark.pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return None
    except PermissionError:
        pass  # another user's: it is there
    begun = _begun(mark.pid)
    if not begun or not mark.begun:
        return None
    return begun == mark.begun


def _begun(pid: int) -> str:
    """Give when a process began; empty where it is gone, ended or hidden."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    state, begun = told[0], told[19]
    return f"ended {begun}" if state in {"Z", "X"} else begun


def _process_numbers() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""


def silence(peer: Peer, now: float) -> str:
    """Say in words since when a daemon was not seen."""
    if peer.life is Life.UNKNOWN or peer.seen_at is None:
        return "it left no sign of life"
    told = f"{span(max(now - peer.seen_at, 1.0))} ago"
    how = {Life.STOPPED: "it was stopped", Life.ENDED: "it has ended"}.get(peer.life, "it was last seen")
    return f"{how} {told}" if peer.life is Life.SILENT or peer.is_living else f"{how}, last seen {told}"


def by_journal(peers: Mapping[str, Peer]) -> list[Peer]:
    """Order peers: those that nobody sees to first."""
    return sorted(peers.values(), key=lambda peer: (peer.is_living, -peer.clips, peer.journal))
