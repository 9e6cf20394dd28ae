"""Notifies open pages of changes: at most once in `REST_SECONDS`, however many happened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import anyio.to_thread

REST_SECONDS = 0.7
LOOK_SECONDS = 5.0
"""How often it checks for changes without a message, such as files in the inboxes."""
STREAMS_MAX = 500
_ALIVE_SECONDS = 15.0


class ChangeStream:
    """A version number that grows with every change, and the streams that send it."""

    def __init__(self, fingerprint: Callable[[], str]) -> None:
        """`fingerprint`, called in a worker thread, differs when something changed without a message."""
        self.version = 0
        self._fingerprint = fingerprint
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._published = asyncio.Event()
        self._is_changed = False
        self._is_over = False
        self.streams = 0

    def note(self) -> None:
        """Record a change, from any thread; never blocks and never raises."""
        loop = self._loop
        if self._is_changed or loop is None:
            return
        self._is_changed = True
        try:
            loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:  # the server's loop has ended
            self._loop = None

    async def run(self) -> None:
        """Notify the streams until `end`, in the server's loop."""
        self._loop = asyncio.get_running_loop()
        seen = ""
        while not self._is_over:
            try:
                await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)
            except TimeoutError:
                if not self.streams:
                    continue
                now = await anyio.to_thread.run_sync(self._fingerprint)
                if now == seen:
                    continue
                seen = now
            self._changed.clear()
            self._is_changed = False
            self._publish()
            await asyncio.sleep(REST_SECONDS)

    def _publish(self) -> None:
        self.version += 1
        published, self._published = self._published, asyncio.Event()
        published.set()

    def end(self) -> None:
        """End all streams; in the server's loop."""
        self._is_over = True
        self._changed.set()
        self._published.set()

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the lines of one event stream, until the reader leaves or the server ends."""
        self.streams += 1
        try:
            sent = self.version
            yield b"retry: 3000\n\n" + self._line()
            while not self._is_over:
                try:
                    if sent == self.version:
                        await asyncio.wait_for(self._published.wait(), _ALIVE_SECONDS)
                except TimeoutError:
                    yield b": still here\n\n"
                else:
                    sent = self.version
                    yield self._line()
        finally:
            self.streams -= 1

    def _line(self) -> bytes:
        return b"event: change\ndata: " + json.dumps({"version": self.version}).encode() + b"\n\n"
