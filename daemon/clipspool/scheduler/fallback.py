"""Gives queued jobs another model where the provider refuses theirs: only before anything may be paid."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias

from clipspool.jobs import events as on
from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.events import Event, FellBack
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.model import Job, Request, State
from clipspool.jobs.nouns import replace
from clipspool.jobs.text import span
from clipspool.journal import Journal
from clipspool.scheduler.short_of_credits import may_change

Choose: TypeAlias = Callable[[Request, Mapping[str, Any], Collection[str]], FellBack | None]
"""Returns the first fallback that takes a request for a clip, not one of the given models; None for none."""
GONE = "MODEL.NOT_AVAILABLE"
"""The provider refused one clip's request since it does not have the model."""
FULL = frozenset({"PROVIDER.BUSY", "ACCOUNT.DAILY_QUOTA"})
"""Refused for now, and perhaps for this model only: load and a day's limit are by model [PROVIDER 2.8]."""
_FORGOTTEN_SECONDS = 7200.0
"""After this long without a refusal a model is tried again before others take its clips."""
_MOST = 20
"""Jobs that change in one turn."""


class Fallbacks:
    """For the scheduler's thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._choose: Choose = lambda _request, _media, _shut: None
        self._patience: Mapping[str, float] = {}
        self._full: dict[str, tuple[float, float]] = {}
        """By model, when it was refused for load first and last, since it was taken last."""
        self._without: set[str] = set()
        """Jobs that no fallback takes: they wait for their own model."""
        self._were_shut: set[str] = set()

    def use(self, choose: Choose, patience: Mapping[str, float]) -> None:
        """Choose by these settings from now on; `patience` has `fallback_seconds` by model, where set."""
        self._choose, self._patience = choose, patience
        self._without.clear()

    def on_change(self, before: Job, event: Event, now: float) -> None:
        """Record that a model was refused because of load, or accepted a request."""
        model = before.request.model
        if isinstance(event, on.TaskCreated):
            self._full.pop(model, None)
        elif isinstance(event, on.NotCharged) or (
            isinstance(event, on.NotSubmitted) and event.fault.code in FULL
        ):
            first, last = self._full.get(model, (now, now))
            self._full[model] = (first if now - last < _FORGOTTEN_SECONDS else now, now)

    def shut(self, brake: Brake, now: float) -> dict[str, str]:
        """Return the models that others serve instead of now, each with the reason."""
        found = {
            model: "is not offered now"
            for model, one in brake.models.items()
            if one.fault is not None and now < one.until  # then one clip asks for it again
        }
        for model, (first, last) in self._full.items():
            is_over = now - first >= self._patience.get(model, float("inf"))
            if is_over and now - last < _FORGOTTEN_SECONDS:
                found.setdefault(
                    model, f"has been refused for {span(now - first)}, too busy or its day's quota used"
                )
        return found

    def due(self, brake: Brake, busy: Collection[str], now: float) -> Iterator[tuple[Job, FellBack]]:
        """Return jobs whose model the provider refuses for all, each with what serves instead.

        Not one that a worker has (`busy`), and none of which a submission may have been paid: its answer was
        lost, or a task of it was made.
        """
        shut = self.shut(brake, now)
        if shut.keys() != self._were_shut:
            self._without.clear()
            self._were_shut = set(shut)
        for model, why in shut.items():
            ids = self._journal.queued_of(model, _MOST + len(self._without))
            jobs = self._journal.load([one for one in ids if one not in self._without and one not in busy])
            for job in list(jobs.values())[:_MOST]:
                event = self._instead(job, shut, why)
                if event is None:
                    self._without.add(job.id)
                else:
                    yield job, event

    def instead_of_failure(self, job: Job, event: Event) -> tuple[on.NotSubmitted, FellBack] | None:
        """Return what happens instead where the provider refused a job's request, since its model is gone."""
        if job.state is not State.SUBMITTING or not isinstance(event, on.Failed) or event.error.code != GONE:
            return None
        if instead := self._instead(job, [job.request.model], "is not offered any more"):
            return on.NotSubmitted(Fault(FaultOf.CLIP, GONE, event.error.message)), instead
        return None

    def _instead(self, job: Job, shut: Collection[str], why: str) -> FellBack | None:
        if not may_change(job) or self._journal.parts_of(job):
            return None
        clip = self._journal.clip(job.clip_id)
        event = self._choose(job.request, clip.media, shut) if clip else None
        return replace(event, why=why) if event else None
