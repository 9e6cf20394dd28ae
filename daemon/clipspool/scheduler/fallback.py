"""Gives queued jobs another model where theirs is not offered any more: only before anything may be paid."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias

from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.events import FellBack
from clipspool.jobs.model import Job, Paid, Request
from clipspool.journal import Journal

Choose: TypeAlias = Callable[[Request, Mapping[str, Any], Collection[str]], FellBack | None]
"""Returns the first fallback that takes a request for a clip, not one of the given models; None for none."""
_MOST = 20
"""Jobs that change in one turn."""


class Fallbacks:
    """For the scheduler's thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._choose: Choose = lambda _request, _media, _shut: None
        self._without: set[str] = set()
        """Jobs that no fallback takes: they wait for their own model."""

    def use(self, choose: Choose) -> None:
        """Choose by these settings from now on."""
        self._choose = choose
        self._without.clear()

    def due(self, brake: Brake, busy: Collection[str]) -> Iterator[tuple[Job, FellBack]]:
        """Return jobs whose model the provider refuses for all, each with what serves instead.

        Not one that a worker has (`busy`), and none of which a submission may have been paid: its answer was
        lost, or a task of it was made.
        """
        shut = [model for model, one in brake.models.items() if one.fault is not None]
        for model in shut:
            ids = self._journal.queued_of(model, _MOST + len(self._without))
            jobs = self._journal.load([one for one in ids if one not in self._without and one not in busy])
            for job in list(jobs.values())[:_MOST]:
                clip = self._journal.clip(job.clip_id)
                # All parts of a film are made by one model: they wait for it.
                is_in_parts = job.part or self._journal.parts_of(job)
                is_free = job.paid is Paid.NO and not (job.doubts or is_in_parts) and job.reuse is None
                event = self._choose(job.request, clip.media, shut) if is_free and clip else None
                if event is None:
                    self._without.add(job.id)
                else:
                    yield job, event
