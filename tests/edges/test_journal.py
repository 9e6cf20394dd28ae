"""What every journal promises, whichever database it is in: each test runs on each driver.

Drivers are in `journals.py`, answers to questions in `test_journal_answers.py`. What SQLite alone can show is
in `test_journal_file.py`.
"""

import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipspool.jobs.events import (
    Cancelled,
    Connected,
    Failed,
    FellBack,
    NotSubmitted,
    Prepared,
    Retried,
    TaskCreated,
    TaskSeen,
    TaskSucceeded,
)
from clipspool.jobs.lifecycle import advance, may
from clipspool.jobs.model import Held, Paid, State
from clipspool.jobs.records import Spend
from clipspool.jobs.render_times import Seen
from clipspool.journal import JournalError
from fakes import BUSY, NOON, PACE, PROFILE, a_clip, a_job, a_request, a_task
from journals import CLIP, DRIVERS, ERROR, FULL, ODD, accept, happen


@pytest.fixture
def journal(driver):
    one = driver.open()
    yield one
    one.close()


def test_a_reader_cannot_write(journal, driver):
    accept(journal)
    reader = driver.read()
    with pytest.raises(JournalError), reader.turn():
        reader.set_fact("paused", ["bay"])
    reader.close()


# --- what goes in comes out ---------------------------------------------------------------------------------


def test_a_journal_keeps_its_identity(driver):
    first = driver.open()
    identity = first.fact("id")
    first.close()
    again = driver.open()
    assert again.fact("id") == identity
    again.close()


def test_a_clip_and_its_job_come_back_as_they_went_in(driver, journal):
    accept(journal, FULL, CLIP)
    journal.close()
    again = driver.open()
    assert again.clip("clip1") == CLIP
    assert again.job("clip1") == FULL
    assert again.jobs_of("clip1") == [FULL]
    again.close()


def test_whatever_changes_of_a_job_comes_back_as_it_was_recorded(driver, journal):
    plain = a_job(request=FULL.request, variant=FULL.variant)
    accept(journal, plain, CLIP)
    with journal.turn():
        journal.record(plain, FULL, Failed(ERROR))
        assert journal.load(["clip1"]) == {"clip1": FULL}
    beside = driver.read()
    assert beside.job("clip1") == FULL
    beside.close()
    assert journal.job("clip1") == FULL


def test_a_writer_counts_its_open_jobs_anew_after_each_change(journal):
    assert journal.open_jobs().by_state == {}
    with journal.turn():
        journal.accept(CLIP, [a_job()])
        journal.flush()
        assert journal.open_jobs().by_state == {State.QUEUED: 1}
        journal.accept(a_clip("clip2"), [a_job("clip2")])
    assert journal.open_jobs().by_state == {State.QUEUED: 2}
    with suppress(InterruptedError), journal.turn():
        journal.accept(a_clip("clip3"), [a_job("clip3")])
        journal.flush()
        assert journal.open_jobs().by_state == {State.QUEUED: 3}
        raise InterruptedError
    assert journal.open_jobs().by_state == {State.QUEUED: 2}


def test_what_happens_to_a_clip_in_one_turn_is_kept_in_its_order(driver, journal):
    moved = a_clip(lies_at="_failed/" + ODD, sidecar_lies_at="_failed/s.toml")
    with journal.turn():
        journal.accept(a_clip(), [a_job()])
        journal.hash_clip("clip1", "aa" * 32, 1, 1, {"seconds": 1})
        journal.retired(moved, NOON)
        journal.bring_back("clip1")
        journal.hash_clip("clip1", "bb" * 32, 2, 2)
        journal.relocate(moved)
        kept = journal.clip("clip1")
    beside = driver.read()
    clip = beside.clip("clip1")
    beside.close()
    assert kept == clip
    assert (clip.sha256, clip.size, clip.media, clip.retired_at) == ("bb" * 32, 2, {"seconds": 1}, None)
    assert (clip.lies_at, clip.sidecar_lies_at) == (moved.lies_at, moved.sidecar_lies_at)


def test_a_clip_is_entered_once(journal):
    accept(journal)
    with journal.turn():
        assert journal.known([a_clip().id, "another"]) == {a_clip().id}
    assert journal.counts == {State.QUEUED: 1}


def test_what_is_not_there_is_none(journal):
    assert (journal.job("none"), journal.clip("none"), journal.fact("none")) == (None, None, None)
    assert journal.next_due(State.QUEUED, NOON) is None
    assert journal.next_retire(NOON) is None


@pytest.mark.parametrize("odd", [ODD, "lone \ud800 half", "nul \0 inside", "\U0001f40d" * 500])
def test_a_reason_may_hold_whatever_the_disk_or_the_provider_said(journal, odd):
    job = accept(journal)
    with journal.turn():
        journal.record(job, replace(job, reason=odd, error=replace(ERROR, message=odd)), Failed(ERROR))
    assert journal.job("clip1").error.message == odd
    assert journal.history(job)[-1].event == "failed"


# --- whose turn, and when -----------------------------------------------------------------------------------


def test_the_queue_gives_the_highest_priority_first_and_the_oldest_within(journal):
    for name, priority, age in [("a", 0, 2), ("b", 5, 1), ("c", 0, 3), ("d", 5, 1)]:
        accept(journal, a_job(name, priority=priority, created_at=NOON - age, inbox="bay"))
    accept(journal, a_job("e", inbox="other", priority=99))
    accept(journal, a_job("f", held=Held.BUDGET))
    accept(journal, a_job("g", due_at=NOON + 1))
    accept(journal, a_job("h", state=State.RUNNING, task=a_task()))
    assert [job.id for job in journal.queue("bay", NOON, 10)] == ["b", "d", "c", "a"]
    assert [job.id for job in journal.queue("bay", NOON, 2)] == ["b", "d"]
    assert [job.id for job in journal.queue("bay", NOON + 1, 10)][-1] == "g"


def test_what_is_due_longest_comes_first(journal):
    for name, due in [("a", -1), ("b", -9), ("c", 0), ("d", 5)]:
        accept(journal, a_job(name, state=State.RUNNING, task=a_task(), due_at=NOON + due))
    assert journal.due(State.RUNNING, NOON, 10) == ["b", "a", "c"]
    assert journal.due(State.FETCHED, NOON, 10) == []
    assert journal.next_due(State.RUNNING, NOON) == NOON + 5


def test_jobs_are_found_by_state_inbox_and_the_beginning_of_their_errors_code(journal):
    accept(journal, a_job("a", state=State.FAILED, error=ERROR, created_at=NOON))
    other = replace(ERROR, code="CLIP.MISSING")
    accept(journal, a_job("b", state=State.FAILED, error=other, created_at=NOON + 1, inbox="other"))
    accept(journal, a_job("c", created_at=NOON + 2))

    def found(**query):
        return [job.id for job in journal.find(**query)]

    assert found() == journal.ids() == ["c", "b", "a"]
    assert journal.ids(most=1) == ["c"]
    assert found(states=[State.FAILED]) == journal.ids(states=[State.FAILED]) == ["b", "a"]
    assert journal.ids(inbox="other") == ["b"]
    assert found(code="SAFETY") == ["a"]


def test_a_clip_retires_once_none_of_its_jobs_is_open(journal):
    jobs = [a_job("clip1-v1", variant="_v1"), a_job("clip1-v2", variant="_v2")]
    with journal.turn():
        journal.accept(a_clip(), jobs)
    ended = happen(journal, jobs[0], Cancelled("ann"))
    with journal.turn():
        journal.retire_ended(["clip1"], NOON)
    assert journal.to_retire("bay", NOON, 10) == []
    happen(journal, jobs[1], Cancelled("ann"))
    with journal.turn():
        journal.retire_ended(["clip1"], NOON)
    assert [
        (clip.id, [job.id for job in ended], tries)
        for clip, ended, tries in journal.to_retire("bay", NOON, 10)
    ] == [("clip1", ["clip1-v1", "clip1-v2"], 0)]
    with journal.turn():
        journal.retire_later("clip1", NOON + 30, 1)
    assert journal.to_retire("bay", NOON, 10) == []
    assert journal.next_retire(NOON) == NOON + 30
    with journal.turn():
        journal.retired(a_clip(lies_at="_failed/" + ODD, sidecar_lies_at=None), NOON + 31)
    assert (journal.clip("clip1").lies_at, journal.clip("clip1").retired_at) == ("_failed/" + ODD, NOON + 31)
    assert journal.folders("bay") == set()
    assert journal.history(ended)[-1].event == "retired"


def test_a_retired_clip_that_is_wanted_again_has_a_work_folder_again(journal):
    job = happen(journal, accept(journal), Cancelled("ann"))
    with journal.turn():
        journal.retired(a_clip(lies_at="_failed/shot.mp4"), NOON)
        journal.bring_back(job.clip_id)
    assert journal.folders("bay") == {"clip1"}
    assert journal.clip("clip1").lies_at == "_failed/shot.mp4"
    with journal.turn():
        journal.hash_clip("clip1", "ef" * 32, 9, 7)
    clip = journal.clip("clip1")
    assert (clip.sha256, clip.mtime_ns, clip.lies_at) == ("ef" * 32, 7, None)


# --- history and money --------------------------------------------------------------------------------------


def test_history_tells_everything_and_leaves_out_looks_with_nothing_new(journal):
    job = happen(journal, accept(journal), Connected(PROFILE), NOON + 1)
    job = happen(journal, job, TaskCreated("task-1", 15.0), NOON + 2)
    for second in range(5):
        job = happen(journal, job, TaskSeen("RUNNING", rendering=True, progress=0.1), NOON + 3 + second)
    entries = journal.history(job)
    assert [entry.event for entry in entries] == ["accepted", "connected", "task_created", "task_seen"]
    assert (entries[2].from_state, entries[2].to_state) == ("submitting", "running")
    assert entries[2].facts == {"task_id": "task-1", "credits": 15.0}
    assert entries[1].at == NOON + 1


def test_history_that_an_older_version_wrote_has_todays_event_names(journal, driver):
    job = accept(journal)
    former = ("matched", "doubted", "unsent", "parked", "fetched")
    driver.run(
        "INSERT INTO events (at, clip_id, job_id, event, from_state, to_state, facts) "
        "VALUES (?, ?, ?, ?, 'queued', 'queued', '{}')",
        *((NOON, job.clip_id, job.id, name) for name in former),
    )
    told = [entry.event for entry in journal.history(job)]
    assert told == ["accepted", "duplicate_found", "in_doubt", "not_sent", "held", "fetched"]


def test_money_is_counted_from_the_intents_of_the_day(journal):
    for name, at in [("a", -1), ("b", 0), ("c", 5)]:
        job = accept(journal, a_job(name, credits_estimated=10.0))
        job = happen(journal, job, Connected(PROFILE), NOON + at)
        happen(journal, job, TaskCreated(f"task-{name}", 15.0 if name == "c" else None), NOON + at)
    assert journal.spent(NOON) == Spend(2, 25.0)
    assert journal.spent(NOON - 1) == Spend(3, 35.0)
    assert journal.spent(NOON + 6) == Spend(0, 0.0)


def test_money_and_tasks_under_way_are_counted_by_inbox_and_model(journal):
    for name, inbox, model in [("a", "bay", "gen4_aleph"), ("b", "bay", "aleph2"), ("c", "hall", "aleph2")]:
        job = a_job(name, inbox=inbox, credits_estimated=10.0, request=a_request(model=model))
        job = happen(journal, accept(journal, job), Connected(PROFILE))
        happen(journal, job, TaskCreated(f"task-{name}"))
    shares = {("bay", "gen4_aleph"): 10.0, ("bay", "aleph2"): 10.0, ("hall", "aleph2"): 10.0}
    assert journal.spent(NOON).by == shares
    assert journal.count_running() == journal.running == dict.fromkeys(shares, 1)


def test_a_refused_submission_costs_nothing_and_a_lost_answer_may_have(journal):
    job = happen(journal, accept(journal, a_job(credits_estimated=10.0)), Connected(PROFILE))
    refused = happen(journal, job, NotSubmitted(BUSY))
    assert journal.spent(NOON) == Spend(0, 0.0)
    job = happen(journal, refused, Connected(PROFILE))
    with journal.turn():
        lost = replace(job, state=State.IN_DOUBT, paid=Paid.UNKNOWN)
        journal.record(job, lost, Failed(ERROR))
    assert journal.spent(NOON).submissions >= 1


def test_a_job_that_fell_back_asks_for_another_model_from_then_on(journal):
    job = accept(journal, a_job(request=a_request(ratio="1280:720")))
    assert journal.queued_of("gen4_aleph", 5) == ["clip1"]
    moved = happen(journal, job, FellBack("aleph2", "gen4_aleph"))
    journal.rest()
    assert journal.job("clip1") == moved
    assert (moved.request.model, moved.request.ratio, moved.request.instead_of) == (
        "aleph2",
        None,
        "gen4_aleph",
    )
    assert journal.queued_of("gen4_aleph", 5) == []
    assert journal.queued_of("aleph2", 5) == ["clip1"]
    (candidate,) = journal.queue("bay", NOON, 5)
    assert (candidate.model, candidate.prepared) == ("aleph2", False)


def test_facts_are_found_by_the_beginning_of_their_names(journal):
    with journal.turn():
        for name in ("hook:a:1", "hook:b:2", "hool", "hoo", "id2"):
            journal.set_fact(name, 1)
    assert journal.facts_below("hook:") == ["hook:a:1", "hook:b:2"]


def test_every_task_of_a_job_stays_in_the_journal(journal, driver):
    job = happen(journal, accept(journal), Connected(PROFILE))
    job = happen(journal, job, TaskCreated("task-1"))
    job = happen(journal, happen(journal, job, Failed(ERROR)), Retried("ann"))
    happen(journal, happen(journal, job, Connected(PROFILE)), TaskCreated("task-2"))
    rows = driver.ask("SELECT number, task_id FROM tasks ORDER BY number")
    assert rows == [(1, "task-1"), (2, "task-2")]


EVENTS = [
    Prepared("ab" * 32, 9, 1),
    Connected(PROFILE),
    TaskCreated("task-1"),
    NotSubmitted(BUSY),
    Failed(ERROR),
    Cancelled("ann"),
    Retried("ann"),
]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(EVENTS)), min_size=10, max_size=40))
@pytest.mark.parametrize("kind", DRIVERS.values(), ids=DRIVERS.keys())
def test_the_counts_kept_are_the_counts_there_are(tmp_path_factory, kind, happened):
    journal = kind(tmp_path_factory.mktemp("counts")).open()
    jobs = [accept(journal, a_job(f"clip{number}")) for number in range(4)]
    with journal.turn():
        for number, event in happened:
            job = jobs[number]
            if may(job, type(event)):
                jobs[number] = advance(job, event, NOON, PACE)
                journal.record(job, jobs[number], event)
    assert +journal.counts == journal.count()
    assert {job.id: job.state for job in journal.find()} == {job.id: job.state for job in jobs}
    journal.close()


def test_how_long_the_last_tasks_took_is_read_back_oldest_first(journal):
    for number, seconds in enumerate((12, 40, 30)):
        job = accept(journal, a_job(f"clip{number}"))
        for at, event in [
            (0, Prepared("ab", 9, 1)),
            (1, Connected(PROFILE)),
            (2, TaskCreated(f"t{number}")),
            (9, TaskSeen("RUNNING", rendering=True)),
            (2 + seconds, TaskSucceeded()),
        ]:
            job = happen(journal, job, event, NOON + at)
    assert journal.durations(2) == [Seen(PROFILE, "gen4_aleph", 7.0, n) for n in (40.0, 30.0)]


def test_a_new_journal_knows_of_no_durations(journal):
    assert journal.durations() == []


# --- all or nothing -----------------------------------------------------------------------------------------


def test_a_turn_that_raises_leaves_nothing(journal):
    accept(journal)
    before = journal.history(a_job())

    def fail():
        with journal.turn():
            journal.accept(a_clip("clip2"), [a_job("clip2")])
            journal.record(a_job(), a_job(state=State.CANCELLED), Cancelled("ann"))
            journal.set_fact("paused", ["*"])
            journal.flush()
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        fail()
    assert journal.job("clip1").state is State.QUEUED
    assert (journal.job("clip2"), journal.clip("clip2"), journal.fact("paused")) == (None, None, None)
    assert journal.history(a_job()) == before
    accept(journal, a_job("clip2"))
    assert {job.id for job in journal.find()} == {"clip1", "clip2"}


def test_what_was_acknowledged_is_there_after_a_kill(driver):
    script = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from fakes import a_clip, a_job\n"
        "from pathlib import Path\n"
        "from clipspool.journal import Address, Journal\n"
        f"journal = {driver.opens}\n"
        "for number in range(10_000):\n"
        "    with journal.turn():\n"
        "        journal.accept(a_clip(f'c{number}'), [a_job(f'c{number}')])\n"
        "    print(number, flush=True)\n"
    )
    tests = str(Path(__file__).parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", script, tests, str(driver.place)], stdout=subprocess.PIPE, text=True
    )
    with child, child.stdout as told:
        last = next(int(line) for line in told if int(line) >= 20)
        child.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in told if line.endswith("\n"))])
    again = driver.open()
    assert again.counts[State.QUEUED] in {last + 1, last + 2}
    assert again.job(f"c{last}") is not None
    again.close()


def test_a_reader_sees_what_is_committed_while_the_writer_writes(journal, driver):
    accept(journal)
    reader = driver.read()
    with journal.turn():
        journal.accept(a_clip("clip2"), [a_job("clip2")])
        journal.flush()
        assert [job.id for job in reader.find()] == ["clip1"]
    reader.close()
    again = driver.read()
    assert sorted(job.id for job in again.find()) == ["clip1", "clip2"]
    assert again.counts == {State.QUEUED: 2}
    again.close()
