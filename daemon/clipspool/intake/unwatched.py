"""What lies in an inbox that nobody watches: for `status` without a daemon. It only looks."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from clipspool.intake.names import Kind, Names
from clipspool.system.atomic import Rel, join

_MOST = 1000


def lying_in(
    inbox: Path, extensions: Collection[str], ignore: Collection[str]
) -> Iterator[tuple[Rel, str, float, bool]]:
    """Give clips that are not accepted: path, reason, Unix seconds of last change, whether one has a note."""
    names = Names(extensions, ignore)
    count = 0
    for folder, folders, files in os.walk(inbox):
        rel = str(Path(folder).relative_to(inbox)).removeprefix(".")
        folders[:] = [name for name in folders if names.enters(name, rel)]
        present = set(files)
        for name in sorted(files):
            if names.kind(name, rel) is not Kind.CLIP or count >= _MOST:
                continue
            try:
                since = Path(folder, name).lstat().st_mtime
            except OSError:
                continue
            count += 1
            has_note = f"{name}.problem.txt" in present
            reason = "see the note beside it" if has_note else "no daemon runs"
            yield join(rel, name), reason, since, has_note


def passed_by(inbox: Path, extensions: Collection[str], ignore: Collection[str]) -> list[str]:
    """Name the folders that hold clips and are left out for their first letter. Raises OSError."""
    names = Names(extensions, ignore)
    with os.scandir(inbox) as entries:
        left_out = [e.name for e in entries if e.is_dir(follow_symlinks=False) and names.passes_by(e.name)]
    return [name for name in sorted(left_out) if _holds_clip(inbox, name, names)]


def _holds_clip(inbox: Path, top: str, names: Names) -> bool:
    count = 0
    for folder, folders, files in os.walk(inbox / top):
        rel = str(Path(folder).relative_to(inbox))
        folders[:] = [name for name in folders if names.enters(name, rel)]
        if any(names.kind(name, rel) is Kind.CLIP for name in files):
            return True
        count += len(files) + 1
        if count > _MOST:
            break
    return False
