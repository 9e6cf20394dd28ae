"""Plans the parts of a clip that is longer than its model takes: at scene changes, else evenly; pure.

Parts that meet within a scene share some frames, over which their results are faded into one another; parts
that meet at a scene change share none.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

from clipspool.media.facts import PARTS_MAX, ClipPart, Probe
from clipspool.media.plan import Bounds, Refuse
from clipspool.media.rates import constant_rate, frames_of

PART_SECONDS_MIN = 1.0
"""The least length of a part where the model has none: what is shorter says little about its scene."""
_OVERLAP_SHARE = 4
"""An overlap is at most such a part of the longest part."""


def is_too_long(probe: Probe, limits: Bounds) -> bool:
    """Whether a clip is longer than its model takes; less than half a frame does not count."""
    frame = 1 / probe.frames_per_second if probe.fps else 0.0
    return limits.seconds_max is not None and probe.seconds > limits.seconds_max + frame / 2


def parts_of(
    probe: Probe, limits: Bounds, *, cuts: Sequence[int] = (), overlap_frames: int = 12
) -> tuple[ClipPart, ...] | Refuse:
    """Divide a clip into parts that its model takes; a clip that is not too long is one part.

    `cuts` are the frames at which a scene begins, in order. They never make the parts longer together; the
    price of each is rounded up, and has to be compared besides. Each pair that meets elsewhere shares
    `overlap_frames`: fewer where the longest part has few frames, more where the least length needs it.
    """
    rate = constant_rate(probe)
    total = frames_of(probe, rate)
    if limits.seconds_max is None or not is_too_long(probe, limits):
        return (ClipPart(start=0, frames=total),)
    most = floor(Fraction(limits.seconds_max) * rate)
    wanted = Fraction(PART_SECONDS_MIN if limits.seconds_min is None else limits.seconds_min)
    least = max(1, ceil(wanted * rate))
    if limits.seconds_min is None:
        least = min(least, most // 2)
    if not 1 <= least <= most:
        return Refuse(
            f"the model takes no clip of its {float(rate):.6g} frames a second", "Choose another model."
        )
    span = _Span(least, most, max(0, min(overlap_frames, most // _OVERLAP_SHARE)))
    count = span.parts_in(total)
    if count > PARTS_MAX:
        return Refuse(
            f"the clip is {probe.seconds:g} s long, which makes {count} parts of at most "
            f"{limits.seconds_max:g} s; clipspool splits into {PARTS_MAX} at most",
            "Cut it into shorter clips.",
        )
    even = tuple(span.divided(0, total))
    places = _places(total, [cut for cut in cuts if 0 < cut < total], span)
    parts = tuple(part for begin, end in pairwise(places) for part in span.divided(begin, end))
    costs_more = sum(part.frames for part in parts) > sum(part.frames for part in even)
    return even if costs_more or len(parts) > PARTS_MAX else parts


@dataclass(frozen=True, slots=True)
class _Span:
    """Divides the frames between two scene changes; lengths are in frames."""

    least: int
    most: int
    overlap: int

    def parts_in(self, length: int) -> int:
        """Return how many parts a clip of `length` frames needs."""
        return 1 if length <= self.most else ceil((length - self.overlap) / (self.most - self.overlap))

    def divided(self, begin: int, end: int) -> Iterator[ClipPart]:
        """Yield parts of equal length, or one frame more; those below the least length share more frames."""
        count = self.parts_in(end - begin)
        each, longer = divmod(end - begin + (count - 1) * self.overlap, count)
        start, before = begin, begin
        for number in range(count):
            frames = each + (number < longer)
            if each < self.least:
                frames = self.least
                start = begin + number * (end - begin - frames) // max(1, count - 1)
            yield ClipPart(start=start, frames=frames, overlap=before - start)
            before = start + frames
            start = before - self.overlap


def _places(total: int, cuts: Sequence[int], span: _Span) -> list[int]:
    """Choose the cuts at which parts begin, with 0 and the end.

    As few parts as possible meet within a scene; of such choices one of few and equal parts is taken.
    """
    nodes = [0, *cuts, total]
    best: dict[int, tuple[tuple[int, int, int], int]] = {0: ((0, 0, 0), 0)}
    for begin in nodes[:-1]:
        if begin not in best:
            continue
        (seams, count, unevenness), _ = best[begin]
        for end in _ends(begin, nodes, span):
            parts = span.parts_in(end - begin)
            cost = (seams + parts - 1, count + parts, unevenness + (end - begin) ** 2 // parts)
            if end not in best or cost < best[end][0]:
                best[end] = (cost, begin)
    places = [total]
    while places[-1]:
        places.append(best[places[-1]][1])
    return places[::-1]


def _ends(begin: int, nodes: Sequence[int], span: _Span) -> Sequence[int]:
    """Return where the parts that begin at a cut may end: within one part, or at the next cuts behind it.

    Where one of the next cuts can itself begin a part, to go beyond it never saves a seam.
    """
    first = bisect_left(nodes, begin + span.least)
    if first == len(nodes):
        return ()
    upto = max(begin + span.most, nodes[first] + span.least - 1)
    return nodes[first : bisect_right(nodes, upto)]
