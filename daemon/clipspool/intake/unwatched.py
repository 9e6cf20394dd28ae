"""Lists clips that nobody watches: with no daemon, or in folders that are skipped. It changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

from clipspool.intake.names import PROBLEM_NOTE, Kind, Names
from clipspool.spool.guard import forgiving
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel, join

_CLIPS_MAX = 1000
_ENTRIES_TRIED_MAX = 500


def clips_in(
    inbox: Path,
    extensions: Collection[str],
    ignore: Collection[str],
    is_new: Callable[[Rel, os.stat_result], bool] = lambda _rel, _there: True,
) -> Iterator[tuple[Rel, float, bool]]:
    """Yield clips that are not accepted: path, Unix seconds of last change, whether it has a note."""
    return islice(_all_clips_in(inbox, Names(extensions, ignore), is_new), _CLIPS_MAX)


def _all_clips_in(
    inbox: Path, names: Names, is_new: Callable[[Rel, os.stat_result], bool]
) -> Iterator[tuple[Rel, float, bool]]:
    for folder, folders, files in os.walk(inbox):
        rel = str(Path(folder).relative_to(inbox)).removeprefix(".")
        folders[:] = [name for name in folders if names.enters(name, rel)]
        for name in sorted(files):
            if names.kind(name, rel) is not Kind.CLIP:
                continue
            try:
                there = Path(folder, name).lstat()
            except OSError:
                continue
            if not is_new(join(rel, name), there):
                continue
            since = there.st_mtime
            yield join(rel, name), since, f"{name}{PROBLEM_NOTE}" in files


def passed_by(inbox: Path, extensions: Collection[str], ignore: Collection[str]) -> list[str]:
    """Return the folders that contain clips but are skipped for their first letter. Raises OSError."""
    names = Names(extensions, ignore)
    with os.scandir(inbox) as entries:
        skipped = [e.name for e in entries if e.is_dir(follow_symlinks=False) and names.passes_by(e.name)]
    return list(with_clips(Root(inbox), skipped, names))


def with_clips(root: Root, folders: Iterable[Rel], names: Names) -> Iterator[Rel]:
    """Yield the folders that contain a clip at some depth. Raises Unavailable."""
    for rel in sorted(folders):
        with forgiving(OSError):  # it went, or we may not read it
            if _holds_clip(root, rel, names):
                yield rel


def _holds_clip(root: Root, rel: Rel, names: Names) -> bool:
    left, pending = _ENTRIES_TRIED_MAX, [rel]
    while pending:
        rel = pending.pop()
        with root.folder(rel) as fd, os.scandir(fd) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    return False
                if entry.is_dir(follow_symlinks=False):
                    pending += [join(rel, entry.name)] if names.enters(entry.name, rel) else []
                elif names.kind(entry.name, rel) is Kind.CLIP:
                    return True
    return False
