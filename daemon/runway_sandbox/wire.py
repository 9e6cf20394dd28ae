"""Speaks HTTP/1.1 over asyncio streams through h11, and can break every rule of it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl, urlsplit

import h11

CHUNK_BYTES: Final = 256 * 1024
IDLE_SECONDS: Final = 75.0
"""A kept-alive connection that is silent this long is closed."""
HEAD_BYTES_MAX: Final = 64 * 1024
LINGER_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bytes of an unwanted body that are read and dropped, so that the client sees the answer and no reset."""


class BodyTooLongError(Exception):
    """The request body is longer than the sandbox takes."""


class GoneError(Exception):
    """The client, or a misbehaviour, ended the connection."""


@dataclass(frozen=True, slots=True)
class Request:
    """The head of one request; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer with a small body."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"

    @classmethod
    def of_json(cls, status: int, value: Any) -> Answer:
        """Make an answer of a JSON value."""
        return cls(status, json.dumps(value, ensure_ascii=False).encode())

    @property
    def head(self) -> list[tuple[str, str]]:
        """All headers but those of the connection."""
        length = [] if self.status == HTTPStatus.NO_CONTENT else [("Content-Length", str(len(self.body)))]
        typed = [("Content-Type", self.content_type)] if self.body else []
        return [*self.headers, *typed, *length]


@dataclass(slots=True)
class Exchange:
    """One request and its answer on one connection."""

    request: Request
    at_results: bool
    _connection: h11.Connection
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    bytes_in: int = 0
    bytes_out: int = 0
    status: int = 0
    misbehaviour: str | None = None
    _must_close: bool = field(default=False)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises GoneError when the client ends it early."""
        if self._connection.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        while True:
            event = await _next_event(self._connection, self._reader)
            if isinstance(event, h11.Data):
                self.bytes_in += len(event.data)
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise GoneError

    async def read_body(self, bytes_max: int) -> bytes:
        """Read the whole body. Raises BodyTooLongError as soon as it is clear that it is too long."""
        announced = self.request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > bytes_max:
            raise BodyTooLongError
        parts = []
        async for part in self.chunks():
            parts.append(part)
            if self.bytes_in > bytes_max:
                raise BodyTooLongError
        return b"".join(parts)

    async def send(self, answer: Answer) -> None:
        """Send a whole answer; what is left of the request's body is read first."""
        await self._drain()
        body = [h11.Data(data=answer.body)] if answer.body and self.request.method != "HEAD" else []
        await self._send(self._head(answer.status, answer.head), *body, h11.EndOfMessage())

    async def begin(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Send the head of a well-formed answer whose body follows by `write` and `end`."""
        await self._drain()
        await self._send(self._head(status, headers))

    async def write(self, data: bytes) -> None:
        """Send a part of the body of a well-formed answer."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """Finish a well-formed answer."""
        await self._send(h11.EndOfMessage())

    async def send_raw(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        """Send a head that may promise anything, and some bytes; the connection ends with this answer."""
        await self._drain()
        self.status = status
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            *(f"{name}: {value}" for name, value in headers),
        ]
        await self.write_raw("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + data)

    async def write_raw(self, data: bytes) -> None:
        """Send bytes as they are; the connection ends with this answer."""
        self._must_close = True
        await self._write(data)

    async def send_part(self, answer: Answer, bytes_max: int) -> None:
        """Send the head and the first bytes of the body, as if the rest followed."""
        await self.send_raw(answer.status, answer.head, answer.body[:bytes_max])

    def drop(self, how: str) -> NoReturn:
        """End the connection at once: "reset" with RST, "close" with FIN. Raises GoneError always."""
        if how == "reset":
            _reset(self._writer)
        else:
            self._writer.close()
        raise GoneError

    @property
    def may_go_on(self) -> bool:
        """Whether another request may follow on this connection."""
        done = self._connection.our_state is h11.DONE and self._connection.their_state is h11.DONE
        return done and not self._must_close

    def _head(self, status: int, headers: list[tuple[str, str]]) -> h11.Event:
        self.status = status
        if self._connection.their_state is h11.SEND_BODY:
            headers = [*headers, ("Connection", "close")]
        full = [("Date", formatdate(usegmt=True)), ("Server", "clipspool-sandbox"), *headers]
        return h11.Response(status_code=status, headers=full)

    async def _send(self, *events: h11.Event) -> None:
        await self._write(b"".join(self._connection.send(event) or b"" for event in events))

    async def _write(self, data: bytes) -> None:
        self.bytes_out += len(data)
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (ConnectionError, OSError):
            raise GoneError from None

    async def _drain(self) -> None:
        connection = self._connection
        if connection.they_are_waiting_for_100_continue or connection.their_state is not h11.SEND_BODY:
            return
        already = self.bytes_in
        async for _ in self.chunks():
            if self.bytes_in - already > LINGER_BYTES_MAX:
                return


async def serve_connection(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    handle: Callable[[Exchange], Awaitable[None]],
    *,
    at_results: bool,
) -> None:
    """Read requests off one connection, one after the other, and hand each to `handle`."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
    try:
        while True:
            event = await _next_event(connection, reader)
            if not isinstance(event, h11.Request):
                return
            exchange = Exchange(_request(event), at_results, connection, reader, writer)
            await handle(exchange)
            if not exchange.may_go_on:
                return
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        writer.write(b"HTTP/1.1 %d Bad Request\r\nConnection: close\r\n\r\n" % error.error_status_hint)
    except (GoneError, ConnectionError, TimeoutError):
        pass
    finally:
        await _close(writer)


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> Any:
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        async with asyncio.timeout(IDLE_SECONDS):
            connection.receive_data(await reader.read(CHUNK_BYTES))


def _request(event: h11.Request) -> Request:
    parts = urlsplit(event.target.decode("latin-1"))
    return Request(
        method=event.method.decode("ascii"),
        path=parts.path,
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers={name.decode("ascii"): value.decode("latin-1") for name, value in event.headers},
    )


def _reset(writer: asyncio.StreamWriter) -> None:
    # A linger time of zero makes the kernel send RST instead of FIN.
    endpoint = writer.get_extra_info("socket")
    if endpoint is not None:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _close(writer: asyncio.StreamWriter) -> None:
    try:
        writer.close()
        await writer.wait_closed()
    except (ConnectionError, OSError, asyncio.CancelledError):
        writer.transport.abort()
