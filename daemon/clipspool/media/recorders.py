"""Recognises the containers of recorders and older tools, and checks their ends: MXF, AVI, MPEG and GIF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from clipspool.media.tables import read_at

RecorderKind = Literal["mxf", "avi", "ts", "mpg", "gif"]
RECORDERS: Final[frozenset[str]] = frozenset({"mxf", "avi", "ts", "mpg", "gif"})

ITEMS_MAX = 200_000
"""So many elements of a file are walked through; a longer file is judged by these and by its end."""
PLACES_MAX = 4000
_RUN_BYTES = 16 << 10
_TAIL_BYTES = 4096
_PACKETS = ((188, 0), (192, 4), (204, 0))
"""Length of the packets of a transport stream, and where in them the sync byte stands."""
_SYNC = 0x47
_MARKS_MIN = 5
"""So many sync bytes in a row are no chance, wherever the first one is."""
_KLV: Final = b"\x06\x0e\x2b\x34"
_PARTITION: Final = bytes.fromhex("060e2b34020501010d010201 01")
_HEADER, _FOOTER = 0x02, 0x04
_FOOTER_POSITION_AT = 24
_INDEX_OF_PARTITIONS: Final = bytes.fromhex("060e2b34020501010d010201011101")
_KEY_BYTES = 16
_BER_LONG = 0x80
_NO_LENGTH = frozenset({0, 0xFFFFFFFF})
_GIF_HEAD_BYTES = 13
_GIF_PICTURE_BYTES = 10
"""The description of one picture, before its colours."""
_PROGRAM_END: Final = b"\0\0\x01\xb9"
_ENCRYPTED: Final = bytes.fromhex("060e2b34020401070d010301027e01")
"""Begins the key of an encrypted part of an MXF file."""


@dataclass(frozen=True, slots=True)
class End:
    """What is known about the end of a file."""

    missing: str = ""
    """What is not there; empty where nothing is known to be missing."""
    no_end: str = ""
    """What it is, where nothing in it says that this is its end."""


def recorder_of(opening: bytes) -> RecorderKind | None:
    """Return the container of a file's first bytes; None for anything else."""
    if opening.startswith(_PARTITION) and opening[13:14] == bytes([_HEADER]):
        return "mxf"
    if opening.startswith(b"RIFF") and opening[8:12] == b"AVI ":
        return "avi"
    if opening.startswith(b"\0\0\x01\xba"):
        return "mpg"
    if opening.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "ts" if packet_of(opening) else None


def packet_of(opening: bytes) -> tuple[int, int] | None:
    """Return length and sync offset of a transport stream's packets; None if it is none."""
    for length, offset in _PACKETS:
        marks = opening[offset : offset + 2 * length + 1 : length]
        if marks == bytes([_SYNC] * 3):
            return length, offset
    # A capture may begin anywhere; players look for the first packet.
    for length, _ in _PACKETS:
        for offset in range(length):
            marks = opening[offset::length]
            if len(marks) >= _MARKS_MIN and marks == bytes([_SYNC]) * len(marks):
                return length, offset
    return None


def end_of(file: BinaryIO, size: int, name: RecorderKind) -> End:
    """Check that a file of `size` bytes has its end, as far as its container tells."""
    match name:
        case "mxf":
            return _mxf(file, size)
        case "avi":
            return _avi(file, size)
        case "ts":
            return _transport_stream(file, size)
        case "mpg":
            return _program_stream(file, size)
        case "gif":
            return _gif(file, size)


def is_encrypted(file: BinaryIO, size: int, name: str) -> bool:
    """Whether a file's pictures are encrypted, by its first packets."""
    if name == "ts":
        packet = packet_of(read_at(file, 0, 1024))
        if packet is None:
            return False
        length, offset = packet
        heads = (read_at(file, number * length + offset, 4) for number in range(min(size // length, 2000)))
        return any(len(head) > 3 and head[3] & 0xC0 for head in heads)  # noqa: PLR2004  scrambling control
    return name == "mxf" and _ENCRYPTED in read_at(file, 0, 1 << 20)


def _gif(file: BinaryIO, size: int) -> End:
    """Walk through the blocks of a GIF to its end mark, which as a byte of a picture means nothing."""
    if not read_at(file, max(0, size - _TAIL_BYTES), _TAIL_BYTES).rstrip(b"\0").endswith(b";"):
        return End("the GIF has no end mark")
    position = _GIF_HEAD_BYTES + _colours(read_at(file, 10, 1))
    for _ in range(ITEMS_MAX):
        match read_at(file, position, 1):
            case b";":
                return End()
            case b"!":
                position += 2
            case b",":
                position += _GIF_PICTURE_BYTES + _colours(read_at(file, position + 9, 1)) + 1
            case b"":
                break
            case _:
                return End(_not_there(position))
        while length := read_at(file, position, 1):
            position += 1 + length[0]
            if not length[0]:
                break
        if position > size:
            break
    else:
        return End(no_end=f"a GIF of more than {ITEMS_MAX:,} pictures")
    return End("the GIF has no end mark")


def _colours(flags: bytes) -> int:
    """Return the bytes of a table of colours, by the flags that announce it; 0 where there is none."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _mxf(file: BinaryIO, size: int) -> End:
    footer = int.from_bytes(read_at(file, _after_key(file, 0) + _FOOTER_POSITION_AT, 8), "big")
    if footer and footer + _KEY_BYTES > size:
        return End(f"its end is at byte {footer:,}, and the file has {size:,}")
    position = 0
    for _ in range(ITEMS_MAX):
        if position >= size:
            break
        if not read_at(file, position, 4).startswith(_KLV):
            return End(_not_there(position))
        value = _after_key(file, position)
        position = value + _length_at(file, position + _KEY_BYTES)
        if position > size:
            return End(f"{position - size:,} bytes are missing at the end of the file")
    if footer and _is_footer(file, footer):
        return End()
    index_bytes = int.from_bytes(read_at(file, size - 4, 4), "big")
    if read_at(file, max(0, size - index_bytes), 15) == _INDEX_OF_PARTITIONS:
        return End()
    return End(no_end="an MXF file that was not closed")


def _is_footer(file: BinaryIO, position: int) -> bool:
    key = read_at(file, position, _KEY_BYTES)
    return key.startswith(_PARTITION) and key[13:14] == bytes([_FOOTER])


def _after_key(file: BinaryIO, position: int) -> int:
    """Return where the value of a key-length-value item begins."""
    first = (read_at(file, position + _KEY_BYTES, 1) or b"\0")[0]
    return position + _KEY_BYTES + 1 + (first & 0x7F if first & _BER_LONG else 0)


def _length_at(file: BinaryIO, position: int) -> int:
    """Read a length in BER."""
    head = read_at(file, position, 9) or b"\0"
    return int.from_bytes(head[1 : 1 + (head[0] & 0x7F)], "big") if head[0] & _BER_LONG else head[0]


def _avi(file: BinaryIO, size: int) -> End:
    position = 0
    for _ in range(ITEMS_MAX):
        header = read_at(file, position, 12)
        if not header.startswith(b"RIFF"):
            break  # what a tool appended
        length = int.from_bytes(header[4:8], "little")
        if length in _NO_LENGTH:
            return End(no_end="an AVI file that was not closed")
        end = position + 8 + length
        if end > size:
            return End(f"{end - size:,} bytes are missing at the end of the file")
        if missing := _in_riff(file, position + 12, end):
            return End(missing)
        position = end + length % 2
    return End()


def _in_riff(file: BinaryIO, position: int, end: int) -> str:
    """Walk through the chunks of an AVI, and through its pictures; return what is missing."""
    for _ in range(ITEMS_MAX):
        if position + 8 > end:
            break
        header = read_at(file, position, 12)
        if not header[:4].strip(b"\0"):
            return _not_there(position)
        length = int.from_bytes(header[4:8], "little")
        is_list = header[:4] == b"LIST" and header[8:12] in {b"movi", b"rec "}
        position += 12 if is_list else 8 + length + length % 2
    return ""


def _transport_stream(file: BinaryIO, size: int) -> End:
    packet = packet_of(read_at(file, 0, 1024))
    if packet is None:
        return End("the stream has no packets")
    length, offset = packet
    start = offset - dict(_PACKETS)[length]
    if (size - start) % length:
        return End(
            "the stream ends in the middle of a packet; one that was recorded so has to be exported anew"
        )
    count = (size - start) // length
    for number in range(0, count, count // PLACES_MAX + 1):
        if read_at(file, number * length + offset, 1) == b"\0":
            return End(_not_there(number * length))
    return End(no_end="an MPEG transport stream")


def _program_stream(file: BinaryIO, size: int) -> End:
    step = max(4 * _RUN_BYTES, size // PLACES_MAX)
    for position in range(step, size - _RUN_BYTES, step):
        if not read_at(file, position, _RUN_BYTES).strip(b"\0"):
            return End(_not_there(position))
    tail = read_at(file, max(0, size - _TAIL_BYTES), _TAIL_BYTES).rstrip(b"\0\xff")
    return End() if tail.endswith(_PROGRAM_END) else End(no_end="an MPEG program stream")


def _not_there(position: int) -> str:
    return f"from byte {position:,} on a part was not written"
