"""Stages that go to another node and come back, by a real queue in a real PostgreSQL."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from procrastinate.manager import JobManager
from procrastinate.schema import SchemaManager

import postgres
from clipspool.farm import dispatch, queue, worker
from clipspool.farm.dispatch import Dispatch
from clipspool.farm.queue import kinds_of, make_tables, queue_of, queues_of
from clipspool.farm.worker import StageWorker
from clipspool.jobs.assignments import Assignment, new_attempt
from clipspool.jobs.events import Fetched, Postponed, Prepared, StageFailed
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Held
from clipspool.journal import Journal, JournalUnreachable
from clipspool.spool.guard import Unavailable
from fakes import RESULT, a_clip, a_job, a_request, a_task
from patience import patient


@dataclass(frozen=True)
class Other:
    """A node as the leader knows it."""

    sees: tuple = ("bay",)
    stages: tuple = ("prepare", "fetch", "finish")
    lease_seconds: float = 0.0


class Farm:
    """A leader's side of the queue, and the workers of other nodes beside it."""

    def __init__(self, address):
        Journal.open(address).close()
        self.conninfo = address.url
        self.others = [Other()]
        self.done = []
        self.changed = threading.Condition()
        self.workers = []
        self.dispatch = Dispatch(self.conninfo, lambda: self.others)

    def hear(self, done):
        with self.changed:
            self.done.append(done)
            self.changed.notify_all()

    def until(self, count, seconds=20):
        """Wait until so many stages have come back."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.done) >= count, patient(seconds)), self.done
        return self.done

    def add(self, name, work, is_ending=lambda: False, beat_seconds=0.3, **node):
        other = Other(**node)
        queues = lambda: queues_of(other.stages, other.sees)  # noqa: E731
        self.workers.append(StageWorker(self.conninfo, name, work, queues, beat_seconds, is_ending=is_ending))
        self.workers[-1].start()

    def ask(self, statement):
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            return connection.execute(statement).fetchall()

    def until_empty(self):
        """Wait until nothing is left in the queue: a worker reports before it removes."""
        statement = "SELECT (SELECT count(*) FROM procrastinate_jobs) + (SELECT count(*) FROM stage_results)"
        end = time.monotonic() + patient(10)
        while (left := self.ask(statement)) != [(0,)]:
            assert time.monotonic() < end, left
            time.sleep(0.05)

    def close(self):
        self.dispatch.stop()
        for one in self.workers:
            one.stop()


@pytest.fixture
def farm(request, monkeypatch):
    # A notice that comes while a worker begins to listen is lost: it need not wait long for its next look.
    monkeypatch.setattr(worker, "POLL_SECONDS", 1.0)
    name = f"queue_{abs(hash(request.node.nodeid)) % 10**8}_{os.getpid()}"
    farm = Farm(postgres.shared().schema(name))
    yield farm
    farm.close()


def given(number=1, stage=Stage.PREPARE, inbox="bay", **job):
    name = f"clip{number}"
    return Assignment(stage, a_job(name, inbox=inbox, **job), a_clip(name, inbox=inbox), new_attempt())


@pytest.mark.parametrize("why", ["it is stopped", "it is drained"])
def test_a_stage_that_does_not_end_with_its_node_is_given_back_and_not_lost(farm, monkeypatch, why):
    monkeypatch.setattr(worker, "_END_SECONDS", 0.2)
    begun, goes_on, is_drained = threading.Event(), threading.Event(), threading.Event()
    farm.add("one", lambda _: begun.set() or goes_on.wait(60), is_ending=is_drained.is_set)
    farm.dispatch.start(farm.hear)
    farm.dispatch.hand_out(given())
    assert begun.wait(patient(10))
    is_drained.set() if why == "it is drained" else farm.workers[0].stop()
    (done,) = farm.until(1)
    assert isinstance(done.event, Postponed)
    assert "the node one ends" in done.event.reason
    assert not done.is_lost
    farm.until_empty()
    goes_on.set()


def test_a_stage_that_is_under_way_while_the_database_restarts_is_not_taken_for_lost(farm):
    """A conform takes minutes: it would begin anew, and after three restarts its clip would be set aside."""
    begun, goes_on = threading.Event(), threading.Event()
    farm.add("one", lambda it: begun.set() or (goes_on.wait(60) and well(it)))
    farm.dispatch._stalled_seconds = 2.0
    farm.dispatch.start(farm.hear)
    farm.dispatch.hand_out(given())
    assert begun.wait(patient(10))
    schema = farm.conninfo.rpartition("=")[2]
    for _ in range(5):
        assert postgres.shared().end_connections(schema)
        time.sleep(1.2)
    assert farm.done == []
    goes_on.set()
    (done,) = farm.until(1)
    assert isinstance(done.event, Prepared)
    farm.until_empty()


def test_a_stage_that_was_given_up_and_ends_all_the_same_is_no_error(farm, caplog):
    begun, goes_on = threading.Event(), threading.Event()
    farm.add("one", lambda it: begun.set() or (goes_on.wait(60) and well(it)))
    farm.dispatch.start(farm.hear)
    farm.dispatch.hand_out(given())
    assert begun.wait(patient(10))
    assert farm.ask("DELETE FROM procrastinate_jobs RETURNING id")
    goes_on.set()
    farm.until(1)
    farm.workers[0].stop()
    gc.collect()
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []


def test_a_node_whose_lease_is_longer_than_the_leaders_is_not_taken_for_lost(farm):
    """While the lease is changed on one node after another; three such losses would set its clip aside."""
    begun, goes_on = threading.Event(), threading.Event()
    farm.others = [Other(lease_seconds=9.0)]
    farm.add("one", lambda it: begun.set() or (goes_on.wait(60) and well(it)), beat_seconds=3.0)
    farm.dispatch._stalled_seconds = 1.0
    farm.dispatch.start(farm.hear)
    farm.dispatch.hand_out(given())
    assert begun.wait(patient(10))
    time.sleep(5.0)
    assert farm.done == []
    goes_on.set()
    (done,) = farm.until(1)
    assert isinstance(done.event, Prepared)
    farm.until_empty()


def test_a_stage_whose_answer_was_lost_on_the_way_to_its_node_does_not_wait_for_that_nodes_end(
    farm, monkeypatch
):
    """The database gave it to a node that does not know of it, and goes on to give signs of life."""
    fetch, lost = JobManager.fetch_job, []

    async def fetched(self, queues, worker_id):
        job = await fetch(self, queues=queues, worker_id=worker_id)
        if job is not None and not lost:
            lost.append(job)
            raise ConnectorException from psycopg.OperationalError("the connection was cut")
        return job

    monkeypatch.setattr(JobManager, "fetch_job", fetched)
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(dispatch, "_LOOK_FOR_LOST", 0.2)
    farm.dispatch._stalled_seconds = 2.0
    farm.add("one", well)
    farm.dispatch.start(farm.hear)
    farm.dispatch.hand_out(given())
    (done,) = farm.until(1)
    assert lost
    assert (type(done.event), done.is_lost) == (Postponed, False)
    farm.until_empty()


def well(assignment):
    return Prepared("ab" * 32, 9, 1, attempt=assignment.attempt)


def test_each_stage_is_run_once_by_some_node_and_its_event_comes_back_as_it_was(farm):
    ran = []
    for name in ("one", "two"):
        farm.add(name, lambda it, name=name: ran.append((name, it)) or well(it))
    farm.dispatch.start(farm.hear)
    odd = replace(given(0), clip=replace(a_clip("clip0"), path="caf\udce9/sh\0\u2028t.mp4"))
    all_given = [odd, *(given(number) for number in range(1, 30))]
    for one in all_given:
        farm.dispatch.hand_out(one)
    done = farm.until(30)
    assert sorted(it.attempt for _, it in ran) == sorted(one.attempt for one in all_given)
    assert odd in [it for _, it in ran]
    nodes = {it.attempt: name for name, it in ran}
    assert {one.attempt: one.event for one in done} == {
        it.attempt: replace(well(it), node=nodes[it.attempt]) for _, it in ran
    }
    farm.until_empty()


def test_a_node_is_given_what_it_may_do_in_inboxes_that_it_reaches_and_nothing_else(farm):
    farm.others = [Other(("bay", "far"), ("prepare",)), Other(("far",), ("prepare", "fetch"))]
    ran = {"one": [], "two": []}
    farm.add("one", lambda it: ran["one"].append(it) or well(it), sees=("bay",), stages=("prepare",))
    farm.add("two", lambda it: ran["two"].append(it) or Fetched((RESULT,)), sees=("far",), stages=("fetch",))
    farm.dispatch.start(farm.hear)
    for number in range(6):
        farm.dispatch.hand_out(given(number))
        farm.dispatch.hand_out(given(10 + number, Stage.FETCH, "far", task=a_task()))
    farm.until(12)
    assert {(it.stage, it.job.inbox) for it in ran["one"]} == {(Stage.PREPARE, "bay")}
    assert {(it.stage, it.job.inbox) for it in ran["two"]} == {(Stage.FETCH, "far")}


def test_what_nodes_take_is_counted_by_what_they_may_do_and_reach(farm):
    timeline = given(2, Stage.FETCH, request=a_request(finish="timeline"))
    farm.others = [Other(("bay",), ("prepare", "fetch")), Other(("bay", "far"), ("prepare",))]
    farm.dispatch.start(farm.hear)
    deadline = time.monotonic() + patient(10)
    while not farm.dispatch.capacity(Stage.PREPARE, "bay") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert farm.dispatch.capacity(Stage.PREPARE, "bay") == 12
    assert farm.dispatch.capacity(Stage.PREPARE, "far") == 6
    assert farm.dispatch.capacity(Stage.FETCH, "far") == 0
    assert farm.dispatch.takes(given(1, Stage.FETCH))
    assert not farm.dispatch.takes(timeline), "none is allowed to finish"


def test_queues_are_named_by_stage_and_inbox_within_what_a_notice_may_be_named():
    timeline = given(2, Stage.FETCH, request=a_request(finish="timeline"))
    assert [kinds_of(given()), kinds_of(timeline)] == [("prepare",), ("fetch", "finish")]
    assert queue_of(timeline) in queues_of({"fetch", "finish"}, {"bay"})
    assert queue_of(timeline) not in queues_of({"fetch"}, {"bay"}) + queues_of({"finish"}, {"bay"})
    for inbox in ("bay", "x" * 200, "\u00e9" * 30):
        (name,) = queues_of({"prepare"}, {inbox})
        assert name == queue_of(given(inbox=inbox))
        assert len(f"procrastinate_queue_v1#{name}".encode()) <= 63
    assert queues_of({"prepare"}, {"x" * 200}) != queues_of({"prepare"}, {"x" * 201})


def test_a_fault_a_bug_and_a_folder_or_database_that_is_gone_come_back_as_such(farm):
    troubles = [
        OSError(5, "EIO", "clip.mp4"),
        RuntimeError("a bug"),
        Unavailable("the inbox bay is not there"),
        JournalUnreachable("sorry, too many clients already"),
    ]

    def work(assignment):
        raise troubles[int(assignment.job.id[-1])]

    farm.add("one", work)
    farm.dispatch.start(farm.hear)
    for number in range(4):
        farm.dispatch.hand_out(given(number))
    disk, bug, gone, refused = sorted(farm.until(4), key=lambda done: done.job_id)
    assert disk.event == StageFailed("DISK", "EIO: clip.mp4", held=Held.DISK)
    assert bug.event is None
    assert "RuntimeError" in bug.trouble
    assert isinstance(gone.event, Postponed), "another node may reach it: it is no fault of the clip"
    assert "one" in gone.event.reason
    assert isinstance(refused.event, Postponed)
    assert "too many clients" in refused.event.reason


def test_a_node_that_begins_no_more_gives_back_what_nobody_took(farm, monkeypatch):
    monkeypatch.setattr(dispatch, "_LOOK_SECONDS", 0.1)
    farm.dispatch = Dispatch(farm.conninfo, lambda: farm.others, stalled_seconds=0.5)
    farm.dispatch.start(farm.hear)
    farm.dispatch.hand_out(given())
    farm.others = []
    (done,) = farm.until(1)
    assert isinstance(done.event, Postponed)
    assert not done.is_lost
    farm.until_empty()


def test_what_another_version_wrote_and_cannot_be_read_is_run_again_and_ends_no_leader(farm):
    """All others of its term would wait for good."""
    farm.dispatch.start(farm.hear)
    farm.dispatch.stop()
    odd = given(5).to_text().replace('"attempt"', '"attempt_of_another_version"')
    farm.ask(f"SELECT procrastinate_defer_jobs_v1(ARRAY[{row('stage', odd)}])")
    farm.dispatch = Dispatch(farm.conninfo, lambda: farm.others)
    assert farm.dispatch.start(farm.hear) == []
    written = """('aa', 'clip6', 'two', '{"event": "prepared", "new": 1}', ''),
        ('bb', 'clip7', 'two', '{"event": "new"}', '')"""
    farm.ask(f"INSERT INTO stage_results VALUES {written} RETURNING attempt")
    farm.add("one", well)
    farm.dispatch.hand_out(given())
    done = {one.job_id: one.event for one in farm.until(3)}
    assert isinstance(done["clip1"], Prepared)
    assert "another version of clipspool" in done["clip6"].reason
    assert "another version of clipspool" in done["clip7"].reason
    farm.until_empty()


def test_a_node_takes_no_stage_of_a_leader_of_another_version(farm, monkeypatch):
    farm.dispatch.start(farm.hear)
    monkeypatch.setattr(queue, "__version__", "0.0.1")
    former = queue_of(given())
    monkeypatch.undo()
    assert former not in queues_of({"prepare"}, {"bay"})


def row(task, work):
    arguments = json.dumps({"work": work}).replace("'", "''")
    return f"('bay', '{task}', 0, NULL, NULL, '{arguments}', NULL)::procrastinate_job_to_defer_v1"


def test_the_next_leader_hears_of_what_the_last_one_gave_away(farm):
    go = threading.Event()
    farm.add("one", lambda it: go.wait(patient(20)) and well(it))
    farm.dispatch.start(farm.hear)
    one = given()
    farm.dispatch.hand_out(one)
    deadline = time.monotonic() + patient(10)
    while not farm.workers[0].under_way and time.monotonic() < deadline:
        time.sleep(0.02)
    farm.dispatch.stop()
    farm.dispatch = Dispatch(farm.conninfo, lambda: farm.others)
    assert farm.dispatch.start(farm.hear) == [one]
    go.set()
    (done,) = farm.until(1)
    assert done.attempt == one.attempt


WORKER = """
import sys, time
from clipspool.farm import worker
from clipspool.farm.queue import queues_of
from clipspool.jobs.events import Prepared

_, conninfo, name, pause = sys.argv

def work(given):
    print("begun", given.attempt, flush=True)
    time.sleep(float(pause))
    print("ended", given.attempt, flush=True)
    return Prepared("ab" * 32, 9, 1, attempt=given.attempt)

one = worker.StageWorker(conninfo, name, work, lambda: queues_of({"prepare"}, {"bay"}), 0.3)
one.start()
time.sleep(600)
"""


@contextmanager
def process(farm, name, pause):
    """Run a worker in a process of its own."""
    words = [sys.executable, "-c", WORKER, farm.conninfo, name, str(pause)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as one:
        try:
            yield one
        finally:
            one.kill()


def hear(process, *words):
    """Read what a worker prints, its log among it, until it has printed these words."""
    assert any(line.split() == list(words) for line in process.stdout)


@pytest.fixture
def quick(farm, monkeypatch):
    """Give up a worker that was not heard of for some seconds."""
    farm.dispatch = Dispatch(farm.conninfo, lambda: farm.others, 2.5)
    monkeypatch.setattr(dispatch, "_LOOK_SECONDS", 0.25)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_or_freezes_in_a_stage_is_given_up_and_what_it_says_later_is_told_apart(farm, how):
    farm.dispatch.start(farm.hear)
    with process(farm, "one", 0.5 if how is signal.SIGSTOP else 60) as one:
        first = given()
        farm.dispatch.hand_out(first)
        hear(one, "begun", first.attempt)
        one.send_signal(how)
        (lost,) = farm.until(1)
        assert (lost.attempt, lost.is_lost, type(lost.event)) == (first.attempt, True, Postponed)
        heir = replace(first, attempt=new_attempt())
        farm.add("two", well)
        farm.dispatch.hand_out(heir)
        assert farm.until(2)[1].event == replace(well(heir), node="two")
        if how is signal.SIGSTOP:
            one.send_signal(signal.SIGCONT)
            hear(one, "ended", first.attempt)
            farm.dispatch.hand_out(given(7))
            farm.until(3)
            assert not [done for done in farm.done[1:] if done.attempt == first.attempt and done.is_lost]
            farm.until_empty()


@pytest.mark.usefixtures("quick")
def test_a_worker_that_could_give_no_sign_while_nobody_led_gets_the_time_for_one(farm):
    """After a long outage of the database all of them were silent."""
    farm.dispatch.start(farm.hear)
    with process(farm, "one", 1.0) as one:
        first = given()
        farm.dispatch.hand_out(first)
        hear(one, "begun", first.attempt)
        farm.dispatch.stop()
        one.send_signal(signal.SIGSTOP)
        time.sleep(3.0)
        farm.dispatch = Dispatch(farm.conninfo, lambda: farm.others, 2.5)
        assert farm.dispatch.start(farm.hear) == [first]
        time.sleep(1.0)
        one.send_signal(signal.SIGCONT)
        (done,) = farm.until(1)
        assert isinstance(done.event, Prepared)


def test_tables_of_an_older_procrastinate_get_what_was_changed_since(farm, tmp_path, monkeypatch):
    """A new version of it brings files with what it changed: each is run once, in their order."""
    (tmp_path / "00.00.00_01_initial.sql").write_text("SELECT 1/0")
    (tmp_path / "99.00.00_01_new.sql").write_text("CREATE TABLE changed (one int)")
    (tmp_path / "99.00.00_50_new.sql").write_text("INSERT INTO changed VALUES (1)")
    make_tables(farm.conninfo)
    monkeypatch.setattr(SchemaManager, "get_migrations_path", lambda: str(tmp_path))
    make_tables(farm.conninfo)
    make_tables(farm.conninfo)
    assert farm.ask("SELECT * FROM changed") == [(1,)]
