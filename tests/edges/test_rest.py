"""How long the scheduler rests between two turns: messages on which nobody waits share one."""

import time

import pytest

from clipspool.jobs.events import Delivered, Fetched, Prepared, TaskSeen, TaskSucceeded
from clipspool.scheduler import mailbox, rests
from clipspool.scheduler.workers import AtGate, Done, HookDone, Swept
from fakes import Desk

LONG = 30.0


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    desk = Desk(tmp_path)
    monkeypatch.setattr(rests, "_LEISURE_SECONDS", LONG)
    desk.turn()
    after_a_turn_with_work(desk.scheduler)
    yield desk.scheduler
    desk.close()


def after_a_turn_with_work(scheduler):
    scheduler.call_soon(lambda _: None)
    scheduler.turn()


def waited(scheduler):
    begun = time.monotonic()
    scheduler.wait(0.0)
    return time.monotonic() - begun


@pytest.mark.parametrize(
    "message",
    [
        lambda _: None,
        AtGate("job", None),
        Done("job", Prepared("ab", 1, 1, 1.0), "attempt"),
        Done("job", None, "attempt", "a fault"),
    ],
)
def test_a_message_on_which_a_submission_or_a_person_waits_starts_a_turn_at_once(scheduler, message):
    if callable(message):
        scheduler.call_soon(message)
    else:
        scheduler.enqueue(message)
    assert waited(scheduler) < LONG / 2


@pytest.mark.parametrize(
    "message",
    [
        Done("job", TaskSeen("RUNNING", rendering=True), "attempt"),
        Done("job", TaskSucceeded(None), "attempt"),
        Done("job", Fetched(()), "attempt"),
        Done("job", Delivered(()), "attempt"),
        Swept(()),
        HookDone("job", None),
    ],
)
def test_other_messages_wait_a_little_for_more(scheduler, monkeypatch, message):
    monkeypatch.setattr(rests, "_LEISURE_SECONDS", 0.3)
    scheduler.enqueue(message)
    assert waited(scheduler) >= 0.25


def test_an_urgent_message_that_one_turn_did_not_take_starts_the_next_at_once(scheduler, monkeypatch):
    monkeypatch.setattr(mailbox, "MESSAGES_MAX", 1)
    for _ in range(2):
        scheduler.call_soon(lambda _: None)
    scheduler.turn()
    assert waited(scheduler) < LONG / 2


def test_what_a_turn_has_taken_is_urgent_no_longer(scheduler, monkeypatch):
    monkeypatch.setattr(rests, "_LEISURE_SECONDS", 0.3)
    after_a_turn_with_work(scheduler)
    assert waited(scheduler) >= 0.25


def test_after_a_turn_without_work_it_sleeps_at_once(scheduler):
    scheduler.turn()
    assert waited(scheduler) < LONG / 2


def burn(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.mark.parametrize(("work", "is_long"), [(burn, True), (time.sleep, False)])
def test_the_rest_grows_with_what_a_turn_computes_and_not_with_what_it_waits_for(
    scheduler, monkeypatch, work, is_long
):
    monkeypatch.setattr(rests, "_REST_SECONDS", (0.0, LONG))
    scheduler.call_soon(lambda _: work(0.3))
    scheduler.turn()
    scheduler.call_soon(lambda _: None)
    assert (waited(scheduler) > 0.6) == is_long
