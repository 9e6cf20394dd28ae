"""Takes the sound of a clip over into another: as it is, or as AAC."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error
import av.filter

from clipspool.media.facts import EXPORT_AGAIN, MediaError
from clipspool.media.plan import AUDIO_BITS_PER_SECOND
from clipspool.media.reading import audio_stream, foreign_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    import av.audio
    import av.container

    Packet = av.Packet[Any]

SAMPLES_PER_SECOND = 48_000
AAC_FRAME_SAMPLES = 1024
STEREO_CHANNELS = 2


def copied(
    source: av.container.InputContainer,
    target: av.container.OutputContainer,
    *,
    start_seconds: float,
    seconds: float,
) -> Iterator[Packet]:
    """Give the sound's packets as they are, those of the wanted part, timed from its start.

    `start_seconds` counts from the clip's first picture. The target's stream is added at once.
    """
    stream = _stream(source)
    copy = target.add_stream_from_template(stream)
    base = stream.time_base or Fraction(1, SAMPLES_PER_SECOND)
    begin = round((picture_origin(source) + Fraction(start_seconds)) / base)
    end = begin + round(Fraction(seconds) / base)

    def packets() -> Iterator[Packet]:
        with foreign_errors("copying the sound"):
            if start_seconds > 0:
                source.seek(begin, stream=stream)
            for packet in source.demux(stream):
                if packet.pts is None or packet.dts is None or packet.size == 0:
                    continue
                if packet.pts >= end:
                    return
                if start_seconds > 0 and packet.pts + (packet.duration or 0) <= begin:
                    continue
                packet.pts -= begin
                packet.dts -= begin
                packet.stream = copy
                yield packet

    return packets()


def encoded(
    source: av.container.InputContainer,
    target: av.container.OutputContainer,
    *,
    start_seconds: float,
    seconds: float,
) -> Iterator[Packet]:
    """Give the sound as AAC, mono or stereo at 48 kHz, the wanted part to the sample."""
    stream = _stream(source)
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    coded = target.add_stream("aac", rate=SAMPLES_PER_SECOND, layout=layout, bit_rate=AUDIO_BITS_PER_SECOND)
    begin = float(picture_origin(source)) + start_seconds

    def frames() -> Iterator[av.AudioFrame]:
        graph = av.filter.Graph()
        chain = [
            graph.add_abuffer(template=stream),
            graph.add("atrim", f"start={begin:.6f}:duration={seconds:.6f}"),
            graph.add("asetpts", f"PTS-({begin:.6f}/TB)"),
            graph.add("aresample", f"{SAMPLES_PER_SECOND}:async=1:first_pts=0"),
            graph.add("aformat", f"sample_fmts=fltp:channel_layouts={layout}"),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*chain)
        graph.configure()
        graph.set_audio_frame_size(AAC_FRAME_SAMPLES)
        if start_seconds > 0:
            source.seek(int(begin * av.time_base))
        for packet in source.demux(stream):
            if (
                packet.pts is not None
                and packet.time_base
                and packet.pts * packet.time_base > begin + seconds
            ):
                break
            with suppress(av.error.InvalidDataError):
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame):
                        graph.push(frame)
                        yield from _pulled(graph)
        graph.push(None)
        yield from _pulled(graph)

    def packets() -> Iterator[Packet]:
        with foreign_errors("converting the sound"):
            for frame in frames():
                yield from coded.encode(frame)
            yield from coded.encode(None)

    return packets()


def picture_origin(source: av.container.InputContainer) -> Fraction:
    """Give the time of a clip's first picture in seconds: its sound is placed against it."""
    for stream in source.streams.video:
        if stream.start_time is not None and stream.time_base is not None:
            return stream.start_time * stream.time_base
    return Fraction(0)


def _stream(source: av.container.InputContainer) -> av.audio.AudioStream:
    stream = audio_stream(source)
    if stream is None:
        raise MediaError("MEDIA.UNREADABLE", "its sound cannot be read", EXPORT_AGAIN)
    return stream


def _pulled(graph: av.filter.Graph) -> Iterator[av.AudioFrame]:
    with suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            frame = graph.pull()
            if isinstance(frame, av.AudioFrame):
                yield frame
