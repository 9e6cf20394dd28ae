"""Finds parts of a clip that were never written: holes, and zeros where a coder writes none.

Silence is all zeros in PCM, and so is black in uncompressed pictures; a file system that compresses makes
holes of both. So it matters whose bytes are missing: the tables say where each picture is.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from typing import BinaryIO, Final

from clipspool.media import ebml
from clipspool.media.boxes import COPYING, Complete
from clipspool.media.facts import ZEROS
from clipspool.media.fragments import Fragments
from clipspool.media.recorders import RECORDERS
from clipspool.media.tables import Movie, read_at

HOLES_MAX = 1000
SPANS_MAX = 300_000
"""Pictures whose places are compared with holes; in a longer film every hole counts as one in a picture."""
PROBES_MAX = 20_000
PROBE_SECONDS = 1.5
"""The search for zeros ends after this on a slow disk, with places spread evenly over the file."""
_PHASES = 16
_BEGINNING_BYTES = 256
_SHORTEST_BYTES = 16
_STEP_BYTES = 64 << 10
_RUN_BYTES = 16 << 10

Span = tuple[int, int]


class _Zeros(Enum):
    """Where a codec may write many zero bytes."""

    NOWHERE = auto()
    PADDING = auto()
    """After a picture, so that all have the same size; never at its beginning."""
    ANYWHERE = auto()


_NO_ZEROS: Final = frozenset(
    "avc1 avc2 avc3 avc4 hvc1 hev1 dvh1 dvhe dva1 dvav mp4v encv vp08 vp09 av01 jpeg mjpa mjpb mjpg apch "  # noqa: SIM905 - three lines read better than thirty
    "apcn apcs apco ap4h ap4x V_MPEG4/ISO/AVC V_MPEGH/ISO/HEVC V_VP8 V_VP9 V_AV1 V_PRORES V_MJPEG".split()
)
_ALL_ZEROS: Final = frozenset(
    "NONE r210 r10k R10k AVrp avrp v210 v216 v308 v408 v410 AYUV ayuv yuv4 2vuy 2Vuy yuvs yuv2 YUY2 UYVY "  # noqa: SIM905
    "b16g b48r b64a RGBA ABGR BGGR V_UNCOMPRESSED V_MS/VFW/FOURCC V_QUICKTIME".split()
) | {"raw ", "\0\0\0\0"}


@dataclass(frozen=True, slots=True)
class Gap:
    """A part that may never have been written."""

    reason: str
    is_certain: bool
    """Whether it cannot be intended."""


@dataclass(frozen=True, slots=True)
class _Lane:
    """One track's samples."""

    zeros: _Zeros
    spans: Callable[[], Iterator[Span]]


def holes_in(descriptor: int, size: int) -> tuple[Span, ...]:
    """Return begin and end of the parts for which the file system has no data; none where it cannot tell.

    Call it before anything reads the file: on ext4, reserved space looks like data once it was read.
    """
    holes: list[Span] = []
    end = 0
    with suppress(OSError):  # a file system without holes
        while end < size and len(holes) < HOLES_MAX:
            begin = os.lseek(descriptor, end, os.SEEK_HOLE)
            if begin >= size:
                break
            end = size
            with suppress(OSError):  # ENXIO: no data behind it
                end = os.lseek(descriptor, begin, os.SEEK_DATA)
            holes.append((begin, end))
        return tuple(holes)
    return ()


def gap_in(file: BinaryIO, size: int, whole: Complete, holes: Sequence[Span]) -> Gap | None:
    """Find a missing part of a clip whose boxes are all there; None where there is none."""
    name = whole.container
    if name in RECORDERS:
        # What fills MXF and AVI up is all zeros, and may have become a hole; the others have nothing like it.
        return _first_of(holes, is_certain=name not in {"mxf", "avi"})
    lanes, vital = _lanes(file, size, whole)
    doubt: Gap | None = None
    for begin, end in holes:
        found = _judge_hole(begin, end, lanes, vital)
        if found is not None and found.is_certain:
            return found
        doubt = doubt or found
    for lane in lanes:
        if lane.zeros is not _Zeros.ANYWHERE and (position := _zeros_in(file, lane)) is not None:
            why = f"{ZEROS} from byte {position:,} on {COPYING}"
            return Gap(why, is_certain=True)
    return doubt


def zeros_in_film(descriptor: int, whole: Complete) -> str:
    """Return where a whole film's pictures are nothing but zeros; empty where they are not.

    A server may have lost a part of it, which its boxes, its first picture and its last packet do not show.
    """
    with open(descriptor, "rb", closefd=False) as file:  # buffered: the beginnings of pictures are short
        gap = gap_in(file, os.fstat(descriptor).st_size, whole, ())
    return gap.reason.removesuffix(COPYING).rstrip() if gap is not None and gap.is_certain else ""


def _first_of(holes: Sequence[Span], *, is_certain: bool) -> Gap | None:
    if not holes:
        return None
    what = f"a part of it was never written, bytes {holes[0][0]:,} to {holes[0][1]:,}"
    return Gap(f"{what} {COPYING}" if is_certain else what, is_certain)


def _judge_hole(begin: int, end: int, lanes: Sequence[_Lane], vital: Sequence[Span]) -> Gap | None:
    what = f"a part of it was never written, bytes {begin:,} to {end:,}"
    certain = Gap(f"{what} {COPYING}", is_certain=True)
    if any(begin < at + length and at < end for at, length in vital):
        return certain
    found: Gap | None = None if lanes else certain
    for lane in lanes:
        spans = sorted(islice(lane.spans(), SPANS_MAX + 1))
        if len(spans) > SPANS_MAX:
            return certain
        first = max(bisect_right(spans, (begin, 0)) - 1, 0)
        for at, length in islice(spans, first, None):
            if at >= end:
                break
            if at + length <= begin:
                continue
            if lane.zeros is _Zeros.NOWHERE or (
                lane.zeros is _Zeros.PADDING and begin <= at and end >= at + min(length, _BEGINNING_BYTES)
            ):
                return certain
            found = Gap(f"{what}; that may be silence or black, or a copy that is not done", is_certain=False)
    return found


def _zeros_in(file: BinaryIO, lane: _Lane) -> int | None:
    """Check the beginnings of pictures, and places in large ones; return where there are only zeros."""
    number = sum(1 for _ in _places(lane))
    places = list(islice(_places(lane), 0, None, number // PROBES_MAX + 1))
    until = time.monotonic() + PROBE_SECONDS
    for phase in range(_PHASES):
        for position, length in places[phase::_PHASES]:
            if _is_zero(file, position, _SHORTEST_BYTES) and _is_zero(file, position, length):
                return position
            if time.monotonic() > until:
                return None
    return None


def _places(lane: _Lane) -> Iterator[Span]:
    """Yield the places where zeros prove a missing part, each with the number of zeros that prove it."""
    for at, length in lane.spans():
        if length < _SHORTEST_BYTES:
            continue
        yield at, min(length, _BEGINNING_BYTES)
        if lane.zeros is _Zeros.NOWHERE:
            for inner in range(at + _STEP_BYTES, at + length - _RUN_BYTES, _STEP_BYTES):
                yield inner, _RUN_BYTES


def _is_zero(file: BinaryIO, position: int, length: int) -> bool:
    data = read_at(file, position, length)
    return len(data) == length and not data.strip(b"\0")


def _lanes(file: BinaryIO, size: int, whole: Complete) -> tuple[list[_Lane], list[Span]]:
    """Return the tracks of pictures and sound, and the parts without samples that must be there."""
    if whole.container in {"webm", "mkv"}:
        walk = ebml.Walk(file, size)
        return [
            _Lane(_zeros_of(stream.codec, stream.kind == ebml.VIDEO), stream.spans.__iter__)
            for stream in walk.streams.values()
            if stream.kind in {ebml.VIDEO, ebml.SOUND}
        ], []
    if whole.film is None or (moov := whole.film.boxes.moov) is None:
        return [], []
    movie, moofs = whole.film.movie, whole.film.boxes.fragments
    fragments = Fragments(movie)
    for begin, moof in moofs:
        fragments.read(file, moof, begin, SPANS_MAX)
    vital = [(moov.data, moov.end - moov.data)]
    vital += [(moof.data, moof.end - moof.data) for _, moof in moofs]
    return list(_lanes_of(movie, fragments)), vital


def _lanes_of(movie: Movie, fragments: Fragments) -> Iterator[_Lane]:
    for track in movie.tracks:
        is_video = track.handler == b"vide"
        if not track.is_here or not (is_video or track.handler == b"soun"):
            continue
        zeros = _zeros_of(track.codec.decode("latin-1"), is_video)
        yield _Lane(zeros, track.spans if is_video else track.chunk_spans)
        if kept := fragments.spans.get(track.id):
            yield _Lane(zeros, kept.__iter__)


def _zeros_of(codec: str, is_video: bool) -> _Zeros:
    if not is_video or codec in _ALL_ZEROS:
        return _Zeros.ANYWHERE
    return _Zeros.NOWHERE if codec in _NO_ZEROS else _Zeros.PADDING
