"""Recognises outputs that are no film by their bytes, checks archives, and finds content credentials."""

from __future__ import annotations

import encodings.cp437  # noqa: F401  zipfile imports it later, when no file can be opened any more
import json
import lzma
import os
import zipfile
import zlib
from typing import BinaryIO, Final

from clipspool.media.facts import MediaError, Probe
from clipspool.media.tables import box_header, read_at

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
"""Keys of a server's error that was answered with status 200."""
C2PA_UUID: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_BOXES_MAX = 10_000
ZIP_ENTRIES_MAX = 100_000
ZIP_BYTES_MAX = 1 << 38
ZIP_CHUNK_BYTES = 1 << 18
_ENDS_BYTES = 1 << 20


def other_kind(file: BinaryIO) -> str:
    """Return the suffix of an output that is no film, from its bytes; empty where it is of no use.

    A picture is recognised by its beginning, JSON only if it can be parsed and is no server's error.
    """
    head = read_at(file, 0, 16)
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
        body = json.loads(read_at(file, 0, size))
    except (ValueError, RecursionError):
        return False
    return not (isinstance(body, dict) and _ERRORS & body.keys())


def has_credentials(file: BinaryIO) -> bool:
    """Whether a film holds content credentials (C2PA): their `uuid` box, or bytes that look like them."""
    size = file.seek(0, os.SEEK_END)
    position = 0
    for _ in range(_BOXES_MAX):
        header = box_header(file, position)
        if header is None:
            break
        if header.kind == b"uuid" and read_at(file, header.data, 16) == C2PA_UUID:
            return True
        if header.end < header.data or not header.kind.isalnum():
            break
        position = header.end
        if position >= size:
            return False
    # Matroska has no boxes: there they are an attachment, near its beginning or its end.
    ends = read_at(file, 0, _ENDS_BYTES) + read_at(file, max(size - _ENDS_BYTES, 0), _ENDS_BYTES)
    return b"application/c2pa" in ends or (b"jumb" in ends and b"c2pa" in ends)


def verify_archive(file: int) -> Probe:
    """Unpack a ZIP without keeping anything, and compare its checksums; raises MediaError."""
    try:
        with open(file, "rb", closefd=False) as reader, zipfile.ZipFile(reader) as archive:
            entries = archive.infolist()
            bytes_unpacked = sum(entry.file_size for entry in entries)
            if not bytes_unpacked:
                raise MediaError("MEDIA.UNREADABLE", "the archive is empty", "Fetch it again.")
            if len(entries) > ZIP_ENTRIES_MAX or bytes_unpacked > ZIP_BYTES_MAX:
                why = "the archive unpacks to more than is allowed"
                raise MediaError("MEDIA.TOO_LARGE", why, "Look at it by hand.")
            for entry in entries:
                with archive.open(entry) as member:
                    while member.read(ZIP_CHUNK_BYTES):
                        pass
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError) as error:
        raise MediaError("MEDIA.UNREADABLE", "the archive is damaged", "Fetch it again.") from error
    return Probe(container="zip", size_bytes=os.fstat(file).st_size)
