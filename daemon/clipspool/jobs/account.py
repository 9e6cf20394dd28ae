"""What the account at the provider has left, and what all that is queued will cost; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CREDITS_OF = {"USD": 100.0}
"""What a unit of a balance is worth in credits; one credit is 0.01 USD."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has left."""

    amount: float
    unit: str
    """`credits` or `USD`."""

    def in_words(self, price: float) -> str:
        """Describe it beside a price in credits, in a sentence."""
        short = ", which is less than that" if self.lacks(price) else ""
        return f"The account has {self.amount:,.10g} {self.unit}{short}."

    @property
    def credits(self) -> float:
        """Its worth in credits."""
        return self.amount * _CREDITS_OF.get(self.unit, 1.0)

    def lacks(self, price: float) -> bool:
        """Whether it is less than a price in credits."""
        return self.credits < price


@dataclass(frozen=True, slots=True)
class Account:
    """What the account has left, beside what all that is queued will cost."""

    queued_credits: float = 0.0
    queued_unknown: int = 0
    """Queued jobs whose price is not known."""
    balance: Balance | None = None
    """As it was read last, minutes ago while clips are sent; None where the provider does not tell."""

    @property
    def is_short(self) -> bool:
        """Whether the account does not cover the queue."""
        return self.balance is not None and self.balance.lacks(self.queued_credits)

    def in_words(self) -> str:
        """Describe it in a sentence; empty where nothing is queued."""
        if not self.queued_credits and not self.queued_unknown:
            return ""
        unknown = f"{self.queued_unknown:,} {'job' if self.queued_unknown == 1 else 'jobs'} of unknown price"
        said = f"What is queued costs about {self.queued_credits:,.10g} credits"
        if self.queued_unknown:
            said = f"{said}, and {unknown}" if self.queued_credits else f"Queued: {unknown}"
        if self.balance is None:
            return f"{said}."
        has = f"the account has {self.balance.amount:,.10g} {self.balance.unit}"
        stops = (
            ": sending stops when it is used up, and goes on when it is topped up" if self.is_short else ""
        )
        return f"{said}; {has}{stops}."

    def to_dict(self) -> dict[str, Any]:
        """Return it as `status --json` has it."""
        return {
            "queued_credits": self.queued_credits,
            "queued_unknown": self.queued_unknown,
            "balance": balance_json(self.balance),
        }

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> Account:
        """Read what `to_dict` wrote; of an older daemon nothing is known."""
        balance = known.get("balance")
        return cls(
            known.get("queued_credits", 0.0),
            known.get("queued_unknown", 0),
            Balance(balance["amount"], balance["unit"]) if balance else None,
        )


def balance_json(balance: Balance | None) -> dict[str, Any] | None:
    """Return a balance as commands hand it on; None where the provider does not tell it."""
    return None if balance is None else {"amount": balance.amount, "unit": balance.unit}
