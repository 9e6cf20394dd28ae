"""Finds out how long a clip's pictures last, and how many it has a second."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import av.error

from clipspool.media.facts import MediaError

if TYPE_CHECKING:
    import av.container
    import av.video

DURATION_SECONDS_MAX = 24 * 3600
TIMING_ENTRIES_MAX = 2000
TAIL_SECONDS = 3.0
RATE_MAX = 1000


def seconds_of(
    source: av.container.InputContainer, stream: av.video.VideoStream, *, varies: bool | None
) -> float:
    """Give the video's own duration; where the container does not say it, the file is read to its end.

    Where pictures come at varying times and are shown in another order than they are coded in, what FFmpeg
    takes from an MP4 is the time of decoding: the last picture may be shown later than that.
    """
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
        if varies and stream.base_rate:
            seconds = max(
                seconds, _to_the_last_picture(source, stream, last_seconds=1 / float(stream.base_rate))
            )
    else:
        seconds = _to_the_last_picture(source, stream)
    if seconds > DURATION_SECONDS_MAX:
        raise MediaError(
            "MEDIA.TOO_LARGE",
            f"the clip says it lasts {seconds / 3600:.0f} hours",
            "Cut the part that is meant.",
        )
    return round(max(seconds, 0.0), 6)


def _clock_seconds(clock: str) -> float:
    seconds = 0.0
    for part in clock.split(":"):
        try:
            seconds = seconds * 60 + float(part)
        except ValueError:
            return 0.0
    return seconds


def _to_the_last_picture(
    source: av.container.InputContainer, stream: av.video.VideoStream, last_seconds: float | None = None
) -> float:
    """Measure from the first picture to the end of the last: Matroska says when all has ended.

    `last_seconds` is how long the last one is shown, where what its packet says is not to be trusted.
    """
    clock = stream.metadata.get("DURATION")
    said = _clock_seconds(clock) if clock else (source.duration or 0) / 1_000_000
    if stream.duration is not None and stream.time_base is not None:
        said = float(stream.duration * stream.time_base)
    if said > TAIL_SECONDS and stream.time_base:
        with suppress(av.error.PermissionError, av.error.InvalidDataError):  # no index to seek by
            source.seek(int((said - TAIL_SECONDS) / stream.time_base), stream=stream)
    first, end = _span(source, stream, last_seconds)
    source.seek(0)
    if stream.start_time is not None and stream.time_base is not None:
        first = float(stream.start_time * stream.time_base)
    return end - first if end > first else said


def _span(
    source: av.container.InputContainer, stream: av.video.VideoStream, last_seconds: float | None
) -> tuple[float, float]:
    """Read from here to the end of the file; give when its first picture begins and its last one ends."""
    first, last, length = 0.0, -1.0, 0.0
    usual = 1 / float(stream.average_rate) if stream.average_rate else 0.0
    for packet in source.demux(stream):
        if packet.pts is None or not packet.time_base or packet.size == 0 or packet.is_discard:
            continue
        begin = float(packet.pts * packet.time_base)
        first = begin if last < 0 else min(first, begin)
        if begin > last:
            last, length = begin, float((packet.duration or 0) * packet.time_base) or usual
    return first, max(last, 0.0) + (length if last_seconds is None else last_seconds)


def rate_of(stream: av.video.VideoStream) -> tuple[Fraction | None, bool | None]:
    """Give the rate (the average where it varies), and whether it varies; None where nothing tells."""
    average, base = stream.average_rate, stream.base_rate
    times = [entry.timestamp for entry in islice(iter(stream.index_entries), TIMING_ENTRIES_MAX)]
    steps = [later - earlier for earlier, later in pairwise(sorted(times))]
    varies: bool | None = None
    if stream.frames and len(times) >= min(stream.frames, TIMING_ENTRIES_MAX) and steps:
        varies = max(steps) - min(steps) > 1  # one tick is the rounding of 24000/1001 on a coarse time base
    elif average and base:
        varies = abs(average - base) * 50 > base
    rate = average if varies else (stream.guessed_rate or average)
    if rate is None or rate <= 0 or rate > RATE_MAX:
        rate = average if average and 0 < average <= RATE_MAX else None
    return rate, varies
