"""Clips that end the process: on a real journal, each new desk is a process after one that died."""

from itertools import pairwise

import pytest

from clipspool.jobs.events import JobHeld, NotSent, TaskCreated
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Held, Paid, State
from clipspool.scheduler import commands as operator
from clipspool.scheduler import poison as suspects
from clipspool.scheduler.ending import drain
from fakes import Clock, Desk

S = State


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Yield a function that starts the daemon again; the one before dies as by kill -9."""
    desks = []
    clock = Clock()

    def start(*, boot="one boot", asked=(), is_excused=False, node=""):
        monkeypatch.setattr(suspects.Suspects.__init__, "__defaults__", (lambda: boot,))
        desks.append(Desk(tmp_path, clock=clock, node=node))
        desks[-1].scheduler.begin(asked, is_excused=is_excused)
        if asked:  # nothing of it has left
            desks[-1].scheduler.call_soon(lambda scheduler: scheduler.cut_short.settle({"clip1": NotSent()}))
        return desks[-1]

    yield start
    for desk in desks:
        desk.close()


def die(start, stage, *drops, **how):
    """Run until a worker is in the stage, and die there."""
    desk = start(**how)
    for clip_id in drops:
        desk.drop(clip_id)
    desk.shop.hold(stage)
    for _ in range(20):
        desk.turn(60.0)
        if begun(desk, stage):
            desk.journal.close()
            return desk
    raise AssertionError(f"nothing comes to {stage}")


def begun(desk, stage):
    return [job_id for at, job_id in desk.shop.done if at is stage]


def test_a_process_that_ended_because_its_journal_could_not_be_written_blames_no_clip(start):
    die(start, Stage.FETCH, "clip1")
    for _ in range(3):
        die(start, Stage.FETCH, is_excused=True)
    desk = start(is_excused=True)
    assert desk.until(S.DELIVERED).held is None


@pytest.mark.parametrize("stage", [Stage.PREPARE, Stage.FETCH, Stage.DELIVER])
def test_a_clip_over_which_the_process_died_three_times_in_one_stage_is_set_aside(start, stage):
    die(start, stage, "clip1")
    for _ in range(2):
        die(start, stage)
    desk = start()
    desk.drop("clip2")
    desk.until(S.DELIVERED, "clip2")
    job = desk.job()
    assert job.held is Held.POISON
    assert stage.value in job.reason
    assert begun(desk, stage) == ["clip2"]
    desk.turns(3)
    assert desk.scheduler.is_idle


@pytest.mark.parametrize("command", [operator.approve, operator.retry])
@pytest.mark.parametrize("stage", [Stage.PREPARE, Stage.FETCH])
def test_it_goes_on_once_a_person_says_so_and_is_paid_once(start, stage, command):
    paid = die(start, stage, "clip1").shop.paid
    for _ in range(2):
        paid += die(start, stage).shop.paid
    desk = start()
    (answer,) = desk.order(command, ["clip1"], "ann")
    assert answer["done"]
    assert desk.until(S.DELIVERED).paid is Paid.YES
    assert [*paid, *desk.shop.paid] == ["clip1"]
    assert desk.job().approved is False


def test_a_hold_that_guards_money_is_not_replaced_by_that_for_crashes(start):
    """To let a crash pass is no consent to pay for what an older journal may have paid for."""
    die(start, Stage.PREPARE, "clip1")
    die(start, Stage.PREPARE)
    desk = start()
    desk.shop.hold(Stage.PREPARE)
    desk.turns(2, 60.0)
    assert begun(desk, Stage.PREPARE)
    held = JobHeld(Held.FROM_BACKUP, "from an older copy")
    desk.order(lambda scheduler: scheduler.decide(scheduler.journal.job("clip1"), held))
    desk.journal.close()
    assert start().job().held is Held.FROM_BACKUP


def die_retiring(start, *drops):
    desk = start()
    for clip_id in drops:
        desk.drop(clip_id)
    held = desk.shop.hold("retire")
    for _ in range(20):
        desk.turn(60.0)
        if desk.shop.waiting[held]:
            desk.journal.close()
            return
    raise AssertionError("nothing retires")


def test_a_clip_over_which_the_process_died_three_times_retiring_is_set_aside_and_the_rest_goes_on(start):
    die_retiring(start, "clip1")
    for _ in range(2):
        die_retiring(start)
    desk = start()
    desk.drop("clip2")
    desk.until(S.DELIVERED, "clip2")
    desk.turns(3, 60.0)
    assert [clip_id for clip_id, _ in desk.shop.retired] == ["clip2"]
    assert desk.scheduler.is_idle
    assert [e.event for e in desk.journal.history(desk.job())][-1] == "set_aside"
    desk.order(operator.resume, None)
    desk.turns(3, 60.0)
    assert [clip_id for clip_id, _ in desk.shop.retired] == ["clip2", "clip1"]


def test_those_that_retired_beside_it_retire_alone_and_are_cleared(start):
    die_retiring(start, *(f"clip{number}" for number in range(3)))
    die_retiring(start)
    desk = start()
    desk.turns(20, 60.0)
    assert {clip_id for clip_id, _ in desk.shop.retired} == {f"clip{number}" for number in range(3)}


def test_what_may_have_been_sent_is_not_forgotten_among_the_deaths(start):
    for _ in range(3):
        die(start, Stage.SUBMIT, *([] if _ else ["clip1"]), asked=["bay"])
    desk = start(asked=["bay"])
    desk.order(lambda scheduler: scheduler.cut_short.settle({"clip1": NotSent()}))
    assert desk.job().held is Held.POISON


def test_those_that_were_in_flight_beside_it_run_alone_and_are_cleared(start):
    die(start, Stage.PREPARE, *(f"clip{number}" for number in range(4)))
    die(start, Stage.PREPARE)
    desk = start()
    held = desk.shop.hold(Stage.PREPARE)
    desk.turns(3)
    assert len(begun(desk, Stage.PREPARE)) == 1
    desk.release(held)
    desk.turns(20, 60.0)
    assert {desk.state(f"clip{number}") for number in range(4)} == {S.DELIVERED}


def test_the_guilty_one_is_found_among_innocent_ones(start):
    die(start, Stage.PREPARE, *(f"clip{number}" for number in range(4)))
    die(start, Stage.PREPARE)
    for _ in range(4):
        desk = start()
        while not desk.scheduler.is_idle and "clip2" not in begun(desk, Stage.PREPARE):
            desk.turn(60.0)
        if desk.scheduler.is_idle:
            break
        desk.journal.close()
    assert desk.job("clip2").held is Held.POISON
    assert {desk.state(f"clip{number}") for number in (0, 1, 3)} == {S.DELIVERED}


def test_a_clean_end_counts_for_nobody(start):
    first = start()
    first.drop()
    first.shop.hold(Stage.PREPARE)
    first.turns(2)
    first.clock.passes(100)
    drain(first.scheduler, 0.0, each_turn=lambda: None)
    first.journal.close()
    desk = start()
    assert desk.journal.fact("suspects") is None


def test_a_machine_that_went_down_counts_for_nobody(start):
    die(start, Stage.PREPARE, "clip1")
    for boot in ("two", "three", "four"):
        die(start, Stage.PREPARE, boot=boot)
    assert start(boot="five").job().held is None


def test_a_node_that_lost_its_lead_to_another_on_its_machine_counts_for_nobody(start):
    """It was frozen, perhaps, or cut off from the database; a node that died counts when it leads again."""
    die(start, Stage.PREPARE, "clip1", node="a")
    for node in ("b", "a", "b"):
        die(start, Stage.PREPARE, node=node)
    desk = start(node="a")
    assert desk.job().held is None
    desk.journal.close()
    for _ in range(3):
        die(start, Stage.PREPARE, node="b")
    assert start(node="b").job().held is Held.POISON


def test_a_stage_that_passes_clears_a_clip_for_the_next(start):
    die(start, Stage.FETCH, "clip1")
    die(start, Stage.FETCH)
    die(start, Stage.DELIVER)
    die(start, Stage.DELIVER)
    start().until(S.DELIVERED)


def test_what_is_handed_out_is_noted_in_a_transaction_that_is_there_anyway(start):
    desk = start()
    database = desk.journal._database
    commit, commits = database.commit, []

    def watched():
        query = "SELECT (SELECT count(*) FROM events) + (SELECT sum(prepared) FROM jobs)"
        (count,) = database._connection.execute(query).fetchone()
        commits.append((desk.journal.fact("in_flight"), count))
        commit()

    database.commit = watched
    desk.drop()
    desk.until(S.DELIVERED)
    changes = [pair for pair in pairwise([(None, 0), *commits]) if pair[0][0] != pair[1][0]]
    stages = ["".join(noted["jobs"].values()) for _, (noted, _) in changes]
    assert stages == ["prepare", "submit", "", "fetch", "deliver", "retire"]
    assert all(after > before for (_, before), (_, after) in changes)


def test_a_task_is_followed_while_a_suspect_runs_alone(start):
    first = start()
    first.drop("clip1")
    first.shop.say[Stage.SUBMIT].append(lambda _job: TaskCreated("task-1"))
    first.until(S.RUNNING, "clip1")
    first.drop("clip2")
    first.shop.hold(Stage.PREPARE)
    first.shop.hold(Stage.POLL)
    first.turns(2)
    first.journal.close()
    second = start()
    second.shop.hold(Stage.PREPARE)
    second.shop.hold(Stage.POLL)
    second.turns(2)
    second.journal.close()
    desk = start()
    held = desk.shop.hold(Stage.PREPARE)
    desk.clock.passes(600)
    desk.turns(3)
    assert ("clip2" in desk.scheduler.in_flight, desk.state("clip1")) == (True, S.RENDERED)
    desk.release(held)
    desk.turns(8, 60.0)
    assert desk.state("clip1") is desk.state("clip2") is S.DELIVERED
