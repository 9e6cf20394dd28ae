"""Speaks systemd's notify protocol: ready, status, alive, reloading, stopping; silent without systemd.

The protocol is sd_notify(3): datagrams of `NAME=value` lines to the socket that `$NOTIFY_SOCKET` names.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

_STATUS_MAX = 200


class Service:
    """This process as systemd sees it. Nothing here raises once it is made."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        """Read who listens, and how often it wants to hear that we live."""
        address = env.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        if not address.startswith(("/", "@")):
            self._address = ""
        self.watchdog_seconds = _watchdog_seconds(env) if self._address else None
        """Within this time it must hear `watchdog()`; half of it is a good pace. None: no watchdog."""

    @property
    def is_supervised(self) -> bool:
        """Whether somebody listens."""
        return bool(self._address)

    def ready(self, status: str = "") -> None:
        """Say that clips are taken now; also how a reload ends."""
        self._tell("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """Say in one line what is going on, for `systemctl status`. The caller gives no secret."""
        self._tell(*_status(text))

    def watchdog(self) -> None:
        """Say that we live; only the scheduler's own turns may say so."""
        self._tell("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that the configuration is read again; `ready` must follow, whatever came of it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str = "") -> None:
        """Say that we drain and will end."""
        self._tell("STOPPING=1", *_status(status))

    def more_time(self, seconds: float) -> None:
        """Ask for up to `seconds` more before starting or stopping counts as hung."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def _tell(self, *lines: str) -> None:
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


def _watchdog_seconds(env: Mapping[str, str]) -> float | None:
    try:
        microseconds = int(env.get("WATCHDOG_USEC", "0"))
        is_for_us = int(env.get("WATCHDOG_PID", os.getpid())) == os.getpid()
    except ValueError:
        return None
    return microseconds / 1_000_000 if microseconds > 0 and is_for_us else None
