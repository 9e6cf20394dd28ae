"""Opens a tunnel to the API through the configured HTTP proxy; TLS runs inside it, from end to end.

The proxy sees the host and the amount of bytes, nothing else. Until the tunnel stands no byte of a request is
written, so whatever the proxy refuses is "not sent".
"""

from __future__ import annotations

import base64
import re
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from clipspool.system.http.guard import Guard, Target, Unreachable

_HEAD_BYTES_MAX = 1 << 16
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r?\n")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that the operator named. Its own address may be private."""

    host: str
    port: int
    login: str = ""
    """`user:password`, or empty."""

    @property
    def target(self) -> Target:
        """The proxy itself, as something to connect to."""
        return Target("http", self.host, self.port, "/")

    @classmethod
    def at(cls, url: str, login: str = "") -> Proxy:
        """Read `http://HOST:PORT`. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"} or "@" in parts.netloc:
            raise ValueError("must be the address of an HTTP proxy, such as http://proxy.example.com:3128")
        return cls(parts.hostname, parts.port or 3128, login)

    def serves(self, target: Target) -> bool:
        """Whether a target is reached through the proxy: plain http is spoken with this machine only."""
        return target.scheme == "https"

    def admit(self, guard: Guard, target: Target, seconds: float) -> None:
        """Refuse a private target as far as it can be told from here. Raises Forbidden.

        Where only the proxy can resolve names, its own rules have to keep strangers' addresses out.
        """
        try:
            guard.look_up(target, seconds)
        except Unreachable as trouble:
            if trouble.code != "NETWORK.DNS":
                raise

    def tunnel(self, sock: socket.socket, target: Target, deadline: float) -> None:
        """Ask the proxy for a way to the target, over an open connection. Raises Unreachable.

        `deadline` is of `time.monotonic`; the answer's head is read byte by byte, for what follows is TLS.
        """
        there = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
        asked = [f"CONNECT {there} HTTP/1.1", f"Host: {there}"]
        if self.login:
            asked.append(f"Proxy-Authorization: Basic {base64.b64encode(self.login.encode()).decode()}")
        try:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            sock.sendall("\r\n".join([*asked, "", ""]).encode())
            head = self._read_head(sock, deadline)
        except TimeoutError:
            raise Unreachable("NETWORK.TIMEOUT", f"the proxy {self.host} does not answer") from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise Unreachable("NETWORK.PROXY", f"the proxy {self.host}: {why}") from None
        found = _STATUS.match(head)
        if found is None:
            raise Unreachable("NETWORK.PROXY", f"{self.host} does not answer as an HTTP proxy does")
        if not found[1].startswith(b"2"):
            said = (found[2] or b"").decode("ascii", "replace").strip()[:80]
            todo = "; check proxy and proxy_login" if found[1] == b"407" else ""
            raise Unreachable(
                "NETWORK.PROXY",
                f"the proxy {self.host} refuses {target.host}: {found[1].decode()} {said}".rstrip() + todo,
            )

    def _read_head(self, sock: socket.socket, deadline: float) -> bytes:
        head = bytearray()
        while not head.endswith((b"\r\n\r\n", b"\n\n")):
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            letter = sock.recv(1)
            if not letter or len(head) > _HEAD_BYTES_MAX:
                raise Unreachable("NETWORK.PROXY", f"the proxy {self.host} ends the connection")
            head += letter
        return bytes(head)
