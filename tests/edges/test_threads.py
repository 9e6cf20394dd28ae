"""Where the system refuses a thread, work waits for those there are, and goes on once it may."""

import os
import subprocess
import sys
import threading

import pytest

from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import State
from clipspool.scheduler.lane import Lane
from clipspool.system.command import run
from clipspool.system.process import start_thread, stay_on_one_processor
from fakes import Desk
from patience import patient


@pytest.fixture
def refuse(monkeypatch):
    """Return a switch: while it is on no thread begins."""
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


PROCESSORS = os.sched_getaffinity(0)


def in_a_thread(work):
    """Run something in a thread of its own, so that this one keeps its processors; return its result."""
    found = []
    start_thread(lambda: found.append(work()), "t").join(patient(30))
    return found[0]


def test_threads_that_start_later_stay_on_the_same_processor():
    def work():
        stay_on_one_processor()
        return os.sched_getaffinity(0), in_a_thread(lambda: os.sched_getaffinity(0))

    own, of_the_next = in_a_thread(work)
    assert len(own) == 1
    assert own <= PROCESSORS
    assert of_the_next == own


def test_a_program_may_use_every_processor_and_its_starter_stays(tmp_path):
    tell = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]

    def work():
        stay_on_one_processor()
        own = os.sched_getaffinity(0)
        ran = run(tell, b"", seconds_max=patient(30), folder=str(tmp_path), extra={}, stopping=lambda: False)
        return own, ran.output.strip(), os.sched_getaffinity(0)

    before, told, after = in_a_thread(work)
    assert told == str(sorted(PROCESSORS))
    assert after == before


START_OVER = """
import os
from clipspool.app import node
from clipspool.system.process import stay_on_one_processor
if os.environ.pop("IS_FIRST", ""):
    stay_on_one_processor()
    node._start_over(lambda: False)
print(sorted(os.sched_getaffinity(0)))
"""


def test_a_node_that_starts_over_has_every_processor_again():
    """Else its decoder and hooks would share one with it from then on."""
    told = subprocess.run(
        [sys.executable, "-c", START_OVER],
        env={**os.environ, "IS_FIRST": "yes"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str(sorted(PROCESSORS))


def test_where_no_processor_may_be_chosen_all_goes_on(tmp_path, monkeypatch):
    def forbidden(_pid, _processors):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    stay_on_one_processor()
    ran = run(["true"], b"", seconds_max=patient(30), folder=str(tmp_path), extra={}, stopping=lambda: False)
    assert ran.exit_code == 0


STOPPED = """
import os, signal, sys
from clipspool.app import node
from clipspool.system.signals import Signals
signals = Signals(lambda: None)
if os.environ.pop("IS_FIRST", ""):
    signals.install()
    if WHEN == "before":
        signal.raise_signal(signal.SIGTERM)
        node._start_over(signals.stopping.is_set)
        sys.exit("stopped")
    sys.stderr.flush = lambda: signal.raise_signal(signal.SIGTERM)  # right before it becomes the next one
    node._start_over(signals.stopping.is_set)
signals.install()
sys.exit("stops" if signals.stopping.is_set() else "goes on")
"""


@pytest.mark.parametrize(("when", "said"), [("before", "stopped"), ("while", "stops")])
def test_a_node_that_starts_over_stops_where_it_was_asked_to(when, said):
    """Else the signal would end it without its clean end, or be forgotten."""
    told = subprocess.run(
        [sys.executable, "-c", STOPPED.replace("WHEN", repr(when))],
        env={**os.environ, "IS_FIRST": "yes"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr.strip()) == (1, said)
