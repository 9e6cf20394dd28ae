"""Holds submissions back, all of them or those for one model, and decides when they go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from clipspool.jobs import events as on
from clipspool.jobs.events import Event
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.model import Job, State
from clipspool.jobs.pacing import Random, backoff_seconds

_MOMENT_SECONDS = (1.0, 300.0)
_ACCOUNT_SECONDS = (60.0, 3600.0)
_DOUBT_SECONDS = (0.5, 3.0)
"""After a lost answer others are sent one at a time, so that not all that wait are in doubt at once."""
_DOUBTS_QUICK = 16
"""After this many lost answers in a row the pauses grow, or a night's clips would be in doubt."""
_DOUBTS_SECONDS = (3.0, 300.0)
_SECOND_OPINION_SECONDS = (3.0, 3.0)
"""After one clip's refusal another is sent so soon: what only one clip meets is no fault of the account."""
_SURE = frozenset(
    {"ACCOUNT.KEY_REFUSED", "ACCOUNT.KEY_MISSING", "ACCOUNT.KEY_MALFORMED", "ACCOUNT.KEY_UNREADABLE"}
)
"""Certainly not about one clip: no other clip has to be sent to find that out."""
_REMEMBERED_MAX = 200


@dataclass(frozen=True, slots=True)
class Brake:
    """What holds submissions back: a provider out of reach or saturated, a fault of the account or a model.

    One clip's refusal holds for all that wait: five hundred clips must not be refused one after another.
    After the pause one submission goes first, and only its success lets the others follow. A clip whose
    submission was refused gives way to another, so that one clip cannot hold all others back for ever.
    """

    failures: int = 0
    until: float = 0.0
    fault: Fault | None = None
    is_by_look: bool = False
    """Set by a poll, so the next poll that succeeds ends it."""
    pressed_at: float = 0.0
    fresh_at: float | None = None
    """From then on a job that was not refused yet may be sent; None for `until`, when any may."""
    refused: tuple[str, ...] = ()
    """Jobs that were refused while it is on, the latest last."""
    suspects: tuple[str, ...] = ()
    """Jobs that were refused while a later one succeeded: the next refusal is their own."""
    models: Mapping[str, Brake] = field(default_factory=dict)
    """By model, what holds back the clips that ask for it and no others."""

    @property
    def is_on(self) -> bool:
        """Whether submissions are held back or only tried one at a time."""
        return self.fault is not None

    def room(self, now: float, wanted: int, submitting: int, *, is_fresh: bool = True) -> int:
        """Return how many of `wanted` submissions may start now, while `submitting` are under way.

        `is_fresh` asks for jobs that were not refused yet.
        """
        if not self.is_on:
            return wanted
        begins_at = self.until if self.fresh_at is None or not is_fresh else self.fresh_at
        return min(wanted, max(1 - submitting, 0)) if now >= begins_at else 0

    def rank(self, job_id: str) -> int:
        """Return a job's place in line: 0 if not refused yet, then by how long ago it was refused."""
        return self.refused.index(job_id) + 1 if job_id in self.refused else 0

    def wakes_at(self, now: float) -> float | None:
        """Return when something may be sent next, after `now`."""
        brakes = (self, *self.models.values())
        times = [at for one in brakes for at in (one.fresh_at, one.until) if at is not None and at > now]
        return min(times, default=None)

    def blames(self, job: Job, event: Event) -> bool:
        """Whether a refusal that seems to concern all clips is this job's own."""
        is_shared = isinstance(event, on.NotSubmitted) and event.fault.of in {FaultOf.ACCOUNT, FaultOf.MODEL}
        return is_shared and job.id in self.suspects

    def pressed(
        self,
        fault: Fault,
        now: float,
        random: Random,
        *,
        job: Job | None = None,
        is_doubt: bool = False,
        is_by_look: bool = False,
    ) -> Brake:
        """Return the brake after one more refusal or lost answer; those under way together count once.

        `job` is whose submission was refused, as it was before.
        """
        same = self.fault is not None and self.fault.of is fault.of
        refused = self.refused if same else ()
        if job is not None:
            refused = (*(one for one in refused if one != job.id), job.id)[-_REMEMBERED_MAX:]
        if self.is_on and now < self.until and not self._is_probe(job, now):
            return replace(self, refused=refused, fresh_at=None) if same and len(refused) > 1 else self
        failures = self.failures if same else 0
        is_slow = fault.of in {FaultOf.ACCOUNT, FaultOf.MODEL}
        bounds, steps = _ACCOUNT_SECONDS if is_slow else _MOMENT_SECONDS, failures
        if is_doubt and failures < _DOUBTS_QUICK:
            bounds = _DOUBT_SECONDS
        elif is_doubt:
            bounds, steps = _DOUBTS_SECONDS, failures - _DOUBTS_QUICK
        pause = backoff_seconds(steps, bounds, random)
        if is_slow:
            pause = max(pause, bounds[0] / 2)
        if fault.retry_after_seconds is not None:
            pause = fault.retry_after_seconds + min(pause, max(fault.retry_after_seconds, 1.0))
        fresh_at = None
        if is_slow and len(refused) == 1 and fault.code not in _SURE and fault.retry_after_seconds is None:
            fresh_at = now + min(backoff_seconds(0, _SECOND_OPINION_SECONDS, random), pause)
        return replace(
            self,
            failures=failures + 1,
            until=now + pause,
            fault=fault,
            is_by_look=is_by_look,
            pressed_at=now,
            fresh_at=fresh_at,
            refused=refused,
        )

    def after(self, job: Job, event: Event, now: float, random: Random, profile: str) -> Brake:
        """Return the brake after an event of a job; `profile` is what new tasks are made with.

        A poll that finds the key refused sets it too; the task of another key says nothing.
        """
        match event:
            case on.TaskCreated():
                return self._after_success(job)
            case on.NotSubmitted() if self.blames(job, event):
                return replace(self, suspects=tuple(one for one in self.suspects if one != job.id))
            case on.NotSubmitted(fault=Fault(of=FaultOf.MODEL) as fault):
                model = job.request.model
                pressed = self.models.get(model, Brake()).pressed(fault, now, random, job=job)
                return replace(self.answered(), models={**self.models, model: pressed})
            case on.Failed() if job.state is State.SUBMITTING:
                return self.answered()
            case on.NotSubmitted(fault=fault) if fault.of is not FaultOf.CLIP:
                return self.pressed(fault, now, random, job=job)
            case on.AnswerLost(message=message, evidence=evidence):
                pause = evidence.get("retry_after_seconds")
                pause = pause if isinstance(pause, float) else None
                fault = Fault(FaultOf.MOMENT, "PROVIDER.NO_ANSWER", message, retry_after_seconds=pause)
                return self.pressed(fault, now, random, is_doubt=True)
            case on.TaskSeen() | on.TaskSucceeded() if self.is_by_look:
                return Brake(suspects=self.suspects, models=self.models)
            case on.StageFailed(trouble=Fault() as trouble) if job.task and job.task.profile == profile:
                return self.pressed(trouble, now, random, is_by_look=True)
            case _:
                return self

    def brought_forward(self, now: float) -> Brake:
        """Return the brake after the clock was set back: a wait for a time by the old clock ends now."""
        models = {name: one.brought_forward(now) for name, one in self.models.items()}
        if not self.is_on:
            return replace(self, models=models)
        return replace(self, until=now, fresh_at=None, pressed_at=min(self.pressed_at, now), models=models)

    def answered(self) -> Brake:
        """Return the brake without a temporary fault: a clear answer shows that the provider is reachable."""
        is_over = self.fault is not None and self.fault.of is FaultOf.MOMENT
        return Brake(suspects=self.suspects, models=self.models) if is_over else self

    def _after_success(self, job: Job) -> Brake:
        """Return the brake after a submission succeeded, with the jobs that are under suspicion now."""
        model = job.request.model
        found = [*self.refused_alone(job), *self.models.get(model, Brake()).refused_alone(job)]
        kept = [one for one in (*self.suspects, *found) if one != job.id]
        return Brake(
            suspects=tuple(dict.fromkeys(kept))[-_REMEMBERED_MAX:],
            models={name: one for name, one in self.models.items() if name != model},
        )

    def refused_alone(self, job: Job) -> tuple[str, ...]:
        """Return the one job that was refused while this one, sent later, succeeded.

        Where several were refused the fault was everybody's: somebody bought credits, or a new day began.
        """
        is_later = job.task is not None and job.task.intent_at >= self.pressed_at
        is_own = self.fault is not None and self.fault.of in {FaultOf.ACCOUNT, FaultOf.MODEL}
        is_sure = self.fault is not None and self.fault.code in _SURE
        is_alone = len(self.refused) == 1 and job.id not in self.refused
        return self.refused if is_own and is_later and is_alone and not is_sure else ()

    def _is_probe(self, job: Job | None, now: float) -> bool:
        """Whether a job's submission began after the brake was set."""
        if job is None or job.state is not State.SUBMITTING or job.task is None:
            return False
        begins_at = self.until if self.fresh_at is None else self.fresh_at
        return now >= begins_at and job.task.intent_at >= self.pressed_at
