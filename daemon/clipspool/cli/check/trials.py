"""Tries the moves that `run` makes, with a small file, in each folder that may be on another disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clipspool.app.settings import InboxSettings
from clipspool.cli.check.finding import Finding
from clipspool.spool.layout import DONE, FAILED, WORK
from clipspool.spool.root import Root
from clipspool.system import mounts
from clipspool.system.atomic import (
    OURS,
    Rel,
    join,
    rename_new,
    rename_to_own,
    sync_and_close,
    sync_folder,
    temporary_name,
    unlink,
    write_all,
)
from clipspool.system.moves import How, both, copy
from clipspool.system.rights import dress

_PLACES_MAX = 20
_FOLDERS_MAX = 20_000
_TODO = "let clipspool create, rename and remove files there, and check that mount"
_IN = How(is_moved=True, keeps_rights=True, is_alone=True)
_OUT = How(is_moved=True, keeps_rights=True)
_NEW = How(is_moved=True)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A trial work folder, and the way between it and another folder."""

    inbox: Root
    work: int
    other: Root
    folder: int

    def accept(self) -> str:
        """Move a file in as a clip is claimed; returns why a rename failed where it had to be copied."""
        name, own = temporary_name(), temporary_name()
        with _made(self.other, name, self.folder), _gone(own, self.folder), _gone(name, self.work):
            try:
                rename_to_own(name, self.folder, name, self.work)
            except OSError as refused:
                try:
                    rename_to_own(name, self.folder, own, self.folder)
                    copy(own, self.folder, name, self.work, self.inbox.create_in, _IN)
                except OSError as also:
                    raise both(refused, "rename", also, "rename and copy") from also
                return refused.strerror or str(refused)
        return ""

    def retire(self) -> str:
        """Move a file out as a source is archived."""
        return self._out(lambda _name: None, _OUT)

    def publish(self) -> str:
        """Publish a file as a result is, with the permissions of one created there."""
        return self._out(
            lambda name: dress(name, self.work, self.folder, self.other.create_in, self.other.make_in), _NEW
        )

    def _out(self, prepare: Callable[[str], None], how: How) -> str:
        name, to_name = temporary_name(), temporary_name()
        with _made(self.inbox, name, self.work), _gone(to_name, self.folder):
            try:
                prepare(name)
                rename_new(name, self.work, to_name, self.folder)
            except OSError as refused:
                try:
                    copy(name, self.work, to_name, self.folder, self.other.create_in, how)
                except OSError as also:
                    raise both(refused, "rename", also, "copy") from also
                return refused.strerror or str(refused)
            sync_folder(self.folder)
        return ""


@contextmanager
def _made(root: Root, name: str, folder: int) -> Iterator[None]:
    with _gone(name, folder):
        with root.create_in(name, folder) as file:
            write_all(file, b"clipspool check\n")
            sync_and_close(file)
        yield


@contextmanager
def _gone(name: str, folder: int) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(OSError):
            unlink(name, folder)


def try_moves(inbox: InboxSettings, *, has_outbox: bool) -> Iterator[Finding]:
    """Try each of a clip's moves, in the inbox and in the outbox; leaves nothing behind."""
    try:
        yield from _try_all(inbox, has_outbox=has_outbox)
    except OSError as error:
        what = f"no work folder can be created in {inbox.home}: {error.strerror or error}"
        yield Finding("bad", f"inbox {inbox.name}", what, _TODO)


def _try_all(inbox: InboxSettings, *, has_outbox: bool) -> Iterator[Finding]:
    root, outbox = (
        Root(path, file_mode=inbox.file_mode, folder_mode=inbox.folder_mode)
        for path in (inbox.home, inbox.outbox)
    )
    with _work_folder(root) as rel, root.folder(rel) as work:
        for place in () if inbox.is_read_only else _places(inbox.path, DONE, FAILED):
            is_archive = place.split("/")[0] in {DONE, FAILED}
            yield from _tried(inbox, root, work, root, place, is_archive=is_archive)
        if has_outbox:
            for place in _places(inbox.outbox):
                yield from _tried(inbox, root, work, outbox, place)


@contextmanager
def _work_folder(root: Root) -> Iterator[Rel]:
    """Create a work folder as a claim does, and remove everything that is new."""
    made = [rel for rel in (OURS, WORK) if not root.exists(rel)]
    rel = join(WORK, temporary_name())
    root.make_folders(rel)
    try:
        yield rel
    finally:
        with suppress(OSError):
            root.remove_folder(rel)
        for each in reversed(made):
            with suppress(OSError):  # a daemon that started meanwhile uses it by now
                (root.path / each).rmdir()


def _tried(
    inbox: InboxSettings, root: Root, work: int, other: Root, place: Rel, *, is_archive: bool = False
) -> Iterator[Finding]:
    where = other.path / place
    what = f"inbox {inbox.name}" if other is root else f"outbox of {inbox.name}"
    try:
        with other.folder(place) as folder:
            trial = _Trial(root, work, other, folder)
            if other is not root:
                kind, refused = "results", trial.publish()
            elif is_archive:
                kind, refused = "sources", trial.retire()
            else:
                kind, refused = "clips", trial.accept()
    except OSError as error:
        yield Finding("bad", what, f"{where} cannot be used: {error.strerror or error}", _TODO)
        return
    if refused:
        way = "from" if kind == "clips" else "into"
        yield Finding(
            "ok", what, f"{kind} are copied {way} {where}, compared and removed (rename: {refused.lower()})"
        )


def _places(path: Path, *more: str) -> list[Rel]:
    """Return the folders to try: the top, those named, and each that is a mount or another file system."""
    real = os.path.realpath(path)
    found = {"", *(name for name in more if (path / name).is_dir())}
    found |= {os.path.relpath(one.point, real) for one in mounts.read() if one.point.startswith(real + "/")}
    device, count = path.stat().st_dev, 0
    for folder, names, _files in os.walk(real):
        count += len(names)
        if count > _FOLDERS_MAX:
            break
        for name in list(names):
            below = Path(folder, name)
            with suppress(OSError):
                if below.lstat().st_dev != device:
                    found.add(os.path.relpath(below, real))
    return sorted(rel for rel in found if not f"/{rel}".count("/."))[:_PLACES_MAX]
