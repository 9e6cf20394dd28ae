"""Looking at a journal beside the daemon that owns it."""

import os

import pytest

from clipspool.jobs.model import Held, State
from clipspool.journal import Journal, JournalError, NoJournal
from clipspool.journal.looks import Window
from fakes import NOON, a_clip, a_job, a_task


def fill(path, *jobs):
    journal = Journal.open(path)
    with journal.turn():
        for job in jobs:
            journal.accept(a_clip(job.clip_id, inbox=job.inbox), [job])
    return journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


def ids(jobs):
    return [job.id for job in jobs]


def test_each_look_sees_the_journal_as_it_is_then(path):
    window = Window(path)
    with pytest.raises(NoJournal), window.look():
        pass
    journal = fill(path, a_job("one"))
    with window.look() as seen:
        assert seen.open_jobs().by_state == {State.QUEUED: 1}
    with journal.turn():
        journal.accept(a_clip("two"), [a_job("two")])
    with window.look() as seen:
        assert seen.open_jobs().by_state == {State.QUEUED: 2}
    window.close()
    journal.close()


def test_between_looks_nothing_keeps_the_daemon_from_tidying_its_journal(path):
    journal = fill(path, a_job("one"))
    window = Window(path)
    with window.look() as seen:
        assert ids(seen.jobs_under_way(10)) == ["one"]
    busy = journal._database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy[0] == 0
    window.close()
    journal.close()


def test_a_journal_that_was_moved_aside_is_let_go_of(path):
    fill(path, a_job("old")).close()
    window = Window(path)
    with window.look() as seen:
        assert ids(seen.jobs_under_way(10)) == ["old"]
    path.rename(path.with_name("aside.db"))
    with pytest.raises(NoJournal), window.look():
        pass
    fill(path, a_job("new")).close()
    with window.look() as seen:
        assert ids(seen.jobs_under_way(10)) == ["new"]
    window.close()


def test_a_damaged_journal_is_said_in_a_sentence_and_can_be_looked_at_once_it_is_whole(path):
    fill(path, a_job("one")).close()
    whole = path.read_bytes()
    window = Window(path)
    path.write_bytes(b"no database at all, whatever it is called" * 100)
    with pytest.raises(JournalError, match="cannot be read"), window.look() as seen:
        seen.open_jobs()
    os.utime(path)
    path.write_bytes(whole)
    with window.look() as seen:
        assert seen.open_jobs().by_state.total() == 1
    window.close()


def test_those_who_wait_for_a_person_are_told_apart_by_inbox_and_in_order(path):
    doubt = {"state": State.IN_DOUBT, "held": Held.IN_DOUBT, "task": a_task()}
    journal = fill(
        path,
        a_job("late", created_at=NOON + 9, **doubt),
        a_job("early", created_at=NOON, **doubt),
        a_job("other", inbox="other", **doubt),
        a_job("plain"),
    )
    assert ids(journal.held_jobs(10, "bay")) == ["early", "late"]
    assert ids(journal.held_jobs(1)) in (["early"], ["other"])
    assert journal.open_jobs().held == {Held.IN_DOUBT: 3}
    assert journal.open_jobs("other").by_state.total() == 0
    journal.close()


def test_what_is_nearest_to_its_end_comes_first_and_queued_jobs_as_they_will_go(path):
    journal = fill(
        path,
        a_job("q-low", clip_id="c1", priority=-5),
        a_job("q-high", clip_id="c2", priority=5),
        a_job("r-slow", clip_id="c3", state=State.RUNNING, progress=0.1),
        a_job("r-fast", clip_id="c4", state=State.RUNNING, progress=0.9),
        a_job("home", clip_id="c5", state=State.FETCHED),
        a_job("over", clip_id="c6", state=State.DELIVERED),
    )
    assert ids(journal.jobs_under_way(10)) == ["home", "r-fast", "r-slow", "q-high", "q-low"]
    assert ids(journal.jobs_under_way(1, states=(State.QUEUED,))) == ["q-high"]
    journal.close()


@pytest.mark.parametrize(
    ("state", "first"),
    [
        (State.FAILED, ["j0", "j1"]),
        (State.DELIVERED, ["j3", "j4"]),  # of thousands those accepted last are looked at
    ],
)
def test_what_ended_lately_is_told_the_last_to_end_first(path, state, first):
    jobs = [
        a_job(f"j{n}", clip_id=f"c{n}", state=state, created_at=NOON + n, updated_at=NOON + 100 - n)
        for n in range(5)
    ]
    journal = fill(path, *jobs, a_job("open"))
    assert ids(journal.ended_jobs(state, NOON + 97.5, 10)) == ["j0", "j1", "j2"]
    assert ids(journal.ended_jobs(state, NOON, 2)) == first
    journal.close()
