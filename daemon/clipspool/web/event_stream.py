"""Tells open pages that something changed: at most once in `REST_SECONDS`, however much happened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio.to_thread

REST_SECONDS = 0.7
LOOK_SECONDS = 5.0
"""How often it looks for what no news tells: what lies in the inboxes."""
STREAMS_MAX = 500
_ALIVE_SECONDS = 15.0


class Pulse:
    """A number that grows with every change, and the streams that carry it."""

    def __init__(self, fingerprint: Callable[[], str]) -> None:
        """Take what tells, called in a worker thread, whether something changed that is no news."""
        self.version = 0
        self._fingerprint = fingerprint
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heard = asyncio.Event()
        self._beat = asyncio.Event()
        self._has_heard = False
        self._is_over = False
        self.streams = 0

    def note(self, _news: Any) -> None:
        """Hear of a change, in any thread; waits for nothing and never raises."""
        loop = self._loop
        if self._has_heard or loop is None:
            return
        self._has_heard = True
        try:
            loop.call_soon_threadsafe(self._heard.set)
        except RuntimeError:  # the server's loop has ended
            self._loop = None

    async def run(self) -> None:
        """Beat until `end`, in the server's loop."""
        self._loop = asyncio.get_running_loop()
        seen = ""
        while not self._is_over:
            try:
                await asyncio.wait_for(self._heard.wait(), LOOK_SECONDS)
            except TimeoutError:
                if not self.streams:
                    continue
                now = await anyio.to_thread.run_sync(self._fingerprint)
                if now == seen:
                    continue
                seen = now
            self._heard.clear()
            self._has_heard = False
            self._tell()
            await asyncio.sleep(REST_SECONDS)

    def _tell(self) -> None:
        self.version += 1
        beat, self._beat = self._beat, asyncio.Event()
        beat.set()

    def end(self) -> None:
        """End all streams; in the server's loop."""
        self._is_over = True
        self._heard.set()
        self._beat.set()

    async def stream(self) -> AsyncIterator[bytes]:
        """Give the lines of one event stream, until the reader leaves or the server ends."""
        self.streams += 1
        try:
            sent = self.version
            yield b"retry: 3000\n\n" + self._line()
            while not self._is_over:
                try:
                    if sent == self.version:
                        await asyncio.wait_for(self._beat.wait(), _ALIVE_SECONDS)
                except TimeoutError:
                    yield b": still here\n\n"
                else:
                    sent = self.version
                    yield self._line()
        finally:
            self.streams -= 1

    def _line(self) -> bytes:
        return b"event: change\ndata: " + json.dumps({"version": self.version}).encode() + b"\n\n"
