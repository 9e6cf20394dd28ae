"""Limits how long an exchange may take, and reads a socket within those limits."""

from __future__ import annotations

import http.client
import io
import socket
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

READ_BYTES = 1 << 18

_INTERIM = frozenset(range(100, 200)) - {101}  # 101 ends HTTP, and is asked for by nobody here


class TooSlow(OSError):
    """Bytes arrive, but too slowly or for too long."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long one exchange may take."""

    connect_seconds: float = 10.0
    """Name, TCP and TLS together."""
    silence_seconds: float = 60.0
    """Between two bytes."""
    total_seconds: float = 120.0
    """From the first byte of the request to the last of the answer."""
    bytes_per_second_min: float = 0.0
    """Slower than this over `window_seconds` of waiting, the exchange is ended; 0: never."""
    window_seconds: float = 60.0


def seconds_left(deadline: float) -> float:
    """Return the seconds to a deadline of `time.monotonic`, always above 0."""
    return max(deadline - time.monotonic(), 0.001)


class ExchangePace:
    """Measures one exchange: the time it has left, and whether it is fast enough."""

    def __init__(self, limits: TimeLimits) -> None:
        self._limits = limits
        self._deadline = time.monotonic() + limits.total_seconds
        self._waited_seconds = 0.0
        self._bytes_in_window = 0
        self.has_ended = False
        """Whether the server has closed, and everything it sent was read."""

    def timeout(self) -> float:
        """Return the seconds that the next step may take; raises TooSlow when there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TooSlow(f"it took longer than {self._limits.total_seconds:g} s altogether") from None
        return min(left, self._limits.silence_seconds)

    def count_wait(self, count: int, seconds: float) -> None:
        """Count a wait of `seconds` that brought `count` bytes; raises TooSlow below the slowest rate.

        Only waiting counts, so that a slow disk of ours is not taken for a slow server.
        """
        self._waited_seconds += seconds
        self._bytes_in_window += count
        if self._waited_seconds >= self._limits.window_seconds:
            if self._bytes_in_window < self._limits.bytes_per_second_min * self._waited_seconds:
                raise TooSlow(f"it came slower than {self._limits.bytes_per_second_min:g} bytes a second")
            self._waited_seconds, self._bytes_in_window = 0.0, 0


_DIGITS_MAX = 19


class PacedResponse(http.client.HTTPResponse):
    """An answer that is read within limits, and whose head must be whole.

    http.client takes a head that breaks off for a whole one; a refusal must not be read from a part of one.
    """

    def __init__(
        self, sock: socket.socket, pace: ExchangePace, early: bytearray, *arguments: Any, **options: Any
    ) -> None:
        """Read from `sock`, after the bytes that were read from it `early`."""
        reader = io.BufferedReader(_PacedReader(sock, pace, early), READ_BYTES)
        # makefile is all that http.client uses of a socket
        paced = SimpleNamespace(makefile=lambda _mode: reader)
        super().__init__(cast("socket.socket", paced), *arguments, **options)
        self._pace = pace

    def begin(self) -> None:
        """Read the head; raises IncompleteRead when the server closed before its end.

        Interim answers may come first (RFC 9110, 15.2), of which http.client skips 100 only.
        """
        super().begin()
        while self.status in _INTERIM and not self._pace.has_ended:
            self.headers = self.msg = None  # type: ignore[assignment]  # so that the next head is read
            super().begin()
        if self._pace.has_ended:  # a whole head is taken from the buffer without reading on to the end
            raise http.client.IncompleteRead(b"")
        # A proxy may join equal lengths to "5, 5" [RFC 9110 8.6], which http.client takes for none: it would
        # then read until the server closes, which on a kept connection is never.
        lengths = {one.strip() for one in ",".join(self.headers.get_all("content-length", ())).split(",")}
        length = next(iter(lengths))
        is_one = len(lengths) == 1 and length.isascii() and length.isdecimal() and len(length) < _DIGITS_MAX
        if self.length is None and not self.chunked and is_one:
            self.length = int(length)
            self.will_close = self._check_close()  # type: ignore[attr-defined]


class _PacedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, pace: ExchangePace, early: bytearray) -> None:
        self._sock = sock
        self._early = early
        self._keeper = sock.makefile("rb", buffering=0)  # keeps the socket open until we are closed
        self._pace = pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._early:
            count = min(len(buffer), len(self._early))
            buffer[:count] = self._early[:count]
            del self._early[:count]
            return count
        self._sock.settimeout(self._pace.timeout())
        begun = time.monotonic()
        try:
            count = self._sock.recv_into(buffer)
        except TimeoutError:
            self._pace.timeout()  # raises its own error if the deadline ended this wait
            raise
        self._pace.has_ended = count == 0
        self._pace.count_wait(count, time.monotonic() - begun)
        return count

    def close(self) -> None:
        self._keeper.close()
        super().close()
