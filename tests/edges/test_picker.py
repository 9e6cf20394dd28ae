"""Who is chosen, asked of a real journal; no worker runs."""

from dataclasses import replace

import pytest

from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.events import TaskSucceeded
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.limits import Limits
from clipspool.jobs.messages import DailyLimitReached
from clipspool.jobs.model import Held, Part, State
from clipspool.jobs.records import Spend
from clipspool.jobs.shares import Share, Shares
from clipspool.journal import Journal
from clipspool.scheduler.selection import InFlight, Picker
from clipspool.scheduler.workers import Workers
from fakes import BUSY, NOON, RESULT, Workshop, a_clip, a_job, a_request, a_task

RUNNING = {"state": State.RUNNING, "task": a_task()}
RENDERED = {"state": State.RENDERED, "task": a_task()}
FETCHED = {"state": State.FETCHED, "task": a_task(), "results": (RESULT,)}
PREPARED = {"prepared": True, "credits_estimated": 15.0}


class Table:
    """A picker, its journal, and what it was told is under way."""

    def __init__(self, path):
        self.journal = Journal.open(path / "journal.db")
        self.in_flight = {}
        self.workers = Workers(Workshop(), lambda _heard: None)
        self.picker = Picker(self.journal, self.workers, self.in_flight)
        self.picker.inboxes = ("a", "b")

    def add(self, job_id, inbox="a", **changes):
        with self.journal.turn():
            self.journal.accept(a_clip(job_id, inbox=inbox), [a_job(job_id, inbox=inbox, **changes)])

    def pick(self, brake=None, spend=None):
        return self.picker.pick(NOON, brake or Brake(), spend or Spend(), {})

    def chosen(self, stage, **conditions):
        return [job.id for one, job in self.pick(**conditions).stages if one is stage]


@pytest.fixture
def table(tmp_path):
    table = Table(tmp_path)
    yield table
    table.journal.close()


def test_each_job_that_is_due_gets_its_stage(table):
    table.add("new")
    table.add("ready", **PREPARED)
    table.add("runs", **RUNNING)
    table.add("ends", cancel_by="ann", **RUNNING)
    table.add("rendered", **RENDERED)
    table.add("fetched", **FETCHED)
    table.add("later", due_at=NOON + 1)
    table.add("held", held=Held.BUDGET)
    table.add("asks", state=State.SUBMITTING, task=a_task())
    assert {job.id: stage for stage, job in table.pick().stages} == {
        "new": Stage.PREPARE,
        "ready": Stage.SUBMIT,
        "runs": Stage.POLL,
        "ends": Stage.TELL_CANCEL,
        "rendered": Stage.FETCH,
        "fetched": Stage.DELIVER,
    }


def test_a_job_that_a_worker_has_is_not_chosen_again(table):
    table.add("ready", **PREPARED)
    table.in_flight["ready"] = InFlight(Stage.SUBMIT, table.journal.job("ready"))
    assert table.pick().stages == []


def test_connections_under_way_count_as_running(table):
    table.picker.limits = Limits(running_max=3)
    table.add("runs", **RUNNING)
    for number in range(5):
        table.add(f"ready{number}", **PREPARED)
    table.in_flight["ready0"] = InFlight(Stage.SUBMIT, table.journal.job("ready0"))
    assert len(table.chosen(Stage.SUBMIT)) == 1


def test_a_pause_keeps_the_queue_and_nothing_else(table):
    table.add("ready", **PREPARED)
    table.add("other", inbox="b", **PREPARED)
    table.add("fetched", **FETCHED)
    table.picker.pauses.by_operator = frozenset({"a"})
    assert [job.id for _, job in table.pick().stages] == ["fetched", "other"]
    table.picker.pauses.by_operator = frozenset({"*"})
    assert [job.id for _, job in table.pick().stages] == ["fetched"]


def test_the_brake_lets_one_go_first(table):
    table.picker.inboxes = ("a",)
    for number in range(5):
        table.add(f"ready{number}", **PREPARED)
    assert table.chosen(Stage.SUBMIT, brake=Brake(1, NOON + 1, BUSY)) == []
    assert len(table.chosen(Stage.SUBMIT, brake=Brake(1, NOON, BUSY))) == 1
    assert len(table.chosen(Stage.SUBMIT)) == 5


def test_of_a_model_that_is_held_back_one_is_tried_at_a_time_and_others_go_on(table):
    held = Brake(models={"aleph2": Brake(1, NOON - 1, BUSY)})
    for number in range(3):
        table.add(f"a{number}", request=a_request(model="aleph2"), **PREPARED)
    table.add("other", **PREPARED)
    assert table.chosen(Stage.SUBMIT, brake=held) == ["a0", "other"]
    table.in_flight["a0"] = InFlight(Stage.SUBMIT, table.journal.job("a0"))
    assert table.chosen(Stage.SUBMIT, brake=held) == ["other"]


def test_what_the_brake_does_not_hold_is_sent_once_it_is_due_and_no_earlier(table):
    table.add("ready", **PREPARED)
    table.add("later", due_at=NOON + 1, **PREPARED)
    shut = Brake(1, NOON + 60, BUSY)
    picks = table.picker.pick(NOON, shut, Spend(), {}, excused={"ready", "later"})
    assert [job.id for _, job in picks.stages] == ["ready"]


def test_what_is_chosen_in_one_turn_stays_within_the_day(table):
    table.picker.limits = Limits(credits_per_day=50.0)
    for number in range(5):
        table.add(f"ready{number}", **PREPARED)
    assert len(table.chosen(Stage.SUBMIT)) == 3
    assert len(table.chosen(Stage.SUBMIT, spend=Spend(1, 25.0))) == 1


def test_a_job_that_is_too_dear_is_parked_and_an_approved_one_is_not(table):
    table.picker.limits = Limits(credits_per_job_max=10.0)
    table.add("dear", **PREPARED)
    table.add("approved", approved=True, **PREPARED)
    picks = table.pick()
    assert [(job.id, held) for job, held, _ in picks.held] == [("dear", Held.BUDGET)]
    assert [job.id for _, job in picks.stages] == ["approved"]


@pytest.mark.parametrize(("stage", "state"), [(Stage.FETCH, RENDERED), (Stage.DELIVER, FETCHED)])
def test_one_inbox_never_takes_a_whole_lane(table, stage, state):
    """Its file server may be dead, and every worker that touches it hangs."""
    for number in range(40):
        table.add(f"a{number}", **state)
    assert len(table.chosen(stage)) < table.workers.lane(stage).size


def test_looks_are_shared_by_no_one(table):
    for number in range(40):
        table.add(f"gone{number}", inbox="gone", **RUNNING)
    assert len(table.chosen(Stage.POLL)) >= table.workers.lane(Stage.POLL).size


def test_one_inbox_that_retires_many_leaves_room_for_others(table):
    for number in range(40):
        table.add(f"a{number}", state=State.DELIVERED, task=a_task())
    with table.journal.turn():
        table.journal.retire_ended([f"a{number}" for number in range(40)], NOON)
    assert len(table.pick().retirements) < table.workers.disk.size


@pytest.mark.parametrize("state", [RENDERED, FETCHED], ids=["fetch", "deliver"])
def test_an_inbox_that_hangs_keeps_no_other_waiting(table, state):
    for number in range(60):
        table.add(f"a{number}", **{**state, "due_at": NOON - 100})
    table.add("b0", inbox="b", **state)
    for _ in range(10):
        for one, job in table.pick().stages:
            table.in_flight[job.id] = InFlight(one, job)
            table.workers._stages[one] += 1
            table.workers.lane(one).busy += 1
    assert "b0" in table.in_flight


def test_a_job_of_an_inbox_that_is_not_configured_waits(table):
    for name, state in [("new", {}), ("rendered", RENDERED), ("fetched", FETCHED)]:
        table.add(name, inbox="gone", **state)
    table.add("runs", inbox="gone", **RUNNING)
    assert [job.id for _, job in table.pick().stages] == ["runs"]


# --- limits of single inboxes and models ------------------------------------------------------------------


def limit(table, inboxes=None, models=None, **limits):
    table.picker.allow(("a", "b"), Limits(shares=Shares(inboxes or {}, models or {}), **limits))


def test_an_inbox_has_no_more_tasks_than_it_may_connections_included(table):
    limit(table, {"a": Share(running_max=3)}, running_max=50)
    table.add("runs", **RUNNING)
    for number in range(6):
        table.add(f"a{number}", **PREPARED)
        table.add(f"b{number}", inbox="b", **PREPARED)
    table.in_flight["a0"] = InFlight(Stage.SUBMIT, table.journal.job("a0"))
    chosen = table.chosen(Stage.SUBMIT)
    assert [job for job in chosen if job.startswith("a")] == ["a1"]
    assert len([job for job in chosen if job.startswith("b")]) == 6


def test_a_clip_that_is_sent_in_parts_takes_no_place_for_itself(table):
    """Its parts do: with one place it would keep them, and all others, from being sent for ever."""
    limit(table, {"a": Share(running_max=1, credits_per_day=20.0)})
    part = Part(1, 2, 0, 125, 0, "25/1")
    table.add("whole", parts=(part, replace(part, number=2, start=125)), priority=1, **PREPARED)
    table.add("plain", **PREPARED)
    assert table.chosen(Stage.SUBMIT) == ["whole", "plain"]


def test_a_model_that_has_its_tasks_hides_none_of_another_model_behind_it(table):
    limit(table, models={"aleph2": Share(running_max=1)})
    for number in range(40):
        table.add(f"a{number}", request=a_request(model="aleph2"), priority=1, **PREPARED)
    table.add("other", **PREPARED)
    assert table.chosen(Stage.SUBMIT) == ["a0"]
    table.add("runs", request=a_request(model="aleph2"), **RUNNING)
    assert table.chosen(Stage.SUBMIT) == ["other"]


def test_a_model_whose_credits_of_the_day_are_spent_hides_neither_others_nor_what_is_approved(table):
    limit(table, models={"aleph2": Share(credits_per_day=100.0)}, running_max=50)
    for number in range(60):
        table.add(f"a{number}", request=a_request(model="aleph2"), priority=1, **PREPARED)
    table.add("approved", request=a_request(model="aleph2"), approved=True, **PREPARED)
    table.add("other", **PREPARED)
    spend = Spend(6, 90.0, {("a", "aleph2"): 90.0})
    picks = table.pick(spend=spend)
    assert {job.id for stage, job in picks.stages if stage is Stage.SUBMIT} == {"approved", "other"}
    why = "today's 100 credits of aleph2 are used up (90 spent)"
    assert picks.spent == {"model aleph2": DailyLimitReached(why)}


def test_the_credits_of_an_inbox_are_counted_within_a_turn(table):
    limit(table, {"a": Share(credits_per_day=40.0)}, running_max=50)
    for number in range(6):
        table.add(f"a{number}", **PREPARED)
        table.add(f"b{number}", inbox="b", **PREPARED)
    chosen = table.chosen(Stage.SUBMIT)
    assert len([job for job in chosen if job.startswith("a")]) == 2
    assert len([job for job in chosen if job.startswith("b")]) == 6


def test_tasks_under_way_are_counted_by_inbox_and_model_as_they_begin_and_end(table):
    table.add("runs", **RUNNING)
    table.add("asks", state=State.SUBMITTING, task=a_task(), inbox="b")
    table.add("ready", **PREPARED)
    with table.journal.turn():
        job = table.journal.job("runs")
        table.journal.record(job, replace(job, state=State.RENDERED), TaskSucceeded())
    assert +table.journal.running == {("b", "gen4_aleph"): 1}
    assert table.journal.count_running() == {("b", "gen4_aleph"): 1}
