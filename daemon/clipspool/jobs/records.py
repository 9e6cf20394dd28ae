"""What the journal returns, as values: an entry of the history, the day's spending, counts; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from clipspool.jobs.model import Held, State


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of history."""

    at: float
    job_id: str | None
    event: str
    from_state: str | None
    to_state: str | None
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spend:
    """What was submitted since a moment: tasks, and credits charged or, until known, estimated."""

    submissions: int = 0
    credits: float = 0.0
    by: Mapping[tuple[str, str], float] = field(default_factory=dict, compare=False)
    """The credits by inbox and model."""

    def plus(self, inbox: str, model: str, credits_more: float) -> Spend:
        """Return it with one submission more."""
        by = {**self.by, (inbox, model): self.by.get((inbox, model), 0.0) + credits_more}
        return Spend(self.submissions + 1, self.credits + credits_more, by)


@dataclass(frozen=True, slots=True)
class HookRun:
    """How a hook of the operator's ended that ran after a job's end."""

    hook: str
    seconds: float = 0.0
    output: str = ""
    """The beginning of what it wrote, in one line."""
    trouble: str = ""
    """Why it failed; empty where it did not."""
    was_stopped: bool = False
    """It was ended because clipspool itself ended; it is run again."""


@dataclass(frozen=True, slots=True)
class ClipCost:
    """What the jobs of one clip cost together, in credits."""

    spent: float = 0.0
    """Charged or, until known, estimated, of everything that was submitted, lost answers included."""
    waiting: tuple[float | None, ...] = ()
    """What each job that is not sent yet is estimated at; None where that is not known yet."""

    def total(self, unknown: float) -> float:
        """Return the sum; a job of unknown price counts as `unknown`."""
        return self.spent + sum(unknown if one is None else one for one in self.waiting)

    def in_words(self, unknown: float) -> str:
        """Return the costs for people."""
        jobs = len(self.waiting)
        what = f"the {jobs} jobs of this clip would cost" if jobs > 1 else "this clip would cost"
        before = f", {self.spent:,.10g} of them for what was sent before" if self.spent else ""
        return f"{what} about {self.total(unknown):,.10g} credits in all{before}"


@dataclass(frozen=True, slots=True)
class Tally:
    """How many open jobs of an inbox are in the same situation."""

    inbox: str
    state: State
    held: str | None
    is_later: bool
    """Whether they are not due yet."""
    is_tried_again: bool
    """Whether they wait out the pause after an attempt."""
    count: int


@dataclass(frozen=True, slots=True)
class OpenJobs:
    """How many open jobs there are."""

    by_state: Counter[State]
    """Those that nothing holds."""
    held: Counter[Held]


class Life(StrEnum):
    """Whether another daemon runs, as far as that is known."""

    LIVING = "living"
    STOPPED = "stopped"
    """It recorded its end."""
    ENDED = "ended"
    """It ran on this machine, and its process is gone; or another daemon has taken its journal's place."""
    SILENT = "silent"
    """It has not been seen for `SILENT_SECONDS`."""
    UNKNOWN = "unknown"
    """It has no mark: an older version, or a mark that was removed."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another daemon, and how many accepted clips of it lie in an inbox."""

    inbox: str
    journal: str
    host: str
    life: Life
    clips: int
    seen_at: float | None = None
    """Unix seconds by this machine's clock; None where it left no mark."""

    @property
    def is_living(self) -> bool:
        """Whether its clips are being worked on."""
        return self.life is Life.LIVING

    @property
    def name(self) -> str:
        """Its name for people."""
        return f"{self.host} (journal {self.journal})" if self.host else f"the journal {self.journal}"

    @property
    def command(self) -> str:
        """The command that takes its clips over."""
        return f"clipspool recover --from {self.journal}"


FORMER_NAMES = {"doubted": "in_doubt", "matched": "duplicate_found", "parked": "held", "unsent": "not_sent"}
"""Names of events in journals that 0.1 wrote, and what they are called now."""


def current_name(name: str) -> str:
    """Return what an event in a journal's history is called now."""
    return FORMER_NAMES.get(name, name)
