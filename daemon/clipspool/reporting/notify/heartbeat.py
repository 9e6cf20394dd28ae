"""Asks an address once a minute while the daemon is healthy, so that somebody else notices its silence."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from clipspool.reporting.notify.courier import NotDelivered
from clipspool.reporting.notify.webhook import OwnAddress
from clipspool.system.process import start_thread

log = structlog.get_logger()

BEAT_SECONDS = 60.0


class Heartbeat:
    """Sends heartbeats in a thread of its own, and none while the daemon is not healthy."""

    def __init__(self, is_healthy: Callable[[], bool], seconds: float = BEAT_SECONDS) -> None:
        """`is_healthy` may take a few seconds."""
        self._is_healthy, self._seconds = is_healthy, seconds
        self._stopping = threading.Event()

    def use(self, url: str | None, ca_file: str | None = None) -> None:
        """Ask this address from now on, or none."""
        self._stopping.set()
        self._stopping = threading.Event()
        if url is not None:
            start_thread(self._run, "heartbeat", OwnAddress(url, ca_file), self._stopping)

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    def _run(self, address: OwnAddress, stopping: threading.Event) -> None:
        before = ""
        while not stopping.is_set():
            try:
                if self._is_healthy():
                    trouble = _beat(address)
                    if trouble and trouble != before:
                        log.warning("heartbeat_failed", why=trouble)
                    before = trouble
            except Exception:
                log.exception("bug", doing="heartbeat")
            stopping.wait(self._seconds)


def _beat(address: OwnAddress) -> str:
    """Ask once; return what went wrong, without the address, which may be a secret."""
    try:
        address.ask("GET", {})
    except NotDelivered as trouble:
        return str(trouble)
    return ""
