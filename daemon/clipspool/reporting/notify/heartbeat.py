"""Asks an address once a minute while the daemon is healthy, so that somebody else notices its silence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from clipspool.reporting.notify.webhook import LIMITS, Anywhere
from clipspool.system.http.client import Wire
from clipspool.system.http.faults import WireTrouble, wire_fault
from clipspool.system.process import start_thread

if TYPE_CHECKING:
    from clipspool.system.http.free import FreeAdapter

log = structlog.get_logger()

BEAT_SECONDS = 60.0


class Heartbeat:
    """Sends heartbeats in a thread of its own, and none while the daemon is not healthy."""

    def __init__(
        self, is_healthy: Callable[[], bool], *, user_agent: str, seconds: float = BEAT_SECONDS
    ) -> None:
        """`is_healthy` may take a few seconds."""
        self._is_healthy, self._user_agent = is_healthy, user_agent
        self._seconds = seconds
        self._stopping = threading.Event()

    def use(self, url: str | None, ca_file: str | None = None) -> None:
        """Ask this address from now on, or none."""
        self._stopping.set()
        self._stopping = threading.Event()
        if url is not None:
            start_thread(self._run, "heartbeat", url, ca_file, self._stopping)

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    def _run(self, url: str, ca_file: str | None, stopping: threading.Event) -> None:
        from clipspool.system.http.free import FreeAdapter  # noqa: PLC0415  (5 MB)

        adapter: FreeAdapter | None = None
        before = ""
        while not stopping.is_set():
            try:
                if self._is_healthy():
                    if adapter is None:
                        adapter = FreeAdapter(Wire(Anywhere(allows_loopback=True), ca_file), LIMITS)
                    trouble = self._beat(adapter, url)
                    if trouble and trouble != before:
                        log.warning("heartbeat_failed", why=trouble)
                    before = trouble
            except Exception:
                log.exception("bug", doing="heartbeat")
            stopping.wait(self._seconds)

    def _beat(self, adapter: FreeAdapter, url: str) -> str:
        """Ask once; returns what went wrong, without the address, which may be a secret."""
        try:
            answer = adapter.call("GET", url, {"User-Agent": self._user_agent, "Connection": "close"})
        except WireTrouble as error:
            return wire_fault(error).message
        answer.close()
        status = answer.status_code
        return "" if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES else f"it answered {status}"
