"""Tells what an output is that is no film, by its bytes, and whether something is signed into one that is."""

from __future__ import annotations

import json
import os
from typing import BinaryIO, Final

_JSON_BYTES_MAX = 16 << 20
_BEGINNINGS: Final = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF8", ".gif"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\x76\x2f\x31\x01", ".exr"),
    (b"ID3", ".mp3"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"WEBVTT", ".vtt"),
)
_RIFF: Final = {b"WEBP": ".webp", b"WAVE": ".wav"}
_ERRORS = frozenset({"error", "errors", "code", "message", "detail"})
"""What an error of a server has for keys, where it answers with 200 all the same."""
C2PA_UUID: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_BOXES_MAX = 10_000
_ENDS_BYTES = 1 << 20


def other_kind(file: BinaryIO) -> str:
    """Give the suffix of an output that is no film, from its bytes; empty where it is nothing of use.

    A picture counts by its beginning, JSON only if it can be read and is no server's error.
    """
    head = _at(file, 0, 16)
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], "")
    for begins, suffix in _BEGINNINGS:
        if head.startswith(begins):
            return suffix
    return ".json" if head.lstrip()[:1] in {b"{", b"["} and _is_json(file) else ""


def _is_json(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    if size > _JSON_BYTES_MAX:
        return False
    try:
        body = json.loads(_at(file, 0, size))
    except (ValueError, RecursionError):
        return False
    return not (isinstance(body, dict) and _ERRORS & body.keys())


def has_credentials(file: BinaryIO) -> bool:
    """Tell whether a film holds content credentials (C2PA): a `uuid` box of theirs, or what looks so."""
    size = file.seek(0, os.SEEK_END)
    position = 0
    for _ in range(_BOXES_MAX):
        header = _at(file, position, 32)
        if len(header) < 8:  # noqa: PLR2004  a box's length and type
            break
        length, begin = int.from_bytes(header[:4], "big"), 8
        if length == 1:
            length, begin = int.from_bytes(header[8:16], "big"), 16
        if header[4:8] == b"uuid" and header[begin : begin + 16] == C2PA_UUID:
            return True
        if length < begin or not header[4:8].isalnum():
            break
        position += length
        if position >= size:
            return False
    # Not in boxes: Matroska has them as an attachment, near its beginning or its end.
    ends = _at(file, 0, _ENDS_BYTES) + _at(file, max(size - _ENDS_BYTES, 0), _ENDS_BYTES)
    return b"application/c2pa" in ends or (b"jumb" in ends and b"c2pa" in ends)


def _at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    data = file.read(count) or b""
    while 0 < len(data) < count and (more := file.read(count - len(data))):
        data += more
    return data
