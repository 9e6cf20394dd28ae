"""Streams a request's JSON body of known length; its files are read only while it is sent."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO, Self

import pybase64

from clipspool.provider.protocol import Inline, encoded_length

_READ_BYTES = 3 << 16  # a multiple of 3, so that base64 pads only at the end
_PIECE_BYTES = 4 << 16  # as many in base64


class FileChanged(Exception):
    """A file does not have its announced length."""


class NotJson(ValueError):
    """The body holds a value that JSON cannot hold: NaN, a date."""


@dataclass(frozen=True, slots=True)
class _Piece:
    inline: Inline
    file: BinaryIO


class Body:
    """An opened body; leave it as a context manager to close its files."""

    def __init__(self, parts: list[bytes | _Piece], files: ExitStack) -> None:
        self._parts = parts
        self._files = files
        self.length = sum(_length(part) for part in parts)
        """The exact number of bytes that iterating yields."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in pieces of 256 KiB and little more, text together with the next file.

        So a small body is one piece and is sent in one call. Raises OSError or FileChanged, midway.
        """
        held = b""
        for part in self._parts:
            for piece in (part,) if isinstance(part, bytes) else _data_uri(part):
                held = held + piece if held else piece
                piece = b""  # noqa: PLW2901 - else it is kept while `held` is sent, and many are sent at once
                if len(held) >= _PIECE_BYTES:
                    yield held
                    held = b""
        if held:
            yield held


def open_body(tree: Mapping[str, Any]) -> Body:
    """Open every file of the body and check its length.

    Keys whose value is None are left out: the API refuses nulls and unknown keys [PROVIDER trap 13].
    Raises OSError (a file cannot be read), FileChanged, NotJson; then nothing stays open.
    """
    inlines: list[Inline] = []
    mark = secrets.token_hex(16)  # no text of a request can contain it

    def stand_in(value: object) -> str:
        if not isinstance(value, Inline):
            raise TypeError(f"JSON cannot hold a {type(value).__name__}")
        inlines.append(value)
        return mark

    try:
        text = json.dumps(_without_unset(tree), default=stand_in, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(str(error)) from None
    with ExitStack() as files:
        first, *words = text.split(mark)
        parts: list[bytes | _Piece] = [first.encode("ascii")]
        for inline, word in zip(inlines, words, strict=True):
            parts += (_opened(inline, files), word.encode("ascii"))
        return Body(parts, files.pop_all())


def _opened(inline: Inline, files: ExitStack) -> _Piece:
    file = files.enter_context(inline.open())
    if file.seekable():
        # The length is announced before the bytes: a file that shrank would cut a paid request short.
        if file.seek(0, 2) != inline.size:
            raise FileChanged("the file is not as long as it was")
        file.seek(0)
    return _Piece(inline, file)


def _length(part: bytes | _Piece) -> int:
    if isinstance(part, bytes):
        return len(part)
    return encoded_length(part.inline.size, part.inline.content_type)


def _data_uri(piece: _Piece) -> Iterator[bytes]:
    yield f"data:{piece.inline.content_type};base64,".encode("ascii")
    left = piece.inline.size
    while left:
        count = min(left, _READ_BYTES)
        left -= count
        yield pybase64.b64encode(_read_exactly(piece.file, count))
    if piece.file.read(1):
        raise FileChanged("the file grew while it was sent")


def _read_exactly(file: BinaryIO, count: int) -> bytes:
    chunk = file.read(count)
    while len(chunk) < count:
        more = file.read(count - len(chunk))
        if not more:
            raise FileChanged("the file ended early")
        chunk += more
    return chunk


def _without_unset(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _without_unset(value) for key, value in tree.items() if value is not None}
    if isinstance(tree, list | tuple):
        return [_without_unset(item) for item in tree]
    return tree
