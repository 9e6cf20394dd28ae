"""Caches the daemon's state and drawn pages: asked for once, however many pages are open."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from clipspool.jobs.account import Balance
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.model import Job, State
from clipspool.journal import Look, Lookup
from clipspool.web.context import DaemonHandle

FRESH_SECONDS = 2.0
BALANCE_SECONDS = 30.0
ANSWER_SECONDS = 5.0
"""How long it waits for the scheduler before it returns what it knew last."""
_SLICE_SECONDS = 0.2
_PAGES_MAX = 64
_REFILL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DaemonAnswer:
    """The daemon's last answer."""

    status: Mapping[str, Any]
    conditions: Conditions
    is_late: bool = False
    """Whether the daemon did not answer just now, and this is older."""


class DaemonState:
    """Keeps the daemon's last answer; asks again when something changed or after `FRESH_SECONDS`."""

    def __init__(self, daemon: DaemonHandle, version: Callable[[], int]) -> None:
        """Ask nothing yet; `version` grows with every change."""
        self._daemon = daemon
        self._version = version
        self._lock = threading.Lock()
        self._seen: DaemonAnswer | None = None
        self._of = (-1, 0.0)
        self._is_over = False

    def end(self) -> None:
        """Stop waiting for answers: the daemon ends."""
        self._is_over = True

    def _answer(self) -> tuple[Mapping[str, Any], Conditions]:
        asked = self._daemon.state()
        until = time.monotonic() + ANSWER_SECONDS
        while not self._is_over and time.monotonic() < until:
            with suppress(TimeoutError):
                return asked.result(_SLICE_SECONDS)
        raise TimeoutError

    def get(self) -> DaemonAnswer:
        """Return the daemon's state; raises TimeoutError while it has never answered."""
        version = self._version()
        known, at = self._of
        if self._seen is not None and known == version and time.monotonic() - at < FRESH_SECONDS:
            return self._seen
        # While one caller asks, the others get the last answer.
        if not self._lock.acquire(blocking=self._seen is None):
            return self._seen  # type: ignore[return-value]  # it is set for good once it was set
        try:
            self._seen = DaemonAnswer(*self._answer())
        except TimeoutError:
            if self._seen is None:
                raise
            self._seen = replace(self._seen, is_late=True)
        finally:
            self._of = (version, time.monotonic())
            self._lock.release()
        return self._seen


class BalanceCache:
    """Keeps what the account has left: the provider is asked twice a minute at most, whoever looks."""

    def __init__(self, daemon: DaemonHandle) -> None:
        self._daemon = daemon
        self._lock = threading.Lock()
        self._seen: Balance | None = None
        self._asked_at = -math.inf

    def get(self) -> Balance | None:
        """Return the balance; may wait for the provider. None where it does not tell, or not in time."""
        with self._lock:
            if time.monotonic() - self._asked_at >= BALANCE_SECONDS:
                found = None
                with suppress(Exception):  # it serves people's decisions only, and blocks none of them
                    found = self._daemon.command("balance", {})
                self._seen = Balance(found["amount"], found["unit"]) if found else None
                self._asked_at = time.monotonic()
            return self._seen


class WaitingJobs:
    """The ids of jobs that wait for a person, kept up to date by news; the journal has no index of them."""

    def __init__(self, refill_seconds: float = _REFILL_SECONDS) -> None:
        """Start empty; `ids` reads the journal, and again after `refill_seconds`."""
        self._ids: set[str] = set()
        self._refill_seconds = refill_seconds
        self._lock = threading.Lock()
        self._filled_at: float | None = None

    def note(self, job: Job) -> None:
        """Note a job that changed, from any thread."""
        if job.part:
            return  # the job that it is a part of says so
        with self._lock:
            if waits(job):
                self._ids.add(job.id)
            else:
                self._ids.discard(job.id)

    def ids(self, lookup: Lookup) -> list[str]:
        """Return the ids, newest first; some may not wait any more."""
        now = time.monotonic()
        # Again now and then: `clipspool recover` adds jobs without news.
        if self._filled_at is None or now - self._filled_at > self._refill_seconds:
            self._filled_at = now
            with lookup.look() as look:
                found = look.held()
            with self._lock:
                self._ids |= found
        with self._lock:
            ids = list(self._ids)
        return sorted(ids, reverse=True)

    def jobs(self, look: Look, ids: Sequence[str]) -> list[Job]:
        """Return those of the jobs that wait; the others are forgotten."""
        found = look.load(ids).values()
        with self._lock:
            self._ids -= {job.id for job in found if not waits(job)}
        return [job for job in found if waits(job)]


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
        """Start empty; `version` grows with every change."""
        self._version = version
        self._kept: OrderedDict[object, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object, draw: Callable[[], str]) -> str:
        """Return the page, drawn again when something changed or it is older than `FRESH_SECONDS`."""
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            while len(self._kept) > _PAGES_MAX:
                self._kept.popitem(last=False)
        with kept.lock:  # concurrent callers wait, and take the same drawing
            version = self._version()
            if kept.version != version or time.monotonic() - kept.at > FRESH_SECONDS:
                kept.text = draw()
                kept.version, kept.at = version, time.monotonic()
            return kept.text
