"""Converts a clip by its plan so that it fits, and a result so that it fits the timeline."""

from __future__ import annotations

import heapq
import os
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error

from clipspool.media import memory, sound
from clipspool.media.facts import Conformed, Finished, MediaError
from clipspool.media.pictures import Shape, pictures
from clipspool.media.plan import buffer_seconds
from clipspool.media.reading import container_of, facts_of, foreign_errors, opened, video_stream
from clipspool.media.writing import output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    import av.container

    from clipspool.media.plan import Conform
    from clipspool.media.timeline import FinishPlan

    Packet = av.Packet[Any]

ATTEMPTS_MAX = 4
LOWER_AGAIN = 0.92
CONFORM_OPTIONS = {"preset": "fast", "crf": "18", "profile": "high"}
FINISH_OPTIONS = {"preset": "fast", "crf": "14"}
ONE_AFTER_THE_OTHER = {
    "rc-lookahead": "0",
    "bf": "0",
    "refs": "1",
    "x264-params": "mbtree=0:sync-lookahead=0",
}
SMALLER = "Export the clip with smaller pictures."
# they name the kind of ProRes, and where Apple's players find HEVC's parameters
KEPT_TAGS = frozenset({"avc1", "hvc1", "hev1", "apco", "apcs", "apcn", "apch", "ap4h", "ap4x"})
PRORES_OPTIONS = {"profile": "hq", "vendor": "apl0"}


def conform(file: int, file_again: int, destination: int, plan: Conform) -> Conformed:
    """Write the planned clip to an empty descriptor open for reading and writing; raises MediaError.

    The clip comes in two descriptors with positions of their own, one for the pictures and one for the sound.
    A result above the byte limit is made again at a lower rate, up to four times.
    """
    attempt_plan = plan
    for attempt in range(1, ATTEMPTS_MAX + 1):
        written = _conform_once(file, file_again, destination, attempt_plan)
        size = os.fstat(destination).st_size
        if plan.bytes_max is None or size <= plan.bytes_max:
            return _conformed(destination, plan, attempt)
        ratio = plan.bytes_max / max(size, written)
        rate = int((attempt_plan.bits_per_second or 0) * ratio * LOWER_AGAIN)
        attempt_plan = replace(attempt_plan, bits_per_second=rate)
    os.ftruncate(destination, 0)
    why = f"the clip could not be made to fit {plan.bytes_max:,} bytes"
    raise MediaError("MEDIA.CANNOT_FIT", why, "Drop a shorter clip, or configure another transport.")


def finish(result: int, source: int, destination: int, plan: FinishPlan) -> Finished:
    """Write a result that replaces its source in the timeline; raises MediaError."""
    with (
        opened(result, container_of(result)) as made,
        opened(source, container_of(source)) as original,
        output(destination, plan.container) as target,
    ):
        fps = Fraction(plan.fps)
        seconds = float(plan.frames / fps)
        video = _finished_video(made, target, plan, fps)
        streams = [video]
        if plan.audio:
            part = sound.Part(plan.audio_start_seconds, seconds if plan.is_part else None)
            streams.append(sound.for_timeline(original, target, plan.audio, part))
        _mux(target, streams, bytes_max=None)
    return Finished(os.fstat(destination).st_size, plan.frames, plan.changes)


def _conform_once(file: int, file_again: int, destination: int, plan: Conform) -> int:
    """Write one attempt, up to a little above the limit; return the least size it would have had."""
    fps = Fraction(plan.fps)
    shape = Shape(
        width=plan.width,
        height=plan.height,
        fps=fps,
        frames=max(1, round(plan.seconds * fps)),
        start_seconds=plan.start_seconds,
        rotation=plan.rotation,
        mirrored=plan.mirrored,
        deinterlace=plan.deinterlace,
        tone_map=plan.tone_map,
    )
    options = dict(CONFORM_OPTIONS)
    if plan.bits_per_second is not None:
        buffer = max(1, int(plan.bits_per_second * buffer_seconds(plan.seconds)))
        options |= {"maxrate": str(plan.bits_per_second), "bufsize": str(buffer)}
    name = container_of(file)
    with (
        opened(file, name) as source,
        opened(file_again, name) as again,
        output(destination, "mp4") as target,
    ):
        stream = video_stream(source)
        left = memory.spread(stream)
        streams = [_encoded(target, pictures(source, stream, shape), fps, "libx264", options, left)]
        if plan.audio:
            streams.append(sound.for_model(again, target, sound.Part(plan.start_seconds, plan.seconds)))
        return _mux(target, streams, plan.bytes_max)


def _conformed(destination: int, plan: Conform, attempts: int) -> Conformed:
    """Read the facts of the written clip, as the provider will."""
    with opened(destination, container_of(destination)) as target:
        facts = facts_of(target, "mp4", os.fstat(destination).st_size)
    return Conformed(facts, attempts, plan.changes)


def _finished_video(
    made: av.container.InputContainer, target: av.container.OutputContainer, plan: FinishPlan, fps: Fraction
) -> Iterator[Packet]:
    stream = video_stream(made)
    if plan.copy_video:
        return _copied(made, target, plan)
    is_prores = stream.codec_context.name == "prores" and plan.container == "mov"
    shape = Shape(
        width=plan.width,
        height=plan.height,
        fps=fps,
        frames=plan.frames,
        is_every_picture=plan.by_frame,
        pixel_format="yuv422p10le" if is_prores else "yuv420p",
    )
    codec, options = ("prores_ks", PRORES_OPTIONS) if is_prores else ("libx264", FINISH_OPTIONS)
    left = memory.spread(stream)
    return _encoded(target, pictures(made, stream, shape), fps, codec, options, left, plan.timecode)


def _copied(
    made: av.container.InputContainer, target: av.container.OutputContainer, plan: FinishPlan
) -> Iterator[Packet]:
    stream = video_stream(made)
    copy = target.add_stream_from_template(stream)
    copy.codec_context.framerate = Fraction(plan.fps)  # the timecode track needs it
    if stream.codec_context.codec_tag in KEPT_TAGS:
        copy.codec_context.codec_tag = stream.codec_context.codec_tag
    if plan.timecode:
        copy.metadata["timecode"] = plan.timecode
    origin = stream.start_time or 0
    # Where each picture of the result replaces one of the source, only the rate it is labelled with changes.
    scale = Fraction(stream.average_rate or 1) / Fraction(plan.fps) if plan.by_frame else Fraction(1)

    def packets() -> Iterator[Packet]:
        with foreign_errors("copying the pictures"):
            for packet in made.demux(stream):
                if packet.dts is None or packet.pts is None or packet.size == 0:
                    continue
                packet.pts -= origin
                packet.dts -= origin
                if plan.by_frame and packet.time_base:
                    packet.time_base *= scale
                packet.stream = copy
                yield packet

    return packets()


def _encoded(
    target: av.container.OutputContainer,
    shown: Iterator[av.VideoFrame],
    fps: Fraction,
    codec: str,
    options: dict[str, str],
    left: int,
    timecode: str | None = None,
) -> Iterator[Packet]:
    """Add a video stream for pictures of one kind and return its packets; waits for the first picture.

    `left` is the memory it may use, in bytes.
    """
    first = next(shown)
    share = memory.coder(first.width * first.height, memory.processors(), left)
    if codec == "libx264":
        options = options | ({"rc-lookahead": str(share.ahead)} if share.ahead else ONE_AFTER_THE_OTHER)
    stream = target.add_stream(codec, rate=fps, options=options)
    if not isinstance(stream, av.VideoStream):
        raise TypeError(f"{codec} is no video codec")
    stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
    context = stream.codec_context
    context.time_base, context.sample_aspect_ratio = 1 / fps, Fraction(1)
    context.thread_count = share.threads
    context.thread_type = "FRAME"  # slices would cost quality at the same rate
    context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
    context.colorspace, context.color_range = first.colorspace, first.color_range
    if timecode:
        stream.metadata["timecode"] = timecode

    def packets() -> Iterator[Packet]:
        with foreign_errors("coding the pictures"):
            try:
                yield from stream.encode(first)
                for picture in shown:
                    yield from stream.encode(picture)
                yield from stream.encode(None)
            except av.error.ExternalError as error:  # x264's only error
                why = "coding its pictures needs more memory than is allowed"
                raise MediaError("MEDIA.TOO_LARGE", why, SMALLER) from error

    return packets()


def _mux(target: av.container.OutputContainer, streams: list[Iterator[Packet]], bytes_max: int | None) -> int:
    """Write packets in the order of their times, so that none has to be kept; stop above the limit."""
    written = 0
    for packet in heapq.merge(*streams, key=lambda packet: (packet.dts or 0) * (packet.time_base or 1)):
        written += packet.size
        if bytes_max is not None and written > bytes_max:
            break
        target.mux(packet)
    return written
