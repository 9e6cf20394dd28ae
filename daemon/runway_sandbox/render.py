"""Makes videos with PyAV: probes a clip, gives it winter colours, makes small clips and other containers."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.error
import av.filter

SIDE_MAX: Final = 8_000
"""Pixels [PROVIDER 2.4]."""
SECONDS_MAX: Final = {"gen4_aleph": 5.0}
"""Length of a clip that is used and returned [PROVIDER 2.2]; other models return all of it."""
CONTENT_TYPES: Final = dict(mp4="video/mp4", mov="video/quicktime", webm="video/webm", zip="application/zip")  # noqa: C408
CANNED_RATE: Final = 24
_WINTER: Final = (
    # Rows are the new red, green and blue, each from the old red, green, blue and alpha: washed out and blue.
    ("colorchannelmixer", ".30:.35:.15:0:.25:.45:.25:0:.25:.45:.50"),
    ("lutyuv", "y=val*0.8+44"),  # haze: darks are lifted
)


class NotAVideoError(Exception):
    """The asset cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Length in seconds and size in pixels of a clip."""

    seconds: float
    width: int
    height: int


def probe(path: Path) -> Facts:
    """Open a clip and decode its first frame. Raises NotAVideoError when that fails."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise NotAVideoError("the asset holds no video stream")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            next(container.decode(stream))
            seconds = _seconds(container, stream)
            facts = Facts(seconds, stream.width, stream.height)
    except (av.error.FFmpegError, StopIteration, ValueError, OSError) as error:
        raise NotAVideoError("the asset could not be decoded as a video") from error
    if max(facts.width, facts.height) > SIDE_MAX:
        raise NotAVideoError(
            f"the asset is {facts.width}x{facts.height}, at most {SIDE_MAX} pixels a side are accepted"
        )
    return facts


def _seconds(container: Any, stream: Any) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / av.time_base


def winter(source: Path, target: Path, seconds_max: float | None, may_continue: Callable[[], bool]) -> None:
    """Write the clip in cold, snowy colours as H.264 MP4: same size and frame rate, no sound.

    At most `seconds_max` of it, and only while `may_continue()`, asked at each frame, is true. Raises
    NotAVideoError if a frame cannot be decoded.
    """
    try:
        with av.open(str(source)) as clip, av.open(str(target), "w", format="mp4") as result:
            taken = clip.streams.video[0]
            taken.thread_type = "AUTO"
            rate = taken.average_rate or Fraction(24)
            size = taken.width // 2 * 2, taken.height // 2 * 2
            made = _stream(result, "libx264", rate, size, preset="veryfast", crf="23")
            made.time_base = 1 / rate
            frames = None if seconds_max is None else max(1, round(seconds_max * rate))
            for place, frame in enumerate(_filtered(clip, taken, made)):
                if place == frames or not may_continue():
                    break
                frame.pts, frame.time_base = place, 1 / rate
                result.mux(made.encode(frame))
            result.mux(made.encode(None))
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise NotAVideoError("the asset could not be decoded as a video") from error


def _filtered(clip: Any, taken: Any, made: Any) -> Iterator[Any]:
    graph: Any = None
    entry: Any = None
    for frame in clip.decode(taken):
        if graph is None:
            graph = av.filter.Graph()
            entry = graph.add_buffer(template=taken, time_base=taken.time_base)
            scale = ("scale", f"{made.width}:{made.height}")
            tail = (("format", "pix_fmts=yuv420p"), ("buffersink", ""))
            nodes = [graph.add(name, args) for name, args in (scale, *_WINTER, *tail)]
            graph.link_nodes(entry, *nodes).configure()
        entry.push(frame)
        yield graph.vpull()


def _stream(container: Any, codec: str, rate: Fraction | int, size: tuple[int, int], **options: str) -> Any:
    stream = container.add_stream(codec, rate=rate, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    return stream


def sample(
    target: Path, *, seconds: float = 1.0, width: int = 320, height: int = 180, rate: int = CANNED_RATE
) -> None:
    """Write a small moving H.264 clip, the same bytes for the same figures."""
    with av.open(str(target), "w", format="mp4") as made:
        stream = _stream(made, "libx264", rate, (width, height), preset="ultrafast", crf="32", threads="1")
        graph: Any = av.filter.Graph()
        source = graph.add("testsrc2", f"size={width}x{height}:rate={rate}")
        sink = graph.add("format", "pix_fmts=yuv420p"), graph.add("buffersink")
        graph.link_nodes(source, *sink).configure()
        for place in range(max(1, round(seconds * rate))):
            frame = graph.vpull()
            frame.pts, frame.time_base = place, Fraction(1, rate)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))


def rewrap(source: Path, target: Path, kind: str) -> None:
    """Write a clip as "mov", "webm" (VP8) or "zip" (of PNG frames)."""
    with av.open(str(source)) as clip:
        if kind == "zip":
            _frames_to_zip(clip, target)
            return
        codec, container = {"mov": ("libx264", "mov"), "webm": ("libvpx", "webm")}[kind]
        with av.open(str(target), "w", format=container) as made:
            taken = clip.streams.video[0]
            stream = _stream(made, codec, taken.average_rate or 24, (taken.width, taken.height))
            for frame in clip.decode(taken):
                frame.pts = None
                made.mux(stream.encode(frame))
            made.mux(stream.encode(None))


def _frames_to_zip(clip: Any, target: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for place, frame in enumerate(clip.decode(video=0)):
            encoder: Any = av.CodecContext.create("png", "w")
            encoder.options = {"compression_level": "1"}
            encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "rgb24"
            encoder.time_base = Fraction(1, 24)
            packets = encoder.encode(frame.reformat(format="rgb24"))
            archive.writestr(f"frame_{place:05d}.png", b"".join(bytes(packet) for packet in packets))
