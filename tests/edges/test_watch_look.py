"""What `status --watch` sees of a daemon that comes, hangs and goes."""

from contextlib import contextmanager

import pytest

from clipspool.app.control import ControlSocket, socket_of
from clipspool.app.settings import load
from clipspool.cli.watch import Looker
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.model import State
from clipspool.journal import Journal
from clipspool.reporting.status import InboxView, status_json
from fakes import NOON, a_clip, a_job, a_task

CONFIG = """\
[journal]
path = "journal.db"
[[inbox]]
name = "bay"
path = "bay"
outbox = "results"
"""


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "bay").mkdir()
    (tmp_path / "config.toml").write_text(CONFIG)
    return load(tmp_path / "config.toml", {})


@pytest.fixture
def looker(settings):
    looker = Looker(lambda: settings, lambda: NOON)
    yield looker
    looker.close()


def fill(settings):
    journal = Journal.open(settings.journal.path)
    with journal.turn():
        job = a_job("one", state=State.RUNNING, task=a_task(), rendering_since=NOON - 60, progress=0.5)
        journal.accept(a_clip("one"), [job])
    journal.close()


@contextmanager
def daemon(settings, answer):
    """Listen as a daemon does, and answer like this."""
    listener = ControlSocket(socket_of(settings.journal.path), answer)
    listener.start()
    try:
        yield
    finally:
        listener.stop()


def says(what, arguments):
    assert (what, arguments) == ("look", {"most": 7})
    told = {"running": True, "pid": 4711, "since": "2027-01-15T11:00:00Z"}
    inboxes = [InboxView("bay", "watching", "events", waiting_count=3000)]
    return {
        "status": status_json({}, Conditions(NOON), inboxes, told),
        "jobs": {"running": [{"id": "one"}], "running_count": 1},
    }


def test_before_there_is_a_journal_nothing_is_wrong(looker):
    view = looker.look(7)
    assert view.trouble == ""
    assert view.status["daemon"]["running"] is False
    assert view.running == view.held == view.failed == ()


def test_a_running_daemon_tells_all_and_no_journal_is_needed(settings, looker):
    with daemon(settings, says):
        view = looker.look(7)
    assert view.status["daemon"]["pid"] == 4711
    assert view.status["inboxes"][0]["waiting_count"] == 3000
    assert [job["id"] for job in view.running] == ["one"]
    assert view.running_count == 1


def test_one_that_stops_is_seen_to_have_stopped_and_its_jobs_stay(settings, looker):
    fill(settings)
    with daemon(settings, says):
        looker.look(7)
    view = looker.look(7)
    assert view.status["daemon"]["running"] is False
    assert view.trouble == ""
    assert view.running_count == 1


def test_one_that_cannot_answer_is_trouble_beside_what_was_last_seen(settings, looker):
    fill(settings)
    with daemon(settings, says):
        looker.look(7)

    def fails(_what, _arguments):
        raise TimeoutError("the scheduler is busy")

    with daemon(settings, fails):
        view = looker.look(7)
    assert view.trouble == "the daemon runs, but does not answer"
    assert view.status["daemon"]["pid"] == 4711


def test_without_a_daemon_the_folders_are_not_walked_at_every_look(settings, tmp_path):
    clock = [NOON]
    looker = Looker(lambda: settings, lambda: clock[0])
    assert looker.look(7).status["inboxes"][0]["waiting_count"] == 0
    (tmp_path / "bay/shot.mp4").write_bytes(b"clip")
    assert looker.look(7).status["inboxes"][0]["waiting_count"] == 0
    clock[0] += 6
    assert looker.look(7).status["inboxes"][0]["waiting_count"] == 1
    looker.close()
