"""Converts a result by its plan so that it fits the timeline of its source."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from clipspool.media import memory, sound
from clipspool.media.coding import encoded, mux
from clipspool.media.facts import Finished
from clipspool.media.pictures import Shape, pictures
from clipspool.media.reading import container_of, foreign_errors, opened, video_stream
from clipspool.media.writing import output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    import av.container

    from clipspool.media.timeline import FinishPlan

    Packet = av.Packet[Any]

FINISH_OPTIONS = {"preset": "fast", "crf": "14"}
# they name the kind of ProRes, and where Apple's players find HEVC's parameters
KEPT_TAGS = frozenset({"avc1", "hvc1", "hev1", "apco", "apcs", "apcn", "apch", "ap4h", "ap4x"})
PRORES_OPTIONS = {"profile": "hq", "vendor": "apl0"}


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
        mux(target, streams, bytes_max=None)
    return Finished(os.fstat(destination).st_size, plan.frames, plan.changes)


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
        crop=(plan.crop_width, plan.crop_height) if plan.crop_width else None,
        pixel_format="yuv422p10le" if is_prores else "yuv420p",
    )
    codec, options = ("prores_ks", PRORES_OPTIONS) if is_prores else ("libx264", FINISH_OPTIONS)
    left = memory.spread(stream)
    return encoded(target, pictures(made, stream, shape), fps, codec, options, left, plan.timecode)


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
