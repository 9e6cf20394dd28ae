"""Downloads a result, resumed where that is safe, within limits of size and time."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urljoin

from clipspool.jobs.faults import Fault, FaultOf
from clipspool.provider.protocol import Download, DownloadCut
from clipspool.system.http.asking import Asker, OpenAnswer
from clipspool.system.http.faults import WireTrouble, describe, wire_fault
from clipspool.system.http.guard import AddressGuard, Forbidden
from clipspool.system.http.pace import READ_BYTES
from clipspool.system.http.reply import encodings
from clipspool.system.process import closed_on_error
from clipspool.system.redaction import redact_line

REDIRECTS_MAX = 5

_MOVED = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({401, 403, 404, 410})
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{0,200}"')
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_CHUNK_BYTES_MIN = 1 << 18
_UNPACKED_BYTES_MIN = 16 << 20
_UNPACKED_TIMES_MAX = 8
"""Film hardly compresses; beyond this and the bytes above, the sender wants to fill our disk."""


@dataclass(frozen=True, slots=True)
class Downloader:
    """Opens results for one provider."""

    asker: Asker
    guard: AddressGuard
    headers: Mapping[str, str]
    bytes_max: int
    """A larger result is refused, or cut where its size is not announced."""
    origin: tuple[str, str, int]
    """The API's own: the key is sent nowhere else."""
    key: str

    def open(self, url: str, offset: int, etag: str) -> Download | Fault:
        """Open a result at `offset`, which needs the strong ETag of the first part.

        Without one, or when the server's answer does not fit (another offset, several ranges, 416), the
        download begins again at 0. Without a length, the end of the connection counts as the end of the
        file: only the caller can check whether the container is whole [FAULTS 1.8].
        """
        may_resume = offset > 0 and _STRONG_ETAG.fullmatch(etag) is not None
        found = self._open(url, offset, etag) if may_resume else None
        unasked = Fault(FaultOf.MOMENT, "RESULT.REFUSED", "The server sent a part of the result unasked")
        return found or self._open(url, 0, "") or unasked

    def _open(self, url: str, offset: int, etag: str) -> Download | Fault | None:
        """Open once; None for a part that cannot be used."""
        ranged = {"Range": f"bytes={offset}-", "If-Range": etag} if offset else {}
        try:
            answer = self._follow(url, {**self.headers, **ranged})
        except Forbidden as error:
            return _not_reached(str(error))
        except ValueError:
            return _not_reached("the address is malformed")
        except WireTrouble as error:
            return wire_fault(error)
        if isinstance(answer, Fault):
            return answer
        with closed_on_error(answer):
            found = self._judge(answer, offset, etag)
        if not isinstance(found, Download):
            answer.close()
        return found

    def _follow(self, url: str, headers: Mapping[str, str]) -> OpenAnswer | Fault:
        for _ in range(REDIRECTS_MAX + 1):
            # Decided at each hop: a redirect must not take the key along.
            is_ours = self.guard.target(url).origin == self.origin
            key = {"Authorization": f"Bearer {self.key}"} if is_ours and self.key else {}
            answer = self.asker.call("GET", url, {**headers, **key})
            location = answer.headers.get("location", "")
            if answer.status not in _MOVED or not location:
                return answer
            answer.close()
            # Header bytes come as Latin-1; the address in them is ASCII, or UTF-8 from a careless server.
            url = urljoin(url, location.encode("latin-1", "replace").decode("utf-8", "replace"))
        message = f"The result's address redirects more than {REDIRECTS_MAX} times"
        return Fault(FaultOf.MOMENT, "RESULT.REDIRECTS", message)

    def _judge(self, answer: OpenAnswer, offset: int, etag: str) -> Download | Fault | None:
        status = answer.status
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            return None
        if status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            return _refusal(status)
        packed = encodings(answer.headers.get("content-encoding", ""))
        if packed not in ([], ["gzip"]):
            codings = redact_line(", ".join(packed), 40)
            message = f"The result came compressed ({codings}), which was not asked for"
            return Fault(FaultOf.MOMENT, "RESULT.ENCODED", message)
        if packed:
            # Not asked for, but paid for. Ranges count packed bytes, so it cannot be resumed.
            is_whole = status == HTTPStatus.OK
            return self._begun(_Unpacked(answer.body), answer, 0, None, "") if is_whole else None
        length = answer.body.length
        given = ",".join(answer.body.headers.get_all("content-length", ()))
        if not answer.body.chunked and len({one.strip() for one in given.split(",")}) > 1:
            return Fault(FaultOf.MOMENT, "NETWORK.BROKEN", "The result was announced with two lengths")
        size: int | None = length
        tag = _strong(answer.headers.get("etag", ""))
        if status == HTTPStatus.PARTIAL_CONTENT:
            size = _whole_size(answer.headers.get("content-range", ""), offset, length)
            # Another tag is another file: the rest of it behind the first part of this one would be no film.
            # A part that nobody asked for is of use where it is the whole.
            if size is None or (offset and tag and tag != etag):
                return None
            tag = tag or etag
        else:
            offset = 0
        if size is not None and size > self.bytes_max:
            message = f"The result has {size:,} bytes, and at most {self.bytes_max:,} are accepted"
            return Fault(FaultOf.CLIP, "RESULT.TOO_LARGE", message)
        return self._begun(answer.body, answer, offset, size, tag)

    def _begun(
        self, source: _Source, answer: OpenAnswer, offset: int, size: int | None, tag: str
    ) -> Download:
        chunks = _chunks(source, answer, self.bytes_max - offset)
        next(chunks)
        return Download(chunks, offset, size, tag)


class _Source(Protocol):
    def read1(self, count: int, /) -> bytes: ...


class _Unpacked:
    """Unpacks a gzip stream; raises DownloadCut where it is not whole or its checksum is wrong."""

    def __init__(self, packed: _Source) -> None:
        self._packed = packed
        self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._room = _UNPACKED_BYTES_MIN

    def read1(self, count: int, /) -> bytes:
        """Return up to `count` bytes, none at the end."""
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail
            if not packed:
                packed = self._packed.read1(count)
                self._room += len(packed) * _UNPACKED_TIMES_MAX
                if not packed:
                    raise DownloadCut("the answer ended early")
            try:
                piece = self._inflater.decompress(packed, count)
            except zlib.error:
                raise DownloadCut("the compressed result is damaged") from None
            self._room -= len(piece)
            if self._room < 0:
                raise DownloadCut("the compressed result is no film: it unpacks to far too much")
            if piece:
                return piece
        return b""


def _not_reached(why: str) -> Fault:
    todo = "Tell the provider: results must be served over https from a public address."
    message = f"The result's address is not reached: {why}"
    return Fault(FaultOf.CLIP, "RESULT.FORBIDDEN_ADDRESS", message, todo)


def _strong(etag: str) -> str:
    etag = etag.strip()
    return etag if _STRONG_ETAG.fullmatch(etag) else ""


def _whole_size(content_range: str, offset: int, length: int | None) -> int | None:
    """Return the whole size when the range is the rest of the file from `offset`, else None."""
    found = _CONTENT_RANGE.fullmatch(content_range.strip())
    if found is None:
        return None
    first, last, size = (int(figure) for figure in found.groups())
    is_rest = first == offset and last == size - 1 and first <= last
    return size if is_rest and length in {None, size - offset} else None


def _chunks(source: _Source, answer: OpenAnswer, bytes_max: int) -> Iterator[bytes]:
    """Yield the body in chunks of 256 KiB or more; the first item is empty.

    The maker of this generator reads that first item, so that from then on closing it closes the answer.
    """
    pending: list[bytes] = []
    held = received = 0
    cut: DownloadCut | None = None
    try:
        yield b""
        while cut is None:
            try:
                piece = source.read1(READ_BYTES)
            except (DownloadCut, *WireTrouble) as error:
                cut = error if isinstance(error, DownloadCut) else DownloadCut(describe(error))
                break
            if not piece:
                if source is answer.body and answer.is_cut:
                    cut = DownloadCut("the answer ended early")
                break
            received += len(piece)
            if received > bytes_max:
                cut = DownloadCut("the result is larger than results may be")
                break
            pending.append(piece)
            held += len(piece)
            if held >= _CHUNK_BYTES_MIN:
                yield pending[0] if len(pending) == 1 else b"".join(pending)
                pending, held = [], 0
        if pending:
            yield b"".join(pending)
        if cut is not None:
            raise cut
    finally:
        answer.close()


def _refusal(status: int) -> Fault:
    if status in _GONE:
        message = f"The result's address is no longer good (HTTP {status})"
        return Fault(FaultOf.MOMENT, "RESULT.EXPIRED", message)
    return Fault(FaultOf.MOMENT, "RESULT.REFUSED", f"The result is not given out (HTTP {status})")
