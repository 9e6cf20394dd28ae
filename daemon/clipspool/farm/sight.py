"""Looks which inboxes this node can reach, each in a thread of its own: a file server may hang for minutes.

The leader alone scans the inboxes. This look is one call to the file server, so that ten nodes cost it
little.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from clipspool.system.process import start_thread

log = structlog.get_logger()

_LOOK_SECONDS = 5.0
_HANGS_SECONDS = 10.0
"""A look that takes longer counts as none."""


class Sight:
    """The inboxes that this node can reach now. `names` serves any thread."""

    def __init__(
        self, looks: Mapping[str, Callable[[], object]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Take a function for each inbox, by its name; it raises OSError where the inbox is not there."""
        self._looks, self._monotonic = dict(looks), monotonic
        self._seen_at: dict[str, float] = {}
        self._why: dict[str, str] = {}
        """Why an inbox is not reached, by its name."""
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        looks, self._looks = self._looks, {}
        self.use(looks)

    def use(self, looks: Mapping[str, Callable[[], object]]) -> None:
        """Look at these inboxes, and no others, from now on."""
        new, self._looks = looks.keys() - self._looks.keys(), dict(looks)
        for name in new:
            start_thread(self._run, f"sight-{name}", name)

    def stop(self) -> None:
        """Look no more; a look under way is not waited for."""
        self._stopping.set()

    def names(self) -> frozenset[str]:
        """Return the inboxes that were reached a moment ago."""
        now = self._monotonic()
        seen_at = dict(self._seen_at).items()
        return frozenset(name for name, at in seen_at if name in self._looks and now - at < _HANGS_SECONDS)

    def look(self, name: str) -> None:
        """Look once; what is not there is not seen from now on, and the log says why."""
        try:
            self._looks[name]()
        except OSError as error:
            why = error.strerror or str(error)
            if self._why.get(name) != why:
                log.warning("inbox_not_reached", inbox=name, why=why)
            self._why[name] = why
            self._seen_at.pop(name, None)
        else:
            self._why.pop(name, None)
            self._seen_at[name] = self._monotonic()

    def _run(self, name: str) -> None:
        while name in self._looks and not self._stopping.is_set():
            self.look(name)
            self._stopping.wait(_LOOK_SECONDS)
