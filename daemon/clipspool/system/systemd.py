"""Notifies systemd by sd_notify(3): datagrams of `NAME=value` lines to the socket `$NOTIFY_SOCKET`.

Without that socket nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from math import inf

_STATUS_MAX = 200


class Service:
    """The notifications of this process to systemd; they never raise."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        """Read systemd's socket and watchdog time from the environment."""
        address = env.get("NOTIFY_SOCKET", "")
        self._address = {"/": address, "@": "\0" + address[1:]}.get(address[:1], "")
        usec = env.get("WATCHDOG_USEC", "")
        self.watchdog_seconds = (float(usec) / 1e6 if usec.isdecimal() else 0.0) or inf
        """`watchdog()` has to be called within this time; infinity without one."""

    @property
    def is_there(self) -> bool:
        """Whether systemd, or anybody, receives the notifications."""
        return bool(self._address)

    def ready(self, status: str = "") -> None:
        """Report that clips are accepted from now on; it also ends a reload."""
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows; it must hold no secret."""
        self._send(*_status(text))

    def watchdog(self) -> None:
        """Report that the daemon is alive; only the scheduler's own turns may do so."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Report the start of a reload; `ready` must follow, whatever its result."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str = "") -> None:
        """Report that the daemon drains and will end."""
        self._send("STOPPING=1", *_status(status))

    def _send(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        try:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            with socket.socket(socket.AF_UNIX, kind) as sender:
                sender.sendto("\n".join(lines).encode("utf-8", "backslashreplace"), self._address)
        except (OSError, ValueError):
            return


def _status(text: str) -> list[str]:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return [f"STATUS={line[:_STATUS_MAX]}"] if line else []
