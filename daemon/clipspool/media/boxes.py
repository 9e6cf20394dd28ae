"""Tells from the headers alone which container a file is, and whether all of it is there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

Container = Literal["mp4", "mov", "webm", "mkv", "zip"]

BOXES_MAX = 100_000  # a day of one-second fragments; more is not a film but an attack on our patience
EBML_ELEMENTS_MAX = 64
OPENING_BYTES = 4096
SHORTEST_OPENING_BYTES = 12
ZERO_TAIL_BYTES_MAX = 4 << 20
ZIP_END_BYTES_MAX = 65_535 + 22  # the end record and the longest comment that may follow it

COPYING = "(it is probably still being copied)"
WHOLE_FILM = frozenset({b"moov", b"mdat"})
FILM_BOXES = frozenset({b"moov", b"mdat", b"moof", b"mfra"})

EBML_MAGIC = b"\x1a\x45\xdf\xa3"
EBML_SEGMENT = 0x18538067
EBML_DOCTYPE = 0x4282
QUICKTIME_FIRST_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
MP4_FIRST_BOXES = frozenset({b"ftyp", b"styp", b"sidx", b"moof"})


TAKES = "clipspool takes MP4, MOV, WebM and MKV"
ONLY_NAMES = "which only names other files; drop the video file itself"
FOREIGN_BEGINNINGS: Final = (
    (b"RIFF", f"it is an AVI or WAV file; {TAKES}"),
    (b"\x06\x0e\x2b\x34", f"it is an MXF file; {TAKES}"),
    (b"\xff\xd8\xff", "it is a still image, not a video"),
    (b"\x89PNG", "it is a still image, not a video"),
    (b"GIF8", "it is a GIF image, not a video"),
)
TEXT_BEGINNINGS: Final = (
    (b"#extm3u", f"it is a playlist (m3u8), {ONLY_NAMES}"),
    (b"ffconcat", f"it is a list of files to join, {ONLY_NAMES}"),
    (b"<!doctype html", "it is a web page, not a video"),
    (b"<html", "it is a web page, not a video"),
    (b"<", "it is an XML file, not a video"),
)


@dataclass(frozen=True, slots=True)
class Complete:
    """Every box that the container announces lies within the file."""

    container: Container
    doubt: str = ""
    """Why something may be on its way all the same, if it may: behind a whole film lies a part of a box."""


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The file has the right beginning and not yet, or no longer, all of its parts."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """The first bytes are not those of a container that clipspool takes."""

    reason: str


def container(file: BinaryIO) -> Container | None:
    """Name the container that the first bytes announce, whatever the file's name; None for anything else."""
    return _container_of(_read_at(file, 0, OPENING_BYTES))


def suffix_for(name: Container) -> str:
    """Give the file name's suffix for a container, with its dot."""
    return f".{name}"


def completeness(file: BinaryIO, size: int) -> Complete | Incomplete | Unrecognised:
    """Say whether a clip of `size` bytes is whole, reading headers only.

    Complete means for MP4 and MOV that `moov` and the media data (`mdat`, or fragments) fit the file, for
    WebM and Matroska that the Segment does (where its size is known), for a ZIP that its end record is there.
    A file can pass and still hold damaged pictures: that is for `Decoder.verify`. Moves the file's position.
    """
    if size == 0:
        return Incomplete("the file is empty")
    opening = _read_at(file, 0, min(size, OPENING_BYTES))
    if not opening.strip(b"\0"):
        return Incomplete(
            "the file begins with nothing but zeros (room was set aside for it, and the copy has not begun)"
        )
    match _container_of(opening):
        case ("mp4" | "mov") as name:
            return _walk_boxes(file, size, name)
        case ("webm" | "mkv") as name:
            return _walk_ebml(file, size, name)
        case "zip":
            return _zip_end(file, size)
        case None if size < SHORTEST_OPENING_BYTES or opening.startswith(EBML_MAGIC[:size]):
            return Incomplete(f"the file ends in its header, it has only {size} bytes {COPYING}")
        case None:
            return Unrecognised(_what_it_is_instead(opening))


def _container_of(opening: bytes) -> Container | None:
    first_box = opening[4:8]
    if first_box == b"ftyp":
        return "mov" if opening[8:12] == b"qt  " else "mp4"
    if first_box in MP4_FIRST_BOXES:
        return "mp4"
    if first_box in QUICKTIME_FIRST_BOXES:
        return "mov"
    if opening.startswith(EBML_MAGIC):
        return _ebml_doctype(opening)
    if opening.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    return None


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    data: int  # where its content begins
    end: int


def _walk_boxes(file: BinaryIO, size: int, name: Container) -> Complete | Incomplete | Unrecognised:
    seen: set[bytes] = set()
    box, doubt = _Box(b"", 0, 0), ""
    for _ in range(BOXES_MAX):
        if box.end >= size:
            break
        found = _box_at(file, box.end, size)
        if not isinstance(found, _Box) or found.end > size:
            if seen >= WHOLE_FILM and _is_stray(found, seen):
                doubt = f"what lies behind the film, from byte {box.end} on, is not whole {COPYING}"
                break  # players pass over what a recorder or a transfer tool left behind a film, and so do we
            return _cut(found, size) if isinstance(found, _Box) else found
        box = found
        seen.add(box.kind)
    else:
        return Unrecognised(f"it has more than {BOXES_MAX} boxes")
    if missing := _missing_boxes(seen):
        return Incomplete(missing)
    if box.kind == b"moof":
        return Incomplete(f"the file ends before the data of its last fragment {COPYING}")
    if box.kind == b"mdat" and _tail_is_zero(file, box.data, box.end):
        return Incomplete(f"the end of its picture data is nothing but zeros {COPYING}")
    return Complete(name, doubt)


def _box_at(file: BinaryIO, position: int, size: int) -> _Box | Incomplete | Unrecognised:
    header = _read_at(file, position, 16)
    kind, length, header_length = header[4:8], int.from_bytes(header[:4], "big"), 8
    if not header.strip(b"\0"):
        return Incomplete(f"from byte {position} on there are only zeros {COPYING}")
    if len(header) < 8:  # noqa: PLR2004  a box's length and type
        return Incomplete(f"the file ends in the middle of a box header {COPYING}")
    if not all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in kind):  # noqa: PLR2004  ASCII, and Apple's (c)
        return Unrecognised(f"at byte {position} there is no box of an MP4 or MOV file: it is damaged")
    quoted = f"`{kind.decode('latin-1')}`"
    if length == 1:
        if len(header) < 16:  # noqa: PLR2004  and its long length
            return Incomplete(f"the file ends in the header of its {quoted} box {COPYING}")
        length, header_length = int.from_bytes(header[8:16], "big"), 16
    elif length == 0:
        length = size - position
    if length < header_length:
        return Unrecognised(
            f"its {quoted} box says it is {length} bytes long, which cannot be: it is damaged"
        )
    return _Box(kind, position + header_length, position + length)


def _is_stray(found: _Box | Incomplete | Unrecognised, seen: set[bytes]) -> bool:
    """Tell what may lie behind a whole film from a part of it; behind a fragment another may be to come."""
    if isinstance(found, _Box):
        return found.kind not in FILM_BOXES
    return b"moof" not in seen


def _cut(box: _Box, size: int) -> Incomplete:
    return Incomplete(f"{box.end - size:,} bytes are missing at the end of the file {COPYING}")


def _missing_boxes(seen: set[bytes]) -> str | None:
    if b"moov" not in seen:
        return (
            "the file has no index yet, its `moov` box, often written last (it is probably still on its way)"
        )
    if b"mdat" not in seen:
        return "there are no pictures in the file, no `mdat` box (it is probably still being written)"
    return None


def _tail_is_zero(file: BinaryIO, start: int, end: int) -> bool:
    """Look backwards from the end, at most half of the data: silence in PCM may end a film with zeros."""
    stop = max(start + (end - start) // 2, end - ZERO_TAIL_BYTES_MAX)
    step = 16
    while end > stop:
        begin = max(stop, end - step)
        if _read_at(file, begin, end - begin).strip(b"\0"):
            return False
        end, step = begin, 1 << 16
    return True


def _walk_ebml(file: BinaryIO, size: int, name: Container) -> Complete | Incomplete | Unrecognised:
    position = 0
    for _ in range(EBML_ELEMENTS_MAX):
        header = _read_at(file, position, 12)
        identity, identity_length = _ebml_number(header, keep_marker=True)
        length, length_length = _ebml_number(header[identity_length:], keep_marker=False)
        if identity is None or length_length == 0:
            if position + 12 > size:
                return Incomplete(f"the file ends before its Segment begins {COPYING}")
            return Unrecognised(
                f"what stands at byte {position} is not an element of a Matroska or WebM file"
            )
        start = position + identity_length + length_length
        if length is None:
            return Complete(name)  # a live recording says no size: its end is wherever the file ends
        if start + length > size:
            return Incomplete(f"the file ends {start + length - size} bytes before it should {COPYING}")
        if identity == EBML_SEGMENT:
            return (
                Complete(name)
                if length
                else Incomplete("its Segment is empty (it is probably still being written)")
            )
        position = start + length
    return Unrecognised(f"no Segment among its first {EBML_ELEMENTS_MAX} elements")


def _ebml_number(data: bytes, *, keep_marker: bool) -> tuple[int | None, int]:
    """Read a variable-length number: (value, bytes taken); (None, n) for "unknown", (None, 0) for none."""
    if not data or data[0] == 0:
        return None, 0
    length = 9 - data[0].bit_length()
    if len(data) < length or (keep_marker and length > 4):  # noqa: PLR2004
        return None, 0
    number = int.from_bytes(data[:length], "big")
    if keep_marker:
        return number, length
    mask = (1 << (7 * length)) - 1
    return (None if number & mask == mask else number & mask), length


def _ebml_doctype(opening: bytes) -> Container | None:
    """Find the DocType within the EBML header; Matroska where it is not said, as the standard has it."""
    header_length, taken = _ebml_number(opening[4:], keep_marker=False)
    if header_length is None:
        return None
    position, end = 4 + taken, min(len(opening), 4 + taken + header_length)
    while position < end:
        identity, identity_length = _ebml_number(opening[position:end], keep_marker=True)
        length, length_length = _ebml_number(opening[position + identity_length : end], keep_marker=False)
        if identity is None or length is None:
            return None
        position += identity_length + length_length
        if identity == EBML_DOCTYPE:
            match opening[position : position + length].rstrip(b"\0"):
                case b"webm":
                    return "webm"
                case b"matroska":
                    return "mkv"
                case _:
                    return None
        position += length
    return "mkv"


def _zip_end(file: BinaryIO, size: int) -> Complete | Incomplete:
    begin = max(0, size - ZIP_END_BYTES_MAX)
    if b"PK\x05\x06" in _read_at(file, begin, size - begin):
        return Complete("zip")
    return Incomplete(f"the archive has no end record {COPYING}")


def _what_it_is_instead(opening: bytes) -> str:
    for begins, what in FOREIGN_BEGINNINGS:
        if opening.startswith(begins):
            return what
    if opening[:1] == b"G" and opening[188:189] == b"G":
        return f"it is an MPEG transport stream; {TAKES}"
    text = opening.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<mpd" in text[:1024]:
        return f"it is a DASH manifest, {ONLY_NAMES}"
    for begins, what in TEXT_BEGINNINGS:
        if text.startswith(begins):
            return what
    if all(byte >= 0x20 or byte in b"\t\r\n" for byte in opening[:512]):  # noqa: PLR2004  no control bytes
        return "it is a text file, not a video"
    return f"its first bytes are not those of a video that clipspool knows; {TAKES}"


def _read_at(file: BinaryIO, position: int, count: int) -> bytes:
    """Read up to `count` bytes; an unbuffered file may give them in parts."""
    file.seek(position, os.SEEK_SET)
    data = file.read(count) or b""
    while 0 < len(data) < count:
        more = file.read(count - len(data))
        if not more:
            break
        data += more
    return data
