"""Opens a tunnel to the API through the configured HTTP proxy; TLS runs inside it, from end to end.

The proxy sees the host and the number of bytes only. No byte of a request is written before the tunnel is
open, so a request that the proxy refuses was not sent.
"""

from __future__ import annotations

import base64
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from clipspool.system.http.guard import AddressGuard, Target, Unreachable
from clipspool.system.http.pace import seconds_left

_HEAD_BYTES_MAX = 1 << 16
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r?\n")


@dataclass(frozen=True, slots=True)
class Proxy:
    """The configured HTTP proxy. Its own address may be private."""

    host: str
    port: int
    login: str = ""
    """`user:password`, or empty."""

    @property
    def target(self) -> Target:
        """The proxy's own address."""
        return Target("http", self.host, self.port, "/")

    @classmethod
    def at(cls, url: str, login: str = "") -> Proxy:
        """Read `http://HOST:PORT`. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"} or "@" in parts.netloc:
            raise ValueError("must be the address of an HTTP proxy, such as http://proxy.example.com:3128")
        return cls(parts.hostname, parts.port or 3128, login)

    def serves(self, target: Target) -> bool:
        """Whether a target is reached through the proxy: plain http is used with this machine only."""
        return target.scheme == "https"

    def admit(self, guard: AddressGuard, target: Target, seconds: float) -> None:
        """Raise Forbidden for a private target, if its name can be resolved here.

        Where only the proxy resolves names, its own rules have to keep private addresses out.
        """
        try:
            guard.look_up(target, seconds)
        except Unreachable as trouble:
            if trouble.code != "NETWORK.DNS":
                raise

    def tunnel(self, sock: socket.socket, target: Target, deadline: float) -> None:
        """Have the proxy connect to the target, over an open connection. Raises Unreachable.

        `deadline` is of `time.monotonic`; the answer's head is read byte by byte, since TLS follows it.
        """
        there = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
        asked = [f"CONNECT {there} HTTP/1.1", f"Host: {there}"]
        if self.login:
            asked.append(f"Proxy-Authorization: Basic {base64.b64encode(self.login.encode()).decode()}")
        try:
            sock.settimeout(seconds_left(deadline))
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
            answer = (found[1] + b" " + (found[2] or b"")[:80].strip()).decode("ascii", "replace").rstrip()
            todo = "; check proxy and proxy_login" if found[1] == b"407" else ""
            refusal = f"the proxy {self.host} refuses {target.host}: {answer}{todo}"
            raise Unreachable("NETWORK.PROXY", refusal)

    def _read_head(self, sock: socket.socket, deadline: float) -> bytes:
        head = bytearray()
        while not head.endswith((b"\r\n\r\n", b"\n\n")):
            sock.settimeout(seconds_left(deadline))
            letter = sock.recv(1)
            if not letter or len(head) > _HEAD_BYTES_MAX:
                raise Unreachable("NETWORK.PROXY", f"the proxy {self.host} closed the connection")
            head += letter
        return bytes(head)
