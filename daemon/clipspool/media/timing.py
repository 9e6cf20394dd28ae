"""Measures a clip's duration and frame rate."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from itertools import islice, pairwise
from math import isinf
from typing import TYPE_CHECKING

import av.error

from clipspool.media.facts import MediaError, Probe
from clipspool.media.rates import unrounded
from clipspool.media.timeline import later_timecode

if TYPE_CHECKING:
    import av.container
    import av.video

    from clipspool.media.boxes import Film

DURATION_SECONDS_MAX = 24 * 3600
TIMING_ENTRIES_MAX = 2000
TAIL_SECONDS = 3.0
RATE_MAX = 1000
RESTART_SECONDS = 0.5
"""A clock of decoding that goes back by more belongs to another recording."""
READ_WHOLE = frozenset({"mpegts", "mpeg"})
"""FFmpeg's names of formats that tell no length, and can be joined by appending one file to another."""
READ_FOR_TIMES = frozenset({"matroska", "mov"})
"""Those whose files may lack pictures that their rate promises, where no index lists each one."""
TIMES_READ_MAX, TIMES_BYTES_MAX, REORDERED_MAX = 600, 32 << 20, 16
READ_SLACK = 0.25
"""How much the time between two pictures may vary in a file whose times are read, as a share of it."""
LACKING_SECONDS = 1.0
LACKING_SHARE = 0.25
"""A track of pictures that ends this much earlier than it says was damaged, not only rounded."""


def rewind(source: av.container.InputContainer) -> None:
    """Go to the beginning; of a stream by its bytes, since its clock may start over within it."""
    is_stream = source.format.name in READ_WHOLE
    source.seek(0 if is_stream else min(0, source.start_time or 0), unsupported_byte_offset=is_stream)


def seconds_of(
    source: av.container.InputContainer, stream: av.video.VideoStream, *, varies: bool | None
) -> float:
    """Return the video's own duration; where the container has none, the file is read to its end.

    Where pictures come at varying times and are shown in another order than they are coded in, FFmpeg reads
    the time of decoding from an MP4: the last picture may be shown later than that.
    """
    if source.format.name in READ_WHOLE:
        first, end = _span(source, stream, None)
        rewind(source)
        seconds = end - first
    elif stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
        if varies and stream.base_rate:
            seconds = max(seconds, _to_the_last_picture(source, stream, 1 / float(stream.base_rate)))
    else:
        seconds = _to_the_last_picture(source, stream)
    if seconds > DURATION_SECONDS_MAX:
        why = f"the clip says it lasts {seconds / 3600:.0f} hours"
        raise MediaError("MEDIA.TOO_LARGE", why, "Cut the part that is meant.")
    return round(max(seconds, 0.0), 6)


def _clock_seconds(clock: str) -> float:
    try:
        return reduce(lambda seconds, part: seconds * 60 + float(part), clock.split(":"), 0.0)
    except ValueError:
        return 0.0


def _to_the_last_picture(
    source: av.container.InputContainer, stream: av.video.VideoStream, last_seconds: float | None = None
) -> float:
    """Measure from the first picture to the end of the last; Matroska's own duration is that of all tracks.

    `last_seconds` is how long the last one is shown, where its packet cannot be trusted.
    """
    clock = stream.metadata.get("DURATION")
    announced = _clock_seconds(clock) if clock else (source.duration or 0) / 1_000_000
    if stream.duration is not None and stream.time_base is not None:
        announced = float(stream.duration * stream.time_base)
    if announced > TAIL_SECONDS and stream.time_base:
        with suppress(av.error.PermissionError, av.error.InvalidDataError):  # no index to seek by
            source.seek(int((announced - TAIL_SECONDS) / stream.time_base), stream=stream)
    first, end = _span(source, stream, last_seconds)
    rewind(source)
    # The track's own length, not that of all tracks: sound may go on for longer, pictures are announced.
    if clock and announced - end > max(LACKING_SECONDS, announced * LACKING_SHARE):
        why = f"of {announced:.3g} s of pictures that it announces, {end:.3g} s can be read: it is damaged"
        raise MediaError("MEDIA.INCOMPLETE", why, "Copy the clip again, or export it again.")
    if stream.start_time is not None and stream.time_base is not None:
        first = float(stream.start_time * stream.time_base)
    return end - first if end > first else announced


def _span(
    source: av.container.InputContainer, stream: av.video.VideoStream, last_seconds: float | None
) -> tuple[float, float]:
    """Read on to the end of the file; return when its first picture begins and its last one ends.

    Recordings that were joined by appending one to the other are refused: only the last would be sent.
    """
    first, last, length, decoded = 0.0, float("-inf"), 0.0, float("-inf")
    usual = 1 / float(stream.average_rate) if stream.average_rate else 0.0
    for packet in source.demux(stream):
        if packet.pts is None or not packet.time_base or packet.size == 0 or packet.is_discard:
            continue
        begin = float(packet.pts * packet.time_base)
        before, decoded = decoded, float((packet.dts or 0) * packet.time_base)
        if packet.dts is not None and decoded < before - RESTART_SECONDS:
            why = f"its clock starts over after {before:.3g} s: recordings were joined by their bytes"
            raise MediaError("MEDIA.UNSUPPORTED", why, "Join them in an editor, and export one movie.")
        first = begin if isinf(last) else min(first, begin)
        if begin > last:
            last, length = begin, float((packet.duration or 0) * packet.time_base) or usual
    return first, (0.0 if isinf(last) else last) + (length if last_seconds is None else last_seconds)


def rate_of(
    source: av.container.InputContainer, stream: av.video.VideoStream
) -> tuple[Fraction | None, bool | None]:
    """Return the rate (the average where it varies), and whether it varies; None where that is unknown."""
    average, base = stream.average_rate, stream.base_rate
    times = [entry.timestamp for entry in islice(iter(stream.index_entries), TIMING_ENTRIES_MAX)]
    is_indexed = bool(stream.frames) and len(times) >= min(stream.frames, TIMING_ENTRIES_MAX)
    if not is_indexed:
        times = _first_times(source, stream) if source.format.name in READ_FOR_TIMES else []
    steps = sorted(later - earlier for earlier, later in pairwise(sorted(times)))
    varies: bool | None = None
    if steps:
        # One tick is the rounding of 24000/1001 on a coarse time base; of times that are read a bit more.
        slack = 1 if is_indexed else max(1, steps[len(steps) // 2] * READ_SLACK)
        varies = steps[-1] - steps[0] > slack
    if average and base and not (is_indexed and steps):
        varies = bool(varies) or abs(average - base) * 50 > base
    rate = average if varies else (stream.guessed_rate or average)
    if not _is_possible(rate):
        rate = average if _is_possible(average) else None
    return rate if varies or rate is None else unrounded(rate), varies


def _first_times(source: av.container.InputContainer, stream: av.video.VideoStream) -> list[int]:
    """Read when the first pictures are shown: Matroska names a rate also where some of them are missing."""
    times: list[int] = []
    size = 0
    for packet in source.demux(stream):
        if packet.size and packet.pts is not None:
            times.append(packet.pts)
        size += packet.size
        if len(times) == TIMES_READ_MAX or size > TIMES_BYTES_MAX:
            times = sorted(times)[:-REORDERED_MAX]  # some that are shown between the last were not read
            break
    rewind(source)
    return times


def by_edit_list(facts: Probe, film: Film | None) -> Probe:
    """Move a timecode to where the edit list of its track begins: who trims a MOV only writes such lists."""
    tracks = film.movie.tracks if film is not None else ()
    track = next((one for one in tracks if one.handler == b"tmcd"), None)
    if track is None or not (facts.timecode and facts.fps):
        return facts
    frames = round(Fraction(track.edit_start, track.timescale) * Fraction(facts.fps))
    return replace(facts, timecode=later_timecode(facts.timecode, frames, Fraction(facts.fps)))


def _is_possible(rate: Fraction | None) -> bool:
    # Comparing a Fraction takes 20 times as long as this.
    return rate is not None and 0 < rate.numerator <= RATE_MAX * rate.denominator
