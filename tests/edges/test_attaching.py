"""A task that a person names is looked up before a job follows it."""

import shutil
import time

import pytest

from clipspool.app.attaching import attach
from clipspool.jobs.events import AnswerLost
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Held, State
from clipspool.provider.catalog import Catalog
from clipspool.provider.protocol import TaskLook, TaskStatus
from clipspool.provider.transport.depot import Depot
from clipspool.scheduler import commands as operator
from clipspool.spool.handover import take_over
from clipspool.spool.ledger import note, notes
from clipspool.spool.recovery import survey
from clipspool.stages.runner import Tools
from fakes import PROFILE, Bench, Desk, Studio

OFFLINE = Fault(FaultOf.MOMENT, "NETWORK.REFUSED", "nobody listens")


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("no answer came", {"bytes_written": 9}))
    desk.drop()
    desk.until(State.IN_DOUBT)
    desk.shop.hold(Stage.POLL)
    yield desk
    desk.close()


def ordered(desk, studio, task_id="123", folders=None, **how):
    def ask(command):
        return desk.order(command)

    tools = Tools(folders or {}, studio, Catalog.load(), Depot((), time.time), lambda _profile: studio)
    return attach(ask, tools, "clip1", task_id, "ann", **how)[0]


def test_an_id_that_the_provider_does_not_know_is_refused_and_the_doubt_stays(desk):
    answer = ordered(desk, Studio())
    assert (answer["done"], answer["check"]) == (False, "missing")
    assert "123" in answer["why"]
    assert (desk.state(), desk.job().held) == (State.IN_DOUBT, Held.IN_DOUBT)


def test_an_id_that_the_provider_knows_is_followed(desk):
    studio = Studio()
    studio.looks["task-9"] = TaskLook(TaskStatus.RUNNING, "RUNNING")
    assert ordered(desk, studio, "task-9")["done"]
    assert (desk.state(), desk.job().held, desk.job().task.task_id) == (State.RUNNING, None, "task-9")


def test_a_fresh_id_can_be_followed_by_force_and_stays_with_what_needs_a_person(desk):
    assert ordered(desk, Studio(), force=True)["done"]
    assert (desk.state(), desk.job().held) == (State.RUNNING, Held.LOST)


@pytest.mark.parametrize("studio", [None, "offline"])
def test_where_the_provider_cannot_be_asked_it_says_so_and_asks_first(desk, studio):
    if studio:
        studio = Studio()
        studio.look = lambda _task_id: OFFLINE
    answer = ordered(desk, studio)
    assert (answer["done"], answer["check"]) == (False, "unasked")
    assert "not checked" in answer["why"]
    assert desk.state() is State.IN_DOUBT
    assert ordered(desk, studio, unasked=True)["done"]
    assert (desk.state(), desk.job().held) == (State.RUNNING, Held.LOST)


def test_force_needs_no_second_word_where_the_provider_cannot_be_asked(desk):
    assert ordered(desk, None, force=True)["done"]
    assert (desk.state(), desk.job().held) == (State.RUNNING, Held.LOST)


def test_a_task_that_was_attached_unseen_is_attached_once_more_when_the_provider_knows_it(desk):
    assert ordered(desk, Studio(), "task-9", force=True)["done"]
    studio = Studio()
    studio.looks["task-9"] = TaskLook(TaskStatus.RUNNING, "RUNNING")
    assert ordered(desk, studio, "task-9")["done"]
    assert (desk.state(), desk.job().held) == (State.RUNNING, None)


def test_to_say_that_nobody_could_be_asked_does_not_pass_an_unknown_id(desk):
    assert ordered(desk, Studio(), unasked=True)["check"] == "missing"


@pytest.mark.parametrize("typed", ["", " ", ".", "..", "a\nb", "x" * 201])
@pytest.mark.parametrize("how", [{}, {"unasked": True}, {"force": True}])
def test_what_can_be_no_id_is_refused_however_it_is_ordered(desk, typed, how):
    with pytest.raises(IndexError):  # in words: "that is no task id"
        ordered(desk, Studio(), typed, **how)
    assert (desk.state(), desk.job().held) == (State.IN_DOUBT, Held.IN_DOUBT)


def test_an_id_that_was_pasted_with_spaces_around_it_is_meant_without_them(desk):
    studio = Studio()
    studio.looks["task-9"] = TaskLook(TaskStatus.RUNNING, "RUNNING")
    assert ordered(desk, studio, " task-9\n")["done"]
    assert (desk.job().held, desk.job().task.task_id) == (None, "task-9")


def test_a_job_that_was_cancelled_in_doubt_is_asked_about_like_one_in_doubt(desk):
    desk.order(operator.cancel, ["clip1"], "ann")
    assert ordered(desk, Studio())["check"] == "missing"
    assert desk.state() is State.CANCELLED
    studio = Studio()
    studio.looks["task-9"] = TaskLook(TaskStatus.RUNNING, "RUNNING")
    assert ordered(desk, studio, "task-9")["done"]
    assert (desk.state(), desk.job().held, desk.job().task.task_id) == (State.RUNNING, None, "task-9")


# --- a journal that is lost afterwards ---------------------------------------------------------------------


@pytest.fixture
def bench(tmp_path):
    """Yield the inbox of the job in doubt; its ledger has the request that may have been paid for."""
    bench = Bench(tmp_path)
    note(bench.bay.inbox, "clip1", "clip1", "intent", number=1, profile=PROFILE)
    return bench


def recovered(bench):
    """Return the job as a journal knows it that was lost, and made again from the work folders."""
    (folder,) = survey("bay", bench.bay.inbox, "j1", ()).ours
    return folder.jobs[0]


@pytest.mark.parametrize("how", [{}, {"force": True}])
def test_a_task_that_was_attached_is_followed_though_the_journal_is_lost(desk, bench, how):
    """In doubt once more, it would invite a person to pay a second time."""
    assert recovered(bench).state is State.IN_DOUBT
    studio = Studio()
    if not how:
        studio.looks["task-9"] = TaskLook(TaskStatus.RUNNING, "RUNNING")
    assert ordered(desk, studio, "task-9", {"bay": bench.bay}, **how)["done"]
    job = recovered(bench)
    assert (job.state, job.task.task_id, job.task.profile) == (State.RUNNING, "task-9", PROFILE)
    assert job.task.number == desk.job().task.number == 1


def test_an_order_that_is_refused_leaves_nothing_in_the_ledger(desk, bench):
    before = notes(bench.bay.inbox, "clip1")
    assert not ordered(desk, Studio(), "task-9", {"bay": bench.bay})["done"]
    assert notes(bench.bay.inbox, "clip1") == before


def test_an_order_that_comes_twice_is_noted_once(desk, bench):
    studio = Studio()
    studio.looks["task-9"] = TaskLook(TaskStatus.RUNNING, "RUNNING")
    assert ordered(desk, studio, "task-9", {"bay": bench.bay})["done"]
    before = notes(bench.bay.inbox, "clip1")
    assert not ordered(desk, studio, "task-9", {"bay": bench.bay})["done"]
    assert notes(bench.bay.inbox, "clip1") == before


def test_a_clip_that_another_journal_took_over_gets_no_line_of_ours(desk, bench):
    before = notes(bench.bay.inbox, "clip1")
    take_over(bench.bay.inbox, "clip1", "j2")
    assert ordered(desk, Studio(), "task-9", {"bay": bench.bay}, force=True)["done"]
    assert notes(bench.bay.inbox, "clip1") == before


def test_a_work_folder_that_is_gone_keeps_no_task_from_being_attached(desk, bench):
    shutil.rmtree(bench.work)
    assert ordered(desk, Studio(), "task-9", {"bay": bench.bay}, force=True)["done"]
    assert desk.job().task.task_id == "task-9"
    assert not bench.work.exists()
