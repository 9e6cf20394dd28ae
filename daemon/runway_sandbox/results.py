"""Serves result files over HTTP: expiring addresses, ranges, and every way a download can fail."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import re
import secrets
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO, Final
from urllib.parse import quote

from runway_sandbox import answers
from runway_sandbox.misbehave import Misbehaviour
from runway_sandbox.tasks import Output
from runway_sandbox.wire import CHUNK_BYTES, Answer, Exchange, Request

PREFIX: Final = "/_results/"
PRIVATE_URL: Final = "http://169.254.169.254/latest/meta-data/"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_DENIED: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>'
    b"<Message>Request has expired</Message></Error>"
)


@dataclass(slots=True)
class Signer:
    """Makes and checks the addresses of results; no two are the same."""

    url_seconds: float
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def url(self, base: str, task_id: str, place: int, name: str, now: float) -> str:
        """Return a signed address below `base` (scheme and host) for output number `place`."""
        expires = f"{now + self.url_seconds:.3f}"
        nonce = secrets.token_hex(4)
        token = self._token(task_id, place, expires, nonce)
        path = f"{PREFIX}{quote(task_id, safe='')}/{place}/{quote(name)}"
        return f"{base}{path}?Expires={expires}&Nonce={nonce}&Signature={token}"

    def is_valid(self, task_id: str, place: int, query: dict[str, str], now: float) -> bool:
        """Return whether an address was signed here and has not expired."""
        expires, nonce = query.get("Expires", ""), query.get("Nonce", "")
        token = self._token(task_id, place, expires, nonce)
        given = query.get("Signature", "")
        return hmac.compare_digest(token.encode(), given.encode("utf-8", "replace")) and now < float(expires)

    def _token(self, task_id: str, place: int, expires: str, nonce: str) -> str:
        text = f"{task_id}\n{place}\n{expires}\n{nonce}"
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()[:32]


def denied() -> Answer:
    """Return the answer of a CDN to an expired address."""
    return Answer(403, _DENIED, (), "application/xml")


@dataclass(frozen=True, slots=True)
class _Part:
    """The bytes to send, and their headers."""

    status: int
    start: int
    stop: int
    headers: list[tuple[str, str]]

    @property
    def length(self) -> int:
        return self.stop - self.start


async def send(exchange: Exchange, output: Output, fault: Misbehaviour | None) -> None:
    """Answer GET or HEAD of a result file, correctly or as the misbehaviour asks."""
    with output.path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        etag = f'"{hashlib.md5(f"{output.path.name}{size}".encode(), usedforsecurity=False).hexdigest()}"'
        part = _choose(exchange.request, size, etag, output, fault)
        if part.status == 416:  # noqa: PLR2004  # the only status without a body here
            await exchange.send(Answer(416, b"", (("Content-Range", f"bytes */{size}"),)))
        elif fault is None or fault.what in ("etag-changed", "weak-etag", "ignore-range"):
            await _send_well(exchange, file, part)
        else:
            await _send_badly(exchange, file, part, fault)


def _choose(request: Request, size: int, etag: str, output: Output, fault: Misbehaviour | None) -> _Part:
    if fault is not None and fault.what == "etag-changed":
        etag = f'"{secrets.token_hex(16)}"'
    if fault is not None and fault.what == "weak-etag":
        etag = f"W/{etag}"
    headers = [("Content-Type", output.content_type), ("ETag", etag), ("Accept-Ranges", "bytes")]
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    # If-Range compares strongly: a weak tag never matches.
    is_same = request.headers.get("if-range", etag) == etag
    is_ranged = match is not None and any(match.groups()) and is_same and request.method == "GET"
    if match is None or not is_ranged or (fault is not None and fault.what == "ignore-range"):
        return _Part(200, 0, size, headers)
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size or stop <= start:
        return _Part(416, 0, 0, headers)
    if fault is not None and fault.what == "wrong-offset":
        start = max(0, start - fault.delta)
    headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
    return _Part(206, start, stop, headers)


async def _send_well(exchange: Exchange, file: BinaryIO, part: _Part) -> None:
    await exchange.begin(part.status, [*part.headers, ("Content-Length", str(part.length))])
    file.seek(part.start)
    left = 0 if exchange.request.method == "HEAD" else part.length
    while left and (piece := file.read(min(CHUNK_BYTES, left))):
        left -= len(piece)
        await exchange.write(piece)
    await exchange.end()


async def _send_badly(exchange: Exchange, file: BinaryIO, part: _Part, fault: Misbehaviour) -> None:
    file.seek(part.start)
    data = file.read(part.length)
    length = ("Content-Length", str(len(data)))
    half = len(data) // 2 if fault.bytes is None else fault.bytes
    match fault.what:
        case "cut":
            await exchange.send_raw(part.status, [*part.headers, length], data[:half])
            exchange.drop(fault.how)
        case "cut-close":
            await exchange.send_raw(part.status, part.headers, data[:half])
        case "no-length":
            await exchange.send_raw(part.status, part.headers, data)
        case "wrong-length":
            wrong = ("Content-Length", str(max(0, len(data) + fault.delta)))
            await exchange.send_raw(part.status, [*part.headers, wrong], data)
        case "drip":
            await exchange.send_raw(part.status, [*part.headers, length], b"")
            await _drip(exchange, data, fault.rate)
        case "stall":
            await exchange.send_raw(part.status, [*part.headers, length], data[:half])
            await asyncio.sleep(fault.seconds)
        case "gzip-bomb":
            await _send_bomb(exchange, part, 300_000_000 if fault.bytes is None else fault.bytes)
        case "oversize":
            whole = ("Content-Length", str(len(data) * fault.factor))
            await exchange.send_raw(part.status, [*part.headers, whole], b"")
            for _ in range(fault.factor):
                await exchange.write_raw(data)
        case "nothing":
            await exchange.send(Answer(200, b"", tuple(part.headers)))
        case "html":
            await exchange.send(Answer(200, answers.HTML, (), "text/html"))
        case _:
            await _send_well(exchange, file, part)


async def _drip(exchange: Exchange, data: bytes, rate: int) -> None:
    piece = max(1, rate // 10)
    for start in range(0, len(data), piece):
        await exchange.write_raw(data[start : start + piece])
        await asyncio.sleep(piece / rate)


async def _send_bomb(exchange: Exchange, part: _Part, size: int) -> None:
    packed = await asyncio.to_thread(_bomb, size)
    headers = [*part.headers, ("Content-Encoding", "gzip"), ("Content-Length", str(len(packed)))]
    await exchange.send_raw(part.status, headers, packed)


def _bomb(size: int) -> bytes:
    pack = zlib.compressobj(6, wbits=31)  # 31: gzip
    pieces = [pack.compress(bytes(min(CHUNK_BYTES, size - start))) for start in range(0, size, CHUNK_BYTES)]
    return b"".join([*pieces, pack.flush()])


def location(fault: Misbehaviour, request: Request, now: float) -> str:
    """Return the target of a `redirect` misbehaviour: itself, an endless chain, a private host or `to`."""
    pairs = [f"{name}={quote(value)}" for name, value in request.query.items() if name != "hop"]
    match fault.to:
        case "self":
            return f"{request.path}?{'&'.join(pairs)}" if pairs else request.path
        case "loop":
            return f"{request.path}?{'&'.join(pairs)}&hop={now:.6f}"
        case "private":
            return PRIVATE_URL
        case _:
            return fault.to
