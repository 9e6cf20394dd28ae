"""Hypothesis against the scheduler on a real journal: clips, faults, commands, crashes, odd clocks.

The provider, the disk's work and the clock are fakes; the journal and the threads are real. A crash drops the
scheduler as it stands and opens the journal again, so what was not committed is gone.
"""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from clipspool.jobs.events import (
    AnswerLost,
    Cancelled,
    Changed,
    Delivered,
    Failed,
    Fetched,
    NotSubmitted,
    Postponed,
    Prepared,
    ResultGone,
    StageFailed,
    TaskCancelled,
    TaskCreated,
    TaskMissing,
    TaskSeen,
    TaskSucceeded,
)
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Error, Held, State
from clipspool.scheduler import commands as operator
from clipspool.scheduler.workers import AtGate
from fakes import BUSY, NO_CREDITS, RESULT, Clock, Desk, Workshop
from faults.oracle import LEGAL

S = State
EXAMPLES = int(os.environ.get("CLIPSPOOL_TEST_EXAMPLES", "12"))
PHASES = [
    phase for phase in Phase if phase is not Phase.shrink or "CLIPSPOOL_TEST_AS_FOUND" not in os.environ
]
ENDED = {"delivered", "failed", "cancelled"}
FAULTS = {
    Stage.PREPARE: [
        StageFailed("DISK", "gone"),
        Changed(),
        Failed(Error("X", "no clip")),
        OSError(5, "EIO"),
        KeyError(),
    ],
    Stage.SUBMIT: [
        "busy",
        "no credits",
        "lost, made",
        "lost",
        "refused",
        "broken, made",
        "broken",
        "disk before",
    ],
    Stage.POLL: [
        TaskSeen("RUNNING", rendering=True, progress=0.3),
        TaskSeen("THROTTLED", rendering=False),
        TaskMissing("task_not_exist"),
        StageFailed("NETWORK", "no", 30.0),
        TaskCancelled("by them"),
        Failed(Error("SAFETY", "no")),
        KeyError(),
    ],
    Stage.FETCH: [
        StageFailed("RESULT.CUT", "cut", held=Held.RESULT),
        OSError(28, "full"),
        Postponed("stops", 0.0),
    ],
    Stage.DELIVER: [StageFailed("DISK", "full", held=Held.OUTBOX), ResultGone("x"), OSError(116, "stale")],
    Stage.TELL_CANCEL: [StageFailed("NETWORK", "no")],
}


class World(Workshop):
    """What outlives the daemon: the provider's ledger, the disk, and what is to go wrong next."""

    def __init__(self, journal):
        super().__init__()
        self.journal = journal
        self.ledger = []
        self.plans = {stage: deque() for stage in FAULTS}
        self.wrong = []
        self.is_dead = False

    def on_disk(self, job_id):
        with contextlib.closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as journal:
            found = journal.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return found and found[0]

    def work(self, given, gate):
        stage, job, clip = given.stage, given.job, given.clip
        plan = self.plans[stage].popleft() if self.plans[stage] else None
        if stage is Stage.SUBMIT:
            return self._submit(job, plan, gate)
        if isinstance(plan, Exception):
            raise plan
        return plan or self._well(stage, job, clip)

    def _submit(self, job, plan, gate):
        if plan == "disk before":
            raise OSError(5, "EIO")
        if plan in ("busy", "no credits"):
            return NotSubmitted(BUSY if plan == "busy" else NO_CREDITS)
        if not gate():
            return Postponed("withdrawn before anything was sent", 0.0)
        if (seen := self.on_disk(job.id)) != "submitting":
            self.wrong.append(f"{job.id} was sent while the journal on disk said {seen}")
        task_id = f"task-{len(self.ledger)}"
        if plan in (None, "lost, made", "broken, made"):
            self.ledger.append((job.id, task_id))
        if plan in ("broken", "broken, made"):
            raise OSError(104, "reset")
        if plan in ("lost", "lost, made"):
            return AnswerLost("no answer came", {})
        return Failed(Error("X", "refused")) if plan == "refused" else TaskCreated(task_id, 15.0)

    def _well(self, stage, job, clip):
        match stage:
            case Stage.PREPARE:
                return Prepared("ab" * 32, clip.size, clip.mtime_ns, 15.0)
            case Stage.POLL:
                return TaskSucceeded(15.0)
            case Stage.FETCH:
                return Fetched((RESULT,))
            case Stage.DELIVER:
                return Delivered((replace(RESULT, name=f"{job.id}.mp4"),))
            case Stage.TELL_CANCEL:
                return Cancelled(job.cancel_by)

    def retire(self, clip, jobs):
        for job in jobs:
            if self.on_disk(job.id) not in ENDED:
                self.wrong.append(f"{clip.id} retires while the journal on disk says {self.on_disk(job.id)}")
        return super().retire(clip, jobs)


class Power(Exception):
    """The process ends here."""


class Life(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.home = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.world = World(self.home / "journal.db")
        self.clips = 0
        self.consents = Counter()
        self.history = {}
        self._open()

    def _open(self):
        self.desk = Desk(self.home, shop=self.world, clock=self.clock, running_max=4)
        self.desk.scheduler.begin()

    def _drop_desk(self):
        """Leave the scheduler as it stands: nobody at a gate is let through, nothing more is heard."""
        scheduler = self.desk.scheduler
        for one in scheduler.mailbox.receive():
            if isinstance(one, AtGate):
                one.gate.set_result(False)
        scheduler.workers.stop()
        self.desk.journal.rest()
        self.desk.journal.close()

    def teardown(self):
        if hasattr(self, "desk"):
            try:
                self._finish()
            finally:
                self._drop_desk()
                shutil.rmtree(self.home)

    # --- what happens -----------------------------------------------------------------------------------

    @rule(variants=st.sampled_from([("",), ("_v1", "_v2")]), later=st.sampled_from([0, 0, 500]))
    def drop(self, variants, later):
        self.clips += 1
        self.desk.drop(f"clip{self.clips}", variants=variants, due_at=self.clock.now + later)

    @rule(seconds=st.sampled_from([0.0, 0.0, 1.0, 30.0, 700.0]), count=st.integers(1, 4))
    def turn(self, seconds, count):
        self.desk.turns(count, seconds)

    @rule(seconds=st.sampled_from([-86_400.0, -400.0, -1.0, 86_400.0]))
    def the_clock_jumps(self, seconds):
        self.clock.now += seconds

    @rule(data=st.data())
    def something_will_go_wrong(self, data):
        stage = data.draw(st.sampled_from(list(FAULTS)))
        self.world.plans[stage].append(data.draw(st.sampled_from(FAULTS[stage])))

    @rule()
    def crash(self):
        self._drop_desk()
        self._open()

    @rule()
    def crash_before_the_commit(self):
        self._crash_at("flush", self.desk.journal)

    @rule()
    def crash_after_the_commit(self):
        self._crash_at("_let_out", self.desk.scheduler)

    def _crash_at(self, name, owner):
        def fall():
            raise Power

        setattr(owner, name, fall)
        with contextlib.suppress(Power):
            self.desk.turn(1.0)
        delattr(owner, name)
        self._drop_desk()
        self._open()

    @rule()
    def end_and_start_again(self):
        self.desk.scheduler.is_draining = True
        self.desk.turns(3, 1.0)
        self._drop_desk()
        self._open()

    @rule(do=st.sampled_from(["cancel", "approve", "retry"]), data=st.data())
    @precondition(lambda self: self.clips)
    def the_operator_decides(self, do, data):
        jobs = self.jobs()
        if not jobs:
            return
        job_id = data.draw(st.sampled_from(sorted(jobs)))
        (told,) = self.desk.order(operator.COMMANDS[do], [job_id], "me")
        if do == "retry" and told["done"]:
            self.consents[job_id] += 1

    @rule(data=st.data())
    @precondition(lambda self: self.clips)
    def the_operator_attaches(self, data):
        jobs = self.jobs()
        if jobs and self.world.ledger:
            job_id = data.draw(st.sampled_from(sorted(jobs)))
            mine = [task for job, task in self.world.ledger if job == job_id]
            if mine:
                self.desk.order(operator.attach, job_id, mine[-1], "me")

    @rule(do=st.sampled_from(["pause", "resume"]), inbox=st.sampled_from(["bay", None]))
    def the_operator_pauses(self, do, inbox):
        self.desk.order(operator.COMMANDS[do], inbox)

    # --- what holds -------------------------------------------------------------------------------------

    def jobs(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.world.journal}?mode=ro", uri=True)) as journal:
            journal.row_factory = sqlite3.Row
            return {row["id"]: dict(row) for row in journal.execute("SELECT * FROM jobs")}

    @invariant()
    def nothing_is_wrong(self):
        if not hasattr(self, "desk"):
            return
        assert self.world.wrong == []
        for job_id, count in Counter(job for job, _ in self.world.ledger).items():
            assert count <= 1 + self.consents[job_id], f"{job_id} was paid {count} times"

    @invariant()
    def every_task_is_known_or_in_doubt(self):
        if not hasattr(self, "desk"):
            return
        with contextlib.closing(sqlite3.connect(f"file:{self.world.journal}?mode=ro", uri=True)) as journal:
            known = {row[0] for row in journal.execute("SELECT task_id FROM tasks")}
        jobs = self.jobs()
        for job_id, task in self.world.ledger:
            job = jobs[job_id]
            is_doubted = job["state"] in {"submitting", "in_doubt"} or job["doubts"]
            assert task in known or is_doubted, f"{task} of {job_id} ({job['state']}) is forgotten"

    @invariant()
    def the_history_is_legal(self):
        if not hasattr(self, "desk"):
            return
        with contextlib.closing(sqlite3.connect(f"file:{self.world.journal}?mode=ro", uri=True)) as journal:
            rows = journal.execute(
                "SELECT job_id, event, from_state, to_state FROM events ORDER BY id"
            ).fetchall()
        last = {}
        for job_id, event, before, after in rows:
            if job_id is not None:
                assert last.get(job_id) == before, (
                    f"{job_id}: {event} says {before}, it was {last.get(job_id)}"
                )
                assert after in LEGAL[before], f"{job_id} went from {before} to {after} by {event}"
                last[job_id] = after
        assert last == {job_id: job["state"] for job_id, job in self.jobs().items()}
        counted = Counter(State(job["state"]) for job in self.jobs().values())
        assert +self.desk.journal.counts == counted

    def _finish(self):
        """The faults stop; the operator looks up doubts and lets poison go: everything ends."""
        for plan in self.world.plans.values():
            plan.clear()
        self.desk.order(operator.resume, None)
        for _ in range(40):
            self.desk.turns(6, 3000.0)
            for job_id, job in self.jobs().items():
                mine = [task for owner, task in self.world.ledger if owner == job_id]
                if job["held"] == "poison":  # so many crashes in a row look like it
                    self.desk.order(operator.approve, [job_id], "me")
                if job["state"] == "in_doubt":
                    if mine:
                        self.desk.order(operator.attach, job_id, mine[-1], "me")
                    else:
                        self.consents[job_id] += 1
                        self.desk.order(operator.retry, [job_id], "me")
            if {job["state"] for job in self.jobs().values()} <= ENDED and self.desk.scheduler.is_idle:
                break
        states = {job_id: (job["state"], job["held"], job["reason"]) for job_id, job in self.jobs().items()}
        assert all(state in ENDED for state, _, _ in states.values()), f"not all ended: {states}"
        self.nothing_is_wrong()
        self.the_history_is_legal()
        assert self.desk.scheduler.is_idle


Life.TestCase.settings = settings(
    max_examples=EXAMPLES,
    phases=PHASES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWhateverHappens = Life.TestCase
