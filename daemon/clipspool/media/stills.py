"""Reads the headers of pictures: their kind and size, and whether the file is whole."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from typing import BinaryIO, Final

from clipspool.jobs.sequence import Facts, Sequence
from clipspool.media.tables import read_at

_HEAD_BYTES = 2048
_TAIL_BYTES = 4096
_BLOCK_BYTES = 1 << 20
_MARKERS_MAX = 2000
_JPEG_SCAN = 0xDA
_EXR_ATTRIBUTES_MAX = 500
_EXR_HEADER_BYTES_MAX = 1 << 20
_EXR_LINES: Final = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}
"""How many lines of pixels one chunk holds, by the number of the compression."""
_EXR_TILED, _EXR_DEEP, _EXR_PARTS = 0x200, 0x800, 0x1000
_DPX_VALUES: Final = {1: "printing density", 2: "linear light", 3: "logarithms"}
"""What the values of a DPX mean, where its header says that they are not those of video."""
_TIFF_SIZES: Final = {1: 1, 3: 2, 4: 4}
_TIFF_TAGS_MAX = 500
_TIFF_STRIPS_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Still:
    """What the header of a picture says."""

    kind: str
    width: int
    height: int
    note: str = ""
    """What is to be said of how it is shown."""
    unread: str = ""
    """Why no picture can be made of it."""


class NotWhole(Exception):
    """The end of a picture is missing."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a folder's pictures are no film, in words."""

    reason: str
    may_pass: bool = False
    """Whether it may pass by itself: a picture may still be on its way."""


def survey(sequence: Sequence, pictures: Iterable[tuple[str, FileIO]]) -> Facts | Unfit:
    """Read the headers of a folder's pictures, which have to be alike and whole; each file is closed."""
    first: tuple[str, Still] | None = None
    for name, file in pictures:
        with file:
            size = os.fstat(file.fileno()).st_size
            try:
                still = read_still(file, size)
            except NotWhole:
                return Unfit(f"`{name}` in it is not whole", may_pass=True)
        if still is None:
            return Unfit(f"`{name}` in it is no picture: PNG, JPEG, TIFF, EXR and DPX are accepted")
        if still.unread:
            return Unfit(f"`{name}` in it {still.unread}")
        if still.kind != sequence.kind:
            return Unfit(f"`{name}` in it is {still.kind.upper()}, and named {sequence.kind.upper()}")
        if first is None:
            first = name, still
        elif (still.width, still.height) != (first[1].width, first[1].height):
            sizes = f"{still.width}x{still.height} pixels, `{first[0]}` {first[1].width}x{first[1].height}"
            return Unfit(f"its pictures are not of one size: `{name}` has {sizes}")
    if first is None:
        return Unfit("its pictures are gone", may_pass=True)
    notes = (first[1].note,) if first[1].note else ()
    names, numbers = sequence.names, sequence.numbers
    return Facts(sequence.kind, len(names), names[0], names[-1], numbers[0], notes)


def read_still(file: BinaryIO, size: int) -> Still | None:
    """Read a picture's header; None for another kind of file. Raises NotWhole."""
    head = read_at(file, 0, _HEAD_BYTES)
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(file, head, size)
        if head.startswith(b"\xff\xd8\xff"):
            return _jpeg(file, size)
        if head[:4] in {b"II*\0", b"MM\0*"}:
            return _tiff(file, head, size)
        if head.startswith(b"\x76\x2f\x31\x01"):
            return _exr(file, size)
        if head[:4] in {b"SDPX", b"XPDS"}:
            return _dpx(head, size)
    except (struct.error, ValueError, IndexError, KeyError, ZeroDivisionError) as error:
        raise NotWhole from error
    if not head.strip(b"\0"):
        raise NotWhole
    return None


def _expect(is_whole: object) -> None:
    if not is_whole:
        raise NotWhole


def _tail(file: BinaryIO, size: int) -> bytes:
    return read_at(file, max(0, size - _TAIL_BYTES), min(size, _TAIL_BYTES))


def _png(file: BinaryIO, head: bytes, size: int) -> Still:
    width, height = struct.unpack_from(">II", head, 16)
    _expect(b"IEND\xaeB`\x82" in _tail(file, size))
    return Still("png", width, height)


def _jpeg(file: BinaryIO, size: int) -> Still:
    _expect(b"\xff\xd9" in _tail(file, size))
    for marker, _, head in _jpeg_segments(file):
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # noqa: PLR2004  the frame's header
            height, width = struct.unpack_from(">HH", head, 5)
            return Still("jpeg", width, height)
    raise NotWhole


def _jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield each segment: its marker, where it begins, its first bytes. Raises IndexError where it is cut."""
    at = 2
    for _ in range(_MARKERS_MAX):
        head = read_at(file, at, 9)
        if head[0] != 0xFF:  # noqa: PLR2004  each segment begins with it
            break
        marker = head[1]
        if marker in {0xFF, 1} or 0xD0 <= marker <= 0xD8:  # noqa: PLR2004  without a length
            at += 1 if marker == 0xFF else 2  # noqa: PLR2004
            continue
        yield marker, at, head
        at += 2 + struct.unpack_from(">H", head, 2)[0]


def lacks_end(file: BinaryIO, size: int) -> bool:
    """Return whether the end of a JPEG, PNG or WebP image is missing; False for any other file.

    Anything may follow the end: some phones put a film there.
    """
    head = read_at(file, 0, 16)
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return not _is_in(file, b"IEND\xaeB`\x82", 0, size)
        if head.startswith(b"\xff\xd8\xff"):
            # The segments before may hold a whole small image of their own.
            begin = next(at for marker, at, _ in _jpeg_segments(file) if marker == _JPEG_SCAN)
            return not _is_in(file, b"\xff\xd9", begin, size)
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            return size < 8 + int(struct.unpack_from("<I", head, 4)[0])
    except (struct.error, IndexError, StopIteration):
        return True
    return not head.strip(b"\0")


def _is_in(file: BinaryIO, mark: bytes, begin: int, size: int) -> bool:
    """Return whether a mark is behind a position: in the tail, where it mostly is, or before."""
    for at in (max(begin, size - _TAIL_BYTES), *range(begin, size, _BLOCK_BYTES)):
        if mark in read_at(file, at, _BLOCK_BYTES + len(mark)):
            return True
    return False


def _dpx(head: bytes, size: int) -> Still:
    order = ">" if head.startswith(b"SDPX") else "<"
    (data,) = struct.unpack_from(f"{order}I", head, 4)
    (whole,) = struct.unpack_from(f"{order}I", head, 16)
    width, height = struct.unpack_from(f"{order}II", head, 772)
    undefined = 0xFFFFFFFF
    _expect(size >= (whole if whole not in {0, undefined} else data))
    values = _DPX_VALUES.get(head[801])
    note = f"their values are sent as they are (their headers say: {values})" if values else ""
    return Still("dpx", width, height, note)


def _exr(file: BinaryIO, size: int) -> Still:
    (version,) = struct.unpack("<I", read_at(file, 4, 4))
    has_parts, at = bool(version & _EXR_PARTS), 8
    parts = []
    while True:
        header, at = _exr_header(file, at, size)
        if not header:  # ends the headers of several parts
            break
        parts.append(header)
        if not has_parts:
            break
    left, top, right, bottom = struct.unpack("<4i", parts[0][b"displayWindow"])
    if version & _EXR_DEEP or any(one.get(b"type", b"").startswith(b"deep") for one in parts):
        return Still(
            "exr", right - left + 1, bottom - top + 1, unread="has deep pixels: export flat pictures"
        )
    for one in parts:
        is_tiled = one[b"type"].startswith(b"tiled") if has_parts else bool(version & _EXR_TILED)
        count = _exr_chunks(one, is_tiled=is_tiled)
        # Before the bytes of a chunk stand its part, its line or tile and level, and at last their number.
        _expect_chunks(file, at, size, count, 4 * has_parts + (20 if is_tiled else 8))
        at += 8 * struct.unpack("<I", one[b"chunkCount"])[0] if has_parts else 0
    note = "their linear light is shown by the curve of sRGB, what is brighter than white as white"
    return Still("exr", right - left + 1, bottom - top + 1, note)


def _exr_header(file: BinaryIO, at: int, size: int) -> tuple[dict[bytes, bytes], int]:
    """Read the attributes of one part, and where they end."""
    found: dict[bytes, bytes] = {}
    for _ in range(_EXR_ATTRIBUTES_MAX):
        head = read_at(file, at, 600)
        if head[:1] == b"\0":
            break
        name, kind, _ = head.split(b"\0", 2)
        length_at = len(name) + len(kind) + 2
        (length,) = struct.unpack_from("<I", head, length_at)
        found[name] = read_at(file, at + length_at + 4, min(length, 64))
        at += length_at + 4 + length
        _expect(at < min(size, _EXR_HEADER_BYTES_MAX))
    return found, at + 1


def _exr_chunks(header: dict[bytes, bytes], *, is_tiled: bool) -> int:
    """Return how many chunks the picture of a part has; those of smaller copies follow, and are not read."""
    left, top, right, bottom = struct.unpack("<4i", header[b"dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    if is_tiled:
        across, down = struct.unpack_from("<II", header[b"tiles"])
        return int(-(-width // across) * -(-height // down))
    return int(-(-height // _EXR_LINES[header[b"compression"][0]]))


def _expect_chunks(file: BinaryIO, at: int, size: int, count: int, head: int) -> None:
    """Raise NotWhole unless the last chunk of an EXR ends within the file; its places are written last."""
    places = struct.unpack(f"<{count}Q", read_at(file, at, 8 * count))
    _expect(min(places))
    last = max(places)
    (length,) = struct.unpack("<I", read_at(file, last + head - 4, 4))
    _expect(length and last + head + length <= size)


def _tiff(file: BinaryIO, head: bytes, size: int) -> Still:
    order = "<" if head.startswith(b"II") else ">"
    (at,) = struct.unpack_from(f"{order}I", head, 4)
    (count,) = struct.unpack(f"{order}H", read_at(file, at, 2))
    _expect(count <= _TIFF_TAGS_MAX)
    tags = {}
    for entry in struct.iter_unpack(f"{order}HHI4s", read_at(file, at + 2, 12 * count)):
        tags[entry[0]] = entry[1:]

    def values(tag: int) -> tuple[int, ...]:
        kind, length, inline = tags[tag]
        width = _TIFF_SIZES[kind]
        _expect(length <= _TIFF_STRIPS_MAX)
        (where,) = struct.unpack(f"{order}I", inline)
        data = inline if width * length <= 4 else read_at(file, where, width * length)  # noqa: PLR2004
        return struct.unpack_from(f"{order}{length}{'.BH.I'[width]}", data)

    width, height = values(256)[0], values(257)[0]
    places, lengths = (324, 325) if 324 in tags else (273, 279)  # noqa: PLR2004  tiles, else strips
    if lengths in tags:
        ends = (place + length for place, length in zip(values(places), values(lengths), strict=False))
        _expect(max(ends) <= size)
    return Still("tiff", width, height)
