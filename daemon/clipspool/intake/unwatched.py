"""Lists what an inbox contains while no daemon runs: for `status` and `check`. It changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path

from clipspool.intake.names import PROBLEM_NOTE, Kind, Names
from clipspool.intake.scan import with_clips
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel, join

_CLIPS_MAX = 1000


def clips_in(
    inbox: Path,
    extensions: Collection[str],
    ignore: Collection[str],
    is_new: Callable[[Rel, os.stat_result], bool] = lambda _rel, _there: True,
) -> Iterator[tuple[Rel, str, float, bool]]:
    """Yield clips that are not accepted: path, reason, Unix seconds of last change, whether it has a note."""
    return islice(_all_clips_in(inbox, Names(extensions, ignore), is_new), _CLIPS_MAX)


def _all_clips_in(
    inbox: Path, names: Names, is_new: Callable[[Rel, os.stat_result], bool]
) -> Iterator[tuple[Rel, str, float, bool]]:
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
            has_note = f"{name}{PROBLEM_NOTE}" in files
            yield join(rel, name), "see the note beside it" if has_note else "no daemon runs", since, has_note


def passed_by(inbox: Path, extensions: Collection[str], ignore: Collection[str]) -> list[str]:
    """Return the folders that contain clips but are skipped for their first letter. Raises OSError."""
    names = Names(extensions, ignore)
    with os.scandir(inbox) as entries:
        skipped = [e.name for e in entries if e.is_dir(follow_symlinks=False) and names.passes_by(e.name)]
    return list(with_clips(Root(inbox), skipped, names))
