"""What the page knows of the daemon at a moment: asked for once, however many pages are open."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from clipspool.jobs.conditions import Conditions
from clipspool.jobs.messages import Happened
from clipspool.jobs.model import Job, State
from clipspool.journal import Lookup
from clipspool.web.context import House

FRESH_SECONDS = 2.0
ANSWER_SECONDS = 5.0
"""How long it waits for the scheduler before it gives what it last knew."""
_SLICE_SECONDS = 0.2
_PAGES_MAX = 64
_REFILL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the daemon last said."""

    status: Mapping[str, Any]
    conditions: Conditions
    is_late: bool = False
    """Whether the daemon did not answer just now; this is older then."""


class Snapshot:
    """Keeps what the daemon last said, and asks again when it is older than `FRESH_SECONDS` or news came."""

    def __init__(self, house: House, version: Callable[[], int]) -> None:
        """Ask nothing yet; `version` grows with every change."""
        self._house = house
        self._version = version
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._of = (-1, 0.0)
        self._is_over = False

    def end(self) -> None:
        """Wait for nothing any more: nobody will answer."""
        self._is_over = True

    def _answer(self) -> tuple[Mapping[str, Any], Conditions]:
        asked = self._house.state()
        until = time.monotonic() + ANSWER_SECONDS
        while not self._is_over and time.monotonic() < until:
            with suppress(TimeoutError):
                return asked.result(_SLICE_SECONDS)
        raise TimeoutError

    def get(self) -> Seen:
        """Give what the daemon says; raises TimeoutError when it never said anything yet."""
        version = self._version()
        known, at = self._of
        if self._seen is not None and known == version and time.monotonic() - at < FRESH_SECONDS:
            return self._seen
        # While one asks, the others are served with what is there.
        if not self._lock.acquire(blocking=self._seen is None):
            return self._seen  # type: ignore[return-value]  # it is set for good once it was set
        try:
            self._seen = Seen(*self._answer())
        except TimeoutError:
            if self._seen is None:
                raise
            self._seen = replace(self._seen, is_late=True)
        finally:
            self._of = (version, time.monotonic())
            self._lock.release()
        return self._seen


class Waiting:
    """The ids of jobs that wait for a person, kept up to date by news; the journal has no index of them."""

    def __init__(self) -> None:
        """Know nothing yet: `fill` looks."""
        self._ids: set[str] = set()
        self._lock = threading.Lock()
        self._filled_at: float | None = None

    def note(self, news: Any) -> None:
        """Hear of a change, in the scheduler's thread."""
        if isinstance(news, Happened):
            with self._lock:
                if waits(news.after):
                    self._ids.add(news.after.id)
                else:
                    self._ids.discard(news.after.id)

    def ids(self, lookup: Lookup) -> list[str]:
        """Give them, newest first; one that waits no more may still be among them."""
        now = time.monotonic()
        # Again now and then: what `clipspool recover` takes on is no news.
        if self._filled_at is None or now - self._filled_at > _REFILL_SECONDS:
            self._filled_at = now
            with lookup.look() as look:
                found = look.held()
            with self._lock:
                self._ids |= found
        with self._lock:
            ids = list(self._ids)
        return sorted(ids, reverse=True)

    def forget(self, job_id: str) -> None:
        """Take one out that was found to wait no more."""
        with self._lock:
            self._ids.discard(job_id)


def waits(job: Job) -> bool:
    """Whether a job waits for a person."""
    return not job.state.is_terminal and (job.held is not None or job.state is State.IN_DOUBT)


@dataclass(slots=True)
class _Kept:
    version: int = -1
    at: float = 0.0
    text: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Pages:
    """Pages as they were drawn last: many readers of one view cost one drawing."""

    def __init__(self, version: Callable[[], int]) -> None:
        """Keep nothing yet; `version` grows with every change."""
        self._version = version
        self._kept: OrderedDict[object, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object, draw: Callable[[], str]) -> str:
        """Give the page, drawn again when something changed or it is older than `FRESH_SECONDS`."""
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            while len(self._kept) > _PAGES_MAX:
                self._kept.popitem(last=False)
        with kept.lock:  # who comes meanwhile waits, and takes what was drawn
            version = self._version()
            if kept.version != version or time.monotonic() - kept.at > FRESH_SECONDS:
                kept.text = draw()
                kept.version, kept.at = version, time.monotonic()
            return kept.text
