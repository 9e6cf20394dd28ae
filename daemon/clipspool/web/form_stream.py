"""Reads a multipart form piece by piece as it comes, so that a film in it is never held in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

_HEADER_BYTES_MAX = 4096
_PARTS_MAX = 40
_EXTENDED_NAME = re.compile(rb"filename\*=(?:UTF-8|utf-8)''([^;\s]+)")


class BadForm(Exception):
    """The body is no multipart form that is accepted; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part of the form begins; its bytes follow, then `PartEnd`."""

    name: str
    filename: str
    """Empty for a plain field."""


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is whole."""


FormEvent = PartBegin | bytes | PartEnd


class _Events:
    """Collects what the parser finds in one piece of the body."""

    def __init__(self) -> None:
        self.found: list[FormEvent] = []
        self.is_whole = False
        self._parts = 0
        self._field, self._value, self._disposition = b"", b"", b""

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > _PARTS_MAX:
            raise BadForm(f"The form has more than {_PARTS_MAX} parts.")
        self._disposition = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = options.get(b"name", b"")
        filename = options.get(b"filename", b"").replace(b"%22", b'"')  # as browsers and curl write it
        if extended := _EXTENDED_NAME.search(self._disposition):
            filename = unquote_to_bytes(extended[1])
        if not name:
            raise BadForm("A part of the form has no name.")
        self.found.append(PartBegin(_decoded(name), _decoded(filename)))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.found.append(bytes(data[start:end]))

    def on_part_end(self) -> None:
        self.found.append(PartEnd())

    def on_end(self) -> None:
        self.is_whole = True


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadForm("A name in the form is not UTF-8.") from None


async def form_events(request: Request) -> AsyncIterator[FormEvent]:
    """Yield the parts of a request's form in order; raises BadForm, also where the sender leaves early."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise BadForm("A form of the type multipart/form-data with a boundary is expected.")
    events = _Events()
    callbacks = {name: getattr(events, name) for name in dir(events) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, callbacks, max_header_size=_HEADER_BYTES_MAX)  # type: ignore[arg-type]
        async for chunk in request.stream():
            parser.write(chunk)
            found, events.found = events.found, []
            for event in found:
                yield event
    except FormParserError as error:
        raise BadForm(f"The form cannot be read: {error}") from None
    except ClientDisconnect:
        raise BadForm("The connection ended before the form was whole.") from None
    if not events.is_whole:
        raise BadForm("The form ends before its last boundary.")
