"""Keeps keys, credits and daily quotas of the accounts that use the sandbox."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

from runway_sandbox import answers
from runway_sandbox.options import MODELS, Options
from runway_sandbox.wire import Answer, Request

API_VERSION: Final = "2024-11-06"
DAY_SECONDS: Final = 86_400.0
NO_LIMIT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Account:
    """The sender of a request, and which of the two APIs it was sent to."""

    fingerprint: str
    is_official: bool

    @property
    def shape(self) -> str:
        """Shape of ordinary errors of this API."""
        return "runway" if self.is_official else "comet"


def fingerprint(key: str) -> str:
    """Return a hash that identifies a key."""
    return hashlib.sha256(key.encode("latin-1", "replace")).hexdigest()[:12]


@dataclass(slots=True)
class Accounts:
    """What each key has left, and how many tasks it made in the last day."""

    options: Options
    _made: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    _credits: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        start = self.options.credits
        self._credits = defaultdict(lambda: start)

    def admit(self, request: Request, *, is_official: bool, needs_version: bool) -> Answer | Account:
        """Check the headers [PROVIDER 1.1, 2.1]; return the account, or the answer that refuses it."""
        shape = "runway" if is_official else "comet"
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            return answers.error(shape, 401, "", "No API key provided in the Authorization header.")
        if self.options.api_keys and key not in self.options.api_keys:
            return answers.error(shape, 401, "", "The API key is invalid.")
        version = request.headers.get("x-runway-version", API_VERSION)
        if (needs_version or is_official) and "x-runway-version" not in request.headers:
            return answers.error(shape, 400, "invalid_request", "The X-Runway-Version header is missing.")
        if version != API_VERSION:
            message = f"Unsupported X-Runway-Version: {version[:40]}."
            return answers.error(shape, 400, "invalid_request", message)
        return Account(fingerprint(key), is_official)

    def charge(self, account: Account, price: int) -> Answer | None:
        """Take the price of a task; return a refusal if the quota or the credits are used up."""
        made, now = self._made[account.fingerprint], time.time()
        while made and made[0] < now - DAY_SECONDS:
            made.popleft()
        if self.options.daily_generations is not None and len(made) >= self.options.daily_generations:
            return answers.error("runway", 429, "", "You have reached your daily task limit.")
        if self._credits[account.fingerprint] < price:
            if account.is_official:
                return answers.error("runway", 400, "", "You do not have enough credits to run this task.")
            return answers.error("gateway", 403, "quota_not_enough", "user quota is not enough")
        made.append(now)
        self._credits[account.fingerprint] -= price
        return None

    def refund(self, account: Account, price: int) -> None:
        """Refund the price of a task."""
        self._credits[account.fingerprint] += price

    def organization(self, account: Account) -> Answer:
        """GET organization: credits, limits and use [PROVIDER 2.8]."""
        if not self.options.organization:
            return answers.error(account.shape, 404, "", "Not found")
        # The SDK's types have numbers here, never null [PROVIDER 8]: a very high one stands for no limit.
        concurrency, daily = self.options.concurrency, self.options.daily_generations
        limit = {
            "maxConcurrentGenerations": NO_LIMIT if concurrency is None else concurrency,
            "maxDailyGenerations": NO_LIMIT if daily is None else daily,
        }
        used = {"dailyGenerations": len(self._made[account.fingerprint])}
        body = {
            "creditBalance": self._credits[account.fingerprint],
            "tier": {"maxMonthlyCreditSpend": 10_000, "models": dict.fromkeys(MODELS, limit)},
            "usage": {"models": dict.fromkeys(MODELS, used)},
        }
        return Answer.of_json(200, body)

    def quota(self, request: Request) -> Answer:
        """GET /user/quota?key=: the balance in dollars, as the gateway reports it [PROVIDER 1.7]."""
        key = request.query.get("key", "")
        if not key or (self.options.api_keys and key not in self.options.api_keys):
            return answers.error("comet", 401, "", "Invalid token")
        left = self._credits[fingerprint(key)] / 100
        used = self.options.credits / 100 - left
        one = {"name": "sandbox", "remain_quota": -1, "used_quota": used}
        count = len(self._made[fingerprint(key)])
        body = {"username": "sandbox", "total_quota": left, "total_used_quota": used, "request_count": count}
        return Answer.of_json(200, {**body, "keys": [one], "daily_quota": []})
