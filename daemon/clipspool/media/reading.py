"""Opens a clip in the decoding process and reads its facts."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from math import floor
from typing import TYPE_CHECKING, Final, assert_never, cast

import av
import av.audio
import av.container
import av.error
import av.stream
import av.video
from av.sidedata.sidedata import Type

from clipspool.media.belongings import besides, name_no_channels, reel_of, timecode_of
from clipspool.media.boxes import COPYING, Complete, Container, Incomplete, Unrecognised, completeness
from clipspool.media.facts import EXPORT_AGAIN, Audio, MediaError, Probe
from clipspool.media.gaps import zeros_in_film
from clipspool.media.kinds import verify_archive
from clipspool.media.refusals import refuse_what_cannot_be_used
from clipspool.media.timing import by_edit_list, rate_of, rewind, seconds_of
from clipspool.media.tonemap import LINEAR_TO_SRGB, PRIMARIES, TRANSFERS
from clipspool.media.turning import orientation, tilt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.sidedata.sidedata import SideDataContainer

STREAMS_MAX = 64
SIDE_PIXELS_MAX = 16_384
PICTURE_PIXELS_MAX = 8192 * 8192
FIRST_PICTURE_PACKETS_MAX = 2000
DEMUXERS: Final = {
    "mp4": "mov",
    "mov": "mov",
    "webm": "matroska",
    "mkv": "matroska",
    "zip": "",
    "mxf": "mxf",
    "avi": "avi",
    "ts": "mpegts",
    "mpg": "mpeg",
    "gif": "gif",
}
_TAIL_BYTES = 16
BLACK = "the pictures that were looked at are all black"
_BLACK_MAX = 24
_BLACK_PICTURES_MAX = 300
_BESIDES_MAX = 64
_MAY_BE_ZEROS = frozenset({"rawvideo", "r210", "r10k", "avrp", "v408", "v410", "v308", "ayuv", "yuv4"})
"""Uncompressed pictures: a black one is all zeros."""


@contextmanager
def foreign_errors(doing: str) -> Iterator[None]:
    """Translate what FFmpeg raises while `doing` something into a MediaError."""
    try:
        yield
    except (av.error.MemoryError, MemoryError) as error:
        raise MediaError(
            "MEDIA.TOO_LARGE",
            f"{doing} needs more memory than is allowed, or the file has more than {STREAMS_MAX} streams",
            "Export the clip with smaller pictures, one video stream and few audio streams.",
        ) from error
    # The last two: PyAV cannot hold absurd numbers, or streams that a damaged broadcast names anew.
    except (av.error.FFmpegError, OSError, ValueError, ArithmeticError, IndexError) as error:
        if getattr(error, "errno", 0) in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            why = "there is no space left for the converted clip"
            raise MediaError("MEDIA.NO_SPACE", why, "Free some space.") from error
        if isinstance(error, PermissionError) and not isinstance(error, av.error.FFmpegError):
            raise  # by our own confinement: a bug of this program, and not the file's
        reason = getattr(error, "strerror", None) or "unusable data"
        raise MediaError("MEDIA.UNREADABLE", f"{doing} failed: {reason}", EXPORT_AGAIN) from error


def container_of(file: int) -> Container:
    """Return the container of a whole clip by its first bytes; raises MediaError."""
    return _whole(file).container


def _whole(file: int) -> Complete:
    """Return what its headers say of a whole clip; raise MediaError for one that is cut, useless or none."""
    with open(file, "rb", closefd=False) as reader:  # buffered: the headers lie side by side
        size = os.fstat(file).st_size
        match completeness(reader, size):
            case Complete() as whole:
                if whole.container != "zip":
                    refuse_what_cannot_be_used(reader, size, whole)
                return whole
            case Incomplete(reason=reason):
                # A file in a work folder is not being copied.
                said = f"the file is not whole: {reason.removesuffix(COPYING).rstrip()}"
                raise MediaError("MEDIA.INCOMPLETE", said, "Copy the clip again.")
            case Unrecognised(reason=reason):
                raise MediaError("MEDIA.UNREADABLE", reason, "Export the clip as MP4 or MOV.")
            case other:
                assert_never(other)


@contextmanager
def opened(file: int, name: Container) -> Iterator[av.container.InputContainer]:
    """Open a clip with the demuxer of its first bytes and no protocol but its own descriptor.

    The whitelist refuses every other protocol: a manifest, an external `dref` or an attachment cannot make
    FFmpeg open any path or address (FAULTS.md 1.11).
    """
    os.lseek(file, 0, os.SEEK_SET)
    demuxer = DEMUXERS[name]
    options = {"fd": str(file), "protocol_whitelist": "fd", "max_streams": str(STREAMS_MAX + 1)}
    if demuxer == "mov":
        options |= {"enable_drefs": "0", "use_absolute_path": "0"}
    with foreign_errors("reading the file's headers"):
        source = av.open("fd:", "r", format=demuxer, options=options, metadata_errors="replace")
    with source:
        name_no_channels(source)
        yield source


def probe(file: int) -> Probe:
    """Read a clip's facts; raises MediaError."""
    whole = _whole(file)
    name = whole.container
    if name == "zip":
        return Probe(container="zip", size_bytes=os.fstat(file).st_size)
    with opened(file, name) as source:
        facts = by_edit_list(facts_of(source, name, os.fstat(file).st_size)[0], whole.film)
        # It ends in zeros: space reserved by a copy that pauses, or silence.
        if not os.pread(file, _TAIL_BYTES, max(facts.size_bytes - _TAIL_BYTES, 0)).strip(b"\0"):
            _reach_last_packet(source, video_stream(source), facts)
        return facts


def verify(file: int) -> Probe:
    """Read a clip's facts and check its first picture, its last packet and for zeros; raises MediaError."""
    whole = _whole(file)
    if whole.container == "zip":
        return verify_archive(file)
    with opened(file, whole.container) as source:
        facts, picture = facts_of(source, whole.container, os.fstat(file).st_size)
        facts = by_edit_list(facts, whole.film)
        stream = video_stream(source)
        _reach_last_packet(source, stream, facts)
        is_black = _is_dark(picture) and _is_black(source, stream)
        return replace(facts, noticed=BLACK if is_black else zeros_in_film(file, whole) or facts.noticed)


def _is_black(source: av.container.InputContainer, stream: av.video.VideoStream) -> bool:
    """Whether all pictures are black, of a long film the first ten seconds or so.

    A film that cannot be decoded is not judged here.
    """
    with suppress(av.error.FFmpegError, ValueError):
        rewind(source)
        return all(_is_dark(picture) for picture in islice(source.decode(stream), _BLACK_PICTURES_MAX))
    return False


def _is_dark(picture: av.VideoFrame) -> bool:
    try:
        gray = picture.reformat(width=64, height=36, format="gray", threads=1)  # a pool would take longer
    except (av.error.FFmpegError, ValueError):
        return False
    return max(bytes(gray.planes[0])) <= _BLACK_MAX


def video_stream(source: av.container.InputContainer) -> av.video.VideoStream:
    """Choose the video stream that a player would show, never a cover picture; raises MediaError."""
    candidates = _tracks_of_pictures(source)
    if not candidates:
        raise MediaError("MEDIA.NO_VIDEO", "there is no video in the file", "Drop a clip that has pictures.")
    best = source.streams.best("video")
    stream = next((each for each in candidates if best and each.index == best.index), candidates[0])
    if not _has_decoder(stream):
        tag = "".join(each if each.isprintable() else "?" for each in getattr(stream, "codec_tag", ""))
        why = f"its video is coded in a way that clipspool cannot read ({tag})"
        raise MediaError("MEDIA.UNSUPPORTED", why, "Export the clip as H.264, HEVC or ProRes.")
    if stream.codec_context.name == "exr" and not stream.codec_context.is_open:
        stream.codec_context.options = LINEAR_TO_SRGB
    return stream


def _tracks_of_pictures(source: av.container.InputContainer) -> list[av.video.VideoStream]:
    cover = av.stream.Disposition.attached_pic
    return [stream for stream in source.streams.video if not stream.disposition & cover]


def _has_decoder(stream: av.stream.Stream) -> bool:
    codec: object = stream.codec_context  # it may be None, against PyAV's types
    return codec is not None


def facts_of(
    source: av.container.InputContainer, name: Container, size_bytes: int
) -> tuple[Probe, av.VideoFrame]:
    """Return the facts of an opened clip, and its first picture; raises MediaError."""
    if len(source.streams) > STREAMS_MAX:
        why = f"the file has {len(source.streams)} streams, more than {STREAMS_MAX}"
        todo = "Export the clip with one video stream and few audio streams."
        raise MediaError("MEDIA.TOO_LARGE", why, todo)
    stream = video_stream(source)
    codec = stream.codec_context
    check_dimensions(codec.width, codec.height)
    with foreign_errors("reading the times of its pictures"):
        rate, varies = rate_of(source, stream)
    with foreign_errors("looking for the end of the file"):
        seconds = seconds_of(source, stream, varies=varies)
    codec.thread_count = 1  # a pool of threads costs more than one picture
    picture = first_picture(source, stream)
    check_dimensions(picture.width, picture.height)
    rotation, mirrored = orientation(picture)
    sar = stream.sample_aspect_ratio or Fraction(1)
    width, height = round(codec.width * sar), codec.height
    if rotation in {90, 270}:
        width, height = height, width
    base = stream.base_rate
    transfer = picture.color_trc if picture.color_trc in TRANSFERS else codec.color_trc
    primaries = picture.color_primaries if picture.color_primaries in PRIMARIES else codec.color_primaries
    facts = Probe(
        container=name,
        size_bytes=size_bytes,
        video_codec=codec.codec.canonical_name,
        width=width,
        height=height,
        coded_width=codec.width,
        coded_height=codec.height,
        rotation=rotation,
        mirrored=mirrored,
        sar=f"{sar.numerator}/{sar.denominator}",
        fps=f"{rate.numerator}/{rate.denominator}" if rate else "",
        fps_base=f"{base.numerator}/{base.denominator}" if varies and base else "",
        variable_frame_rate=varies,
        seconds=seconds,
        frames=_frames(stream.frames, seconds * (rate or 0), varies=varies),
        pixel_format=_pixel_format(picture, stream),
        bit_depth=picture.format.components[0].bits,
        transfer=TRANSFERS.get(transfer, ""),
        primaries=PRIMARIES.get(primaries, ""),
        interlaced=picture.interlaced_frame,
        video_tracks=len(_tracks_of_pictures(source)),
        audio=_audio(source),
        timecode=timecode_of(source),
        reel=reel_of(source),
        captions=_has_captions(picture),
        besides=tuple(islice(besides(source, stream.index), _BESIDES_MAX)),
        noticed=tilt(picture),
    )
    return facts, picture


def _frames(announced: int, expected: Fraction | float, *, varies: bool | None) -> int | None:
    """Return how many pictures a film says it has; None where those are only some, as of one in fragments."""
    return None if not announced or (announced + 1 < floor(expected) and not varies) else announced


def _pixel_format(picture: av.VideoFrame, stream: av.video.VideoStream) -> str:
    """Return a picture's format; the transparency of VP8 and VP9 is a stream beside the pictures."""
    name = picture.format.name
    return name.replace("yuv", "yuva", 1) if stream.metadata.get("alpha_mode") == "1" else name


def _has_captions(picture: av.VideoFrame) -> bool:
    try:
        return cast("SideDataContainer", picture.side_data).get(Type.A53_CC) is not None
    except ValueError:  # side data of a kind that PyAV has no name for
        return False


def first_picture(source: av.container.InputContainer, stream: av.video.VideoStream) -> av.VideoFrame:
    """Decode up to the first picture, skipping what cannot be decoded before it; raises MediaError."""
    with foreign_errors("reading the first pictures"):
        for packet in islice(source.demux(stream), FIRST_PICTURE_PACKETS_MAX):
            try:
                pictures = packet.decode()
            except (av.error.InvalidDataError, av.error.EOFError):
                continue
            for picture in pictures:
                if isinstance(picture, av.VideoFrame):
                    return picture
    raise MediaError("MEDIA.UNREADABLE", "not one picture in the file can be decoded", EXPORT_AGAIN)


def check_dimensions(width: int, height: int) -> None:
    """Raise MediaError for pictures that need more memory than any use of them is worth."""
    if width <= 0 or height <= 0:
        raise MediaError("MEDIA.NO_VIDEO", "the video says no dimensions", EXPORT_AGAIN)
    if max(width, height) > SIDE_PIXELS_MAX or width * height > PICTURE_PIXELS_MAX:
        why = f"its pictures are {width}x{height} pixels, more than clipspool decodes"
        todo = f"Export the clip with at most {PICTURE_PIXELS_MAX // 1_000_000} million pixels a picture."
        raise MediaError("MEDIA.TOO_LARGE", why, todo)


def audio_streams(source: av.container.InputContainer) -> list[av.audio.AudioStream]:
    """Return the tracks of sound that can be decoded: some phones add one of an undocumented kind.

    Of one whose samples cannot be read no rate is known.
    """
    return [
        stream for stream in source.streams.audio if _has_decoder(stream) and stream.codec_context.sample_rate
    ]


def _audio(source: av.container.InputContainer) -> Audio | None:
    streams = audio_streams(source)
    if not streams:
        return None
    codec = streams[0].codec_context
    codecs = tuple(each.codec_context.codec.canonical_name for each in streams)
    return Audio(codecs[0], codec.channels, codec.sample_rate, len(source.streams.audio), codecs)


def _reach_last_packet(
    source: av.container.InputContainer, stream: av.video.VideoStream, facts: Probe
) -> None:
    """Read the last packet of the video, which is missing from a file that is cut within its data."""
    cut = MediaError("MEDIA.INCOMPLETE", "the end of its picture data cannot be read", EXPORT_AGAIN)
    blank = MediaError("MEDIA.INCOMPLETE", "the end of its picture data is nothing but zeros", EXPORT_AGAIN)
    if stream.duration is not None:
        end = (stream.start_time or 0) + stream.duration
    else:
        end = int(facts.seconds / stream.time_base) if stream.time_base else 0
    begin = min(0, stream.start_time or 0)
    last = None
    try:
        with foreign_errors("looking for the end of the file"):
            for target, any_frame in ((end, True), (end, False), (begin, False)):
                with suppress(av.error.PermissionError, av.error.InvalidDataError):  # no index to seek by
                    source.seek(max(target, begin), stream=stream, any_frame=any_frame)
                for packet in source.demux(stream):
                    last = packet if packet.size else last
                if last is not None:
                    break
    except MediaError as error:
        raise cut from error
    if last is None or last.is_corrupt:
        raise cut
    if facts.video_codec not in _MAY_BE_ZEROS and not bytes(last).strip(b"\0"):
        raise blank
    if last.pos is not None and last.pos + last.size > facts.size_bytes:
        raise cut
