"""Decides which of an account's addresses is used, and follows tasks across all of them.

The operator names the addresses, and so says that all of them lead to one account. A paid request goes to
one address and never to a second; which one that is changes only between requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from urllib.parse import urlsplit

from clipspool.jobs.faults import Fault
from clipspool.provider.protocol import Download, Followed, TaskLook, TaskStatus

AWAY = frozenset({"NETWORK.DNS", "NETWORK.REFUSED", "NETWORK.UNREACHABLE", "NETWORK.TIMEOUT"})
"""Faults of a connection that was never made. After later faults, and those of TLS and proxies, that is not
certain."""


class Reach(StrEnum):
    """Whether a connection to an address can be made."""

    YES = "yes"
    NO = "no"
    """Its name is not resolved, or nothing listens there, or nothing answers in time."""
    UNSURE = "unsure"
    """TLS failed, or a proxy refuses: that is no reason to leave the address, and none to change to it."""


class Chooser:
    """Chooses the address: the first, unless that was out of reach for a while and another is in reach."""

    def __init__(self, addresses: Sequence[str], seconds: float, reach: Callable[[str], Reach]) -> None:
        """Change once the address in use was out of reach, or the first in reach again, for `seconds`."""
        self.addresses = tuple(addresses)
        self.current = self.addresses[0]
        self._seconds, self._reach = seconds, reach
        self._away_since: float | None = None
        self._back_since: float | None = None

    def look(self, now: float) -> None:
        """Try the address in use and, beside another, the first; `now` is of a clock that cannot be set."""
        first = self.addresses[0]
        if self.current != first:
            self._back_since = _since(self._back_since, now, is_so=self._reach(first) is Reach.YES)
            if self._is_over(self._back_since, now):
                self._use(first)
        self._away_since = _since(self._away_since, now, is_so=self._reach(self.current) is Reach.NO)
        if self._is_over(self._away_since, now):
            others = (one for one in self.addresses if one != self.current)
            if (other := next((one for one in others if self._reach(one) is Reach.YES), None)) is not None:
                self._use(other)

    def _use(self, address: str) -> None:
        self.current, self._away_since, self._back_since = address, None, None

    def _is_over(self, since: float | None, now: float) -> bool:
        return since is not None and now - since >= self._seconds


def _since(before: float | None, now: float, *, is_so: bool) -> float | None:
    if not is_so:
        return None
    return now if before is None else before


class OneAccount:
    """Follows a task that was made at one address of an account that has several.

    The address in use is asked first. What that does not know may still be rendering, and is paid for: only
    the address at which a task was made can say that there is no such task.
    """

    def __init__(self, providers: Mapping[str, Followed], current: str, made_at: str) -> None:
        """Ask by `providers`, one for each address of the account: `current` is in use, `made_at` made it."""
        self._providers = providers
        self._made_at = providers[made_at]
        self._in_order = [providers[one] for one in dict.fromkeys((current, made_at, *providers))]

    def look(self, task_id: str) -> TaskLook | Fault:
        """Read a task's state, wherever it is known."""
        return self._found(task_id)[0]

    def cancel(self, task_id: str) -> Fault | None:
        """Ask the provider to stop a task where it is known: elsewhere a missing task counts as stopped."""
        return self._found(task_id)[1].cancel(task_id)

    def download(self, url: str, offset: int, etag: str) -> Download | Fault:
        """Open a result; an address of the account that serves it itself gets the key."""
        serving = (one for address, one in self._providers.items() if _origin(address) == _origin(url))
        return next(serving, self._in_order[0]).download(url, offset, etag)

    def _found(self, task_id: str) -> tuple[TaskLook | Fault, Followed]:
        """Return a task's state and who gave it, or else the answer of where it was made.

        Addresses that are neither in use nor made it are asked only where that cannot be reached.
        """
        for provider in self._in_order:
            seen = provider.look(task_id)
            if isinstance(seen, TaskLook) and seen.status is not TaskStatus.MISSING:
                return seen, provider
            if provider is self._made_at:
                own = seen
                if isinstance(seen, TaskLook) or seen.code not in AWAY:
                    break
        return own, self._made_at


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
