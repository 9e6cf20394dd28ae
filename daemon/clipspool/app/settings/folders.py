"""Refuses configured folders that contain each other, through links and bind mounts too (PRODUCT §1)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath

from clipspool.app.settings.keys import Settings
from clipspool.app.settings.wording import Loc, Mistake
from clipspool.system import mounts

_SECONDS_MAX = 3.0
"""After this time a folder, on a file server that hangs, is compared by name alone."""


@dataclass(frozen=True, slots=True)
class _Folder:
    loc: Loc
    is_inbox: bool
    path: Path
    real: PurePosixPath
    place: tuple[str, PurePosixPath]
    """Device and path inside its file system."""
    ancestors: frozenset[tuple[int, int]]
    """Device and inode of every folder above it that exists, itself left out."""
    identity: tuple[int, int] | None


def overlaps(settings: Settings) -> Iterator[Mistake]:
    """Find inboxes that share or hold each other, and in- and outboxes that do.

    Outboxes may be shared, but not that of an inbox that is only read: its accepted clips lie there.
    """
    places: list[tuple[Loc, Path]] = [
        (("inbox", index, key), path)
        for index, inbox in enumerate(settings.inbox)
        for key, path in (("path", inbox.path), ("outbox", inbox.outbox))
    ]
    public_url = settings.transport.public_url
    if public_url is not None:
        places.append((("transport", "public_url", "folder"), public_url.folder))
    *folders, journal = _look_at_all([*places, (("journal", "path"), settings.journal.path)])
    served = folders.pop() if public_url is not None else None
    for one, other in combinations(folders, 2):
        words = _relation(one, other)
        if not (one.is_inbox or other.is_inbox):
            if words and any(settings.inbox[int(each.loc[1])].is_read_only for each in (one, other)):
                whose = f"the outbox of number {int(one.loc[1]) + 1} ({one.path})"
                needs = 'an inbox with source = "keep" needs an outbox of its own'
                yield Mistake(other.loc, f"({other.path}) {words} {whose}; {needs}")
            continue
        if words:
            whose = f"`{one.loc[-1]}` of number {int(one.loc[1]) + 1} ({one.path})"
            yield Mistake(other.loc, f"({other.path}) {words} {whose}")
    if served is not None:
        for folder in folders:
            if words := _relation(folder, served):
                yield Mistake(served.loc, f"({served.path}) {words} an inbox or outbox ({folder.path})")
    for folder in folders:
        if _relation(folder, journal) in {"lies inside", "is the same folder as"}:
            yield Mistake(journal.loc, f"must not lie inside an inbox or outbox ({folder.path})")
        if folder.path == Path("/"):
            yield Mistake(folder.loc, "must not be the root of all files")


def _look_at_all(places: Sequence[tuple[Loc, Path]]) -> list[_Folder]:
    seen: dict[Loc, _Folder] = {}

    def look(loc: Loc, path: Path) -> None:
        seen[loc] = _look(loc, path)

    # Daemon threads: a file server may hang for good.
    threads = [threading.Thread(target=look, args=place, daemon=True) for place in places]
    for thread in threads:
        thread.start()
    until = time.monotonic() + _SECONDS_MAX
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))
    return [seen.get(loc) or _unseen(loc, path) for loc, path in places]


def _unseen(loc: Loc, path: Path) -> _Folder:
    pure = PurePosixPath(os.path.abspath(path))  # noqa: PTH100 - resolving would ask the disk again
    return _Folder(loc, loc[-1] == "path", path, pure, (f"unseen {pure}", pure), frozenset(), None)


def _look(loc: Loc, path: Path) -> _Folder:
    real = PurePosixPath(os.path.realpath(path))
    known = [_identity(folder) for folder in (real, *real.parents)]
    return _Folder(
        loc=loc,
        is_inbox=loc[-1] == "path",
        path=path,
        real=real,
        place=mounts.place_of(path),
        ancestors=frozenset(identity for identity in known[1:] if identity),
        identity=known[0],
    )


def _identity(path: PurePosixPath) -> tuple[int, int] | None:
    try:
        here = os.stat(path)  # noqa: PTH116 - a pure path, that was resolved once
    except OSError:
        return None
    return here.st_dev, here.st_ino


def _relation(one: _Folder, other: _Folder) -> str:
    """Describe how `other` lies to `one`; empty when they are apart."""
    if one.real == other.real or one.place == other.place:
        return "is the same folder as"
    if one.identity is not None and one.identity == other.identity:
        return "is the same folder as"
    if _is_inside(other, one):
        return "lies inside"
    return "holds" if _is_inside(one, other) else ""


def _is_inside(inner: _Folder, outer: _Folder) -> bool:
    return (
        outer.real in inner.real.parents
        or (outer.place[0] == inner.place[0] and outer.place[1] in inner.place[1].parents)
        or outer.identity in inner.ancestors
    )
