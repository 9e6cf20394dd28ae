"""Reads the fragments (`moof`) of an MP4: where their samples are, and which time they cover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from clipspool.media.tables import Box, Movie, Track, children, read_at

RUN_BYTES_MAX = 1 << 20
"""Of one `trun`: some 65,000 samples in one fragment."""
GAP_SECONDS = 0.5
"""Less than this between two fragments is rounding, or a picture that was held."""
REFERENCES_MIN = 2
"""An index (`sidx`) of one segment precedes each segment of a live recording: it gives no end."""


@dataclass(slots=True)
class Fragments:
    """The fragments of a file, read one after the other."""

    movie: Movie
    end: int = 0
    """The end of the last sample that a fragment names."""
    is_one_missing: bool = False
    """Whether the time jumps and a number of the sequence is missing."""
    spans: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Offset and size of the samples of each video track, if they are kept."""
    _next: dict[int, int] = field(default_factory=dict)
    _sequence: int = 0

    @property
    def seconds(self) -> dict[int, float]:
        """The end of each track of pictures or sound by its number, in seconds; 0 where none has come."""
        return {
            track.id: self._next.get(track.id, 0) / track.timescale
            for track in self.movie.tracks
            if track.handler in {b"vide", b"soun"}
        }

    def read(self, file: BinaryIO, moof: Box, start: int, keep_spans: int = 0) -> None:
        """Read the next fragment, with its header at `start`; keep up to `keep_spans` spans of each track."""
        sequence, is_jump = self._sequence, False
        for box in children(file, moof.data, moof.end):
            if box.kind == b"mfhd":
                sequence = int.from_bytes(read_at(file, box.data + 4, 4), "big")
            elif box.kind == b"traf":
                is_jump |= self._read_track(file, box, start, keep_spans)
        if is_jump:
            self.is_one_missing |= sequence > self._sequence + 1
        self._sequence = sequence

    def _read_track(self, file: BinaryIO, traf: Box, start: int, keep_spans: int) -> bool:
        """Read one track's part; return whether the time jumps before it."""
        track, base, after = Track(), start, start
        duration = size = 0
        is_jump = False
        for box in children(file, traf.data, traf.end):
            if box.kind == b"tfhd":
                track, base, duration, size = self._defaults(read_at(file, box.data, 40), start)
                after = base
            elif box.kind == b"tfdt":
                body = read_at(file, box.data, 12)
                at = int.from_bytes(body[4 : 12 if body[:1] == b"\1" else 8], "big")
                expected = self._next.get(track.id, at)
                is_jump = at - expected > GAP_SECONDS * track.timescale
                self._next[track.id] = at
            elif box.kind == b"trun":
                run = _Run.of(read_at(file, box.data, min(box.end - box.data, RUN_BYTES_MAX)), duration, size)
                begin = base + run.offset if run.offset is not None else after
                after = begin + run.size
                self.end = max(self.end, after)
                self._next[track.id] = self._next.get(track.id, 0) + run.duration
                if keep_spans and track.handler == b"vide":
                    kept = self.spans.setdefault(track.id, [])
                    kept += [
                        span for _, span in zip(range(keep_spans - len(kept)), run.spans(begin), strict=False)
                    ]
        return is_jump

    def _defaults(self, body: bytes, start: int) -> tuple[Track, int, int, int]:
        flags, track_id = int.from_bytes(body[1:4], "big"), int.from_bytes(body[4:8], "big")
        track = next((one for one in self.movie.tracks if one.id == track_id), Track(id=track_id))
        found, at = {0x01: start, 0x08: track.default_duration, 0x10: track.default_size}, 8
        for flag, width in ((0x01, 8), (0x02, 4), (0x08, 4), (0x10, 4)):
            if flags & flag:
                found[flag] = int.from_bytes(body[at : at + width], "big")
                at += width
        return track, found[0x01], found[0x08], found[0x10]


@dataclass(frozen=True, slots=True)
class _Run:
    """One `trun`."""

    offset: int | None
    count: int
    size: int
    duration: int
    sizes: Sequence[int]
    default_size: int

    @classmethod
    def of(cls, body: bytes, default_duration: int, default_size: int) -> _Run:
        flags, count = int.from_bytes(body[1:4], "big"), int.from_bytes(body[4:8], "big")
        at, offset = 8, None
        if flags & 0x01:
            offset = int.from_bytes(body[at : at + 4], "big", signed=True)
            at += 4
        at += 4 if flags & 0x04 else 0
        fields = [flag for flag in (0x100, 0x200, 0x400, 0x800) if flags & flag]
        width = 4 * len(fields)
        rows = min(count, (len(body) - at) // width) if width else 0
        sizes = _column(body, at, width, fields, 0x200, rows)
        durations = _column(body, at, width, fields, 0x100, rows)
        return cls(
            offset,
            count,
            sum(sizes) if sizes is not None else count * default_size,
            sum(durations) if durations is not None else count * default_duration,
            sizes or (),
            default_size,
        )

    def spans(self, begin: int) -> Iterator[tuple[int, int]]:
        for size in self.sizes or (self.default_size for _ in range(self.count)):
            yield begin, size
            begin += size


def _column(body: bytes, at: int, width: int, fields: list[int], flag: int, rows: int) -> list[int] | None:
    if flag not in fields:
        return None
    first = at + 4 * fields.index(flag)
    return [int.from_bytes(body[first + n * width : first + n * width + 4], "big") for n in range(rows)]


def index_end(file: BinaryIO, sidx: Box) -> int | None:
    """Return the end of the segments of an index (`sidx`); None where it has only one, or other indexes."""
    body = read_at(file, sidx.data, min(sidx.end - sidx.data, RUN_BYTES_MAX))
    begin, at = (20, 28) if body[:1] == b"\1" else (16, 20)
    first = int.from_bytes(body[begin:at], "big")
    count = int.from_bytes(body[at + 2 : at + 4], "big")
    sizes = [int.from_bytes(body[at + 4 + n * 12 : at + 8 + n * 12], "big") for n in range(count)]
    if count < REFERENCES_MIN or len(body) < at + 4 + 12 * count or any(size >> 31 for size in sizes):
        return None
    return sidx.end + first + sum(sizes)
