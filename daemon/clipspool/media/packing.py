"""Packs numbered pictures, byte for byte, into one film that everything else can read."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import av
import av.error

from clipspool.media import memory
from clipspool.media.facts import EXPORT_AGAIN, MediaError, Probe, Written
from clipspool.media.feeding import MARK, next_picture
from clipspool.media.reading import check_dimensions
from clipspool.media.tonemap import LINEAR_TO_SRGB, PRIMARIES, TRANSFERS
from clipspool.media.turning import orientation
from clipspool.media.writing import output

if TYPE_CHECKING:
    import av.video

_DECODERS: Final = {"png": "png", "jpeg": "mjpeg", "tiff": "tiff", "exr": "exr", "dpx": "dpx"}
_STRICT: Final = {"jpeg": {"err_detect": "explode"}, "exr": LINEAR_TO_SRGB}
"""Options of decoders. Without the first a JPEG whose end is missing counts as whole."""


def still(file: int, kind: str) -> Probe:
    """Read the facts of one picture, as those of a film without a rate; raises MediaError."""
    with open(file, "rb", closefd=False) as reader:
        data = reader.read()
    picture = _decoded(_decoder(kind), data, "its first picture")
    check_dimensions(picture.width, picture.height)
    rotation, mirrored = orientation(picture)
    width, height = picture.width, picture.height
    if rotation in {90, 270}:
        width, height = height, width
    return Probe(
        container="pictures",
        size_bytes=len(data),
        video_codec=kind,
        width=width,
        height=height,
        coded_width=picture.width,
        coded_height=picture.height,
        rotation=rotation,
        mirrored=mirrored,
        pixel_format=picture.format.name,
        bit_depth=picture.format.components[0].bits,
        transfer=TRANSFERS.get(picture.color_trc, ""),
        primaries=PRIMARIES.get(picture.color_primaries, ""),
    )


def pack(pipe: int, destination: int, *, kind: str, rate: str, count: int, timecode: str) -> Written:
    """Write the pictures that come through a pipe as a MOV, each as it is; raises MediaError.

    Each is decoded once: one that is cut, or of another size, must not be paid for. `rate` is "num/den".
    """
    fps = Fraction(rate)
    size: tuple[int, int] | None = None
    decoder = _decoder(kind)
    with open(pipe, "rb", closefd=False) as reader, output(destination, "mov", is_streamed=False) as target:
        if reader.read(len(MARK)) != MARK:
            raise MediaError(
                "MEDIA.CRASHED", "packing the pictures was interrupted", "Nothing: it is retried."
            )
        stream = None
        for number in range(count):
            came = next_picture(reader)
            if came is None:
                raise MediaError("MEDIA.INCOMPLETE", "a picture went while it was read", EXPORT_AGAIN)
            name, data = came
            picture = _decoded(decoder, data, f"`{name}`")
            if stream is None or size is None:
                size = picture.width, picture.height
                check_dimensions(*size)
                stream = target.add_mux_stream(
                    _DECODERS[kind], rate=fps, width=size[0], height=size[1], time_base=1 / fps
                )
                if timecode:
                    stream.metadata["timecode"] = timecode
            elif size != (picture.width, picture.height):
                why = f"`{name}` is {picture.width}x{picture.height}, those before it are {size[0]}x{size[1]}"
                raise MediaError("MEDIA.UNREADABLE", why, "Export all pictures at one size.")
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, 1 / fps
            packet.pts = packet.dts = number
            packet.duration, packet.is_keyframe = 1, True
            target.mux(packet)
    return Written(os.fstat(destination).st_size, count)


def _decoder(kind: str) -> av.VideoCodecContext:
    codec = av.CodecContext.create(_DECODERS[kind], "r")
    if not isinstance(codec, av.VideoCodecContext):
        raise TypeError(f"{kind} is no kind of picture")
    codec.options = _STRICT.get(kind, {})
    codec.thread_type, codec.thread_count = "SLICE", memory.filter_threads()
    return codec


def _decoded(codec: av.VideoCodecContext, data: bytes, name: str) -> av.VideoFrame:
    damaged = MediaError("MEDIA.INCOMPLETE", f"{name} cannot be decoded to its end", EXPORT_AGAIN)
    try:
        found = codec.decode(av.Packet(data))
    except av.error.MemoryError:
        raise
    except av.error.FFmpegError as error:
        raise damaged from error
    if len(found) != 1 or found[0].is_corrupt:
        raise damaged
    return found[0]
