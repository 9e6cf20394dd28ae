"""Converts a result by its plan so that it fits the timeline of its source."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from clipspool.media import belongings, memory, sound
from clipspool.media.coding import encoded, mux, progress
from clipspool.media.facts import Finished
from clipspool.media.pictures import Shape, pictures
from clipspool.media.reading import container_of, foreign_errors, opened, video_stream
from clipspool.media.writing import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    import av.container

    from clipspool.media.timeline import FinishCodec, FinishPlan

    Packet = av.Packet[Any]

FINISH_OPTIONS = {"preset": "fast", "crf": "14"}
# they name the kind of ProRes, and where Apple's players find HEVC's parameters
KEPT_TAGS = frozenset({"avc1", "hvc1", "hev1", "apco", "apcs", "apcn", "apch", "ap4h", "ap4x"})
CODERS: dict[FinishCodec, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", FINISH_OPTIONS),
    "prores": ("prores_ks", {"profile": "hq", "vendor": "apl0"}),
    "dnxhr": ("dnxhd", {"profile": "dnxhr_hqx"}),
}


def finish(result: int, source: int, destination: int, plan: FinishPlan) -> Finished:
    """Write a result that replaces its source in the timeline; raises MediaError."""
    with opened(result, container_of(result)) as made:
        return write_film(source, destination, plan, lambda target: _finished_video(made, target, plan))


def write_film(
    source: int,
    destination: int,
    plan: FinishPlan,
    video: Callable[[av.container.OutputContainer], Iterator[Packet]],
) -> Finished:
    """Write a film with new pictures and the sound, tags and timecode of their source; raises MediaError.

    `video` adds its stream to the film, and returns its packets.
    """
    seconds = float(plan.frames / Fraction(plan.fps))
    whole = belongings.ReplacedPart(plan.audio_start_seconds, seconds)
    with opened(source, container_of(source)) as original:
        has_free_tags = belongings.has_free_tags(original)
    with (
        opened(source, container_of(source)) as original,
        output(destination, plan.container, has_free_tags=has_free_tags) as target,
    ):
        belongings.bring(original, target, whole)
        streams = [video(target)]
        if plan.audio:
            part = sound.SoundPart(plan.audio_start_seconds, seconds if plan.is_part else None)
            streams.append(sound.for_timeline(original, target, plan.audio, part))
        mux(target, streams, bytes_max=None)
    with (
        opened(source, container_of(source)) as original,
        opened(destination, container_of(destination)) as target_again,
    ):
        shown = video_stream(original).index
        said = tuple(belongings.kept_and_lost(original, target_again, whole, plan.reel, shown))
        early = sound.seconds_before_pictures(original)
        if plan.audio and plan.audio_start_seconds == 0 and early * Fraction(plan.fps) >= 1:
            said = (f"{float(early):.3g} s of sound from before the first picture left out", *said)
    return Finished(os.fstat(destination).st_size, plan.frames, (*plan.changes, *said))


def _finished_video(
    made: av.container.InputContainer, target: av.container.OutputContainer, plan: FinishPlan
) -> Iterator[Packet]:
    stream = video_stream(made)
    if plan.copy_video:
        return _copied(made, target, plan)
    fps = Fraction(plan.fps)
    shape = Shape(
        width=plan.width,
        height=plan.height,
        fps=fps,
        frames=plan.frames,
        is_every_picture=plan.by_frame,
        crop=(plan.crop_width, plan.crop_height) if plan.crop_width else None,
        pixel_format=pixel_format_of(plan),
    )
    left = memory.spread(stream)
    return coded_video(target, progress.of(pictures(made, stream, shape), shape.frames), plan, left)


def pixel_format_of(plan: FinishPlan) -> str:
    """Return the format of the pictures that are coded."""
    return "yuv420p" if plan.codec == "h264" else "yuv422p10le"


def coded_video(
    target: av.container.OutputContainer, shown: Iterator[av.VideoFrame], plan: FinishPlan, left: int
) -> Iterator[Packet]:
    """Add a video stream as planned and return its packets; `left` is the memory it may use, in bytes."""
    codec, options = CODERS[plan.codec]
    return encoded(target, shown, Fraction(plan.fps), codec, options, left, _tags(plan))


def _tags(plan: FinishPlan) -> dict[str, str]:
    """Return the tags by which the container gets a track of timecode, with the reel's name."""
    tags = {"timecode": plan.timecode, "reel_name": plan.reel if plan.timecode else None}
    return {name: value for name, value in tags.items() if value}


def _copied(
    made: av.container.InputContainer, target: av.container.OutputContainer, plan: FinishPlan
) -> Iterator[Packet]:
    stream = video_stream(made)
    copy = target.add_stream_from_template(stream)
    copy.codec_context.framerate = Fraction(plan.fps)  # the timecode track needs it
    if stream.codec_context.codec_tag in KEPT_TAGS:
        copy.codec_context.codec_tag = stream.codec_context.codec_tag
    copy.metadata.update(_tags(plan))
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
