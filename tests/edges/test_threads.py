"""Where the system refuses a thread, work waits for those there are, and goes on once it may."""

import threading

import pytest

from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import State
from clipspool.scheduler.lane import Lane
from clipspool.system.process import start_thread
from fakes import Desk
from patience import patient


@pytest.fixture
def refuse(monkeypatch):
    """Give a switch: while it is on no thread begins."""
    real, is_on = threading.Thread.start, threading.Event()

    def start(thread):
        if is_on.is_set():
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    return is_on


def test_a_thread_that_may_not_begin_is_none(refuse):
    done = threading.Event()
    refuse.set()
    assert start_thread(done.set, "t") is None
    refuse.clear()
    start_thread(done.set, "t").join(10)
    assert done.is_set()


def test_work_that_was_handed_out_without_a_thread_is_done_once_there_is_one(tmp_path, refuse):
    desk = Desk(tmp_path)
    refuse.set()
    desk.drop("clip1")
    desk.drop("clip2")
    desk.scheduler.turn()
    assert desk.shop.done == []
    assert set(desk.scheduler.in_flight) == {"clip1", "clip2"}
    refuse.clear()
    desk.turn()
    assert {job_id for stage, job_id in desk.shop.done if stage is Stage.PREPARE} == {"clip1", "clip2"}
    desk.until(State.DELIVERED, "clip1")
    desk.until(State.DELIVERED, "clip2")
    assert sorted(desk.shop.paid) == ["clip1", "clip2"]
    desk.close()


def test_the_threads_there_are_do_the_work_of_those_that_were_refused(refuse):
    lane, done = Lane("t", 4), threading.Semaphore(0)
    lane.hand_out(done.release)
    refuse.set()
    for _ in range(5):
        lane.hand_out(done.release)
    assert all(done.acquire(timeout=patient(10)) for _ in range(6))
    assert not lane.staff()
    lane.stop()
