"""Log-in: one token, compared in constant time, and sessions that live in memory and end with the daemon.

The right token is always accepted, however many wrong ones came before: a limit would let any stranger lock
the operator out. The token's length makes guessing hopeless; wrong tokens are logged and counted.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from math import inf

import structlog

log = structlog.get_logger()

SESSION_SECONDS = 12 * 3600.0
_SESSIONS_MAX = 1000
_TRIES_MAX = 10
_TRIES_SECONDS = 60.0
_LOG_SECONDS = 10.0
"""Wrong tokens are logged at most this often, with their number: a guesser must not fill the log."""
_TOKEN_CHARACTERS_MAX = 4096


class Sessions:
    """Sessions of callers who have shown the token; for any thread."""

    def __init__(
        self,
        token: str | None,
        now: Callable[[], float],
        of: str,
        count_wrong: Callable[[], None] = lambda: None,
    ) -> None:
        """Start without sessions. Without a `token` nobody can log in; `now` returns seconds.

        `of` names the cookie: browsers share cookies between a host's ports, so each daemon needs its own.
        `count_wrong` is called for each wrong token.
        """
        self.cookie = f"clipspool_{hashlib.sha256(of.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
        self._token = token
        self._now = now
        self._until: OrderedDict[str, float] = OrderedDict()
        self._wrong: deque[float] = deque(maxlen=_TRIES_MAX)
        self._count_wrong = count_wrong
        self._unlogged = 0
        self._logged_at = -inf
        self._lock = threading.Lock()

    @property
    def is_possible(self) -> bool:
        """Whether a token is set."""
        return self._token is not None

    def is_token(self, given: str, caller: str) -> bool:
        """Compare with the token; a wrong one is counted, and logged with its caller's address."""
        if self._token is None:
            return False
        is_right = len(given) <= _TOKEN_CHARACTERS_MAX and hmac.compare_digest(
            given.encode("utf-8", "replace"), self._token.encode()
        )
        if not is_right:
            self._note_wrong(caller)
        return is_right

    def _note_wrong(self, caller: str) -> None:
        now = self._now()
        with self._lock:
            self._wrong.append(now)
            self._unlogged += 1
            is_due = abs(now - self._logged_at) >= _LOG_SECONDS
            tries = self._unlogged
            if is_due:
                self._logged_at, self._unlogged = now, 0
        self._count_wrong()
        if is_due:
            log.warning("login_refused", caller=caller, tries=tries, why="wrong token")

    @property
    def is_guessed_at(self) -> bool:
        """Whether there were so many wrong tokens that their senders are asked to wait."""
        with self._lock:
            return len(self._wrong) == _TRIES_MAX and self._now() - self._wrong[0] < _TRIES_SECONDS

    def begin(self) -> str:
        """Begin a session for a caller who has shown the token; returns the cookie's value."""
        name = secrets.token_urlsafe(32)
        with self._lock:
            self._until[name] = self._now() + SESSION_SECONDS
            if len(self._until) > _SESSIONS_MAX:
                self._until.popitem(last=False)
        return name

    def is_known(self, name: str) -> bool:
        """Whether a cookie's value is a session that has not ended."""
        with self._lock:
            until = self._until.get(name, 0.0)
            if until <= self._now():
                self._until.pop(name, None)
                return False
            return True

    def end(self, name: str) -> None:
        """Log out."""
        with self._lock:
            self._until.pop(name, None)
