"""Runs what touches an inbox's disks in its own threads: a share that hangs takes none from the rest."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Container
from contextlib import suppress
from typing import Any, Final

import anyio
import anyio.to_thread

EACH: Final = 16
"""Threads of one inbox. Those in a share that hangs cannot be ended; they are free again once it answers."""
FREE_SECONDS = 20.0
"""How long a request waits for one of them."""
LOOK_SECONDS = 20.0
"""How long a page, or an answer, waits for what it only reads; a disk that slept wakes in this time."""


class Silent(OSError):
    """The disks of an inbox do not answer in time."""

    def __init__(self) -> None:
        super().__init__("The inbox's folder does not answer now; try again.")


class InboxThreads:
    """The threads of all inboxes; for the loop that serves the page."""

    def __init__(self, inboxes: Callable[[], Container[str]]) -> None:
        """`inboxes` returns the names of those that are configured now."""
        self._inboxes = inboxes
        self._limiters: dict[str, anyio.CapacityLimiter] = {}
        self._counted = anyio.CapacityLimiter(math.inf)
        """Those that run are counted by inbox."""

    async def run(
        self, inbox: str, function: Callable[..., Any], *given: Any, seconds: float | None = None
    ) -> Any:
        """Return what a function returns; raises Silent where no thread is free in time.

        With `seconds` also where it takes longer: it goes on, and what it returns is lost, so it must only
        read.
        """
        name = inbox if inbox in self._inboxes() else ""  # strangers' names must not fill the memory
        limiter = self._limiters.setdefault(name, anyio.CapacityLimiter(EACH))
        this = object()
        with anyio.move_on_after(FREE_SECONDS) as wait:
            await limiter.acquire_on_behalf_of(this)
        if wait.cancelled_caught:
            raise Silent
        loop = asyncio.get_running_loop()

        def work() -> Any:
            try:
                return function(*given)
            finally:
                with suppress(RuntimeError):  # the daemon ends
                    loop.call_soon_threadsafe(limiter.release_on_behalf_of, this)

        is_bound = seconds is not None
        with anyio.move_on_after(seconds):
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=is_bound, limiter=self._counted)
        raise Silent
