"""What holds all submissions back, and what lets them go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clipspool.events import (
    AnswerLost,
    Event,
    NotSubmitted,
    StageFailed,
    TaskCreated,
    TaskSeen,
    TaskSucceeded,
)
from clipspool.job import Job
from clipspool.pacing import Random, backoff_seconds
from clipspool.provider import Fault, FaultOf

_MOMENT_SECONDS = (1.0, 300.0)
_ACCOUNT_SECONDS = (60.0, 3600.0)
_DOUBT_SECONDS = (0.5, 3.0)
"""After a lost answer others go one at a time, so that not all that waits is in doubt at once."""
_DOUBTS_QUICK = 16
"""So many lost answers in a row are no accident: the pauses grow, or a night's clips are in doubt."""
_DOUBTS_SECONDS = (3.0, 300.0)


@dataclass(frozen=True, slots=True)
class Brake:
    """What holds all submissions back: a provider out of reach or saturated, or trouble of the account.

    One clip's refusal speaks for all that wait behind it: five hundred clips must not ask one after another.
    After the pause one submission goes first, and only its success lets the others follow.
    """

    failures: int = 0
    until: float = 0.0
    fault: Fault | None = None
    is_by_look: bool = False
    """Pressed by a look at a task, so the next look that works lets go of it."""

    @property
    def is_on(self) -> bool:
        """Whether submissions are held back or only tried one at a time."""
        return self.fault is not None

    def room(self, now: float, wanted: int, submitting: int) -> int:
        """How many submissions may start now, of `wanted`, while `submitting` are under way."""
        if not self.is_on:
            return wanted
        return min(wanted, max(1 - submitting, 0)) if now >= self.until else 0

    def pressed(
        self, fault: Fault, now: float, random: Random, *, is_doubt: bool = False, is_by_look: bool = False
    ) -> Brake:
        """Give the brake after one more refusal, or a lost answer; those under way together count once."""
        if self.is_on and now < self.until:
            return self
        same = self.fault is not None and self.fault.of is fault.of
        failures = self.failures if same else 0
        bounds, steps = _ACCOUNT_SECONDS if fault.of is FaultOf.ACCOUNT else _MOMENT_SECONDS, failures
        if is_doubt and failures < _DOUBTS_QUICK:
            bounds = _DOUBT_SECONDS
        elif is_doubt:
            bounds, steps = _DOUBTS_SECONDS, failures - _DOUBTS_QUICK
        pause = backoff_seconds(steps, bounds, random)
        if fault.of is FaultOf.ACCOUNT:
            pause = max(pause, bounds[0] / 2)
        if fault.retry_after_seconds is not None:
            pause = fault.retry_after_seconds + min(pause, max(fault.retry_after_seconds, 1.0))
        return Brake(failures + 1, now + pause, fault, is_by_look)

    def after(self, job: Job, event: Event, now: float, random: Random, profile: str) -> Brake:
        """Give the brake after what happened to a job; `profile` is what submissions go by now.

        Looks press it too, where they say that the key is refused; another key's task says nothing.
        """
        match event:
            case TaskCreated():
                return Brake()
            case NotSubmitted(fault=fault) if fault.of is not FaultOf.CLIP:
                return self.pressed(fault, now, random)
            case AnswerLost(message=message):
                fault = Fault(FaultOf.MOMENT, "PROVIDER.NO_ANSWER", message)
                return self.pressed(fault, now, random, is_doubt=True)
            case TaskSeen() | TaskSucceeded() if self.is_by_look:
                return Brake()
            case StageFailed(trouble=Fault() as trouble) if job.task and job.task.profile == profile:
                return self.pressed(trouble, now, random, is_by_look=True)
            case _:
                return self


def read_brake(kept: Any) -> Brake:
    """Read the brake that the journal remembers."""
    if not isinstance(kept, dict):
        return Brake()
    fault = Fault(**{**kept["fault"], "of": FaultOf(kept["fault"]["of"])})
    return Brake(kept["failures"], kept["until"], fault, kept.get("is_by_look", False))
