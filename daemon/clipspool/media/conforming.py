"""Converts a clip by its plan so that its model takes it, at the best quality within the byte limit."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from clipspool.media import memory, sound
from clipspool.media.coding import (
    encoded,
    forget_passes,
    mux,
    one_pass,
    pass_options,
    progress,
    quantizer_of,
)
from clipspool.media.facts import Conformed, MediaError, inside
from clipspool.media.pictures import Shape, pictures
from clipspool.media.reading import container_of, facts_of, opened, video_stream
from clipspool.media.sizes import compare
from clipspool.media.writing import output

if TYPE_CHECKING:
    from typing import Any

    import av
    import av.container

    from clipspool.media.plan import Conform

    Packet = av.Packet[Any]

ATTEMPTS_MAX = 5
X264 = {"preset": "fast", "profile": "high"}
GOOD_ENOUGH = {"crf": "18"}
GOOD_QUANTIZER = 17.0
"""A mean quantizer below it means that the byte limit allows more than `GOOD_ENOUGH` needs."""
ROOMY_BITS_PER_PIXEL = 0.3
"""With this much room the first attempt is coded at `GOOD_ENOUGH`, and is usually the last."""
ROOM_FOR_GOOD = 4.0
"""Where the limit is this many times the bytes of a trial, `GOOD_ENOUGH` can be expected to fit."""
CLOSE = {"x264-params": "ratetol=0.1"}
"""Keeps the second pass near its rate: by itself x264 misses it by some percent in a short clip, and a miss
costs another pass."""
AIM = 0.985
USED_MIN = 0.97
"""Shares of the byte limit: the target of an attempt, and the share below which a second one is made."""
CORRECTIONS_MAX = 3
"""From this attempt on, one that fits is good enough."""
FAR_OVER = 2
"""An attempt is stopped once it is this many times as large as the limit."""


def conform(file: int, file_again: int, destination: int, plan: Conform) -> Conformed:
    """Write the planned clip to an empty descriptor open for reading and writing; raises MediaError.

    The clip comes in two descriptors with positions of their own, one for the pictures and one for the sound.
    Where the byte limit allows less than good quality, it is coded in two passes that use the limit up, in
    smaller pictures only if a trial shows that they look better.
    """
    try:
        return _conformed(_Conforming(file, file_again, destination, plan), destination)
    except MediaError as error:
        if error.fault.code != "MEDIA.TOO_LARGE" or not pass_options(1):
            raise
        # x264 says the same where the folder that the passes share is full: without it, only quality is lost.
        with one_pass():
            return _conformed(_Conforming(file, file_again, destination, plan), destination)
    finally:
        forget_passes()


def _conformed(work: _Conforming, destination: int) -> Conformed:
    plan = work.plan
    size, bytes_max, rate = work.plan, plan.bytes_max, plan.bits_per_second
    if bytes_max is None or rate is None:
        work.attempt(GOOD_ENOUGH)
        return work.done(1)
    pixels_per_second = size.width * size.height * float(Fraction(plan.fps))
    is_tried = rate > ROOMY_BITS_PER_PIXEL * pixels_per_second
    if is_tried and work.fits(GOOD_ENOUGH):
        return work.done(1)
    if not is_tried and work.choose_size() > ROOM_FOR_GOOD:
        is_tried = True
        if work.fits(GOOD_ENOUGH):
            return work.done(1)
    if work.survey(rate) < GOOD_QUANTIZER and not is_tried and work.fits(GOOD_ENOUGH):
        return work.done(1)
    points: list[tuple[float, float]] = []
    aim = rate * AIM
    for attempt in range(1, ATTEMPTS_MAX + 1):
        used = work.attempt({"b": str(int(aim)), **CLOSE, **pass_options(2)}) / bytes_max
        if used <= 1 and (used >= USED_MIN or attempt >= CORRECTIONS_MAX):
            return work.done(attempt)
        points.append((aim, used))
        aim = _next_aim(points)
    os.ftruncate(destination, 0)
    why = f"the clip could not be made to fit {bytes_max:,} bytes"
    raise MediaError("MEDIA.CANNOT_FIT", why, "Drop a shorter clip, or configure another transport.")


def _next_aim(points: list[tuple[float, float]]) -> float:
    """Return the rate to try next, from those that were tried and the share of the limit that each used."""
    aim, used = points[-1]
    exponent = 1.0
    if len(points) > 1 and points[-2][1] != used and points[-2][0] != aim:
        exponent = math.log(aim / points[-2][0]) / math.log(used / points[-2][1])
    return aim * math.pow(AIM / used, min(max(exponent, 0.5), 2.0))


class _Conforming:
    """The attempts at one clip."""

    def __init__(self, file: int, file_again: int, destination: int, plan: Conform) -> None:
        self.plan = plan
        self._file = file
        self._file_again = file_again
        self._destination = destination
        self._container = container_of(file)

    def shape(self, start_share: float = 0.0, frames: int | None = None) -> Shape:
        """Describe the pictures of the plan, or `frames` of them from a share of the part on."""
        plan, fps = self.plan, Fraction(self.plan.fps)
        count = max(1, round(plan.seconds * fps))
        frame = (plan.width, plan.height)
        return Shape(
            width=plan.width,
            height=plan.height,
            fps=fps,
            frames=count if frames is None else min(frames, count),
            start_seconds=plan.start_seconds + float(round(start_share * count) / fps),
            rotation=plan.rotation,
            mirrored=plan.mirrored,
            deinterlace=plan.deinterlace,
            tone_map=plan.tone_map,
            picture=inside(*frame, plan.picture_aspect) if plan.picture_aspect else None,
        )

    def choose_size(self) -> float:
        """Make the pictures smaller if the plan has a smaller size and a trial shows that it is better.

        Return the byte limit divided by what good quality takes; 0 without a trial.
        """
        plan = self.plan
        if not plan.smaller_width or plan.bits_per_second is None:
            return 0.0
        smaller = plan.smaller_width, plan.smaller_height
        count = self.shape().frames
        run = memory.trial_frames(plan.width * plan.height, count)

        def samples() -> Iterator[list[av.VideoFrame]]:
            for share in (0.25, 0.7):
                with opened(self._file, self._container) as source:
                    stream = video_stream(source)
                    memory.spread(stream)
                    yield list(pictures(source, stream, self.shape(share, run)))

        bytes_a_frame = plan.bits_per_second / 8 / float(Fraction(plan.fps))
        trial = compare(samples(), smaller, bytes_a_frame, count)
        if trial.is_smaller_better:
            change = f"{smaller[0]}x{smaller[1]} pixels to fit (coarser ones of {plan.width}x{plan.height}"
            change += " would have looked worse)"
            changes = (*plan.changes, change)
            self.plan = replace(plan, width=smaller[0], height=smaller[1], changes=changes)
        return trial.room

    def survey(self, rate: int) -> float:
        """Code the pictures in a first pass for the second; return the mean quantizer, 0 without a pass."""
        if not pass_options(1):
            return 0.0
        with opened(self._file, self._container) as source, output(self._destination, "mp4") as target:
            packets = self._pictures(source, target, {"b": str(rate), **pass_options(1)})
            quantizers = [quantizer_of(packet) for packet in packets]
        return sum(quantizers) / max(1, len(quantizers))

    def fits(self, options: dict[str, str]) -> bool:
        """Make an attempt, and return whether it is within the byte limit."""
        return self.attempt(options, over=1) <= (self.plan.bytes_max or 0)

    def attempt(self, options: dict[str, str], over: int = FAR_OVER) -> int:
        """Write one attempt, up to `over` times the limit; return its size, or at least how large it was."""
        plan = self.plan
        with (
            opened(self._file, self._container) as source,
            opened(self._file_again, self._container) as again,
            output(self._destination, "mp4") as target,
        ):
            streams = [self._pictures(source, target, options)]
            if plan.audio:
                streams.append(
                    sound.for_model(again, target, sound.SoundPart(plan.start_seconds, plan.seconds))
                )
            written = mux(target, streams, plan.bytes_max and plan.bytes_max * over)
        return max(written, os.fstat(self._destination).st_size)

    def done(self, attempts: int) -> Conformed:
        """Read the facts of the written clip, as the provider will."""
        with opened(self._destination, container_of(self._destination)) as target:
            facts, _ = facts_of(target, "mp4", os.fstat(self._destination).st_size)
        return Conformed(facts, attempts, self.plan.changes)

    def _pictures(
        self,
        source: av.container.InputContainer,
        target: av.container.OutputContainer,
        options: dict[str, str],
    ) -> Iterator[Packet]:
        stream = video_stream(source)
        left = memory.spread(stream)
        shape = self.shape()
        shown = progress.of(pictures(source, stream, shape), shape.frames)
        return encoded(target, shown, Fraction(self.plan.fps), "libx264", X264 | options, left)
