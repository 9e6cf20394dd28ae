"""Reads and writes still images: references that are too large, and posters of results."""

from __future__ import annotations

import os
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

import av
import av.error
import av.filter

from clipspool.media.facts import Cropped, MediaError, Picture
from clipspool.media.pictures import middle
from clipspool.media.reading import (
    check_dimensions,
    container_of,
    first_picture,
    foreign_errors,
    opened,
    video_stream,
)
from clipspool.media.timing import rewind
from clipspool.media.turning import orientation, turns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import av.container
    import av.filter.context
    import av.video

POSTER_SIDES = (320, 180)
"""Width and height of each half of a poster; swapped where the result is higher than wide."""
POSTER_QUALITY = 4
POSTER_PICTURES_MAX = 300
QUALITIES = (2, 4, 7, 11, 16)  # of JPEG as FFmpeg counts them, 2 is best
SMALLER_AGAIN = 0.8
SIDE_PIXELS_MIN = 64
IMAGE_OPENING_BYTES = 16
_COLOUR_CHUNKS: Final = frozenset({b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"pHYs"})
TAKE_INSTEAD = "Use a JPEG, PNG or WebP image."

DEMUXERS: Final = ((b"\xff\xd8\xff", "jpeg_pipe"), (b"\x89PNG\r\n\x1a\n", "png_pipe"), (b"RIFF", "webp_pipe"))


def image_facts(file: int) -> Picture:
    """Read an image's own format and the size at which it is shown; raises MediaError."""
    with _opened_image(file) as source:
        picture = first_picture(source, video_stream(source))
        width, height = _shown_size(picture)
    return Picture("png" if _has_alpha(picture) else "jpeg", width, height, os.fstat(file).st_size)


def scale_image(file: int, destination: int, width_max: int, height_max: int, bytes_max: int) -> Picture:
    """Write an image that is no larger than the limits: PNG where it is transparent, JPEG otherwise.

    Sides in pixels of the shown image; its aspect is kept within a pixel. Raises MediaError.
    """
    with _opened_image(file) as source:
        original = first_picture(source, video_stream(source))
        width, height = _shown_size(original)
        scale = min(1.0, width_max / width, height_max / height)
        with foreign_errors("scaling the image"):
            while min(width, height) * scale >= min(SIDE_PIXELS_MIN, width, height):
                sides = max(1, round(width * scale)), max(1, round(height * scale))
                data = _smallest(_turned(original, *sides), bytes_max)
                if data is not None:
                    _write(destination, data)
                    return Picture("png" if _has_alpha(original) else "jpeg", *sides, len(data))
                scale *= SMALLER_AGAIN
    raise MediaError("MEDIA.CANNOT_FIT", f"the image cannot be made to fit {bytes_max:,} bytes", TAKE_INSTEAD)


def crop_stills(*files: int, whole: Sequence[int], kept: Sequence[int]) -> Cropped:
    """Crop PNG pictures of one size to their middle, in their own pixel format; raises MediaError.

    Each is read whole before it is written in its place: another run after a crash leaves those that were
    cropped already as they are, and fails at one that was only half written.
    """
    for file in files:
        os.lseek(file, 0, os.SEEK_SET)
        with _opened_image(file) as source:
            picture = first_picture(source, video_stream(source))
        size = picture.width, picture.height
        if size == tuple(kept):
            continue
        if source.format.name != "png_pipe" or size != tuple(whole):
            raise MediaError("MEDIA.UNSUPPORTED", "its pictures are not PNG of one size", TAKE_INSTEAD)
        with foreign_errors("cropping the pictures"):
            cropped = _through(picture, [("crop", middle(*kept, *whole))])
            if cropped.format.name != picture.format.name:
                raise MediaError("MEDIA.UNSUPPORTED", "pictures of its kind cannot be cropped", TAKE_INSTEAD)
            _write(file, _coloured_as(os.pread(file, os.fstat(file).st_size, 0), _coded(cropped, "png")))
    return Cropped(len(files))


def _coloured_as(came: bytes, made: bytes) -> bytes:
    """Return a PNG with the chunks that say what another one's colours mean: FFmpeg keeps some of them."""
    kept = b"".join(chunk for kind, chunk in _chunks(came) if kind in _COLOUR_CHUNKS)
    head, *others = [chunk for kind, chunk in _chunks(made) if kind not in _COLOUR_CHUNKS]
    return b"".join([made[:8], head, kept, *others])


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        yield png[at + 4 : at + 8], png[at:end]
        at = end


def poster(source: int, result: int, destination: int) -> Picture:
    """Write a JPEG with a picture of the source at the left, and of its result at the right.

    It has 640x180 pixels, or 360x320 where the result is higher than wide.
    """
    pictures = [_poster_picture(source), _poster_picture(result)]
    width, height = POSTER_SIDES
    if (of_result := pictures[1]).height > of_result.width:
        width, height = height, width
    halves = [_padded(picture, width, height) for picture in pictures]
    with foreign_errors("making the poster"):
        graph = _graph()
        both = graph.add("hstack")
        for index, half in enumerate(halves):
            _buffer(graph, half).link_to(both, 0, index)
        both.link_to(graph.add("buffersink"))
        graph.configure()
        for index, half in enumerate(halves):
            graph.vpush(half, index)
        graph.vpush(None)
        data = _coded(graph.vpull(), "jpeg", POSTER_QUALITY)
    _write(destination, data)
    return Picture("jpeg", 2 * width, height, len(data))


def _poster_picture(file: int) -> av.VideoFrame:
    """Read the picture in the middle, upright, in square pixels, and no larger than a poster needs."""
    with opened(file, container_of(file)) as clip:
        stream = video_stream(clip)
        codec = stream.codec_context
        check_dimensions(codec.width, codec.height)
        codec.thread_count = 1  # nobody waits for a poster
        picture = _middle_picture(clip, stream)
        rotation, mirrored = orientation(picture)
        sar = stream.sample_aspect_ratio or Fraction(1)
        square = f"w=ceil(iw*{sar.numerator}/{sar.denominator}):h=ih"
        side = max(POSTER_SIDES)
        fit = f"{_within(side, side)}:out_range=pc:out_color_matrix=bt601"
        with foreign_errors("making the poster"):
            chain = [("scale", square)] if sar != 1 else []
            chain += [*turns(rotation, mirrored=mirrored), ("scale", fit), ("format", "pix_fmts=yuvj420p")]
            return _through(picture, [*chain, ("setsar", "1")])


def _padded(picture: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    """Scale a picture into a half of the poster, with black beside it."""
    with foreign_errors("making the poster"):
        pad = f"w={width}:h={height}:x=-1:y=-1"
        return _through(picture, [("scale", _within(width, height)), ("pad", pad), ("setsar", "1")])


def _within(width: int, height: int) -> str:
    """Return options of FFmpeg's `scale` for the largest even sides within a frame."""
    return f"w={width}:h={height}:force_original_aspect_ratio=decrease:force_divisible_by=2"


def _middle_picture(clip: av.container.InputContainer, stream: av.video.VideoStream) -> av.VideoFrame:
    """Decode from the key picture before the middle on; where the middle is far from it, stop earlier."""
    middle = (stream.start_time or 0) + (stream.duration or 0) // 2
    picture = None
    with foreign_errors("reading a picture for the poster"):
        clip.seek(middle, stream=stream)
        for picture in islice(clip.decode(stream), POSTER_PICTURES_MAX):
            if picture.pts is None or picture.pts >= middle:
                break
    if picture is None:
        rewind(clip)
        return first_picture(clip, stream)
    return picture


@contextmanager
def _opened_image(file: int) -> Iterator[av.container.InputContainer]:
    opening = os.pread(file, IMAGE_OPENING_BYTES, 0)
    demuxer = next((name for magic, name in DEMUXERS if opening.startswith(magic)), None)
    if demuxer is None or (demuxer == "webp_pipe" and opening[8:12] != b"WEBP"):
        raise MediaError("MEDIA.UNREADABLE", "it is not a JPEG, PNG or WebP image", TAKE_INSTEAD)
    os.lseek(file, 0, os.SEEK_SET)
    with foreign_errors("reading the image"):
        source = av.open("fd:", "r", format=demuxer, options={"fd": str(file), "protocol_whitelist": "fd"})
    with source:
        stream = video_stream(source)
        check_dimensions(stream.codec_context.width, stream.codec_context.height)
        yield source


def _shown_size(picture: av.VideoFrame) -> tuple[int, int]:
    rotation, _ = orientation(picture)
    return (picture.height, picture.width) if rotation in {90, 270} else (picture.width, picture.height)


def _has_alpha(picture: av.VideoFrame) -> bool:
    return any(component.is_alpha for component in picture.format.components) or picture.format.has_palette


def _turned(picture: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    """Turn an image upright and scale it to this width and height."""
    rotation, mirrored = orientation(picture)
    before = (height, width) if rotation in {90, 270} else (width, height)
    wanted = "rgba" if _has_alpha(picture) else "yuvj420p"
    scale = f"w={before[0]}:h={before[1]}:flags=lanczos:out_range=pc"
    chain = [("scale", scale), ("format", f"pix_fmts={wanted}"), *turns(rotation, mirrored=mirrored)]
    return _through(picture, [*chain, ("setsar", "1")])


def _graph() -> av.filter.Graph:
    """Make a graph for one picture: threads for it would cost more than the picture."""
    graph = av.filter.Graph()
    graph.threads = 1
    return graph


def _buffer(graph: av.filter.Graph, picture: av.VideoFrame) -> av.filter.context.FilterContext:
    picture.pts, picture.time_base = 0, Fraction(1, 25)
    return graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
    )


def _through(picture: av.VideoFrame, chain: list[tuple[str, str]]) -> av.VideoFrame:
    graph = _graph()
    filters = [graph.add(name, arguments) for name, arguments in [*chain, ("buffersink", "")]]
    graph.link_nodes(_buffer(graph, picture), *filters).configure()
    graph.vpush(picture)
    graph.vpush(None)
    return graph.vpull()


def _smallest(picture: av.VideoFrame, bytes_max: int) -> bytes | None:
    """Code an image at the best quality that fits, None if none does."""
    if picture.format.name == "rgba":
        data = _coded(picture, "png")
        return data if len(data) <= bytes_max else None
    for quality in QUALITIES:
        data = _coded(picture, "jpeg", quality)
        if len(data) <= bytes_max:
            return data
    return None


def _coded(picture: av.VideoFrame, name: Literal["jpeg", "png"], quality: int = 2) -> bytes:
    codec = av.CodecContext.create("mjpeg" if name == "jpeg" else "png", "w")
    if not isinstance(codec, av.VideoCodecContext):
        raise TypeError(f"{name} is no image codec")
    codec.width, codec.height, codec.pix_fmt = picture.width, picture.height, picture.format.name
    codec.time_base = Fraction(1, 25)
    codec.thread_count = 1
    if name == "jpeg":
        codec.qmin = codec.qmax = quality
        codec.color_range = 2
    picture.pts = 0
    packets = [*codec.encode(picture), *codec.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def _write(destination: int, data: bytes) -> None:
    with open(destination, "r+b", closefd=False) as file:
        file.seek(0)
        file.truncate()
        file.write(data)
