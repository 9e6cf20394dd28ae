"""Finds out whether an MP4 or MOV holds its own pictures, or says that they lie in another file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from clipspool.media.facts import MediaError

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX_BYTES_MAX = 64 << 20
BOXES_MAX = 10_000
SELF_CONTAINED = 1


def refuse_foreign_pictures(file: int) -> None:
    """Raise MediaError when a video track refers to media outside the file (an external `dref`)."""
    size = os.fstat(file).st_size
    for kind, begin, end in _boxes_of_file(file, size):
        if kind == b"moov" and end - begin <= INDEX_BYTES_MAX:
            index = os.pread(file, end - begin, begin)
            for track in _inside(index, b"trak"):
                for media in _inside(track, b"mdia"):
                    if any(handler[8:12] == b"vide" for handler in _inside(media, b"hdlr")):
                        _check_media(media)


def _check_media(media: bytes) -> None:
    for information in _inside(media, b"minf"):
        for data in _inside(information, b"dinf"):
            for table in _inside(data, b"dref"):
                for _, entry in _boxes(table[8:]):
                    if not int.from_bytes(entry[:4], "big") & SELF_CONTAINED:
                        raise MediaError(
                            "MEDIA.UNREADABLE",
                            "its pictures lie in another file, to which it only refers",
                            "Export it as a self-contained movie.",
                        )


def _boxes_of_file(file: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    position = 0
    for _ in range(BOXES_MAX):
        header = os.pread(file, 16, position)
        if len(header) < 8:  # noqa: PLR2004  a box's length and type
            return
        length, header_length = int.from_bytes(header[:4], "big"), 8
        if length == 1:
            length, header_length = int.from_bytes(header[8:16], "big"), 16
        elif length == 0:
            length = size - position
        if length < header_length:
            return
        yield header[4:8], position + header_length, min(size, position + length)
        position += length


def _inside(content: bytes, kind: bytes) -> Iterator[bytes]:
    return (inner for each, inner in _boxes(content) if each == kind)


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    for _ in range(BOXES_MAX):
        length = int.from_bytes(content[position : position + 4], "big")
        if length < 8:  # noqa: PLR2004  a box's length and type; inside an index no box is longer than 4 GB
            return
        yield content[position + 4 : position + 8], content[position + 8 : position + length]
        position += length
