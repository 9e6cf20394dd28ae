"""Hypothesis against a farm: nodes die, freeze at every step of a paid request, and lose commits' answers.

The journal is in a real PostgreSQL, the ledgers lie in a real folder; leases, schedulers and the submit stage
are real. The provider and the nodes' clocks are fakes. Whatever happens, a job's request is sent at most
once, and once more for each retry that a person ordered; and a node that was replaced writes nothing.
"""

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import ClassVar

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from psycopg.pq import TransactionStatus

import postgres
from clipspool.farm.lease import LeaseLost
from clipspool.farm.membership import Membership
from clipspool.farm.nodes import Identity
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import State
from clipspool.journal import Journal, JournalUnreachable, server
from clipspool.journal.postgres import connect_beside, make_schema
from clipspool.provider.protocol import Created, NothingSent
from clipspool.provider.transport import Depot
from clipspool.provider.transport.way import InRequest
from clipspool.scheduler import commands as operator
from clipspool.scheduler.workers import AtGate
from clipspool.spool.recovery import late_answer, what_came_of
from clipspool.stages.submit import SubmitTools, submit
from fakes import PROFILE, Bench, Clock, Desk, Workshop, a_job

SECONDS = 1000.0
STEPS = int(os.environ.get("CLIPSPOOL_TEST_FARM_STEPS", "500"))
"""In all. An example has at most `LONG` of them: to begin and to end one takes as long as ten."""
LONG = 250
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
"""Where the ledgers lie: nothing here shows what a power cut does."""
JOBS = 8
"""How many of the last jobs are retried where none is in doubt."""
DEPOT = Depot([InRequest(5_000_000)], time.time)
NAMES = ("a", "b", "c")
POINTS = (
    "before the gate",
    "after the commit",
    "before its line",
    "after its line",
    "before the first byte",
    "sent",
)
PHASES = [
    phase for phase in Phase if phase is not Phase.shrink or "CLIPSPOOL_TEST_AS_FOUND" not in os.environ
]


class Kept:
    """A connection that is used again by others once it was closed: to open one takes longer than a step."""

    rest: ClassVar = []
    """Those that nobody uses now."""

    def __init__(self, connection, settings):
        self._connection, self._settings = connection, settings

    @classmethod
    def connect(cls, address, session=MappingProxyType({}), **more):
        """Stand in for the journal's `connect`."""
        settings = (address, *sorted(session.items()), *more.items())
        for one in cls.rest:
            if one._settings == settings:
                cls.rest.remove(one)
                return cls(one._connection, settings)
        return cls(server.connect(address, session, **more), settings)

    def close(self):
        if self._connection is None:
            return
        with contextlib.suppress(psycopg.Error):  # else the server ended it
            self._connection.rollback()
            self._connection.execute(b"SELECT pg_advisory_unlock_all()")
            self.rest.append(Kept(self._connection, self._settings))
        self._connection = None

    @property
    def closed(self):
        return self._connection is None or self._connection.closed

    @property
    def info(self):
        if self._connection is None:
            return SimpleNamespace(transaction_status=TransactionStatus.UNKNOWN)
        return self._connection.info

    def __getattr__(self, name):
        if self._connection is None:
            raise psycopg.OperationalError("the connection is closed")
        return getattr(self._connection, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Ended(Exception):
    """The process is no more: nothing that this thread would have done happens."""


def compose(request, source, references):
    return "video_to_video", {"prompt": request.prompt, "videoUri": source, "references": list(references)}


class Process(Workshop):
    """The stages of one process: it submits as the real one does, and may freeze at each step of that."""

    def __init__(self, world, lease):
        super().__init__()
        self.world, self.lease, self.is_dead = world, lease, False

    def reach(self, point):
        if point in self.held:
            self._wait(point)
        if self.is_dead:
            raise Ended

    def work(self, given, gate):
        if given.stage is not Stage.SUBMIT:
            return super().work(given, gate)

        def gated():
            self.reach("before the gate")
            is_open = gate()
            self.reach("after the commit")
            return is_open

        def may_send():
            self.reach("after its line")
            return self.lease.may_send()

        tools = SubmitTools(
            Provider(self, given.job.id),
            DEPOT,
            compose,
            self.world.bench.send_marks,
            mark=lambda *_: self.reach("before its line"),
            may_send=may_send,
        )
        return submit(given.job, given.clip, self.world.bench.bay, tools, gated)


class Provider:
    profile = PROFILE

    def __init__(self, process, job_id):
        self.process, self.job_id = process, job_id

    def submit(self, _call, gate):
        if not gate(lambda: True):
            return NothingSent(self.process.world.fault)
        self.process.reach("before the first byte")
        sent = self.process.world.sent
        sent[self.job_id] += 1
        task_id = f"task-{self.job_id}-{sent[self.job_id]}"
        self.process.reach("sent")
        return Created(task_id, 15.0)


class LeadersDesk(Desk):
    """A scheduler as the daemon of a term runs it."""

    def __init__(self, world, lease, clock):
        super().__init__(
            world.home,
            shop=Process(world, lease),
            clock=clock,
            opens=lambda _path: Journal.open(world.address, lease.as_fence),
            running_max=6,
        )
        # What does not wait for a gate is a fake's work: to wake a thread for it takes longer than all else.
        workers = self.scheduler.workers
        for lane in {workers.lane(stage) for stage in Stage} - {workers.lane(Stage.SUBMIT)}:
            lane.begin = self._do_at_once

    def _do_at_once(self, work):
        self._owed += 1
        work()


class Node:
    """One process of the farm, and after its end the next one in its place."""

    def __init__(self, world, name):
        self.world, self.name, self.clock = world, name, Clock()
        self.desk, self.is_frozen, self.number = None, False, 0
        self.begin()

    def begin(self):
        self.number += 1
        identity = Identity(
            self.name, f"{self.name}{self.number}", f"place-{self.name}", self.name, 1, "0.2.0"
        )
        self.member = Membership(
            lambda: connect_beside(self.world.address), identity, SECONDS, passed=lambda: self.clock.passed
        )
        self.member._wants_lead.set()

    @property
    def leads(self):
        return self.desk is not None

    def beat(self):
        self.member.beat()
        if self.leads and self.member.lease.is_ended:
            self.end()
        elif self.member.leads and not self.leads:
            self.lead()

    def lead(self):
        lease = self.member.lease
        try:
            self.desk = LeadersDesk(self.world, lease, self.clock)
        except LeaseLost:
            return
        scheduler = self.desk.scheduler
        self.cut_short = list(self.desk.journal.find(states=(State.SUBMITTING,)))
        lost = (lease.lost_node, 70.0) if lease.lost_node else None
        if self.careful(lambda: scheduler.begin(["bay"], lost_lead=lost)):
            self.settle()

    def settle(self):
        root = self.world.bench.bay.inbox
        outcomes = {job.id: what_came_of(root, job, ()) for job in self.cut_short}
        self.careful(lambda: self.desk.order(lambda scheduler: scheduler.cut_short.settle(outcomes)))

    def careful(self, act):
        """Do something in the term, which may end over it."""
        try:
            act()
        except (LeaseLost, JournalUnreachable):
            self.end()
            return False
        return True

    def end(self, *, gives_back=False):
        """End the process as it stands: its threads do nothing more."""
        desk, self.desk, self.is_frozen = self.desk, None, False
        if desk is not None:
            desk.shop.is_dead = True
            scheduler = desk.scheduler
            for one in scheduler.mailbox.receive():
                if isinstance(one, AtGate) and not one.gate.done():
                    one.gate.set_result(False)
            for event in desk.shop.held.values():
                event.set()
            scheduler.workers.stop()
            desk.journal.close()
        if gives_back:
            self.member.give_back()
        if self.member._connection is not None:
            self.member._connection.close()
        self.begin()


class Farm(RuleBasedStateMachine):
    steps = 0

    @initialize()
    def begin(self):
        self.home = Path(tempfile.mkdtemp(dir=MEMORY))
        self.address = address()
        self.bench = Bench(self.home)
        self.fault = None
        self.sent, self.consents, self.jobs = Counter(), Counter(), []
        self.nodes = {name: Node(self, name) for name in NAMES}
        for node in self.nodes.values():
            node.beat()

    def teardown(self):
        if not hasattr(self, "nodes"):
            return
        try:
            self._finish()
        finally:
            for node in self.nodes.values():
                node.end()
                if node.member._connection is not None:
                    node.member._connection.close()
            shutil.rmtree(self.home)

    @property
    def leader(self):
        """The node that runs a scheduler and is not frozen; a frozen one may run another beside it."""
        return next((one for one in self.nodes.values() if one.leads and not one.is_frozen), None)

    # --- what happens -----------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES))
    def beat(self, name):
        if not self.nodes[name].is_frozen:
            self.nodes[name].beat()

    @precondition(lambda self: self.leader)
    @rule()
    def drop(self):
        name = f"clip{len(self.jobs) + 2}"
        clip = self.bench.drop(name, f"{name}.mp4", b"some clip")
        self.jobs.append(name)
        job = a_job(name, path=clip.path)
        self.leader.desk.scheduler.enqueue(Accepted(clip, (job,)))
        self.turn(0.0)

    @precondition(lambda self: self.leader)
    @rule(seconds=st.sampled_from([0.0, 0.0, 1.0, 71.0]))
    def turn(self, seconds):
        leader = self.leader
        leader.careful(lambda: leader.desk.turn(seconds))

    @precondition(lambda self: self.leader)
    @rule(point=st.sampled_from(POINTS), turns=st.integers(1, 4))
    def freeze(self, point, turns):
        """Stop the whole process once a request has come to a point, or wherever it is after some turns."""
        leader = self.leader
        leader.desk.shop.hold(point)
        self.drop()
        for _ in range(turns):
            if leader.desk is None or any(leader.desk.shop.waiting.values()):
                break
            leader.careful(lambda: leader.desk.turn(1.0))
        leader.is_frozen = leader.leads

    @rule(name=st.sampled_from(NAMES), asks=st.booleans())
    def thaw(self, name, asks=False):
        """Go on; a command may wait too, or an inbox that asks what is open."""
        node = self.nodes[name]
        if node.is_frozen:
            node.is_frozen = False
            before = self._written()
            for event in list(node.desk.shop.held.values()):
                node.desk.release(event)
            if asks:
                node.desk.scheduler.call_soon(lambda scheduler: operator.open_clips(scheduler, ["clip1"]))
            was_replaced = before[:2] != (node.name, node.member.lease.epoch)
            node.careful(lambda: node.desk.turn(0.0))
            assert not was_replaced or self._written() == before, f"{name} wrote, and leads no more"

    def _written(self):
        """Return who leads, and all that the journal says."""
        with connect_beside(self.address) as beside:
            return beside.execute(
                "SELECT node, epoch, (SELECT max(id) FROM events), (SELECT json_agg("
                "json_build_array(id, state, updated_at, task_number) ORDER BY id) FROM jobs) FROM leader"
            ).fetchone()

    @rule(name=st.sampled_from(NAMES))
    def kill(self, name):
        self.nodes[name].end()

    @rule(name=st.sampled_from(NAMES))
    def give_back(self, name):
        """End in good order, with nothing under way."""
        node = self.nodes[name]
        if not node.is_frozen and not (node.leads and node.desk.scheduler.in_flight):
            node.end(gives_back=True)

    @precondition(lambda self: self.leader is None)
    @rule(heir=st.sampled_from(NAMES))
    def lease_runs_out(self, heir="a"):
        """Nobody renews it: the time passes on all machines, and frozen ones count it too."""
        for node in self.nodes.values():
            node.clock.passes(SECONDS + 1)
        with connect_beside(self.address) as beside:
            beside.execute("UPDATE leader SET until = now() - interval '1 second' WHERE node <> ''")
        self.beat(heir)

    @precondition(lambda self: self.leader)
    @rule()
    def commit_whose_answer_is_lost(self):
        leader = self.leader
        database = leader.desk.journal._database
        commit = database.commit

        def lose():
            commit()
            raise JournalUnreachable("the connection was lost")

        database.commit = lose
        leader.careful(lambda: leader.desk.turn(1.0))
        if leader.desk is not None:
            database.commit = commit

    @precondition(lambda self: self.leader)
    @rule()
    def late_answers(self):
        leader, root = self.leader, self.bench.bay.inbox

        def end(scheduler):
            doubts = operator.doubts_of_lost_leads(scheduler, "bay")
            found = {job.id: late_answer(root, job) for job in doubts}
            scheduler.cut_short.end_doubts({job_id: answer for job_id, answer in found.items() if answer})

        leader.careful(lambda: leader.desk.order(end))

    @precondition(lambda self: self.leader and self.jobs)
    @rule(number=st.integers(0, JOBS - 1))
    def retry(self, number):
        leader = self.leader
        with connect_beside(self.address) as beside:
            asked = "SELECT id FROM jobs WHERE state = 'in_doubt' ORDER BY id"
            doubts = [job_id for (job_id,) in beside.execute(asked)]
        chosen = doubts or self.jobs[-JOBS:]
        job_id = chosen[number % len(chosen)]
        answers = []
        leader.careful(
            lambda: answers.extend(
                leader.desk.order(lambda scheduler: operator.retry(scheduler, [job_id], "ann"))
            )
        )
        # Where the commit's answer was lost the order may have been carried out.
        if doubts and (not answers or answers[0]["done"]):
            self.consents[job_id] += 1

    # --- what must hold ---------------------------------------------------------------------------------

    @invariant()
    def a_request_is_sent_once_and_once_more_a_retry(self):
        Farm.steps += 1
        if hasattr(self, "sent"):
            for job_id, count in self.sent.items():
                assert count <= 1 + self.consents[job_id], f"{job_id} was sent {count} times"

    def _finish(self):
        """In the end one node leads, all requests have an outcome, and no accepted job is forgotten."""
        for name in NAMES:
            self.thaw(name)
        if self.leader is None:
            self.lease_runs_out()
        for _ in range(3):
            for node in self.nodes.values():
                node.beat()
        assert self.leader is not None
        for _ in range(
            12 + len(self.jobs)
        ):  # what was under way at many ends is tried alone, one after another
            if self.leader is not None:
                self.turn(71.0)
            for node in self.nodes.values():
                node.beat()
            if not (left := self._under_way()):
                break
        self.a_request_is_sent_once_and_once_more_a_retry()
        assert not left, left

    def _under_way(self):
        with connect_beside(self.address) as beside:
            # A clip over which the leader ended three times waits for a person.
            asked = (
                "SELECT id, state, held, reason, due_at FROM jobs "
                "WHERE state IN ('submitting', 'running', 'rendered') AND held IS DISTINCT FROM 'poison'"
            )
            return beside.execute(asked).fetchall()


def address():
    """Return an empty journal of one schema, which all examples share: to make one takes a while."""
    if not hasattr(address, "made"):
        address.made = postgres.shared().schema(f"machine_{os.getpid()}")
        make_schema(address.made)
    with connect_beside(address.made) as beside:
        beside.execute("TRUNCATE clips, jobs, tasks, events, facts, nodes, orders CASCADE")
        beside.execute(
            "UPDATE leader SET node = '', epoch = 0, until = 'epoch', place = '', lost = '', heir = '', "
            "lost_at = 'epoch'"
        )
    return address.made


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Keep connections, and write no log."""
    monkeypatch.setattr("clipspool.journal.postgres.connect", Kept.connect)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    sys.stdout.write(f"{Farm.steps} steps\n")  # for `make faults`, which counts them
    structlog.reset_defaults()
    while Kept.rest:
        Kept.rest.pop()._connection.close()


FarmTest = Farm.TestCase
FarmTest.settings = settings(
    max_examples=max(STEPS // LONG, 1),
    stateful_step_count=min(STEPS, LONG),
    deadline=None,
    phases=PHASES,
    database=None,
    suppress_health_check=list(HealthCheck),
)
FarmTest = pytest.mark.slow(FarmTest)
