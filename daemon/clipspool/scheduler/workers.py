"""The workers: lanes of threads, each running one stage of one job at a time and reporting its event."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import structlog

from clipspool.jobs.assignments import Assignment
from clipspool.jobs.events import Event, StageFailed
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Clip, Held, Job
from clipspool.jobs.records import HookRun
from clipspool.scheduler.lane import Lane

log = structlog.get_logger()

LANES: dict[str, tuple[int, frozenset[Stage]]] = {
    "polls": (12, frozenset({Stage.POLL, Stage.TELL_CANCEL})),
    "hooks": (16, frozenset({Stage.VET})),
    "submits": (16, frozenset({Stage.SUBMIT})),
    "fetches": (6, frozenset({Stage.FETCH})),
    "prepares": (6, frozenset({Stage.PREPARE})),
    "disk": (6, frozenset({Stage.DELIVER})),
}
"""Threads of each lane, and the stages it runs; retiring runs in `disk` too. A slow download or upload in one
lane never blocks another, and clips that are coded or uploaded keep no paid result from its outbox."""
_AFTER_HOOKS = 4
"""Hooks after an end that run at one time; nothing waits for them."""
_AHEAD = 4
"""How many pieces of work may queue for each thread, so that none is idle between two turns."""


MAY_RUN_TWICE = frozenset({Stage.PREPARE, Stage.FETCH})
"""What may run twice without harm. All other stages spend, publish or move a source, and run here only."""


class Elsewhere(Protocol):
    """Workers on other machines. Its methods serve the scheduler's thread, and never block it."""

    def capacity(self, stage: Stage, inbox: str) -> int:
        """Return how many of a stage those machines run at once that see this inbox."""

    def takes(self, given: Assignment) -> bool:
        """Whether one of them is allowed this very assignment."""

    def start(self, report: Callable[[Done], None]) -> Sequence[Assignment]:
        """Begin; return what they still have of an earlier leader. May wait; raises JournalError."""

    def stop(self) -> None:
        """Report nothing more."""

    def hand_out(self, given: Assignment) -> None:
        """Hand an assignment to another machine; `Done` is reported once, also where that machine is lost."""


class Stages(Protocol):
    """What workers do; each call runs in a lane's thread and may raise OSError for a fault of the disk."""

    def work(self, given: Assignment, gate: Callable[[], bool]) -> Event:
        """Run one stage of one job and return its event."""

    def run_hook(self, name: str, job: Job, clip: Clip) -> HookRun:
        """Run a hook after a job's end."""

    def retire(self, clip: Clip, jobs: Sequence[Job]) -> tuple[Clip, str]:
        """Move a clip's source out of its work folder; return the clip with its new place, and a text.

        The text says how the source differs from what was sent; it is empty where both are the same.
        """

    def sweep(self, clip: Clip) -> None:
        """Remove a retired clip's work folder."""


@dataclass(frozen=True, slots=True)
class Done:
    """A worker finished a stage; `event` is None where a bug or a disk fault ended it."""

    job_id: str
    event: Event | None
    attempt: str
    """Which attempt it was: what an earlier one reports is ignored."""
    trouble: str = ""
    is_lost: bool = False
    """Another machine had it and is gone: perhaps the clip is what ended it."""


@dataclass(frozen=True, slots=True)
class AtGate:
    """A submission has its connection and waits at the gate."""

    job_id: str
    gate: Future[bool]


@dataclass(frozen=True, slots=True)
class Retirement:
    """A clip was retired, or could not be."""

    clip: Clip
    attempts: int
    trouble: str = ""
    change: str = ""
    """How its source differs from what was sent."""


@dataclass(frozen=True, slots=True)
class Swept:
    """Work folders of retired clips were removed, or are left for the next start."""

    clip_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HookDone:
    """A hook ran that was due after a job's end."""

    job_id: str
    run: HookRun


Report: TypeAlias = Done | AtGate | Retirement | Swept | HookDone


class Workers:
    """All lanes. All but the work itself belongs to the scheduler's thread."""

    def __init__(self, stages: Stages, report: Callable[[Report], None]) -> None:
        """`stages` does the work, `report` gets what is reported of it."""
        self.elsewhere: Elsewhere | None = None
        """The workers of other machines, where there are any."""
        self.lanes = {name: Lane(name, size) for name, (size, _) in LANES.items()}
        self.disk = self.lanes["disk"]
        self.after_hooks = Lane("after-hooks", _AFTER_HOOKS)
        self._lanes = {stage: self.lanes[name] for name, (_, stages) in LANES.items() for stage in stages}
        self._runner = stages
        self._report = report
        self._stages: Counter[Stage] = Counter()
        self._stages_elsewhere: Counter[Stage] = Counter()
        self._is_refused = False

    def staff(self) -> None:
        """Start threads that the system refused before; the refusal is logged once."""
        before = self._is_refused
        self._is_refused = not all(lane.staff() for lane in (*self.lanes.values(), self.after_hooks))
        if self._is_refused and not before:
            log.warning("thread_refused", why="a limit of the system is reached; work waits")

    def room(self, stage: Stage, inbox: str) -> int:
        """Return how many more of a stage the lane takes now for an inbox."""
        lane = self._lanes[stage]
        # A submission counts against `running_max` from its connection on: none waits for a thread.
        # Nor does what another machine could begin at once.
        # A hook that hangs must not hold back another that could run now.
        ahead = 1 if stage in {Stage.VET, Stage.SUBMIT} or self._capacity_elsewhere(stage, inbox) else _AHEAD
        return max(lane.size * ahead - lane.busy, 0)

    def room_elsewhere(self, stage: Stage, inbox: str) -> int:
        """Return how many more of a stage other machines take now."""
        return max(self._capacity_elsewhere(stage, inbox) - self._stages_elsewhere[stage], 0)

    def _capacity_elsewhere(self, stage: Stage, inbox: str) -> int:
        if self.elsewhere is None or stage not in MAY_RUN_TWICE:
            return 0
        return self.elsewhere.capacity(stage, inbox)

    def room_to_retire(self) -> int:
        """Return how many more clips may be retired now: half of what the disk lane takes."""
        return max(self.disk.size * _AHEAD // 2 - self.disk.busy, 0)

    def under_way(self, stage: Stage) -> int:
        """Return how many of a stage are under way."""
        return self._stages[stage]

    def lane(self, stage: Stage) -> Lane:
        """Return the lane that a stage runs in."""
        return self._lanes[stage]

    def loads(self) -> list[dict[str, Any]]:
        """Return each lane's load, by stage, for `status`."""
        return [
            {
                "name": name,
                "threads": size,
                "busy": self._lanes[min(stages)].busy,
                "stages": {stage.value: self._stages[stage] for stage in sorted(stages)},
            }
            for name, (size, stages) in LANES.items()
        ]

    def place(self, given: Assignment, is_full: Callable[[], bool]) -> bool:
        """Count a stage as under way; return whether another machine is to run it, since `is_full` here.

        Only this process may move a retired source back or take over an earlier result. A clip that was
        prepared before stays here too: little is left to do. So does one that is held: perhaps only another
        machine has trouble with that disk.
        """
        job, others = given.job, self.elsewhere
        is_new = given.stage is not Stage.PREPARE or not job.prepared_by
        may_go = is_new and job.held is None and job.reuse is None and given.clip.lies_at is None
        has_room = may_go and self.room_elsewhere(given.stage, job.inbox) > 0
        if has_room and is_full() and others is not None and others.takes(given):
            self.count_elsewhere(given.stage)
            return True
        self._stages[given.stage] += 1
        self._lanes[given.stage].busy += 1
        return False

    def count_elsewhere(self, stage: Stage) -> None:
        """Count a stage that another machine has."""
        self._stages[stage] += 1
        self._stages_elsewhere[stage] += 1

    def start(self, given: Assignment, *, is_elsewhere: bool) -> None:
        """Hand out what was placed; it reports `Done`, and before that perhaps `AtGate`."""
        if is_elsewhere and self.elsewhere is not None:
            self.elsewhere.hand_out(given)
        else:
            self._lanes[given.stage].begin(lambda: self._run(given))

    def finished(self, stage: Stage, *, is_elsewhere: bool) -> None:
        """Count a stage as done."""
        self._stages[stage] -= 1
        if is_elsewhere:
            self._stages_elsewhere[stage] -= 1
        else:
            self._lanes[stage].busy -= 1

    def finished_disk(self) -> None:
        """Count a retirement or a removal of work folders as done."""
        self.disk.busy -= 1

    def _run(self, given: Assignment) -> None:
        """Run a stage in a worker's thread."""
        is_out = False

        def gate() -> bool:
            nonlocal is_out
            opened: Future[bool] = Future()
            self._report(AtGate(given.job.id, opened))
            is_out = opened.result()
            return is_out

        done = outcome(given, lambda: self._runner.work(given, gate))
        # A fault of the disk behind the gate says nothing of the request.
        self._report(replace(done, event=None) if is_out and done.trouble else done)

    def start_retirement(self, clip: Clip, jobs: Sequence[Job], attempts: int) -> None:
        """Hand out a clip's retirement; it reports `Retirement`."""

        def work() -> None:
            try:
                retired, change = self._runner.retire(clip, jobs)
                self._report(Retirement(retired, attempts, change=change))
            except OSError as error:
                self._report(Retirement(clip, attempts, in_words(error)))
            except Exception as error:
                log.exception("bug", clip=clip.path, inbox=clip.inbox)
                self._report(Retirement(clip, attempts, type(error).__name__))

        self.disk.hand_out(work)

    def start_hook(self, name: str, job: Job, clip: Clip) -> None:
        """Start a hook that is due after a job's end and was counted already; it reports `HookDone`."""

        def work() -> None:
            try:
                run = self._runner.run_hook(name, job, clip)
            except Exception as error:
                log.exception("bug", job=job.id, hook=name)
                run = HookRun(name, trouble=type(error).__name__)
            self._report(HookDone(job.id, run))

        self.after_hooks.begin(work)

    def start_sweep(self, clips: Sequence[Clip]) -> None:
        """Hand out the removal of work folders; it reports `Swept`."""

        def work() -> None:
            for clip in clips:
                try:
                    self._runner.sweep(clip)
                except OSError as error:
                    # The next start removes it.
                    log.warning("sweep_failed", clip=clip.path, inbox=clip.inbox, why=in_words(error))
                except Exception:  # its inbox was just taken out of the settings, for one
                    log.exception("bug", clip=clip.path, inbox=clip.inbox)
            self._report(Swept(tuple(clip.id for clip in clips)))

        self.disk.hand_out(work)

    def stop(self) -> None:
        """Stop all threads after the work in their queues."""
        for lane in (*self.lanes.values(), self.after_hooks):
            lane.stop()


def outcome(given: Assignment, work: Callable[[], Event]) -> Done:
    """Run a stage and return its outcome. The one broad `except` for stages: a bug ends one attempt."""
    job_id, attempt = given.job.id, given.attempt
    try:
        return Done(job_id, work(), attempt)
    except OSError as error:
        held = Held.OUTBOX if given.stage is Stage.DELIVER else Held.DISK
        why = in_words(error, "in the outbox" if held is Held.OUTBOX else "in the inbox's work folder")
        return Done(job_id, StageFailed("DISK", why, held=held), attempt, why)
    except Exception as error:
        log.exception("bug", job=job_id, stage=given.stage.value)
        message = f"clipspool made a mistake ({type(error).__name__}); the log has the details"
        return Done(job_id, None, attempt, message)


def in_words(error: OSError, where: str = "") -> str:
    """Return an error's message, and the file it is about; behind `where`, if the message is the system's."""
    file = f": {error.filename}" if error.filename else ""
    is_bare = bool(where and error.errno) and error.strerror == os.strerror(error.errno or 0)
    return f"{f'{where}: ' if is_bare else ''}{error.strerror or error}{file}"
