"""Limits the connections to the page: their number, and the time until each sends a request.

Otherwise silent connections of a stranger could use up the descriptors that the daemon needs for its clips,
its journal and its log.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

BACKLOG: Final = 128
"""Connections that the system accepts before they are counted."""
ASK_SECONDS = 20.0
"""From a connection's beginning, or its last answer, to the last byte of a request."""
STALL_SECONDS = 60.0
"""How long a film that is sent may stand still; it may take hours in all."""
MOVES_BYTES = 65_536
"""Fewer bytes in that time are no progress: a few that drip would keep others from sending theirs."""
UNREAD_SECONDS = 600.0
"""How long an answer may wait for its reader: a browser leaves a film unread while it is paused, and asks for
the rest again."""
LEFT_SECONDS = 0.5
"""What requests under way have as the daemon ends; less than what the server waits before it cancels them."""
UPLOADS = "clipspool_takes_film"
"""Set in the scope of a request whose body may be a film: only once its token has the right."""
_CALLERS_MAX: Final = 1000
_DESCRIPTORS_EACH: Final = 3
"""One for the connection and one for the video that is sent; the third is the daemon's."""


def callers_max() -> int:
    """Return how many connections may be open, so that enough of this process's descriptors are left."""
    return min(_CALLERS_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _DESCRIPTORS_EACH)


class PageConnection(H11Protocol):
    """One connection; closed where there are too many, or where a request takes too long."""

    _too_late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _moved_at = 0.0
    _came = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request."""
        super().connection_made(transport)
        if len(self.connections) > callers_max():
            transport.abort()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Count what comes."""
        self._came += len(data)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        for timer in (self._too_late, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End soon, as the daemon ends: whoever sends or reads a film goes on with it another time."""
        super().shutdown()
        self.loop.call_later(LEFT_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """Wait for the reader, for so long: those who never read would use up the connections."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the reader has read."""
        if self._unread is not None:
            self._unread.cancel()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Wait for the next request; one that has come already is answered meanwhile."""
        self._wait()
        super().on_response_complete()

    def _wait(self) -> None:
        if self._too_late is not None:
            self._too_late.cancel()
        self._moved_at, self._came = self.loop.time(), 0
        self._too_late = self.loop.call_later(ASK_SECONDS, self._look)

    def _look(self) -> None:
        asked: RequestResponseCycle | None = self.cycle
        is_film = asked is not None and asked.scope.get(UPLOADS) and not asked.response_complete
        if is_film and self._came >= MOVES_BYTES:
            self._wait()
            return
        if is_film and self.loop.time() - self._moved_at < STALL_SECONDS:
            self._too_late = self.loop.call_later(ASK_SECONDS, self._look)
            return
        if asked is None or asked.response_complete or asked.more_body:
            self.transport.abort()
