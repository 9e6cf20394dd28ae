"""Decodes a clip into pictures of the wanted size, rate and colour, one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING

import av
import av.error
import av.filter

from clipspool.media import memory, tonemap
from clipspool.media.facts import EXPORT_AGAIN, MediaError
from clipspool.media.rates import DEFAULT_RATE
from clipspool.media.reading import first_picture, foreign_errors
from clipspool.media.timing import READ_WHOLE, rewind
from clipspool.media.tonemap import TRANSFERS
from clipspool.media.turning import turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av.container
    import av.video

# Filters take an unnamed matrix for BT.601 and convert to it: colours would shift.
MATRICES = {1: "bt709", 4: "fcc", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
BACK_SECONDS = (0, 2, 10, 60)
"""How far before the start a key picture is looked for, where the file has no index."""
TIE_SHARE = 8
"""Pictures count as later by this part of their length."""
TONE_MAP_FORMAT = "rgb48le"  # haldclut confuses the colours of planar formats


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the pictures have to be: even sides, `fps` pictures a second, exactly `frames` of them.

    `start_seconds` counts from the clip's first picture. If a clip ends early, its last picture is held.
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
    """Yield each picture of the clip once, whatever its time."""
    picture: tuple[int, int] | None = None
    """Even sides of the picture where black bars surround it."""
    crop: tuple[int, int] | None = None
    """Even sides of what is kept of a coded picture, from its middle."""


def pictures(
    source: av.container.InputContainer, stream: av.video.VideoStream, shape: Shape
) -> Iterator[av.VideoFrame]:
    """Decode a clip and yield exactly `shape.frames` pictures, their times counted in frames from 0.

    Raises MediaError when there is no picture at all. Data that cannot be decoded is skipped: the picture
    before it is held, as in a player.
    """
    start = _seek(source, stream, shape.start_seconds)
    if stream.time_base is not None and stream.base_rate:
        # At half the rate every second picture lies between two frames: rounded times would go either way.
        start -= round(1 / (TIE_SHARE * stream.base_rate * stream.time_base))
    last: av.VideoFrame | None = None
    count = 0
    for picture in islice(_filtered(source, stream, _Line(shape), start), shape.frames):
        last = _timed(picture, count, shape.fps)
        count += 1
        yield last
    if last is None:
        raise MediaError("MEDIA.UNREADABLE", "no picture can be decoded from the part wanted", EXPORT_AGAIN)
    for place in range(count, shape.frames):
        yield _timed(last, place, shape.fps)


class _Line:
    """The chain of filters, rebuilt when the coded pictures change their size or format."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
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
        start = float(self._given / self._shape.fps)
        base = stream.time_base
        filters = [
            graph.add_buffer(
                width=picture.width, height=picture.height, format=picture.format, time_base=base
            )
        ]
        cube = _cube(picture) if self._shape.tone_map else None
        for name, arguments in _chain(self._shape, picture, start):
            filters.append(graph.add(name, arguments))
            if name == "haldclut" and cube is not None:
                entry = graph.add_buffer(
                    width=cube.width, height=cube.height, format=cube.format, time_base=base
                )
                entry.link_to(filters[-1], 0, 1)
        graph.link_nodes(*filters, graph.add("buffersink")).configure()
        if cube is not None:
            graph.vpush(cube, 1)
            graph.vpush(None, 1)
        return graph


def _chain(shape: Shape, picture: av.VideoFrame, start: float) -> Iterator[tuple[str, str]]:
    """Yield the filters in order: first fewer pictures, then smaller ones, turned when they are small."""
    if shape.deinterlace:
        yield "bwdif", "mode=send_frame:deint=interlaced"
    if not shape.is_every_picture:
        yield "fps", f"fps={shape.fps.numerator}/{shape.fps.denominator}:start_time={start:.6f}:round=near"
    if shape.crop is not None:
        yield "crop", middle(*shape.crop, picture.width, picture.height)
    width, height = shape.picture or (shape.width, shape.height)
    if shape.rotation in {90, 270}:
        width, height = height, width
    if (picture.width - width, picture.height - height) in {(1, 0), (0, 1), (1, 1)}:
        yield "crop", f"w={width}:h={height}:x=0:y=0"  # to scale a picture by so little would only blur it
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
    yield from turns(shape.rotation, mirrored=shape.mirrored)
    if shape.picture is not None:
        yield "pad", f"w={shape.width}:h={shape.height}:{_corner(*shape.picture, shape.width, shape.height)}"


def middle(width: int, height: int, of_width: int, of_height: int) -> str:
    """Return options of FFmpeg's `crop` that keep the middle of a picture."""
    return f"w={width}:h={height}:{_corner(width, height, of_width, of_height)}"


def _corner(width: int, height: int, of_width: int, of_height: int) -> str:
    """Return where a picture begins in the middle of a frame, on an even column and row."""
    return f"x={max(0, of_width - width) // 4 * 2}:y={max(0, of_height - height) // 4 * 2}"


def _cube(picture: av.VideoFrame) -> av.VideoFrame:
    data = tonemap.cube(TRANSFERS.get(picture.color_trc, ""))
    frame = av.VideoFrame(tonemap.SIDE, tonemap.SIDE, TONE_MAP_FORMAT)
    row_bytes, line_bytes = tonemap.SIDE * 6, frame.planes[0].line_size
    rows = (data[at : at + row_bytes].ljust(line_bytes, b"\0") for at in range(0, len(data), row_bytes))
    frame.planes[0].update(b"".join(rows))
    frame.pts = 0
    return frame


def _seek(source: av.container.InputContainer, stream: av.video.VideoStream, start_seconds: float) -> int:
    """Seek a key picture before the start, which counts from the first picture; return when the start is."""
    base = stream.time_base or Fraction(1, 1_000_000)
    origin = stream.start_time or 0
    if source.format.name == "avi" and stream.codec_context.has_b_frames:
        # An AVI has no times: picture N is the N-th that is shown, and FFmpeg counts those that are read.
        origin += max(0, (_first_shown(source, stream) or 0) - origin)
        rewind(source)
    if start_seconds > 0:
        frame = 1 / (stream.average_rate or DEFAULT_RATE)
        latest = origin + (Fraction(start_seconds) + frame / 2) / base
        # Without an index FFmpeg stops somewhere: what is shown first there may be later than the start, and
        # of the first pictures of a stream it guesses the times.
        backs = BACK_SECONDS[source.format.name in READ_WHOLE :]
        places = (origin + int((start_seconds - back) / base) for back in backs)
        tried = (one for one in places if one <= origin or _is_shown_by(latest, source, stream, one))
        place = next(tried, origin)
        if place <= origin or not _go(source, stream, place):
            rewind(source)
    return origin + round(Fraction(start_seconds) / base)


def _go(source: av.container.InputContainer, stream: av.video.VideoStream, place: int) -> bool:
    """Seek a place; False in a file without any index, which is read from its beginning."""
    try:
        source.seek(place, stream=stream)
    except av.error.FFmpegError:
        return False
    return True


def _is_shown_by(
    latest: Fraction, source: av.container.InputContainer, stream: av.video.VideoStream, place: int
) -> bool:
    """Whether the first picture behind a place is shown in time, or the file has no index at all."""
    if not _go(source, stream, place):
        return True
    shown = _first_shown(source, stream)
    return shown is not None and shown <= latest


def _first_shown(source: av.container.InputContainer, stream: av.video.VideoStream) -> int | None:
    try:
        return _time_of(first_picture(source, stream), source)
    except MediaError:
        return None


def _time_of(
    picture: av.VideoFrame, source: av.container.InputContainer, before: int | None = None
) -> int | None:
    """Return when a picture is shown, later than the one before it.

    An AVI says only when it is decoded, and FFmpeg's guess of the rest may be wrong; a program stream gives
    some pictures the time of another one.
    """
    said = (picture.pts, picture.dts)
    if source.format.name == "avi":  # not even that of a clip that ends before its first picture is decoded
        said = (picture.dts, picture.pts if before is None else None)
    usable = (time for time in said if time is not None and (before is None or time > before))
    return next(usable, None if before is None else before + 1)


def _filtered(
    source: av.container.InputContainer, stream: av.video.VideoStream, line: _Line, start: int
) -> Iterator[av.VideoFrame]:
    """Yield what the filters make of a clip's pictures, their times counted from `start`."""
    shown: int | None = None
    with foreign_errors("converting the pictures"):
        for packet in source.demux(stream):
            try:
                decoded = packet.decode()
            except (av.error.InvalidDataError, av.error.EOFError):
                continue
            for picture in decoded:
                shown = _time_of(picture, source, shown)
                if shown is not None:
                    # From 0: the filter that ends a film rounds its end apart from where it begins.
                    picture.pts = shown - start
                    yield from line.push(picture, stream)
        yield from line.flush()


def _timed(picture: av.VideoFrame, count: int, fps: Fraction) -> av.VideoFrame:
    picture.pts = count
    picture.time_base = 1 / fps
    picture.pict_type = 0  # the encoder chooses, whatever the source had
    return picture
