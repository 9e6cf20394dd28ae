"""Makes HTTP connections within limits: which addresses are reached, how long each step takes, what has left.

The paid POST, and what is asked for (`asking`), use a connection directly: the one so that each of its steps
is a line of ours, the others for their processor time. `free` sends all else through `requests`.
"""

from __future__ import annotations

import http.client
import logging
import select
import socket
import ssl
import struct
import time
from contextlib import suppress
from typing import Any

import certifi
from urllib3.connection import HTTPConnection

from clipspool.system.http.faults import reason
from clipspool.system.http.guard import AddressGuard, Target, Unreachable, resolve
from clipspool.system.http.pace import ExchangePace, PacedResponse, TimeLimits, seconds_left
from clipspool.system.http.proxy import Proxy
from clipspool.system.http.reply import BODY_BYTES_MAX
from clipspool.system.process import closed_on_error

CONNECTIONS_KEPT = 16

logging.getLogger("urllib3").setLevel(logging.ERROR)  # below that it writes whole signed addresses

_PIECE_BYTES = 1 << 16
_RECORD_BYTES = 1 << 14  # one TLS record: it leaves whole or not at all


class Witness(HTTPConnection):
    """A connection to admitted addresses only that keeps its limits and counts the bytes that left.

    `connect` returns with TCP and TLS done, and nothing of a request written. `bytes_written` counts what
    the operating system accepted: 0 means for sure that no part of a request left. With TLS a record counts
    once it is written whole; nobody can read a part of one.
    """

    def __init__(
        self, host: str, port: int, *, wire: Wire, limits: TimeLimits, scheme: str, **options: Any
    ) -> None:
        super().__init__(host, port, **options)
        self._wire = wire
        self._limits = limits
        self._target = Target(scheme, host.strip("[]"), port, "/")
        self.is_verified = scheme == "https"  # `Wire.connected` is the only way to TLS, and it verifies
        self.head_bytes = 0
        self.held: bytearray | None = None
        """If set, the head is kept here and sent together with the first bytes of the body."""
        self.bytes_written = 0
        self.early = bytearray()
        """What the server sent before it had received the whole request."""
        self._reads_early = True
        self._has_just_read = False
        self.pace = ExchangePace(limits)

    # urllib3 looks through each header's values for a sign of its own, which nobody here gives.
    putheader = http.client.HTTPConnection.putheader

    def connect(self) -> None:
        """Connect, TLS included; raises Unreachable or Forbidden, and then nothing was sent."""
        self.sock = self._wire.connected(self._target, self._limits.connect_seconds)

    def request(self, *arguments: Any, **options: Any) -> None:
        """Restart the clock for each request on a kept connection."""
        self.pace = ExchangePace(self._limits)
        super().request(*arguments, **options)

    def send(self, data: Any) -> None:
        """Write bytes; after an OSError too, `bytes_written` is exact."""
        if self.sock is None:
            if not self.auto_open:
                raise http.client.NotConnected
            self.connect()
        self._never_block()
        if not self.head_bytes:  # http.client writes a head at once, and first
            self.head_bytes = len(data)
            if self.held is not None:
                self.held += data
                return
        view = memoryview(bytes(self.held) + data if self.held else data)
        self.held = None
        while view:
            if not self._has_just_read:
                self._wait_to_write()
            self._has_just_read = False
            try:
                count = self.sock.send(view[:_RECORD_BYTES] if self.is_verified else view)
            except (BlockingIOError, ssl.SSLWantWriteError):
                continue
            self.bytes_written += count
            view = view[count:]

    def _never_block(self) -> None:
        if self.sock.gettimeout() != 0:  # setting it is a call to the system
            self.sock.settimeout(0)

    def _wait_to_write(self) -> None:
        """Wait until the socket can be written, and read what the server sends meanwhile.

        A server that refuses a request early answers and closes. Bytes that we send after that can make TLS
        discard the answer; so what arrives is read at once, and kept for `answer`.
        """
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT | (select.POLLIN if self._reads_early else 0))
        ready = poll.poll(self.pace.timeout() * 1000)
        if not ready:
            self.pace.timeout()
            raise TimeoutError
        if self._reads_early and ready[0][1] & ~select.POLLOUT:
            self._reads_early = self._read_early() and len(self.early) < BODY_BYTES_MAX

    def _read_early(self) -> bool:
        """Read what has arrived; return whether more may come."""
        try:
            piece = self.sock.recv(_PIECE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        self.early += piece
        return bool(piece)

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, *arguments: Any, **options: Any
    ) -> http.client.HTTPResponse:
        """Read answers within our limits: http.client calls this to make its response."""
        early, self.early, self._reads_early = self.early, bytearray(), True
        return PacedResponse(sock, self.pace, early, *arguments, **options)

    def answer(self, pace: ExchangePace) -> http.client.HTTPResponse:
        """Read the head of the answer to a request that was written step by step."""
        self.pace = pace
        return http.client.HTTPConnection.getresponse(self)

    def is_silent(self) -> bool:
        """Whether the server neither closed nor sent anything before the request.

        The next write follows at once, without another check.
        """
        self._never_block()
        self._has_just_read = True
        return self._read_early() and not self.early

    def abort(self) -> None:
        """Close at once and discard what the system has not sent yet."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


class SecureWitness(Witness):
    """A witness over TLS; it differs in the default port, which the Host header leaves out."""

    default_port = 443  # type: ignore[misc]  # typeshed and urllib3 differ on whose variable it is


WITNESS_OF = {"http": Witness, "https": SecureWitness}


class Wire:
    """Makes connections; may be used from many threads."""

    def __init__(self, guard: AddressGuard, ca_file: str | None = None, proxy: Proxy | None = None) -> None:
        """Trust the system's certificates and those of `ca_file`; raises OSError if it cannot be used."""
        self.guard = guard
        self._proxy = proxy
        # The system's take 30 ms to load, and only TLS needs them; a file of the operator's is tried at once.
        self._tls = None if ca_file is None else _tls_context(ca_file)

    def witness(self, target: Target, limits: TimeLimits) -> Witness:
        """Make a connection that is not connected yet, and is never reconnected by itself."""
        kind = WITNESS_OF[target.scheme]
        witness = kind(target.host, target.port, wire=self, limits=limits, scheme=target.scheme)
        witness.auto_open = 0
        return witness

    def connected(self, target: Target, seconds: float) -> socket.socket:
        """Connect to an admitted address of the target's host, TLS included, all within `seconds`."""
        deadline = time.monotonic() + seconds
        sock = self._reached(target, seconds, deadline)
        if target.scheme == "http":
            return sock
        try:
            # The socket's timeout is the deadline of the whole handshake, so a slow drip cannot stretch it.
            sock.settimeout(seconds_left(deadline))
            if self._tls is None:
                self._tls = _tls_context(None)
            return self._tls.wrap_socket(sock, server_hostname=target.host)
        except (OSError, ValueError) as error:
            sock.close()
            if isinstance(error, TimeoutError):
                code, why = "NETWORK.TIMEOUT", "the TLS handshake took too long"
            elif isinstance(error, ssl.SSLCertVerificationError):
                code, why = "NETWORK.TLS", error.verify_message
            else:
                code, why = "NETWORK.TLS", f"no TLS ({reason(error)})"
            raise Unreachable(code, f"{target.host}: {why}") from None

    def _reached(self, target: Target, seconds: float, deadline: float) -> socket.socket:
        """Open a connection to the target, directly or through the configured proxy."""
        if self._proxy is None or not self._proxy.serves(target):
            return _first_answering(self.guard.look_up(target, seconds), target, deadline)
        self._proxy.admit(self.guard, target, seconds)
        near = self._proxy.target
        sock = _first_answering(resolve(near.host, near.port, seconds), near, deadline)
        with closed_on_error(sock):
            self._proxy.tunnel(sock, target, deadline)
        return sock


def _first_answering(
    addresses: list[tuple[socket.AddressFamily, str]], target: Target, deadline: float
) -> socket.socket:
    """Connect to the first address that answers; each gets an equal part of the time that is left."""
    trouble = Unreachable("NETWORK.TIMEOUT", f"{target.host} does not answer")
    for position, (family, address) in enumerate(addresses):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(seconds_left(deadline) / (len(addresses) - position))
            sock.connect((address, target.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            if not isinstance(error, TimeoutError):
                is_refused = isinstance(error, ConnectionRefusedError)
                code = "NETWORK.REFUSED" if is_refused else "NETWORK.UNREACHABLE"
                trouble = Unreachable(code, f"{target.host}: {reason(error)}")
        else:
            return sock
    raise trouble


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Trust the certificates of the system, or of certifi where it has none, in one context for all threads.

    Not truststore: it holds one lock through every handshake, so that a stalled server would stop all
    others, and loads all certificates for each (48 ms).
    """
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
        context.load_verify_locations(certifi.where())
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
