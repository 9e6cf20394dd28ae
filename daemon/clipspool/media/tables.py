"""Reads the boxes and sample tables of an MP4 or MOV file: where its samples are, without reading any."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import BinaryIO

MOOV_BYTES_MAX = 32 << 20
TABLE_BYTES_MAX = 4 << 20
"""Of one table: a million samples, four hours of pictures. A larger one is not kept, for its memory."""
CHILDREN_MAX = 4096
"""Boxes within one box."""
TRACKS_MAX = 64
EDITS_MAX = 8
"""Rows of an edit list that are read: pauses may come first."""
_UNKNOWN_DURATIONS = frozenset({0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF})


@dataclass(frozen=True, slots=True)
class Box:
    """A box as announced by its header: its content may reach beyond the file."""

    kind: bytes
    data: int
    """Where its content begins."""
    end: int
    has_length: bool = True
    """False where it reaches to the end of the file, wherever that is."""


@dataclass(frozen=True, slots=True)
class Track:
    """A track by its tables: its chunks, and the size of each sample in them."""

    id: int = 0
    handler: bytes = b""
    """`vide`, `soun`, or another."""
    codec: bytes = b""
    timescale: int = 1
    edit_start: int = 0
    """Where in it an edit list begins, in units of the timescale: players do not show what lies before."""
    is_here: bool = True
    """Whether its samples are in this file; a reference movie names others."""
    chunks: array[int] = field(default_factory=lambda: array("Q"))
    """Where each chunk begins."""
    counts: array[int] = field(default_factory=lambda: array("I"))
    """How many samples each chunk holds."""
    sizes: array[int] = field(default_factory=lambda: array("I"))
    """Bytes of each sample; empty where all have the same."""
    size: int = 0
    """Bytes of every sample, where all have the same."""
    last_chunk_bytes: int = 0
    """Bytes of the last chunk, where there are more sizes than are read."""
    default_duration: int = 0
    default_size: int = 0
    """For fragments that do not say how long or large their samples are."""

    @property
    def end(self) -> int:
        """The end of its last byte; 0 where it has none."""
        end = max((begin + length for begin, length in self.chunk_spans()), default=0)
        return max(end, max(self.chunks, default=0) + self.last_chunk_bytes)

    def chunk_spans(self) -> Iterator[tuple[int, int]]:
        """Yield offset and length of each chunk; the length is 1 where the samples' size is not known."""
        # QuickTime counts compressed sound by the sample: then 1 is no size, and only the begin is known.
        size = self.size if self.size > 1 or self.handler != b"soun" else 0
        ends = list(accumulate(self.sizes, initial=0))
        first = 0
        for begin, count in zip(self.chunks, self.counts, strict=False):
            upto = min(first + count, len(self.sizes))
            length = ends[upto] - ends[first] if self.sizes else count * size
            if count and (length or not self.sizes):
                yield begin, max(length, 1)
            first = upto

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield offset and size of each sample, or of each chunk where all samples have one size."""
        first = 0
        for begin, count in zip(self.chunks, self.counts, strict=False):
            if not self.sizes:
                yield begin, count * self.size
                continue
            position = begin
            for size in self.sizes[first : first + count]:
                yield position, size
                position += size
            first += count


@dataclass(frozen=True, slots=True)
class Movie:
    """A film by its `moov` box."""

    tracks: tuple[Track, ...] = ()
    is_fragmented: bool = False
    """Whether fragments may follow (`mvex`)."""
    timescale: int = 1
    duration: int = 0
    """In units of the timescale; 0 where it is not given."""
    fragments_duration: int = 0
    """Of all fragments together, where `mehd` gives it."""

    @property
    def end(self) -> int:
        """The end of the last sample that an index names; 0 where it names none."""
        return max((track.end for track in self.tracks if track.is_here), default=0)

    @property
    def has_samples(self) -> bool:
        """Whether any table names a sample."""
        return any(track.chunks for track in self.tracks)

    @property
    def seconds(self) -> float | None:
        """The announced duration of the fragments; None where there is none."""
        duration = self.fragments_duration or (0 if self.has_samples else self.duration)
        return duration / self.timescale if duration and self.timescale else None


def box_header(file: BinaryIO, start: int, upto: int = 0) -> Box | None:
    """Read the header of a box, which ends at `upto` where it has no length; None where the header is cut.

    Where the length is less than the header's own, the box ends before its data.
    """
    header = read_at(file, start, 16)
    length, header_length = int.from_bytes(header[:4], "big"), 8
    if length == 1:
        length, header_length = int.from_bytes(header[8:], "big"), 16
    if len(header) < header_length:
        return None
    end = start + length if length else upto
    return Box(header[4:8], start + header_length, end, has_length=length != 0)


def children(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two positions, up to the first that is damaged or cut."""
    for _ in range(CHILDREN_MAX):
        box = box_header(file, start, end)
        if box is None or not box.data <= box.end <= end:
            return
        yield box
        start = box.end


def read_movie(file: BinaryIO, moov: Box) -> Movie:
    """Read `moov`; what is missing or impossible in it is left out."""
    timescale, duration, fragments_duration, is_fragmented = 1, 0, 0, False
    if moov.end - moov.data > MOOV_BYTES_MAX:
        return Movie()
    tracks: list[Track] = []
    defaults: dict[int, tuple[int, int]] = {}
    for box in children(file, moov.data, moov.end):
        if box.kind == b"mvhd":
            timescale, duration = _times(read_at(file, box.data, 32))
        elif box.kind == b"trak" and len(tracks) < TRACKS_MAX:
            tracks.append(_track(file, box))
        elif box.kind == b"mvex":
            is_fragmented = True
            for part in children(file, box.data, box.end):
                body = read_at(file, part.data, 24)
                if part.kind == b"mehd":
                    fragments_duration = _known(_number(body, 4, 8 if body[:1] == b"\1" else 4))
                elif part.kind == b"trex":
                    defaults[_number(body, 4)] = (_number(body, 12), _number(body, 16))
    completed = []
    for track in tracks:
        track_duration, size = defaults.get(track.id, (0, 0))
        completed.append(replace(track, default_duration=track_duration, default_size=size))
    return Movie(tuple(completed), is_fragmented, timescale, duration, fragments_duration)


def _track(file: BinaryIO, trak: Box) -> Track:
    found = {b"trak": trak}
    for parent in (b"trak", b"edts", b"mdia", b"minf", b"dinf", b"stbl"):
        within = found.get(parent)
        for box in children(file, within.data, within.end) if within is not None else ():
            found.setdefault(box.kind, box)
    head = _head(file, found.get(b"tkhd"), 24)
    handler = _head(file, found.get(b"hdlr"), 12)[8:12]
    codec = _head(file, found.get(b"stsd"), 16)[12:16]
    timescale, _ = _times(_head(file, found.get(b"mdhd"), 32))
    chunks = _table(file, found.get(b"stco"), "I", 4, 4) or _table(file, found.get(b"co64"), "Q", 8, 4)
    size, sizes, count = _sizes(file, found)
    counts = _counts(_table(file, found.get(b"stsc"), "I", 4, 4, fields=3), len(chunks), count)
    is_left_out = not (size or sizes) and count
    return Track(
        id=_number(head, 20 if head[:1] == b"\1" else 12),
        handler=handler,
        codec=codec,
        timescale=max(timescale, 1),
        edit_start=_edit_start(_head(file, found.get(b"elst"), 8 + EDITS_MAX * 20)),
        is_here=_is_here(file, found.get(b"dref")),
        chunks=array("Q", chunks),
        counts=counts,
        sizes=sizes,
        size=size,
        last_chunk_bytes=_last_chunk_bytes(file, found.get(b"stsz"), chunks, counts) if is_left_out else 0,
    )


def _edit_start(elst: bytes) -> int:
    """Return where the first part of an edit list begins that is no pause."""
    width = 8 if elst[:1] == b"\1" else 4
    for at in range(8, min(len(elst), 8 + _number(elst, 4) * (2 * width + 4)), 2 * width + 4):
        begin = int.from_bytes(elst[at + width : at + 2 * width], "big", signed=True)
        if begin >= 0:
            return begin
    return 0


def _sizes(file: BinaryIO, found: dict[bytes, Box]) -> tuple[int, array[int], int]:
    """Return the size of all samples, or the size of each; and how many there are."""
    if box := found.get(b"stsz"):
        head = _head(file, box, 12)
        size, count = _number(head, 4), _number(head, 8)
        return (size, array("I"), count) if size else (0, _table(file, box, "I", 4, 8), count)
    if box := found.get(b"stz2"):
        head = _head(file, box, 12)
        bits, count = _number(head, 7, 1), _number(head, 8)
        data = read_at(file, box.data + 12, min(count * bits // 8 + 1, TABLE_BYTES_MAX, box.end - box.data))
        sizes = {
            16: lambda: _native(array("H", data[: len(data) // 2 * 2])),
            8: lambda: array("I", data),
            4: lambda: array("I", [half for byte in data for half in (byte >> 4, byte & 15)]),
        }
        return 0, array("I", sizes.get(bits, sizes[4])()[:count]), count
    return 0, array("I"), 0


def _last_chunk_bytes(file: BinaryIO, stsz: Box | None, chunks: array[int], counts: array[int]) -> int:
    """Add up the sizes of the samples in the chunk behind all others, a few at a time."""
    known = min(len(chunks), len(counts))
    if stsz is None or not known:
        return 0
    last = max(range(known), key=chunks.__getitem__)
    at = stsz.data + 12 + 4 * sum(counts[:last])
    upto, total = min(at + 4 * counts[last], stsz.end), 0
    while at < upto:
        data = read_at(file, at, min(TABLE_BYTES_MAX, upto - at))
        if len(data) < 4:  # noqa: PLR2004  the file ends here
            break
        total += sum(_native(array("I", data[: len(data) // 4 * 4])))
        at += TABLE_BYTES_MAX
    return total


def _counts(runs: array[int], chunks: int, samples: int) -> array[int]:
    """Spread the runs of `stsc` (first chunk, samples a chunk, description) over all chunks."""
    counts = array("I")
    for index in range(0, len(runs) - 2, 3):
        upto = runs[index + 3] - 1 if index + 3 < len(runs) else chunks
        missing = min(upto, chunks) - len(counts)
        if missing > 0 and runs[index] - 1 <= len(counts):
            counts.extend(array("I", [min(runs[index + 1], samples)]) * missing)
    return counts


def _table(file: BinaryIO, box: Box | None, kind: str, width: int, skip: int, fields: int = 1) -> array[int]:
    """Read a table: a count after `skip` bytes, then as many rows of `fields`; empty if too large."""
    table = array(kind)
    if box is None:
        return table
    count = _number(read_at(file, box.data, skip + 4), skip)
    length = min(count * width * fields, max(box.end - box.data - skip - 4, 0))
    if length > TABLE_BYTES_MAX:
        return table
    data = read_at(file, box.data + skip + 4, length)
    table.frombytes(data[: len(data) // width * width])
    return _native(table)


def _native(table: array[int]) -> array[int]:
    if sys.byteorder == "little":
        table.byteswap()
    return table


def _is_here(file: BinaryIO, dref: Box | None) -> bool:
    """Whether all data references mean this file: flag 1 of each."""
    if dref is None:
        return True
    entries = list(children(file, dref.data + 8, dref.end))
    return all(_number(read_at(file, entry.data, 4), 0) & 1 for entry in entries)


def _times(body: bytes) -> tuple[int, int]:
    """Return timescale and duration of `mvhd` or `mdhd`; 0 for an unknown duration."""
    if body[:1] == b"\1":
        return _number(body, 20), _known(_number(body, 24, 8))
    return _number(body, 12), _known(_number(body, 16))


def _known(duration: int) -> int:
    return 0 if duration in _UNKNOWN_DURATIONS else duration


def _head(file: BinaryIO, box: Box | None, count: int) -> bytes:
    return b"" if box is None else read_at(file, box.data, min(count, box.end - box.data))


def _number(data: bytes, at: int, width: int = 4) -> int:
    return int.from_bytes(data[at : at + width], "big")


def read_at(file: BinaryIO, position: int, count: int) -> bytes:
    """Read up to `count` bytes; an unbuffered file may return them in parts."""
    file.seek(position)
    data = file.read(count) or b""
    while 0 < len(data) < count and (more := file.read(count - len(data))):
        data += more
    return data
