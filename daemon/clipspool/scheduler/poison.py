"""Counts crashes of the process by what was in flight, runs suspects alone, and sets the guilty clip aside.

What workers are given is recorded in the transaction that gives it, so a healthy clip costs no extra commit.
A start that finds such a record knows that the process crashed over it, and counts one crash for each job in
it. At two crashes a job runs alone, so that an innocent one passes and is cleared; at three a person decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from clipspool.jobs.faults import CRASHES_MAX, CrashCounter
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Clip, Job, State
from clipspool.journal import Journal
from clipspool.scheduler.selection import InFlight, Picks
from clipspool.system.process import boot_id

ALONE = 2
"""Crashes in the same stage after which a job runs alone."""
_NOTED = "in_flight"
_COUNTED = "suspects"
_HARMLESS = frozenset({Stage.POLL, Stage.TELL_CANCEL})
"""Stages that touch no clip."""
_CAN_WAIT = frozenset({State.QUEUED, State.RENDERED, State.FETCHED})
_RETIRE = "retire"
"""What is done for a clip, not a job; noted by the clip's id."""
_UNDECIDED = State.SUBMITTING
"""Its work folder was not read yet."""


class Suspects:
    """What was in flight when the process crashed, and how often. For the scheduler's thread."""

    def __init__(self, journal: Journal, node: str, boot: Callable[[], str] = boot_id) -> None:
        """`node` is this one's name in a farm; `boot` returns the machine's boot id.

        A machine that goes down is no clip's fault. Nor is another node's loss of the lead: it may have been
        frozen or cut off, which no other node can know.
        """
        self._journal = journal
        self._boot = f"{boot()} {node}".strip()
        self._noted: dict[str, str] = {}
        self._lost = CrashCounter()
        kept = dict(journal.fact(_COUNTED) or {})
        self._crashes = CrashCounter((job_id, stage, count) for job_id, (stage, count) in kept.items())

    def begin(self, *, is_excused: bool = False) -> Iterator[tuple[Job | Clip, str]]:
        """Count the last process's crash unless it is excused; yield what to set aside, with the reason."""
        left = self._journal.fact(_NOTED) or {}
        if not left.get("jobs"):
            return
        self._journal.forget_fact(_NOTED)
        if is_excused or left.get("boot") != self._boot:
            return
        for job_id, stage in left["jobs"].items():
            self._crashes.add(job_id, stage)
        jobs = self._journal.load([key for key, _, _ in self._crashes])
        for key, stage, count in self._crashes:
            if stage == _RETIRE:
                if count >= CRASHES_MAX:
                    self._crashes.clear(key)
                    if (clip := self._journal.clip(key)) is not None:
                        yield clip, _RETIRE_REASON
                continue
            job = jobs.get(key)
            if job is None or job.state not in {*_CAN_WAIT, _UNDECIDED}:
                self._crashes.clear(key)
            elif count >= CRASHES_MAX and job.state is not _UNDECIDED:
                self._crashes.clear(key)
                if job.held is None:
                    yield job, _reason(stage, job)
        self._remember()

    def verdict(self, job: Job) -> str:
        """Return why a job is set aside whose work folder was read now; empty where it is not."""
        found = {key: (stage, count) for key, stage, count in self._crashes}
        stage, count = found.get(job.id, ("", 0))
        if job.state in _CAN_WAIT and count < CRASHES_MAX:
            return ""
        self.clear(job.id)
        return _reason(stage, job) if job.state in _CAN_WAIT else ""

    def lost(self, job: Job, stage: Stage) -> str:
        """Count a machine that was lost in a stage of a job; return why the job is set aside, empty for not.

        It is counted for this term alone, and such a job need not run alone: this process is not at risk.
        """
        self._lost.add(job.id, stage.value)
        if self._lost.count(job.id) < CRASHES_MAX:
            return ""
        return f"{CRASHES_MAX} times a node was lost in the stage {stage.value} of this clip{_todo(job)}"

    def note(self, in_flight: Mapping[str, InFlight], retiring: Collection[str] = ()) -> None:
        """Record what workers have, and are about to be given."""
        now = dict.fromkeys(retiring, _RETIRE)
        now |= {job_id: flying.stage.value for job_id, flying in _working(in_flight)}
        if now != self._noted:
            self._noted = now
            self._journal.set_fact(_NOTED, {"boot": self._boot, "jobs": now})

    def clear(self, job_id: str) -> None:
        """Clear a job: its stage ended without a crash."""
        self._lost.clear(job_id)
        if self._crashes.clear(job_id):
            self._remember()

    def choose(self, picks: Picks, in_flight: Mapping[str, InFlight], retiring: Collection[str]) -> None:
        """Remove from what is due what may not be handed out: a suspect runs alone, or waits."""
        alone = {key for key, _, count in self._crashes if count >= ALONE}
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
        self._journal.set_fact(_COUNTED, {key: (stage, count) for key, stage, count in self._crashes})


def _working(in_flight: Mapping[str, InFlight]) -> Iterator[tuple[str, InFlight]]:
    """Return the stages under way in this process: those on other machines cannot crash it."""
    return (
        (job_id, flying)
        for job_id, flying in in_flight.items()
        if flying.stage not in _HARMLESS and not flying.is_elsewhere
    )


_RETIRE_REASON = (
    f"clipspool itself died {CRASHES_MAX} times while it moved this clip's source out of its work folder, "
    "the last time with nothing else under way; `clipspool resume` tries again"
)


def _reason(stage: str, job: Job) -> str:
    return (
        f"clipspool itself died {CRASHES_MAX} times in the stage {stage} of this clip, the last time with "
        f"nothing else under way{_todo(job)}"
    )


def _todo(job: Job) -> str:
    paid = "; its result is paid for, and waits" if job.state is not State.QUEUED else ""
    return f"{paid}; `clipspool approve` tries again, `clipspool cancel` ends it"
