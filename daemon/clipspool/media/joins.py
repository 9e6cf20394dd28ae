"""Plans how the results of a clip's parts become one film, frame by frame; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import floor

from clipspool.media.facts import ClipPart, Probe, Value
from clipspool.media.lengths import frames_in_words
from clipspool.media.rates import constant_rate
from clipspool.media.timeline import (
    AS_USUAL,
    BY_TIME,
    FRAMES_TO_TELL,
    Bars,
    FinishChoices,
    FinishPlan,
    finish_plan,
)

_FRAMES_OFF_MAX = 1
"""A result whose rate is labelled otherwise may have this many frames more or less than its part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece(Value):
    """What is shown of one part's result: `frames` frames after the first `skip`.

    The first `fade` of them are faded in over the last ones of the piece before. `by_frame`: each of its
    pictures is one frame, whatever its time. `crop_width` and `crop_height` are kept of it; 0: all.
    """

    skip: int
    frames: int
    fade: int
    by_frame: bool = False
    crop_width: int = 0
    crop_height: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPlan(Value):
    """How the results of a clip's parts become one film; `finish` says what it is like as a whole."""

    finish: FinishPlan
    pieces: tuple[Piece, ...]


def join_plan(
    results: Sequence[Probe],
    source: Probe,
    parts: Sequence[ClipPart],
    *,
    as_is: bool = False,
    overlap_frames: int = 12,
    bars: Bars | None = None,
    wanted: FinishChoices = AS_USUAL,
) -> JoinPlan:
    """Compare the results of a clip's parts, in order, with their source, and plan how to join them.

    The film replaces the source in the timeline, as a single result does; `as_is` it keeps the results' own
    rate, if each part begins with one of its pictures. In both cases it has the source's sound: what a model
    may add to parts that it made one by one does not fit together where they meet. Parts are faded over
    `overlap_frames` at most.
    """
    rate, own = constant_rate(source), _rate_of(results)
    is_relabelled = own is not None and own != rate and _are_relabelled(results, parts)
    by_frame = is_relabelled and not wanted.by_time
    grid = own if as_is and own is not None and not by_frame and not _is_between(own, rate, parts) else rate
    spans = [(_on(grid / rate, part.start), _on(grid / rate, part.end)) for part in parts]
    crops = [bars.kept_of(result) if bars else (0, 0) for result in results]
    pieces = tuple(
        replace(piece, by_frame=by_frame, crop_width=crop[0], crop_height=crop[1])
        for piece, crop in zip(_pieces(spans, round(overlap_frames * grid / rate)), crops, strict=True)
    )
    total = spans[-1][1]
    fps = f"{grid.numerator}/{grid.denominator}"
    like = replace(source, fps=fps, variable_frame_rate=False)
    if as_is:
        like = replace(like, timecode=None, reel=None)
    chief = _most_usual(results)
    whole = replace(
        chief,
        fps=fps if by_frame else chief.fps,
        seconds=float(total / grid),
        frames=None,  # not known, so that it is not copied: it is coded once, here
        audio=next((result.audio for result in results if result.audio), None),
    )
    finish = finish_plan(whole, like, bars=bars, wanted=wanted)
    said = [_meetings_said(pieces)]
    if by_frame:
        said.append(
            f"frames at {chief.frames_per_second:.6g} a second, placed one by one on the source's at "
            f"{float(rate):.6g}"
        )
    else:
        if is_relabelled:
            said.append(BY_TIME)
        if as_is and own is not None and own != grid:
            said.append("each picture shown several times: parts begin between two of the results' pictures")
        said += _lengths_said(results, spans, grid)
    if other := sum((result.width, result.height) != (chief.width, chief.height) for result in results):
        said.append(f"{other} of {len(results)} parts had another size, and were scaled")
    return JoinPlan(finish=replace(finish, frames=total, changes=(*said, *finish.changes)), pieces=pieces)


def _is_between(own: Fraction, rate: Fraction, parts: Sequence[ClipPart]) -> bool:
    """Whether a part begins between two pictures of the results, at a half or a third of the source's rate.

    At the results' own rate such a part would be shown too late; at the source's each picture has its time.
    """
    step = rate / own
    return step.denominator == 1 and any(part.start % step for part in parts)


def _on(scale: Fraction, frame: int) -> int:
    """Return a frame's number at another rate; halves always go up, so that steps stay even."""
    return floor(frame * scale + Fraction(1, 2))


def _rate_of(results: Sequence[Probe]) -> Fraction | None:
    """Return the rate of all results; None where they differ, or one varies or has none."""
    rates = {"" if result.variable_frame_rate else result.fps for result in results}
    rate = rates.pop() if len(rates) == 1 else ""
    return Fraction(rate) if rate else None


def _are_relabelled(results: Sequence[Probe], parts: Sequence[ClipPart]) -> bool:
    """Whether the results have their parts' frames, under another rate."""
    return all(
        result.frames is not None
        and abs(result.frames - part.frames) <= _FRAMES_OFF_MAX
        and part.frames >= FRAMES_TO_TELL
        for result, part in zip(results, parts, strict=True)
    )


def _most_usual(results: Sequence[Probe]) -> Probe:
    """Return the first result of the size that most of them have."""
    size, _ = Counter((result.width, result.height) for result in results).most_common(1)[0]
    return next(result for result in results if (result.width, result.height) == size)


def _pieces(spans: Sequence[tuple[int, int]], fade_max: int) -> Iterator[Piece]:
    """Divide the film among its parts, given the first frame of each and the one after its last.

    Of the frames that two of them share, at most `fade_max` in the middle are faded, and never so many that
    three parts would be shown at once.
    """
    total = spans[-1][1]
    # Twice the middle of what is shared, a whole number.
    middles = [0, *(before[1] + after[0] for before, after in pairwise(spans)), 2 * total]
    shared = [0, *(before[1] - after[0] for before, after in pairwise(spans)), 0]
    gaps = [(later - earlier) // 2 for earlier, later in pairwise(middles)]
    fades = [0, *map(min, shared[1:-1], gaps, gaps[1:], [fade_max] * len(gaps)), 0]
    begins = [(middle - fade) // 2 for middle, fade in zip(middles, fades, strict=True)]
    for number, (start, _) in enumerate(spans):
        end = begins[number + 1] + fades[number + 1]
        yield Piece(skip=begins[number] - start, frames=end - begins[number], fade=fades[number])


def _meetings_said(pieces: Sequence[Piece]) -> str:
    faded = [piece.fade for piece in pieces[1:] if piece.fade]
    hard = len(pieces) - 1 - len(faded)
    said = [f"{hard} at scene changes"] if hard else []
    if faded:
        said.append(f"{len(faded)} faded into one another over {frames_in_words(max(faded))}")
    return f"joined of {len(pieces)} parts" + (f": {', '.join(said)}" if said else "")


def _lengths_said(
    results: Sequence[Probe], spans: Sequence[tuple[int, int]], grid: Fraction
) -> Iterator[str]:
    """Yield in words how many results do not have the length of their part."""
    more = [
        end - start - round(result.seconds * grid)
        for result, (start, end) in zip(results, spans, strict=True)
    ]
    for frames, what in (
        ([each for each in more if each > 0], "last frame held for up to {} in {} of {} parts"),
        ([-each for each in more if each < 0], "up to {} cut off in {} of {} parts"),
    ):
        if frames:
            yield what.format(frames_in_words(max(frames)), len(frames), len(results))
