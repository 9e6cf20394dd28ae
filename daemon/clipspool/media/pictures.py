"""Turns the coded pictures of a clip into pictures of the wanted size, rate and colour, one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error
import av.filter
import av.filter.context

from clipspool.media import memory, tonemap
from clipspool.media.facts import EXPORT_AGAIN, MediaError
from clipspool.media.reading import TRANSFERS, foreign_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av.container
    import av.video

# What a filter does not hear of it takes for BT.601, and makes the pictures so: colours would shift.
MATRICES = {1: "bt709", 4: "fcc", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
TONE_MAP_FORMAT = "rgb48le"  # haldclut takes the colours of planar formats for one another


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What every picture shall be: even pixels, `fps` pictures a second, exactly `frames` of them.

    `start_seconds` counts from the clip's first picture. A clip that ends early has its last picture held.
    """

    width: int
    height: int
    fps: Fraction
    frames: int
    start_seconds: float = 0.0
    rotation: int = 0
    mirrored: bool = False
    deinterlace: bool = False
    tone_map: bool = False
    pixel_format: str = "yuv420p"
    is_every_picture: bool = False
    """Each picture of the clip is given once, whatever its time."""


def pictures(
    source: av.container.InputContainer, stream: av.video.VideoStream, shape: Shape
) -> Iterator[av.VideoFrame]:
    """Decode a clip and give exactly `shape.frames` pictures, their times counted in frames from 0.

    Raises MediaError when there is no picture at all. Data that cannot be decoded is passed over: the picture
    before it stands in, as in a player.
    """
    origin = _seek(source, stream, shape.start_seconds)
    line = _Line(shape, origin)
    last: av.VideoFrame | None = None
    count = 0
    for picture in _filtered(source, stream, line):
        last = _timed(picture, count, shape.fps)
        count += 1
        yield last
        if count == shape.frames:
            return
    if last is None:
        raise MediaError("MEDIA.UNREADABLE", "no picture can be decoded from the part wanted", EXPORT_AGAIN)
    while count < shape.frames:
        last = _timed(last, count, shape.fps)
        count += 1
        yield last


class _Line:
    """The chain of filters, built anew when the coded pictures change their size or format on the way."""

    def __init__(self, shape: Shape, origin: float) -> None:
        self._shape = shape
        self._origin = origin
        self._given = 0
        self._kind: tuple[int, int, str, int] | None = None
        self._graph = av.filter.Graph()

    def push(self, picture: av.VideoFrame, stream: av.video.VideoStream) -> Iterator[av.VideoFrame]:
        kind = (picture.width, picture.height, picture.format.name, picture.colorspace)
        if kind != self._kind:
            yield from self.flush()
            self._graph = self._build(picture, stream)
            self._kind = kind
        self._graph.vpush(picture, 0)
        yield from self._pull()

    def flush(self) -> Iterator[av.VideoFrame]:
        if self._kind is not None:
            self._graph.vpush(None, 0)
            yield from self._pull()

    def _pull(self) -> Iterator[av.VideoFrame]:
        while True:
            try:
                picture = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._given += 1
            yield picture

    def _build(self, picture: av.VideoFrame, stream: av.video.VideoStream) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = memory.filter_threads()
        start = self._origin + self._shape.start_seconds + float(self._given / self._shape.fps)
        last = graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=stream.time_base
        )
        colours: av.filter.context.FilterContext | None = None
        for name, arguments in _chain(self._shape, picture, start):
            following = graph.add(name, arguments)
            last.link_to(following)
            last = following
            if name == "haldclut":
                colours = graph.add_buffer(
                    width=tonemap.SIDE,
                    height=tonemap.SIDE,
                    format=av.VideoFormat(TONE_MAP_FORMAT),
                    time_base=stream.time_base,
                )
                colours.link_to(following, 0, 1)
        last.link_to(graph.add("buffersink"))
        graph.configure()
        if colours is not None:
            graph.vpush(_cube(picture), 1)
            graph.vpush(None, 1)
        return graph


def _chain(shape: Shape, picture: av.VideoFrame, start: float) -> Iterator[tuple[str, str]]:
    """Name the filters in order: fewer pictures before smaller ones, and turned when they are small."""
    if shape.deinterlace:
        yield "bwdif", "mode=send_frame:deint=interlaced"
    if not shape.is_every_picture:
        yield "fps", f"fps={shape.fps.numerator}/{shape.fps.denominator}:start_time={start:.6f}:round=near"
    width, height = shape.width, shape.height
    if shape.rotation in {90, 270}:
        width, height = height, width
    size = f"w={width}:h={height}:flags=bicubic"
    if shape.tone_map:
        yield "scale", size
        yield "format", f"pix_fmts={TONE_MAP_FORMAT}"
        yield "haldclut", "interp=tetrahedral"
        yield "setparams", "color_primaries=bt709:color_trc=bt709"
        size = "flags=bicubic"
    matrix = "bt709" if shape.tone_map or picture.format.is_rgb else MATRICES.get(picture.colorspace)
    yield "scale", f"{size}:out_range=tv" + (f":out_color_matrix={matrix}" if matrix else "")
    yield "setsar", "1"
    yield "format", f"pix_fmts={shape.pixel_format}"
    if shape.mirrored:
        yield "hflip", ""
    match shape.rotation:
        case 90:
            yield "transpose", "dir=clock"
        case 180:
            yield "hflip", ""
            yield "vflip", ""
        case 270:
            yield "transpose", "dir=cclock"
        case _:
            pass


def _cube(picture: av.VideoFrame) -> av.VideoFrame:
    data = tonemap.cube(TRANSFERS.get(picture.color_trc, ""))
    frame = av.VideoFrame(tonemap.SIDE, tonemap.SIDE, TONE_MAP_FORMAT)
    row_bytes, line_bytes = tonemap.SIDE * 6, frame.planes[0].line_size
    rows = (data[at : at + row_bytes].ljust(line_bytes, b"\0") for at in range(0, len(data), row_bytes))
    frame.planes[0].update(b"".join(rows))
    frame.pts = 0
    return frame


def _seek(source: av.container.InputContainer, stream: av.video.VideoStream, start_seconds: float) -> float:
    """Go to the last key picture before the start; give the time of the clip's first picture in seconds."""
    base = stream.time_base or Fraction(1, 1_000_000)
    origin = stream.start_time or 0
    if start_seconds > 0:
        try:
            source.seek(origin + int(start_seconds / base), stream=stream)
        except av.error.FFmpegError:  # a file without an index is read from its beginning
            with foreign_errors("going to the start"):
                source.seek(0)
    return float(origin * base)


def _filtered(
    source: av.container.InputContainer, stream: av.video.VideoStream, line: _Line
) -> Iterator[av.VideoFrame]:
    with foreign_errors("converting the pictures"):
        for packet in source.demux(stream):
            try:
                decoded = packet.decode()
            except (av.error.InvalidDataError, av.error.EOFError):
                continue
            for picture in decoded:
                if picture.pts is not None:
                    yield from line.push(picture, stream)
        yield from line.flush()


def _timed(picture: av.VideoFrame, count: int, fps: Fraction) -> av.VideoFrame:
    picture.pts = count
    picture.time_base = 1 / fps
    picture.pict_type = 0  # the encoder chooses, whatever the source had
    return picture
