"""A task that a person names is looked up before a job follows it."""

import pytest

from clipspool.app.attaching import attach
from clipspool.jobs.events import AnswerLost
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Held, State
from clipspool.provider.protocol import TaskLook, TaskStatus
from fakes import Desk, Studio

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


def ordered(desk, studio, task_id="123", **how):
    def ask(command):
        return desk.order(command)

    return attach(ask, lambda _profile: studio, "clip1", task_id, "ann", **how)[0]


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
