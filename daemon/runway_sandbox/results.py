"""Result files over HTTP: addresses that expire, ranges, and every way a download can go wrong."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import io
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import quote

from runway_sandbox import answers
from runway_sandbox.wire import CHUNK_BYTES, Answer

if TYPE_CHECKING:
    from runway_sandbox.misbehave import Misbehaviour
    from runway_sandbox.tasks import Output
    from runway_sandbox.wire import Exchange, Request

PREFIX: Final = "/_results/"
PRIVATE_URL: Final = "http://169.254.169.254/latest/meta-data/"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_DENIED: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>'
    b"<Message>Request has expired</Message></Error>"
)


@dataclass(slots=True)
class Signer:
    """Makes the addresses of results, each other than the last, and knows them again."""

    url_seconds: float
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def url(self, base: str, task_id: str, place: int, name: str, now: float) -> str:
        """Sign an address below `base` (scheme and host) for output number `place`."""
        expires = f"{now + self.url_seconds:.3f}"
        nonce = secrets.token_hex(4)
        token = self._token(task_id, place, expires, nonce)
        path = f"{PREFIX}{quote(task_id, safe='')}/{place}/{quote(name)}"
        return f"{base}{path}?Expires={expires}&Nonce={nonce}&Signature={token}"

    def is_valid(self, task_id: str, place: int, query: dict[str, str], now: float) -> bool:
        """Return whether an address is one of ours and still good."""
        expires, nonce = query.get("Expires", ""), query.get("Nonce", "")
        token = self._token(task_id, place, expires, nonce)
        given = query.get("Signature", "")
        return hmac.compare_digest(token.encode(), given.encode("utf-8", "replace")) and now < float(expires)

    def _token(self, task_id: str, place: int, expires: str, nonce: str) -> str:
        text = f"{task_id}\n{place}\n{expires}\n{nonce}"
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()[:32]


def denied() -> Answer:
    """Answer as a CDN does when an address has expired."""
    return Answer(403, _DENIED, (), "application/xml")


@dataclass(frozen=True, slots=True)
class _Part:
    """Which bytes go out, under which head."""

    status: int
    start: int
    stop: int
    headers: list[tuple[str, str]]

    @property
    def length(self) -> int:
        return self.stop - self.start


async def send(exchange: Exchange, output: Output, fault: Misbehaviour | None) -> None:
    """Answer GET or HEAD of a result file, well or as the misbehaviour wants it."""
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
    headers = [*part.headers, ("Content-Length", str(part.length))]
    if exchange.request.method == "HEAD":
        await exchange.begin(part.status, headers)
        await exchange.end()
        return
    await exchange.begin(part.status, headers)
    file.seek(part.start)
    left = part.length
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
            await exchange.begin_raw(part.status, [*part.headers, length])
            await exchange.write_raw(data[:half])
            exchange.drop(fault.how)
        case "cut-close":
            await exchange.begin_raw(part.status, part.headers)
            await exchange.write_raw(data[:half])
        case "no-length":
            await exchange.begin_raw(part.status, part.headers)
            await exchange.write_raw(data)
        case "wrong-length":
            wrong = ("Content-Length", str(max(0, len(data) + fault.delta)))
            await exchange.begin_raw(part.status, [*part.headers, wrong])
            await exchange.write_raw(data)
        case "drip":
            await exchange.begin_raw(part.status, [*part.headers, length])
            await _drip(exchange, data, fault.rate)
        case "stall":
            await exchange.begin_raw(part.status, [*part.headers, length])
            await exchange.write_raw(data[:half])
            await asyncio.sleep(fault.seconds)
        case "gzip-bomb":
            await _send_bomb(exchange, part, 300_000_000 if fault.bytes is None else fault.bytes)
        case "oversize":
            whole = ("Content-Length", str(len(data) * fault.factor))
            await exchange.begin_raw(part.status, [*part.headers, whole])
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
    await exchange.begin_raw(part.status, headers)
    await exchange.write_raw(packed)


def _bomb(size: int) -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6) as file:
        for start in range(0, size, CHUNK_BYTES):
            file.write(bytes(min(CHUNK_BYTES, size - start)))
    return packed.getvalue()


def location(fault: Misbehaviour, request: Request, now: float) -> str:
    """Return where a `redirect` misbehaviour points: itself, an endless chain, a private host or `to`."""
    match fault.to:
        case "self":
            query = "&".join(f"{name}={quote(value)}" for name, value in request.query.items())
            return f"{request.path}?{query}" if query else request.path
        case "loop":
            query = "&".join(
                f"{name}={quote(value)}" for name, value in request.query.items() if name != "hop"
            )
            return f"{request.path}?{query}&hop={now:.6f}"
        case "private":
            return PRIVATE_URL
        case _:
            return fault.to
