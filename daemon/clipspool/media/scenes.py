"""Finds the frames at which another scene begins: what changes at once, and stays changed.

A flash, or something that passes in front of the lens, goes back to what was there before. A fade, a dissolve
and a camera that is moved by hand change every frame about as much as the next.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from operator import sub
from typing import TYPE_CHECKING, Final

from clipspool.media import memory
from clipspool.media.coding import progress
from clipspool.media.facts import Scenes
from clipspool.media.pictures import Shape, pictures
from clipspool.media.reading import container_of, opened, video_stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import av

WIDTH: Final = 48
HEIGHT: Final = 27
CUTS_MAX: Final = 5000
"""Of one answer; what comes after it is divided evenly."""
CHANGE_MIN: Final = 3.0
"""Mean change of a pixel's brightness, of 255, without that of the whole picture: less is noise."""
CHANGE_OF_CONTRAST: Final = 0.5
"""Unrelated pictures differ by about their contrast; those of one scene, by a smaller share of it."""
OVER_NEXT: Final = 2.0
OVER_AROUND: Final = 2.2
"""How many times the change is that of the next frames, and of those around it."""
AROUND_SECONDS: Final = Fraction(2, 5)
AROUND_OTHERS: Final = 2
"""Frames around it that may change as much: another cut, or a flash."""
RETURN_SECONDS: Final = Fraction(3, 10)
RETURN_SHARE: Final = 0.6
"""A picture that differs by less than this share of the change, within this time, counts as a return."""


def scenes(file: int, *, fps: str, frames: int) -> Scenes:
    """Find the scenes of a clip of `frames` frames at a constant rate; raises MediaError."""
    rate = Fraction(fps)
    shape = Shape(width=WIDTH, height=HEIGHT, fps=rate, frames=frames, pixel_format="gray")
    with opened(file, container_of(file)) as source:
        stream = video_stream(source)
        memory.spread(stream)
        shown = progress.of(pictures(source, stream, shape), frames)
        return scenes_in(map(_gray, shown), rate)


def _gray(picture: av.VideoFrame) -> bytes:
    plane = picture.planes[0]
    data, line = bytes(plane), plane.line_size
    return b"".join(data[at : at + WIDTH] for at in range(0, HEIGHT * line, line))


def scenes_in(pictures: Iterable[bytes], rate: Fraction) -> Scenes:
    """Find the scenes of a clip by its pictures, in shades of gray of `WIDTH` by `HEIGHT` pixels."""
    cuts: list[int] = []
    for cut in _cuts(pictures, rate):
        cuts.append(cut)
        if len(cuts) == CUTS_MAX:
            break
    return Scenes(tuple(cuts))


def _cuts(pictures: Iterable[bytes], rate: Fraction) -> Iterator[int]:
    """Look at each frame once those after it are known; only what is looked at is kept."""
    around, back = max(4, round(AROUND_SECONDS * rate)), max(2, round(RETURN_SECONDS * rate))
    window = _Window(around, back)
    count = 0
    for picture in pictures:
        window.add(picture)
        count += 1
        if window.is_full and window.is_cut():
            yield count - 1 - around
    for number in range(count - around, count):
        window.shift()
        if window.is_full and number > 0 and window.is_cut():
            yield number


class _Window:
    """The frames around the one in its middle: their pictures, and how much each changed."""

    def __init__(self, around: int, back: int) -> None:
        self._around, self._back = around, back
        self._pictures: deque[bytes | None] = deque([None] * (2 * around + 1), maxlen=2 * around + 1)
        self._changes: deque[float] = deque([0.0] * (2 * around + 1), maxlen=2 * around + 1)

    @property
    def is_full(self) -> bool:
        """Whether there is a frame in the middle, and one before it."""
        return self._pictures[self._around - 1] is not None

    def add(self, picture: bytes) -> None:
        before = self._pictures[-1]
        self._pictures.append(picture)
        self._changes.append(0.0 if before is None else _change(before, picture))

    def shift(self) -> None:
        """Move on by a frame after the last one."""
        self._pictures.append(None)
        self._changes.append(0.0)

    def is_cut(self) -> bool:
        """Whether the frame in the middle begins another scene."""
        middle, change = self._around, self._changes[self._around]
        before, picture = self._pictures[middle - 1], self._pictures[middle]
        if before is None or picture is None or change < CHANGE_MIN:
            return False
        changes = list(self._changes)
        others = sorted((*changes[:middle], *changes[middle + 1 :]), reverse=True)
        if change < OVER_NEXT * max(changes[middle - 1], changes[middle + 1]):
            return False
        if change < OVER_AROUND * others[AROUND_OTHERS]:
            return False
        if change < CHANGE_OF_CONTRAST * (_contrast(before) + _contrast(picture)) / 2:
            return False
        after = [self._pictures[middle + step] for step in range(1, self._back + 1)]
        earlier = [self._pictures[middle - 1 - step] for step in range(1, self._back + 1)]
        limit = RETURN_SHARE * change
        return not (_is_near(before, after, limit) or _is_near(picture, earlier, limit))


def _is_near(picture: bytes, others: Iterable[bytes | None], limit: float) -> bool:
    return any(other is not None and _change(picture, other) < limit for other in others)


def _change(one: bytes, other: bytes) -> float:
    """Return the mean difference of two pictures, apart from that of their brightness as a whole."""
    return _deviation(list(map(sub, one, other)))


def _contrast(picture: bytes) -> float:
    return _deviation(list(picture))


def _deviation(values: list[int]) -> float:
    mean = round(sum(values) / len(values))
    return sum(map(abs, map(mean.__rsub__, values))) / len(values)
