"""Clips that end the process itself: told by what was in flight when it died, run alone, and set aside.

What workers are given is noted in the transaction that gives it, so a healthy clip costs no commit more. A
start that finds such a note knows that the process died over it, and counts one for each job in it. At two a
job runs alone, so that an innocent one passes and is cleared; at three it is the one, and a person decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Clip, Job, State
from clipspool.journal import Journal
from clipspool.scheduler.selection import InFlight, Picks
from clipspool.system.process import boot_id

ALONE = 2
"""Deaths in the same stage after which a job runs alone."""
DEATHS_MAX = 3
_NOTED = "in_flight"
_COUNTED = "suspects"
_HARMLESS = frozenset({Stage.POLL, Stage.TELL_CANCEL})
"""Stages that touch no clip."""
_CAN_WAIT = frozenset({State.QUEUED, State.RENDERED, State.FETCHED})
_RETIRE = "retire"
"""What is done for a clip, not a job; noted by the clip's id."""
_UNDECIDED = State.SUBMITTING
"""Its work folder is to tell yet where it stands."""


class Suspects:
    """Who was in flight when the process died, and how often. Belongs to the scheduler's thread."""

    def __init__(self, journal: Journal, boot: Callable[[], str] = boot_id) -> None:
        """Take the journal; `boot` names the machine's run: one that went down is no clip's fault."""
        self._journal = journal
        self._boot = boot()
        self._noted: dict[str, str] = {}
        self._deaths: dict[str, tuple[str, int]] = {
            job_id: (str(stage), int(count))
            for job_id, (stage, count) in dict(journal.fact(_COUNTED) or {}).items()
        }

    def begin(self) -> Iterator[tuple[Job | Clip, str]]:
        """Count what the last process died over; give what to set aside, each with the reason."""
        left = self._journal.fact(_NOTED) or {}
        if not left.get("jobs"):
            return
        self._journal.forget_fact(_NOTED)
        if left.get("boot") != self._boot:
            return
        for job_id, stage in left["jobs"].items():
            before, count = self._deaths.get(job_id, (stage, 0))
            self._deaths[job_id] = (stage, count + 1 if before == stage else 1)
        jobs = self._journal.load(list(self._deaths))
        for job_id, (stage, count) in list(self._deaths.items()):
            if stage == _RETIRE:
                if count >= DEATHS_MAX:
                    del self._deaths[job_id]
                    if (clip := self._journal.clip(job_id)) is not None:
                        yield clip, _RETIRE_REASON
                continue
            job = jobs.get(job_id)
            if job is None or job.state not in {*_CAN_WAIT, _UNDECIDED}:
                del self._deaths[job_id]
            elif count >= DEATHS_MAX and job.state is not _UNDECIDED:
                del self._deaths[job_id]
                if job.held is None:
                    yield job, _reason(stage, job)
        self._remember()

    def verdict(self, job: Job) -> str:
        """Say why a job is set aside whose work folder told where it stands; empty where it is not."""
        stage, count = self._deaths.get(job.id, ("", 0))
        if job.state in _CAN_WAIT and count < DEATHS_MAX:
            return ""
        self.survive(job.id)
        return _reason(stage, job) if job.state in _CAN_WAIT else ""

    def note(self, in_flight: Mapping[str, InFlight], retiring: Collection[str] = ()) -> None:
        """Write down what workers have, and are about to be given."""
        now = dict.fromkeys(retiring, _RETIRE)
        now |= {job_id: flying.stage.value for job_id, flying in _working(in_flight)}
        if now != self._noted:
            self._noted = now
            self._journal.set_fact(_NOTED, {"boot": self._boot, "jobs": now})

    def survive(self, job_id: str) -> None:
        """Clear a job: its stage ended, and the process lives."""
        if self._deaths.pop(job_id, None) is not None:
            self._remember()

    def choose(self, picks: Picks, in_flight: Mapping[str, InFlight], retiring: Collection[str]) -> None:
        """Leave of what is due what may be handed out: all, but a suspect that runs alone only alone."""
        alone = {key for key, (_, count) in self._deaths.items() if count >= ALONE}
        if not alone:
            return
        under_way = {job_id for job_id, _ in _working(in_flight)} | set(retiring)
        stages = [one for one in picks.stages if one[0] not in _HARMLESS and one[1].id in alone]
        retirements = [one for one in picks.retirements if one[0].id in alone]
        if not (stages or retirements or under_way & alone):
            return
        if under_way:
            stages, retirements = [], []
        picks.stages = [*(one for one in picks.stages if one[0] in _HARMLESS), *stages[:1]]
        picks.retirements = [] if stages else retirements[:1]

    def _remember(self) -> None:
        self._journal.set_fact(_COUNTED, self._deaths)


def _working(in_flight: Mapping[str, InFlight]) -> Iterator[tuple[str, InFlight]]:
    return ((job_id, flying) for job_id, flying in in_flight.items() if flying.stage not in _HARMLESS)


_RETIRE_REASON = (
    f"clipspool itself died {DEATHS_MAX} times when it was to move this clip's source from its work folder, "
    "the last time it alone; `clipspool resume` has it tried again"
)


def _reason(stage: str, job: Job) -> str:
    paid = "; its result is paid for, and waits" if job.state is not State.QUEUED else ""
    return (
        f"clipspool itself died {DEATHS_MAX} times when it was to {stage} this clip, the last time it alone"
        f"{paid}; `clipspool approve` tries again, `clipspool cancel` ends it"
    )
