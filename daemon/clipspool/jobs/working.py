"""How far the work on a job has come at this moment: kept in memory by who works, never in the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias


@dataclass(frozen=True, slots=True)
class Working:
    """What is done to a job now, and how much of that is done."""

    doing: str
    """In words: `downloading the result`."""
    share: float | None = None
    """From 0 to 1; None where the whole is not known."""

    def in_words(self) -> str:
        """Describe it for people: `downloading the result, 40%`."""
        return self.doing if self.share is None else f"{self.doing}, {self.share:.0%}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as commands hand it on."""
        return {"doing": self.doing, "progress": self.share}

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(str(known["doing"]), known["progress"])


ReportWork: TypeAlias = Callable[[Working], None]
"""Takes how far the work on one job has come. Called often, from a worker's thread; never blocks."""


def keep_to_oneself(_working: Working) -> None:
    """Report nothing, where nobody asks."""


def share_of(done: float, whole: float) -> float:
    """Return a share from 0 to 1, whatever the figures."""
    return min(max(done / whole, 0.0), 1.0) if whole > 0 else 0.0
