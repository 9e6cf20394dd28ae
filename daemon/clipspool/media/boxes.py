"""Recognises a file's container and checks that all of it is there, from headers and indexes only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import BinaryIO, Final, Literal

from clipspool.media import ebml, recorders
from clipspool.media.fragments import Fragments, index_end
from clipspool.media.tables import Box, Movie, box_header, read_at, read_movie

Container = Literal["mp4", "mov", "webm", "mkv", "zip", "mxf", "avi", "ts", "mpg", "gif"]

BOXES_MAX = 100_000  # a day of one-second fragments; a file with more is no film
OPENING_BYTES = 4096
SHORTEST_OPENING_BYTES = 12
ZERO_TAIL_BYTES_MAX = 4 << 20
ZIP_END_BYTES_MAX = 65_535 + 22  # the end record and the longest comment that may follow it

REACHED_SECONDS = 0.5
"""This much less than the announced length may be rounding, or the last pictures that are still to come."""
TICKS = 2
"""Of the film's clock, by which an announced length is rounded."""
NO_END = "which does not say where it ends"
COPYING = "(it is probably still being copied; if not, copy it here again)"
WHOLE_FILM = frozenset({b"moov", b"mdat"})
FILM_BOXES = frozenset({b"moov", b"mdat", b"moof", b"mfra"})

QUICKTIME_FIRST_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
MP4_FIRST_BOXES = frozenset({b"ftyp", b"styp", b"sidx", b"moof"})


TAKES = "clipspool takes MP4, MOV, WebM, MKV, MXF, AVI, TS, MPG and GIF"
ONLY_NAMES = "which only names other files; drop the video file itself"
BEGINNINGS: Final = (
    (b"RIFF", f"it is a WAV or another RIFF file; {TAKES}"),
    (b"\xff\xd8\xff", "it is a still image, not a video"),
    (b"\x89PNG", "it is a still image, not a video"),
    # text, compared in lower case
    (b"#extm3u", f"it is a playlist (m3u8), {ONLY_NAMES}"),
    (b"ffconcat", f"it is a list of files to join, {ONLY_NAMES}"),
    (b"<!doctype html", "it is a web page, not a video"),
    (b"<html", "it is a web page, not a video"),
    (b"<", "it is an XML file, not a video"),
)


@dataclass(frozen=True, slots=True)
class Complete:
    """All that the container announces is in the file."""

    container: Container
    doubt: str = ""
    """Why more may follow all the same, if it may: after a whole film there is a part of a box."""
    open_end: str = ""
    """Why more may follow at any time, if it may: nothing in the file says where it ends."""
    film: Film | None = field(default=None, compare=False, repr=False)
    """Of an MP4 or MOV: its boxes and tables, for whoever looks into them next."""


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The file begins rightly, but some of its parts are not there yet, or no longer."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """The first bytes are not those of a container that clipspool takes."""

    reason: str


def container(file: BinaryIO) -> Container | None:
    """Return the container of the first bytes, whatever the file's name; None for anything else."""
    return _container_of(read_at(file, 0, OPENING_BYTES))


def completeness(file: BinaryIO, size: int) -> Complete | Incomplete | Unrecognised:
    """Check that a clip of `size` bytes is whole, reading headers and indexes only.

    Complete means for MP4 and MOV that `moov` and the media data (`mdat`, or fragments) fit the file and that
    it holds every sample an index names; for WebM and Matroska every element; for a ZIP its end record. A
    complete file can still have damaged pictures, which `Decoder.verify` finds, and holes and zeros, which
    `gaps` finds. Moves the file's position.
    """
    if size == 0:
        return Incomplete("the file is empty")
    opening = read_at(file, 0, min(size, OPENING_BYTES))
    if not opening.strip(b"\0"):
        return Incomplete("the file begins with zeros only (space is reserved, and the copy has not begun)")
    match _container_of(opening):
        case ("mp4" | "mov") as name:
            return _walk_boxes(file, size, name)
        case ("webm" | "mkv") as name:
            return _walk_ebml(file, size, name)
        case "zip":
            return _zip_end(file, size)
        case ("mxf" | "avi" | "ts" | "mpg" | "gif") as name:
            end = recorders.end_of(file, size, name)
            if end.missing:
                return Incomplete(f"{end.missing} {COPYING}")
            return Complete(name, "", f"it is {end.no_end}, {NO_END}" if end.no_end else "")
        case None if size < SHORTEST_OPENING_BYTES or opening.startswith(ebml.MAGIC[:size]):
            return Incomplete(f"the file ends in its header, it has only {size:,} bytes {COPYING}")
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
    if opening.startswith(ebml.MAGIC):
        names: dict[str | None, Container] = {"webm": "webm", "matroska": "mkv"}
        return names.get(ebml.doctype(opening))
    if opening.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    return recorders.recorder_of(opening)


@dataclass(slots=True)
class Boxes:
    """The top boxes of an MP4 or MOV file, as far as they are whole."""

    seen: set[bytes] = field(default_factory=set)
    last: Box = field(default_factory=lambda: Box(b"", 0, 0))
    moov: Box | None = None
    fragments: list[tuple[int, Box]] = field(default_factory=list)
    """The begin of each `moof`, and its content."""
    indexes: list[Box] = field(default_factory=list)
    """Those (`sidx`) before the first fragment."""
    ends_in_index: bool = False
    """Whether `mfra` follows the last fragment: the writer puts it there when it has finished."""
    doubt: str = ""
    wrong: Incomplete | Unrecognised | None = None
    """Why the file is not whole."""


def read_boxes(file: BinaryIO, size: int) -> Boxes:
    """Read the headers of a file's top boxes, up to its end or the first that is wrong."""
    boxes = Boxes()
    for _ in range(BOXES_MAX):
        begin = boxes.last.end
        if begin >= size:
            return boxes
        found = _box_at(file, begin, size)
        if not isinstance(found, Box) or found.end > size:
            if boxes.seen >= WHOLE_FILM and _is_stray(found, boxes):
                # players ignore what a recorder or a transfer tool appended to a film, and so do we
                boxes.doubt = (
                    f"what follows the film, from byte {begin} on, is not whole (probably still being copied)"
                )
            else:
                boxes.wrong = _cut(found, size) if isinstance(found, Box) else found
            return boxes
        boxes.last = found
        boxes.seen.add(found.kind)
        match found.kind:
            case b"moov":
                boxes.moov = found
            case b"moof":
                boxes.fragments.append((begin, found))
                boxes.ends_in_index = False
            case b"sidx" if not boxes.fragments:
                boxes.indexes.append(found)
            case b"mfra":
                boxes.ends_in_index = True
            case _:
                pass
    boxes.wrong = Unrecognised(f"it has more than {BOXES_MAX} boxes")
    return boxes


@dataclass(frozen=True, slots=True)
class Film:
    """The boxes and tables of an MP4 or MOV file."""

    boxes: Boxes
    movie: Movie


def _walk_boxes(file: BinaryIO, size: int, name: Container) -> Complete | Incomplete | Unrecognised:
    boxes = read_boxes(file, size)
    if boxes.wrong is not None:
        return boxes.wrong
    if missing := _missing_boxes(boxes.seen):
        return Incomplete(missing)
    if boxes.last.kind == b"moof":
        return Incomplete(f"the file ends before the data of its last fragment {COPYING}")
    movie = Movie() if boxes.moov is None else read_movie(file, boxes.moov)
    found = _of_tables(file, size, name, boxes, movie)
    return replace(found, film=Film(boxes, movie)) if isinstance(found, Complete) else found


def _of_tables(
    file: BinaryIO, size: int, name: Container, boxes: Boxes, movie: Movie
) -> Complete | Incomplete:
    if movie.end > size:
        return _short_of("its index names pictures or sound", movie.end, size)
    if boxes.fragments or movie.is_fragmented:
        return _of_fragments(file, size, name, boxes, movie)
    # Where no table names the last bytes, zeros there may be space that a copy has yet to fill.
    last = boxes.last
    if not movie.has_samples and last.kind == b"mdat" and _tail_is_zero(file, last.data, last.end):
        return Incomplete(f"the end of its picture data is nothing but zeros {COPYING}")
    is_open = not (movie.has_samples or last.has_length)
    return Complete(name, boxes.doubt, f"its media data (`mdat`) has no length, {NO_END}" if is_open else "")


def _of_fragments(
    file: BinaryIO, size: int, name: Container, boxes: Boxes, movie: Movie
) -> Complete | Incomplete:
    fragments = Fragments(movie)
    for begin, moof in boxes.fragments:
        fragments.read(file, moof, begin)
    if fragments.end > size:
        return _short_of("a fragment names data", fragments.end, size)
    if fragments.is_one_missing:
        return Incomplete("a fragment in the middle is missing: the time jumps, and a number is left out")
    end = index_end(file, boxes.indexes[0]) if len(boxes.indexes) == 1 else None
    if end is not None and end > size:
        return _short_of("its index names fragments", end, size)
    if boxes.ends_in_index or end is not None:
        return Complete(name, boxes.doubt)
    if (seconds := movie.seconds) is not None:
        # The track that ends first counts: a fragment of sound may come before that of its pictures.
        reached, rounding = fragments.seconds, TICKS / movie.timescale
        if min(reached.values(), default=0) + rounding >= seconds:
            return Complete(name, boxes.doubt)
        longest = max(reached.values(), default=0)
        if longest + REACHED_SECONDS < seconds:
            return Incomplete(f"{longest:.1f} s of the {seconds:.1f} s that it announces are there {COPYING}")
    return Complete(name, boxes.doubt, f"it is a fragmented {name.upper()}, {NO_END}")


def _cut(box: Box, size: int) -> Incomplete:
    return Incomplete(f"{box.end - size:,} bytes are missing at the end of the file {COPYING}")


def _short_of(what: str, end: int, size: int) -> Incomplete:
    return Incomplete(f"{what} up to byte {end:,}, and the file has {size:,} {COPYING}")


def _box_at(file: BinaryIO, position: int, size: int) -> Box | Incomplete | Unrecognised:
    if not read_at(file, position, 16).strip(b"\0"):
        return Incomplete(f"from byte {position:,} on there are only zeros {COPYING}")
    box = box_header(file, position, size)
    if box is None:
        return Incomplete(f"the file ends in the middle of a box header {COPYING}")
    if not all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in box.kind):  # noqa: PLR2004  ASCII, Apple's (c)
        return Unrecognised(f"at byte {position} there is no box of an MP4 or MOV file: it is damaged")
    if box.end < box.data:
        name, length = box.kind.decode("latin-1"), box.end - position
        return Unrecognised(
            f"its `{name}` box has a length of {length} bytes, which is impossible: the file is damaged"
        )
    return box


def _is_stray(found: Box | Incomplete | Unrecognised, boxes: Boxes) -> bool:
    """Whether this may follow a whole film and is no part of it; after a fragment another may follow."""
    if isinstance(found, Box):
        return found.kind not in FILM_BOXES
    return not boxes.fragments or boxes.ends_in_index


def _missing_boxes(seen: set[bytes]) -> str:
    if b"moov" not in seen:
        return "the file has no index yet, its `moov` box, often written last (it is probably incomplete)"
    if b"mdat" not in seen:
        return "there are no pictures in the file, no `mdat` box (it is probably still being written)"
    return ""


def _tail_is_zero(file: BinaryIO, start: int, end: int) -> bool:
    """Check backwards from the end, at most half of the data: silence in PCM may end a film with zeros."""
    stop = max(start + (end - start) // 2, end - ZERO_TAIL_BYTES_MAX)
    step = 16
    while end > stop:
        begin = max(stop, end - step)
        if read_at(file, begin, end - begin).strip(b"\0"):
            return False
        end, step = begin, 1 << 16
    return True


def _walk_ebml(file: BinaryIO, size: int, name: Container) -> Complete | Incomplete | Unrecognised:
    found = ebml.Walk(file, size)
    if found.damage:
        return Unrecognised(found.damage)
    if found.missing:
        return Incomplete(f"{found.missing} {COPYING}")
    what = "WebM" if name == "webm" else "Matroska"
    return Complete(name, "", "" if found.has_end else f"it is a {what} file without a length, {NO_END}")


def _zip_end(file: BinaryIO, size: int) -> Complete | Incomplete:
    begin = max(0, size - ZIP_END_BYTES_MAX)
    if b"PK\x05\x06" in read_at(file, begin, size - begin):
        return Complete("zip")
    return Incomplete(f"the archive has no end record {COPYING}")


def _what_it_is_instead(opening: bytes) -> str:
    text = opening.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<mpd" in text[:1024]:
        return f"it is a DASH manifest, {ONLY_NAMES}"
    for begins, what in BEGINNINGS:
        if opening.startswith(begins) or text.startswith(begins):
            return what
    if all(byte >= 0x20 or byte in b"\t\r\n" for byte in opening[:512]):  # noqa: PLR2004  no control bytes
        return "it is a text file, not a video"
    return f"its first bytes are not those of a video that clipspool knows; {TAKES}"
