"""Records every accepted create and every request."""

from __future__ import annotations

import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Condition
from typing import Any, Final

REQUESTS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class CreateRecord:
    """One accepted create, which is paid."""

    task_id: str
    at: float
    """Seconds since the epoch."""
    sha256: str
    """Of the decoded clip."""
    prompt: str
    seed: int | None
    model: str
    key_fingerprint: str
    request_bytes: int


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request and its answer."""

    at: float
    method: str
    path: str
    """Without the query, which may hold a key or a token."""
    status: int
    """0 when nothing was answered."""
    bytes_in: int
    bytes_out: int
    seconds: float
    misbehaviour: str | None
    has_key: bool
    """Whether it had an Authorization header, also where none belongs (result files)."""
    at_results: bool
    """Whether it was sent to the results' own port."""
    connection: int
    """Number of its connection; requests over one kept-alive connection share it."""


@dataclass(slots=True)
class Ledger:
    """The sandbox's records, readable from any thread; the last 100,000 requests are kept."""

    path: Path | None = None
    _creates: list[CreateRecord] = field(default_factory=list)
    _requests: deque[RequestRecord] = field(default_factory=lambda: deque(maxlen=REQUESTS_MAX))
    _changed: Condition = field(default_factory=Condition)

    @property
    def creates(self) -> list[CreateRecord]:
        """Every accepted create, oldest first."""
        with self._changed:
            return list(self._creates)

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests that were answered or dropped, oldest first."""
        with self._changed:
            return list(self._requests)

    def creates_by_clip(self) -> Counter[str]:
        """Count the paid creates of each clip, by the SHA-256 of its bytes."""
        return Counter(record.sha256 for record in self.creates)

    def record_create(self, record: CreateRecord) -> None:
        """Record a create; synced to the file, if there is one, before this returns."""
        if self.path is not None:
            line = json.dumps({"event": "create", **asdict(record)}) + "\n"
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        with self._changed:
            self._creates.append(record)
            self._changed.notify_all()

    def record_request(self, record: RequestRecord) -> None:
        """Record a request."""
        with self._changed:
            self._requests.append(record)
            self._changed.notify_all()

    def wait(self, is_so: Callable[[Ledger], bool], timeout_seconds: float = 10.0) -> bool:
        """Block until a condition on this ledger holds; return False if it does not in time."""
        deadline = time.monotonic() + timeout_seconds
        while not is_so(self):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                # The condition is checked outside the lock; the short wait covers a change in between.
                self._changed.wait(min(left, 0.05))
        return True

    def as_json(self, *, with_requests: bool = True) -> dict[str, Any]:
        """Return everything as it is served at `/_sandbox/ledger`."""
        answer: dict[str, Any] = {
            "creates": [asdict(record) for record in self.creates],
            "by_clip": dict(self.creates_by_clip()),
        }
        if with_requests:
            answer["requests"] = [asdict(record) for record in self.requests]
        return answer
