"""The journal's files: its folder, the lock of its one writer, and whether the files are still there."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from clipspool.jobs.faults import OperatorError
from clipspool.system.atomic import NEW_FLAGS, Opened

_LOOK_AGAIN_SECONDS = 0.05
_NODE_MARK = "clipspool: the journal is in "
SQLITE = b"SQLite format 3\0"


class JournalError(OperatorError):
    """The journal cannot be used: damaged, of another version, removed, or its disk is full or fails."""


class NoJournal(JournalError):
    """There is none at a place yet."""

    def __init__(self, place: object) -> None:
        super().__init__(f"There is no journal at {place} yet; `clipspool run` creates it.")


class JournalUnreachable(JournalError):
    """The database does not answer, for now; whether the last commit was kept is not known."""


def make_home(journal: Path) -> None:
    """Make a journal's folder where there is none, closed to all but user and group.

    Whoever can read a journal can hold its locks, and whoever can write its folder can replace it.
    """
    journal.parent.mkdir(0o750, parents=True, exist_ok=True)


def sync(path: Path) -> None:
    """Sync a file's bytes, or a folder's names, to disk. Raises OSError."""
    with Opened(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
        os.fsync(fd)


def make_for_owner(*files: Path) -> None:
    """Make a journal's missing files for the owner of their folder, whose daemon has to open them.

    Only root can, and only root needs to. Raises OSError.
    """
    folder = files[0].parent.stat()
    for path in files:
        with suppress(FileExistsError), Opened(os.open(path, NEW_FLAGS, 0o644)) as fd:
            os.fchown(fd, folder.st_uid, folder.st_gid)


def mark_node(path: Path, shown: str) -> None:
    """Leave a line at the journal's path that says which PostgreSQL the journal is in.

    Without the `url` nobody begins an empty journal there; and a journal of SQLite there is not forgotten.
    Raises JournalError and OSError.
    """
    line = f"{_NODE_MARK}{shown}\n".encode()
    try:
        found = path.read_bytes()[: len(SQLITE)]
    except FileNotFoundError:
        found = b""
    if found.startswith(SQLITE):
        raise JournalError(
            f"{path} is a journal of SQLite, and what is under way in it is not known in {shown}: copy it "
            "with `clipspool farm import`; where another one was copied already, move this one aside, start "
            "the node, and run `clipspool recover`."
        )
    path.write_bytes(line)


def refuse_mark(path: Path) -> None:
    """Raise JournalError where the journal that was at a path is in PostgreSQL."""
    with suppress(OSError), path.open("rb") as file:
        line = file.read(4096).decode("utf-8", "replace").partition("\n")[0]
        if line.startswith(_NODE_MARK):
            where = line.removeprefix(_NODE_MARK)
            raise JournalError(f"The journal of {path} is in {where}: name that with `url` in [journal].")


class Lock:
    """Lets one process own the journal; the kernel releases it however the process ends."""

    def __init__(self, journal: Path) -> None:
        """Name the lock file beside the journal; `take` locks it."""
        real = Path(os.path.realpath(journal))  # under two names it is one journal
        self.path = real.with_name(real.name + ".lock")
        self.was_excused = False
        """Whether the last owner ended because the journal could not be written, and not over a clip."""
        self._fd: int | None = None

    def take(self, wait_seconds: float = 0.0) -> bool:
        """Take the lock; False when another process still holds it after the wait."""
        until = time.monotonic() + wait_seconds
        while not self._try():
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_AGAIN_SECONDS)
        return True

    def _try(self) -> bool:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self.was_excused = os.fstat(fd).st_size == 0
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd
        return True

    def excuse(self) -> None:
        """Record for the next owner, by an empty file, that no clip caused this end.

        To empty a file takes no room, so it works where the disk is full and the journal cannot record it.
        """
        if self._fd is not None:
            with suppress(OSError):
                os.ftruncate(self._fd, 0)

    def pass_excuse_on(self) -> None:
        """Leave what the last owner left, where this one did not come so far as to read the journal."""
        if self.was_excused:
            self.excuse()

    def holder(self) -> int | None:
        """Return the process id of the holder, None when nobody holds the lock."""
        if self._fd is not None:
            return os.getpid()
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            with suppress(ValueError):
                return int(os.pread(fd, 32, 0))
            return 0
        finally:
            os.close(fd)
        return None

    def who(self) -> str:
        """Name the holder for a sentence: ` (process 123)`; empty where it left no number."""
        holder = self.holder()
        return f" (process {holder})" if holder else ""

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class FileIdentity:
    """Detects that the files of an open journal were removed or replaced: what is written then is lost."""

    def __init__(self) -> None:
        """Start without files; `know` adds one."""
        self._known: dict[Path, tuple[int, int]] = {}

    def know(self, path: Path) -> None:
        """Remember the file that has this name now. Raises OSError."""
        self._known[path] = numbers_of(path)

    def make_sure(self) -> None:
        """Raise JournalError where a file was removed or replaced."""
        for path, known in self._known.items():
            try:
                is_known = numbers_of(path) == known
            except (FileNotFoundError, NotADirectoryError) as error:
                raise JournalError(f"{path} was in use and is gone.") from error
            except OSError:  # a file that cannot be looked at is not gone, and the commit succeeded
                continue
            if not is_known:
                raise JournalError(f"{path} was in use and is another file now.")


def numbers_of(path: Path) -> tuple[int, int]:
    """Return a file's device and number, which tell it from another file of its name."""
    there = path.stat()
    return there.st_dev, there.st_ino
