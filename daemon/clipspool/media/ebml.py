"""Reads the elements of a Matroska or WebM file: whether all of it is there, and whether it has an end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from clipspool.media.tables import read_at

ELEMENTS_MAX = 200_000
"""An hour of pictures and sound; a longer file is judged by its first elements."""
TOP_ELEMENTS_MAX = 64
SMALL_BYTES_MAX = 1 << 20
REACHED_SECONDS = 1.0
"""This much less than the announced length may be rounding, or the last pictures that are still to come."""
TICKS = 2
"""Times and the announced length may be rounded by this many ticks of the film's clock."""
_HEADER_BYTES_MAX = 12

MAGIC: Final = b"\x1a\x45\xdf\xa3"
SEGMENT = 0x18538067
DOCTYPE = 0x4282
_SEEK_HEAD, _INFO, _TRACKS, _CLUSTER, _CUES = 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1F43B675, 0x1C53BB6B
_PARTS: Final = frozenset(
    {_SEEK_HEAD, _INFO, _TRACKS, _CLUSTER, _CUES, 0x1043A770, 0x1254C367, 0x1941A469, 0xEC, 0xBF}
)
"""The parts of a Segment: those, chapters, tags, attachments, padding and checksums."""
_IN_CLUSTER: Final = frozenset({0xE7, 0xA3, 0xA0, 0xA7, 0xAB, 0x5854, 0xAF, 0xEC, 0xBF})
_TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK = 0xE7, 0xA3, 0xA0, 0xA1
_TIMESTAMP_SCALE, _DURATION = 0x2AD7B1, 0x4489
_TRACK_ENTRY, _TRACK_NUMBER, _TRACK_TYPE, _CODEC = 0xAE, 0xD7, 0x83, 0x86
_ENCODINGS, _ENCODING, _ENCRYPTION = 0x6D80, 0x6240, 0x5035
_SEEK, _SEEK_POSITION, _CUE_POINT, _CUE_POSITIONS, _CUE_CLUSTER = 0x4DBB, 0x53AC, 0xBB, 0xB7, 0xF1
VIDEO, SOUND = 1, 2


@dataclass(frozen=True, slots=True)
class Element:
    """An element as announced by its header; `end` is None where it has no length."""

    identity: int
    data: int
    end: int | None


@dataclass(slots=True)
class Stream:
    """One track, and the places of its blocks."""

    kind: int
    codec: str
    spans: list[tuple[int, int]] = field(default_factory=list)
    last: int = 0
    """The latest time of a block, in ticks of the film's clock."""
    step: int = 0
    """The shortest time between two blocks that follow each other; 0 before the second."""
    _before: int | None = None

    def pass_to(self, at: int) -> None:
        """Count a block at this time; blocks may lie in the order of coding, not of time."""
        step = 0 if self._before is None else abs(at - self._before)
        self.step = min(self.step or step, step or self.step)
        self.last, self._before = max(self.last, at), at


class Walk:
    """Reads a file: what is missing, whether it has an end, and where its samples are."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        """Read the elements of a file of `size` bytes, up to the end of its first Segment."""
        self.missing = ""
        """What is announced and not there; empty where nothing is known to be missing."""
        self.damage = ""
        """Why it is no Matroska file after all."""
        self.has_end = False
        """Whether the file says where it ends, and it ends there."""
        self.streams: dict[int, Stream] = {}
        """The tracks by their numbers."""
        self._file = file
        self._size = size
        self._scale = 1_000_000
        self._duration = 0.0
        self._cluster_at = 0
        self._last_seconds = 0.0
        self._longest_seconds = 0.0
        self._has_cues = False
        self._left = ELEMENTS_MAX
        self._walk()

    def _walk(self) -> None:
        position, size = 0, self._size
        for _ in range(TOP_ELEMENTS_MAX):
            element = _element_at(self._file, position)
            if element is None:
                if position + _HEADER_BYTES_MAX > size:
                    self.missing = "the file ends before its Segment begins"
                else:
                    self.damage = f"at byte {position} there is no element of a Matroska or WebM file"
                return
            if element.identity == SEGMENT:
                self._walk_segment(element)
                return
            if element.end is None or element.end > size:
                missing = "" if element.end is None else f" {element.end - size} bytes"
                self.missing = f"the file ends{missing} before it should"
                return
            position = element.end
        self.damage = f"no Segment among its first {TOP_ELEMENTS_MAX} elements"

    def _walk_segment(self, segment: Element) -> None:
        end = self._size if segment.end is None else segment.end
        if end > self._size:
            self.missing = f"the file ends {end - self._size:,} bytes before it should"
            return
        if segment.end == segment.data:
            self.missing = "its Segment is empty"
            return
        position = segment.data
        while position < end and self._left > 0:
            self._left -= 1
            part = _element_at(self._file, position)
            if part is None or part.identity not in _PARTS:
                self._judge_unknown(part, position, end, "the file ends in the middle of an element")
                break
            if part.end is not None and part.end > end:
                self.missing = f"its last part is cut: {part.end - end:,} bytes of it are missing"
                break
            if part.identity == _CLUSTER:
                self._has_cues = False  # an index before the pictures does not show that it has an end
                position = self._walk_cluster(part, end)
            elif part.end is not None:
                self._read_part(part, segment.data)
                position = part.end
            else:
                break
            if self.missing:
                break
        self._judge_end(segment, is_over=position >= end)

    def _judge_end(self, segment: Element, *, is_over: bool) -> None:
        """Find out whether a Segment has an end: by its length, an index after it, or its duration."""
        self.has_end = segment.end is not None or (is_over and self._has_cues)
        if self.has_end or self.missing or not is_over or self._duration <= 0:
            return
        tick = self._scale / 1e9
        # The track that ends first counts, with its shortest step: a copy may stop between two blocks.
        ends = [
            (stream.last + stream.step + TICKS) * tick
            for stream in self.streams.values()
            if stream.kind in {VIDEO, SOUND}
        ]
        self.has_end = min(ends, default=0) >= self._duration
        slack = max(REACHED_SECONDS, 2 * self._longest_seconds)  # the last picture may last as long as any
        if not self.has_end and self._last_seconds + slack < self._duration:
            there, announced = f"{self._last_seconds:.1f} s", f"{self._duration:.1f} s"
            self.missing = f"{there} of the {announced} that it announces are there"

    def _judge_unknown(self, element: Element | None, position: int, end: int, cut: str) -> None:
        """Find out whether an unknown element means that a part is missing; the decoder judges the rest."""
        if not read_at(self._file, position, 16).strip(b"\0"):
            self.missing = f"from byte {position} on there are only zeros"
        elif element is None and end - position < _HEADER_BYTES_MAX:
            self.missing = cut

    def _read_part(self, part: Element, origin: int) -> None:
        """Read what is needed of one part of the Segment, whose content begins at `origin`."""
        if part.identity == _INFO:
            self._read_info(part)
        elif part.identity == _TRACKS:
            self._read_tracks(part)
        elif part.identity == _CUES:
            self._has_cues = True
            places = _numbers(self._file, part, (_CUE_POINT, _CUE_POSITIONS, _CUE_CLUSTER))
            last = origin + max(places, default=0)
            if last + 4 > self._size:
                self.missing = f"its index names pictures at byte {last:,}, after its end"
            elif last > origin and int.from_bytes(read_at(self._file, last, 4), "big") != _CLUSTER:
                self.missing = f"its index names pictures at byte {last:,}, and there are none"
        elif part.identity == _SEEK_HEAD:
            last = origin + max(_numbers(self._file, part, (_SEEK, _SEEK_POSITION)), default=0)
            if last >= self._size:
                self.missing = f"it names a part at byte {last:,}, after its end"

    def _walk_cluster(self, cluster: Element, end: int) -> int:
        """Read the headers of a cluster's blocks; return its end."""
        position, upto = cluster.data, end if cluster.end is None else cluster.end
        while position < upto and self._left > 0:
            self._left -= 1
            element = _element_at(self._file, position)
            if element is None or element.identity not in _IN_CLUSTER or element.end is None:
                if cluster.end is None and element is not None and element.identity in _PARTS:
                    return position
                self._judge_unknown(element, position, upto, "its last block is cut")
                return upto
            if element.end > upto:
                self.missing = f"its last block is cut: {element.end - upto:,} bytes of it are missing"
                return upto
            if element.identity == _TIMESTAMP:
                self._cluster_at = _unsigned(self._file, element)
            elif element.identity == _SIMPLE_BLOCK:
                self._read_block(element)
            elif element.identity == _BLOCK_GROUP:
                for inner in _elements(self._file, element):
                    if inner.identity == _BLOCK:
                        self._read_block(inner)
            position = element.end
        return upto

    def _read_block(self, block: Element) -> None:
        head = read_at(self._file, block.data, 12)
        track, width = _number(head, keep_marker=False)
        if track is None or block.end is None or len(head) < width + 3:
            return
        at = self._cluster_at + int.from_bytes(head[width : width + 2], "big", signed=True)
        seconds = at * self._scale / 1e9
        self._longest_seconds = max(self._longest_seconds, seconds - self._last_seconds)
        self._last_seconds = max(self._last_seconds, seconds)
        begin = block.data + width + 3
        if stream := self.streams.get(track):
            stream.pass_to(at)
            stream.spans.append((begin, max(block.end - begin, 0)))

    def _read_info(self, info: Element) -> None:
        fields = self._fields(info)
        self._scale = int.from_bytes(fields.get(_TIMESTAMP_SCALE, b"")[:8], "big") or 1_000_000
        data = fields.get(_DURATION, b"")
        form = {4: ">f", 8: ">d"}.get(len(data))
        self._duration = struct.unpack(form, data)[0] * self._scale / 1e9 if form else 0.0

    def _read_tracks(self, tracks: Element) -> None:
        for entry in _elements(self._file, tracks):
            fields = self._fields(entry) if entry.identity == _TRACK_ENTRY else {}
            if number := int.from_bytes(fields.get(_TRACK_NUMBER, b"")[:8], "big"):
                kind = int.from_bytes(fields.get(_TRACK_TYPE, b"")[:8], "big")
                codec = fields.get(_CODEC, b"").rstrip(b"\0").decode("latin-1")
                self.streams[number] = Stream(kind, codec)

    def _fields(self, within: Element) -> dict[int, bytes]:
        """Read the first 32 bytes of each element inside a small element, by its identity."""
        return {
            one.identity: read_at(self._file, one.data, min((one.end or one.data) - one.data, 32))
            for one in _elements(self._file, within)
        }


def is_encrypted(file: BinaryIO, size: int) -> bool:
    """Return whether a track is encrypted, by the parts before the first picture."""
    position = 0
    for _ in range(TOP_ELEMENTS_MAX):
        part = _element_at(file, position) if position < size else None
        if part is None:
            return False
        if part.identity == _TRACKS:
            return bool(_numbers(file, part, (_TRACK_ENTRY, _ENCODINGS, _ENCODING, _ENCRYPTION)))
        if part.identity == SEGMENT:
            position = part.data
        elif part.identity == _CLUSTER or part.end is None:
            return False
        else:
            position = part.end
    return False


def _numbers(file: BinaryIO, within: Element, path: tuple[int, ...]) -> list[int]:
    """Return the numbers of all elements at a path."""
    found = [within]
    for identity in path:
        found = [inner for one in found for inner in _elements(file, one) if inner.identity == identity]
    return [_unsigned(file, element) for element in found]


def _elements(file: BinaryIO, within: Element) -> Iterator[Element]:
    """Yield the elements in a small one, up to the first that is damaged or cut."""
    end = within.end
    if end is None or end - within.data > SMALL_BYTES_MAX:
        return
    position = within.data
    while position < end:
        element = _element_at(file, position)
        if element is None or element.end is None or element.end > end:
            return
        yield element
        position = element.end


def _element_at(file: BinaryIO, position: int) -> Element | None:
    header = read_at(file, position, _HEADER_BYTES_MAX)
    identity, first = _number(header, keep_marker=True)
    length, width = _number(header[first:], keep_marker=False)
    if identity is None or width == 0:
        return None
    data = position + first + width
    return Element(identity, data, None if length is None else data + length)


def _unsigned(file: BinaryIO, element: Element) -> int:
    return int.from_bytes(read_at(file, element.data, min((element.end or 0) - element.data, 8)), "big")


def _number(data: bytes, *, keep_marker: bool) -> tuple[int | None, int]:
    """Read a variable-length number: (value, its length); (None, n) for "unknown", (None, 0) for none."""
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


def doctype(opening: bytes) -> str | None:
    """Return the DocType of the first bytes; `matroska` is the standard's default."""
    header_length, width = _number(opening[4:], keep_marker=False)
    if header_length is None:
        return None
    position, end = 4 + width, min(len(opening), 4 + width + header_length)
    while position < end:
        identity, identity_length = _number(opening[position:end], keep_marker=True)
        length, length_length = _number(opening[position + identity_length : end], keep_marker=False)
        if identity is None or length is None:
            return None
        position += identity_length + length_length
        if identity == DOCTYPE:
            return opening[position : position + length].rstrip(b"\0").decode("latin-1")
        position += length
    return "matroska"
