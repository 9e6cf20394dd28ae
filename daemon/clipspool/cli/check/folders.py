"""Tries inboxes and outboxes for real: written, synced and renamed in, beneath `.clipspool` only."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shlex
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from clipspool.app.folders import known_folders, origin_of
from clipspool.app.settings import InboxSettings, Settings
from clipspool.cli.check.finding import Finding, why_of
from clipspool.cli.check.trials import try_moves
from clipspool.intake.unwatched import passed_by
from clipspool.journal import Journal, JournalError, Place
from clipspool.spool.guard import Guard, Unavailable
from clipspool.spool.root import Root
from clipspool.system import mounts
from clipspool.system.atomic import FOLDER_FLAGS, NEW_FLAGS, OURS, Opened, is_folder, unlink
from clipspool.system.redaction import readable

_POOLS = frozenset(
    {"fuse.mergerfs", "fuse.shfs", "fuse.unionfs", "fuse.unionfs-fuse", "fuse.mhddfs", "overlay"}
)
ANSWER_SECONDS = 15.0
"""How long a folder may take to answer before it counts as hung."""
_FREE_BYTES_WARN = 5 << 30
_FREE_BYTES_BAD = 200 << 20
_FREE_FILES_WARN = 1000
_FOLDERS_COUNTED_MAX = 20_000
_RENAME_NOREPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What works there."""

    renames_without_replacing: bool
    """renameat2 with RENAME_NOREPLACE."""
    links: bool
    """Hard links."""
    ignores_case: bool
    """`A` and `a` are one name."""


def known_to(place: Place) -> Mapping[str, str]:
    """Return the folders that the journal knows; none where it cannot be read (reported elsewhere)."""
    try:
        journal = Journal.read(place)
    except (JournalError, OSError):
        return {}
    if journal is None:
        return {}
    with closing(journal):
        return known_folders(journal)


def look_at_inbox(
    inbox: InboxSettings, settings: Settings, known: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Finding]:
    """Look at an inbox and its outbox; `known`: the folders that the journal knows."""
    usable = []
    if inbox.is_read_only:
        what, origin = f"inbox {inbox.name}", origin_of(inbox, settings, known)
        yield from in_time(what, partial(_read_only, what, inbox, origin))
    for what, folder, kind in (
        *(() if inbox.is_read_only else ((f"inbox {inbox.name}", inbox.path, "inbox"),)),
        (f"outbox of {inbox.name}", inbox.outbox, "kept" if inbox.is_read_only else "outbox"),
    ):
        found = in_time(what, partial(_folder, what, folder, kind, inbox, known.get(f"{kind}:{inbox.name}")))
        usable.append(folder.is_dir() and not any("cannot be used" in one.why for one in found))
        yield from found
    if usable[0]:
        yield from in_time(f"inbox {inbox.name}", partial(try_moves, inbox, has_outbox=usable[-1]))


def in_time(
    what: str, work: Callable[[], Iterable[Finding]], seconds: float = ANSWER_SECONDS
) -> list[Finding]:
    """Look in a thread of its own: a hung NAS must not hang the check. A bug there is raised here."""
    found: list[Finding] = []
    bugs: list[Exception] = []

    def run() -> None:
        try:
            found.extend(work())
        except Exception as bug:  # noqa: BLE001 - raised again below, by who waits
            bugs.append(bug)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(seconds)
    if bugs:
        raise bugs[0]
    if worker.is_alive():
        why = f"does not answer within {seconds:g} s"
        return [Finding("bad", what, why, "check the mount and its server")]
    return found


def _read_only(what: str, inbox: InboxSettings, origin: Root) -> Iterator[Finding]:
    """Look at an inbox into which nothing is written."""
    try:
        with Opened(os.open(inbox.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            os.close(os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd))
        origin.bind()
    except Unavailable as error:
        why, _, todo = str(error.strerror).partition("; ")
        yield Finding("bad", what, why, todo)
        return
    except OSError as error:
        yield Finding("bad", what, f"{inbox.path}: {why_of(error)}", "mount it, or fix its permissions")
        return
    mount = mounts.filesystem_of(inbox.path)
    yield Finding("ok", what, f"{inbox.path} on {mount.type}; it is only read, its clips are copied")
    yield from _passed_by(what, inbox)


def _folder(what: str, folder: Path, kind: str, inbox: InboxSettings, known: str | None) -> Iterator[Finding]:
    try:
        here = folder.stat()
    except FileNotFoundError:
        if known is not None:
            todo = f"mount it again, or create it and type `clipspool resume {inbox.name}`"
            yield Finding("bad", what, f"{folder} is missing, and was there before", todo)
        elif folder.parent.is_dir():
            todo = f"create it: mkdir {shlex.quote(str(folder))}"
            yield Finding("warn", what, f"{folder} does not exist yet", todo)
        else:
            yield Finding(
                "bad", what, f"{folder} and its parent folder are missing", "create it, or mount its disk"
            )
        return
    except OSError as error:
        yield Finding("bad", what, f"{folder}: {why_of(error)}", "fix the path or its permissions")
        return
    if not stat.S_ISDIR(here.st_mode):
        yield Finding("bad", what, f"{folder} is not a folder", "configure a folder")
        return
    if known is not None and (other := _not_the_known(folder, kind, known)):
        yield Finding(
            "bad", what, other, f"mount it again, or `clipspool resume {inbox.name}` if you replaced it"
        )
        return
    mount = mounts.filesystem_of(folder)
    try:
        abilities = abilities_of(folder)
    except OSError as error:
        yield Finding("bad", what, f"{folder} cannot be used: {why_of(error)}", _advice(error, folder))
        return
    yield Finding("ok", what, f"{folder} on {mount.type}{_notes(abilities, mount, inbox, kind)}")
    if kind == "inbox" and inbox.detect == "events" and mount.kind is not mounts.MountKind.LOCAL:
        why = f'detect = "events" on {mount.type}: clips from other machines are found only by the rescan'
        yield Finding("warn", what, why, 'set detect = "auto"')
    if not (abilities.renames_without_replacing or abilities.links):
        yield Finding(
            "warn",
            what,
            "neither a rename that never replaces nor a hard link works there, so another program could take "
            "a name between the check that it is free and its use",
            "let no other program write there, or use another file system",
        )
    if kind == "inbox":
        yield from _passed_by(what, inbox)
    yield from look_at_space(what, folder)


def _not_the_known(folder: Path, kind: str, known: str) -> str:
    """Return why the daemon would keep the folder offline; empty where the journal knows it."""
    try:
        with Opened(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            Guard(kind, known, lambda _found: None).check(fd, folder)
    except Unavailable as error:
        return str(error.strerror).partition("; ")[0]
    except OSError:
        pass  # the next try of the folder reports it
    return ""


def _passed_by(what: str, inbox: InboxSettings) -> Iterator[Finding]:
    for name in passed_by(inbox.path, inbox.extensions, inbox.ignore):
        why = (
            f"the folder {readable(name)} contains clips but is ignored: at the top of an inbox, "
            "names that begin with @ or # belong to the NAS"
        )
        yield Finding("warn", what, why, "rename it if its clips should be accepted")


def _notes(abilities: Abilities, mount: mounts.Mount, inbox: InboxSettings, kind: str) -> str:
    notes = []
    if kind == "inbox" and (inbox.detect == "rescan" or mount.kind is not mounts.MountKind.LOCAL):
        notes.append(f"rescanned every {inbox.rescan_seconds:g} s")
    if abilities.ignores_case:
        notes.append("not case-sensitive")
    if mount.type in _POOLS:
        notes.append("pooled disks: files whose target is on another disk are copied, not renamed")
    return "".join(f"; {note}" for note in notes)


def _advice(error: OSError, folder: Path) -> str:
    match error.errno:
        case errno.EROFS:
            return "it is mounted read-only, or missing in the unit (see clipspool check --systemd)"
        case errno.EACCES | errno.EPERM:
            return f"let uid {os.geteuid()} write there: ls -ld {folder}"
        case errno.ENOSPC | errno.EDQUOT:
            return "free some space"
        case _:
            return "check the mount and its server"


def look_at_space(what: str, folder: Path) -> Iterator[Finding]:
    """Look how many bytes and files still fit there."""
    try:
        free = os.statvfs(folder)
    except OSError:
        return
    available = free.f_bavail * free.f_frsize
    if available < _FREE_BYTES_WARN:
        why = f"{available / 1e9:.1f} GB are free"
        yield Finding("bad" if available < _FREE_BYTES_BAD else "warn", what, why, "free some space")
    if free.f_files and free.f_favail < _FREE_FILES_WARN:
        yield Finding("warn", what, f"only {free.f_favail:,} more files can be created there", "remove files")


def look_at_events(settings: Settings) -> Iterator[Finding]:
    """Compare the inboxes' folders with how many this machine lets one user watch."""
    count = 0
    for inbox in settings.inbox:
        is_local = inbox.path.is_dir() and mounts.filesystem_of(inbox.path).kind is mounts.MountKind.LOCAL
        if inbox.detect == "events" or (inbox.detect == "auto" and is_local):
            count += _folders_in(inbox.path, _FOLDERS_COUNTED_MAX - count)
    for name, needed in (("max_user_watches", count * 2), ("max_user_instances", 2 + len(settings.inbox))):
        try:
            limit = int(Path("/proc/sys/fs/inotify", name).read_text("ascii"))
        except (OSError, ValueError):
            continue
        if limit < needed:
            why = f"fs.inotify.{name} is {limit}, needed: {needed}; above it only the rescan finds clips"
            yield Finding("warn", "inotify", why, f"sysctl fs.inotify.{name}={max(needed * 2, limit)}")


def _folders_in(root: Path, most: int) -> int:
    count = 0
    for _folder, _names, _files in os.walk(root):
        count += 1
        if count >= most:
            break
    return count


def abilities_of(folder: Path) -> Abilities:
    """Try them out in `.clipspool`, and leave nothing behind. Raises OSError where writing does not work."""
    with Opened(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        is_new = not is_folder(OURS, root)
        with suppress(FileExistsError):
            os.mkdir(OURS, dir_fd=root)
        try:
            with Opened(os.open(OURS, FOLDER_FLAGS, dir_fd=root)) as ours:
                return _tried(ours)
        finally:
            if is_new:
                with suppress(OSError):  # a daemon that started meanwhile uses it by now
                    os.rmdir(OURS, dir_fd=root)


def _tried(folder: int) -> Abilities:
    stem = f".check-{secrets.token_hex(6)}"
    first, second, third = f"{stem}-a.tmp", f"{stem}-b.tmp", f"{stem}-c.tmp"
    try:
        with Opened(os.open(first, NEW_FLAGS, dir_fd=folder)) as fd:
            os.write(fd, b"clipspool check\n")
            os.fsync(fd)
        ignores_case = _exists(first.upper(), folder)
        code = _libc.renameat2(folder, os.fsencode(first), folder, os.fsencode(second), _RENAME_NOREPLACE)
        if code != 0:
            os.rename(first, second, src_dir_fd=folder, dst_dir_fd=folder)
        with suppress(OSError):
            os.link(second, third, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        return Abilities(
            renames_without_replacing=code == 0, links=_exists(third, folder), ignores_case=ignores_case
        )
    finally:
        for name in (first, second, third):
            with suppress(OSError):
                unlink(name, folder)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True
