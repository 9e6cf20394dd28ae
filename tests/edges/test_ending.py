"""The one line at a job's end, from a scheduler on a real journal."""

import pytest

from clipspool.jobs.events import Failed, TaskSeen
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Error, State
from clipspool.reporting.canonical_line import EndingLog
from clipspool.scheduler import commands as operator
from fakes import Desk


def listening(desk):
    lines = []
    desk.scheduler.subscribe(EndingLog(desk.journal, lines.append).on_news)
    return lines


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def break_once(desk):
    """Let the next render fail."""
    desk.shop.say[Stage.POLL].append(Failed(Error("INTERNAL", "it broke")))


def test_a_delivered_job_is_summed_up_once_in_one_line(desk):
    lines = listening(desk)
    desk.drop()
    desk.until(State.DELIVERED)
    (line,) = lines
    assert (line["outcome"], line["job"], line["inbox"]) == ("delivered", "clip1", "bay")
    assert (line["model"], line["attempts"], line["paid"]) == ("gen4_aleph", 1, "yes")
    assert line["bytes_in"] == 9
    assert line["seconds"] == sum(n for key, n in line.items() if key.endswith("_seconds"))
    assert line["seconds"] > 0
    assert "code" not in line


def test_a_failed_job_says_its_code(desk):
    lines = listening(desk)
    break_once(desk)
    desk.drop()
    desk.until(State.FAILED)
    assert [(line["outcome"], line["code"]) for line in lines] == [("failed", "INTERNAL")]


def test_what_was_accepted_before_a_restart_is_timed_all_the_same(desk):
    timed, late = listening(desk), None
    desk.shop.say[Stage.POLL].append(TaskSeen("RUNNING", rendering=True))
    desk.drop()
    desk.until(State.RUNNING)
    late = listening(desk)  # as a daemon that begins now: it never heard of this job
    desk.until(State.DELIVERED)
    assert len(timed) == len(late) == 1
    assert late[0] == pytest.approx(timed[0], abs=0.002)
    assert late[0]["bytes_in"] == 9


def test_a_job_that_is_run_again_has_a_second_line_with_all_its_time(desk):
    lines = listening(desk)
    break_once(desk)
    desk.drop()
    desk.until(State.FAILED)
    desk.turns(3, 60.0)
    desk.order(operator.retry, ["clip1"], "ida")
    desk.until(State.DELIVERED)
    first, second = lines
    assert (first["outcome"], second["outcome"]) == ("failed", "delivered")
    assert second["seconds"] > first["seconds"]
    assert second["running_seconds"] >= first["running_seconds"]
    assert second["attempts"] == 2
