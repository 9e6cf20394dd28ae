"""Log-in: tokens, compared in constant time, and sessions that live in memory and end with the daemon.

A right token is always accepted, however many wrong ones came before: a limit would let any stranger lock
the operator out. The token's length makes guessing hopeless; wrong tokens are logged and counted.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from math import inf

import structlog

from clipspool.web.context import Token

log = structlog.get_logger()

SESSION_SECONDS = 12 * 3600.0
_SESSIONS_MAX = 1000
_TRIES_MAX = 10
_TRIES_SECONDS = 60.0
_LOG_SECONDS = 10.0
"""Wrong tokens are logged at most this often, with their number: a guesser must not fill the log."""
_TOKEN_CHARACTERS_MAX = 4096


class Sessions:
    """Sessions of callers who have shown a token; for any thread."""

    def __init__(
        self,
        tokens: Sequence[Token],
        now: Callable[[], float],
        of: str,
        count_wrong: Callable[[], None] = lambda: None,
    ) -> None:
        """Start without sessions. Without `tokens` nobody can log in; `now` returns seconds.

        `of` names the cookie: browsers share cookies between a host's ports, so each daemon needs its own.
        `count_wrong` is called for each wrong token.
        """
        self.cookie = f"clipspool_{hashlib.sha256(of.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
        self._tokens = tuple(tokens)
        self._now = now
        self._open: OrderedDict[str, tuple[float, Token]] = OrderedDict()
        self._wrong: deque[float] = deque(maxlen=_TRIES_MAX)
        self._count_wrong = count_wrong
        self._unlogged = 0
        self._logged_at = -inf
        self._lock = threading.Lock()

    @property
    def is_possible(self) -> bool:
        """Whether a token is set."""
        return bool(self._tokens)

    def token_of(self, given: str, caller: str) -> Token | None:
        """Return the token that was given; a wrong one is counted, and logged with its caller's address."""
        if not self._tokens:
            return None
        data = given.encode("utf-8", "replace") if len(given) <= _TOKEN_CHARACTERS_MAX else b""
        # All are compared: the time shows not which one is nearly right.
        right = [token for token in self._tokens if hmac.compare_digest(data, token.secret.encode())]
        if not right:
            self._note_wrong(caller)
            return None
        return right[0]

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
        """Whether there were too many wrong tokens, so that their senders are asked to wait."""
        with self._lock:
            return len(self._wrong) == _TRIES_MAX and self._now() - self._wrong[0] < _TRIES_SECONDS

    def begin(self, token: Token) -> str:
        """Begin a session for a caller who has shown a token; returns the cookie's value."""
        name = secrets.token_urlsafe(32)
        with self._lock:
            self._open[name] = self._now() + SESSION_SECONDS, token
            if len(self._open) > _SESSIONS_MAX:
                self._open.popitem(last=False)
        return name

    def token_behind(self, name: str) -> Token | None:
        """Return the token of a session by the cookie's value; None where it has ended."""
        with self._lock:
            until, token = self._open.get(name, (0.0, None))
            if until <= self._now():
                self._open.pop(name, None)
                return None
            return token

    def end(self, name: str) -> None:
        """Log out."""
        with self._lock:
            self._open.pop(name, None)
