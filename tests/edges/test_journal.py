"""The journal on a real SQLite file: what it promises, and what it refuses."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from clipspool.jobs.events import (
    Cancelled,
    Connected,
    Failed,
    NotSubmitted,
    Prepared,
    Retried,
    TaskCreated,
    TaskSeen,
    TaskSucceeded,
)
from clipspool.jobs.lifecycle import advance, may
from clipspool.jobs.model import Error, Held, Paid, Reference, Result, State
from clipspool.jobs.records import Spend
from clipspool.jobs.render_times import Seen
from clipspool.journal import Journal, JournalError, Lock, database
from clipspool.journal.database import open_engine
from clipspool.journal.tables import metadata
from fakes import BUSY, NOON, PACE, PROFILE, RESULT, a_clip, a_job, a_request, a_task

ODD = "caf\udce9/sh\udcf6t.mp4"
ERROR = Error("SAFETY.INPUT", "it was moderated", "Change it.", retryable=True, paid=Paid.YES)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path):
    one = Journal.open(path)
    yield one
    one.close()


def accept(journal, job=None, clip=None):
    job = job or a_job()
    with journal.turn():
        journal.accept(clip or a_clip(job.clip_id, inbox=job.inbox), [job])
    return job


def happen(journal, job, event, now=NOON):
    after = advance(job, event, now, PACE)
    with journal.turn():
        journal.record(job, after, event)
    return after


# --- what SQLite is told --------------------------------------------------------------------------------


def test_the_writers_settings_are_fit_for_a_power_cut(journal):
    def told(name):
        return journal._connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    assert told("journal_mode") == "wal"
    assert told("synchronous") == 2
    assert told("foreign_keys") == 1
    assert told("trusted_schema") == 0
    assert told("busy_timeout") == 5000


def test_a_setting_that_is_not_taken_is_refused(path, monkeypatch):
    monkeypatch.setitem(database._WRITER, "journal_mode", "off")
    monkeypatch.setitem(database._WRITER, "synchronous", 17)
    with pytest.raises(JournalError, match="does not allow"):
        Journal.open(path)


def test_a_reader_cannot_write(journal, path):
    accept(journal)
    reader = Journal.read(path)
    with pytest.raises(Exception, match="readonly"), reader.turn():
        reader.set_fact("paused", ["bay"])
    reader.close()


def schema_of(connection):
    """Give what SQLite knows: each table's columns, each index with its columns and condition."""

    def rows(sql):
        return [tuple(row) for row in connection.exec_driver_sql(sql)]

    tables = [name for (name,) in rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    indexes = rows("SELECT name, lower(sql) FROM sqlite_master WHERE type = 'index' ORDER BY name")
    return (
        {
            name: (rows(f"PRAGMA table_info({name})"), rows(f"PRAGMA foreign_key_list({name})"))
            for name in tables
        },
        [(name, sql and " ".join(sql.split()).replace("jobs.", "")) for name, sql in indexes],
    )


def test_a_new_journal_is_what_all_migrations_would_make_of_an_empty_file(path, journal, tmp_path):
    assert journal.fact("id")
    with open_engine(path).connect() as made, open_engine(tmp_path / "migrated.db").connect() as migrated:
        database._upgrade(migrated)
        migrated.commit()
        assert schema_of(made) == schema_of(migrated)
        assert database.version_of(made) == database.version_of(migrated) == database.HEAD
        assert compare_metadata(MigrationContext.configure(migrated), metadata) == []


def test_alembic_is_not_loaded_for_a_new_journal(tmp_path):
    code = (
        "import pathlib, sys\nfrom clipspool.journal import Journal\n"
        f"Journal.open(pathlib.Path({str(tmp_path / 'journal.db')!r})).close()\n"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_path_may_hold_what_an_address_may_not(tmp_path):
    folder = tmp_path / "50% off%20? #1 & co"
    folder.mkdir()
    one = Journal.open(folder / "journal.db")
    one.close()
    assert [p.name for p in folder.iterdir() if p.suffix == ".db"] == ["journal.db"]


# --- what goes in comes out -----------------------------------------------------------------------------


def test_a_journal_keeps_its_identity(path):
    first = Journal.open(path)
    identity = first.fact("id")
    first.close()
    again = Journal.open(path)
    assert again.fact("id") == identity
    again.close()


def test_a_clip_and_its_job_come_back_as_they_went_in(path, journal):
    request = a_request(
        ratio="1280:720",
        references=(Reference("https://images.test/w.png"), Reference(name="w.png", file="ref-1.png")),
        content_moderation={"public_figure_threshold": "low"},
        extra={"deep": [1, {"er": None}]},
        priority=3,
        not_before=NOON + 60,
    )
    clip = a_clip(path=ODD, sidecar=None, media={"seconds": 2.5}, sha256="cd" * 32, lies_at=None)
    job = a_job(
        request=request,
        variant="_v2",
        state=State.FETCHED,
        priority=13,
        held=Held.OUTBOX,
        reason="No space left",
        prepared=True,
        approved=True,
        cancel_by="ann",
        attempts=3,
        doubts=1,
        progress=0.5,
        rendering_since=NOON,
        task=a_task(2, credits=14.0, succeeded=True, evidence={"message": "x"}),
        credits_estimated=15.0,
        error=ERROR,
        results=(Result("clip1-1.mp4", ".mp4", 6, "ab" * 32, ODD), RESULT),
        path=ODD,
        paid=Paid.YES,
    )
    accept(journal, job, clip)
    journal.close()
    again = Journal.open(path)
    assert again.clip("clip1") == clip
    assert again.job("clip1") == job
    assert again.jobs_of("clip1") == [job]
    again.close()


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


# --- whose turn, and when -------------------------------------------------------------------------------


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


def test_a_journals_folder_is_closed_to_others_whatever_the_umask(tmp_path):
    path = tmp_path / "state/clipspool/journal.sqlite3"
    before = os.umask(0)
    try:
        Journal.open(path).close()
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o750


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


# --- history and money ----------------------------------------------------------------------------------


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


def test_history_that_an_older_version_wrote_has_todays_event_names(journal, path):
    job = accept(journal)
    journal.flush()
    former = ("matched", "doubted", "unsent", "parked", "fetched")
    with closing(sqlite3.connect(path)) as beside, beside:
        beside.executemany(
            "INSERT INTO events (at, clip_id, job_id, event, from_state, to_state, facts) "
            "VALUES (?, ?, ?, ?, 'queued', 'queued', '{}')",
            [(NOON, job.clip_id, job.id, name) for name in former],
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


def test_a_refused_submission_costs_nothing_and_a_lost_answer_may_have(journal):
    job = happen(journal, accept(journal, a_job(credits_estimated=10.0)), Connected(PROFILE))
    refused = happen(journal, job, NotSubmitted(BUSY))
    assert journal.spent(NOON) == Spend(0, 0.0)
    job = happen(journal, refused, Connected(PROFILE))
    with journal.turn():
        lost = replace(job, state=State.IN_DOUBT, paid=Paid.UNKNOWN)
        journal.record(job, lost, Failed(ERROR))
    assert journal.spent(NOON).submissions >= 1


def test_every_task_of_a_job_stays_in_the_journal(journal, path):
    job = happen(journal, accept(journal), Connected(PROFILE))
    job = happen(journal, job, TaskCreated("task-1"))
    job = happen(journal, happen(journal, job, Failed(ERROR)), Retried("ann"))
    happen(journal, happen(journal, job, Connected(PROFILE)), TaskCreated("task-2"))
    with sqlite3.connect(path) as beside:
        rows = beside.execute("SELECT number, task_id FROM tasks ORDER BY number").fetchall()
    beside.close()
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
def test_the_counts_kept_are_the_counts_there_are(tmp_path_factory, happened):
    journal = Journal.open(tmp_path_factory.mktemp("counts") / "journal.db")
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


# --- all or nothing -------------------------------------------------------------------------------------


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


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def replaced(file):
    shutil.copy(file, f"{file}.copy")
    Path(f"{file}.copy").replace(file)


def test_a_journal_may_lie_behind_a_link_and_is_missed_there(path, tmp_path):
    disk = tmp_path / "another disk"
    disk.mkdir()
    path.symlink_to(disk / "kept")
    for _ in range(2):
        with closing(Journal.open(path)) as journal:
            accept(journal, a_job(f"j{journal.counts.total()}"))
    journal = Journal.open(path)
    (disk / "kept-wal").unlink()
    with pytest.raises(JournalError, match="was in use and is"):
        accept(journal, a_job("j2"))
    journal.close()


@pytest.mark.parametrize("part", ["", "-wal"])
@pytest.mark.parametrize("take_away", [os.unlink, replaced])
def test_what_is_written_into_a_journal_that_was_taken_away_does_not_count(path, part, take_away):
    journal = Journal.open(path)
    accept(journal)
    take_away(f"{path}{part}")
    with pytest.raises(JournalError, match="was in use and is"):
        accept(journal, a_job("j2"))
    journal.close()


def test_a_disk_that_is_full_raises_and_what_was_acknowledged_stays(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        journal = Journal.open(small / "journal.db")
        accepted = 0

        def accept_all():
            nonlocal accepted
            for number in range(10_000):
                accept(journal, a_job(f"clip{number}", request=a_request(prompt="x" * 1000)))
                accepted += 1

        with pytest.raises(JournalError, match="full"):
            accept_all()
        assert accepted > 0
        journal.close()
        shutil.copytree(small, tmp_path / "roomy")
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    again = Journal.open(tmp_path / "roomy/journal.db")
    assert again.counts[State.QUEUED] == accepted
    assert again.job(f"clip{accepted}") is None
    again.close()


def test_what_was_acknowledged_is_there_after_a_kill(path):
    script = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from fakes import a_clip, a_job\n"
        "from pathlib import Path\n"
        "from clipspool.journal import Journal\n"
        "journal = Journal.open(Path(sys.argv[2]))\n"
        "for number in range(10_000):\n"
        "    with journal.turn():\n"
        "        journal.accept(a_clip(f'c{number}'), [a_job(f'c{number}')])\n"
        "    print(number, flush=True)\n"
    )
    tests = str(Path(__file__).parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", script, tests, str(path)], stdout=subprocess.PIPE, text=True
    )
    with child, child.stdout as told:
        last = next(int(line) for line in told if int(line) >= 20)
        child.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in told if line.endswith("\n"))])
    again = Journal.open(path)
    assert again.counts[State.QUEUED] in {last + 1, last + 2}
    assert again.job(f"c{last}") is not None
    again.close()


# --- one owner ------------------------------------------------------------------------------------------


def test_a_journal_has_one_owner_and_the_lock_dies_with_its_process(path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from clipspool.journal import Lock\n"
        "lock = Lock(Path(sys.argv[1]))\n"
        "print(lock.take(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout.readline() == "True\n"
        mine = Lock(path)
        assert not mine.take()
        assert mine.holder() == child.pid
        child.kill()
        child.wait()
        assert mine.holder() is None
        assert mine.take()
        assert mine.holder() == os.getpid()
        assert not Lock(path).take()
        mine.release()
        assert Lock(path).holder() is None


def test_whoever_holds_the_journal_for_a_moment_only_is_waited_for(path):
    other = Lock(path)
    assert other.take()
    passing = threading.Timer(0.2, other.release)
    passing.start()
    assert Lock(path).take(20.0)
    passing.join()


def test_a_reader_says_that_a_crash_cut_the_first_change_short(path):
    """Killed before its pages are in the log, SQLite leaves a roll-back that only a writer may end."""
    script = (
        "import os, sqlite3, sys\n"
        "one = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "one.executescript('PRAGMA cache_size=1; CREATE TABLE t(x); BEGIN IMMEDIATE;')\n"
        "one.executemany('INSERT INTO t VALUES (?)', [('x' * 4000,)] * 50)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert path.with_name("journal.db-journal").stat().st_size
    with pytest.raises(JournalError, match="was cut short in a change; `clipspool run` puts it right"):
        Journal.read(path)
    Journal.open(path).close()


def test_a_journal_that_nobody_owned_has_no_holder(path):
    assert Lock(path).holder() is None
    assert not path.with_name("journal.db.lock").exists()


# --- what it refuses ------------------------------------------------------------------------------------


@pytest.fixture
def written(path):
    """Give the path of a closed journal of some hundred pages."""
    journal = Journal.open(path)
    with journal.turn():
        for number in range(200):
            journal.accept(a_clip(f"clip{number}"), [a_job(f"clip{number}")])
    journal.close()
    return path


def refused(path):
    with pytest.raises(JournalError) as said:
        Journal.open(path)
    message = str(said.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.99])
def test_a_journal_that_was_cut_is_refused_and_left_as_it_is(written, share):
    os.truncate(written, int(written.stat().st_size * share))
    cut = written.read_bytes()
    assert "clipspool recover" in refused(written)
    assert written.read_bytes() == cut


@pytest.mark.parametrize("where", [0, 20, 0.2, 0.6])
def test_a_journal_with_a_flipped_page_is_refused(written, where):
    data = bytearray(written.read_bytes())
    at = where if isinstance(where, int) else int(len(data) * where) // 4096 * 4096
    for offset in range(at, at + 12):
        data[offset] ^= 0x55
    written.write_bytes(data)
    assert "clipspool recover" in refused(written)


def test_what_is_no_journal_is_refused(path):
    path.write_bytes(b"something else" * 1000)
    assert "clipspool recover" in refused(path)


def test_a_journal_of_a_newer_clipspool_is_refused(written):
    with sqlite3.connect(written) as beside:
        beside.execute("UPDATE alembic_version SET version_num = '9999'")
    beside.close()
    assert "newer clipspool (schema 9999" in refused(written)


@pytest.fixture
def of_0001(written):
    """Give a journal as the first schema had it."""
    with sqlite3.connect(written) as beside:
        beside.executescript(
            "DROP INDEX jobs_by_fingerprint; ALTER TABLE jobs DROP COLUMN fingerprint;"
            "ALTER TABLE jobs DROP COLUMN reuse; UPDATE alembic_version SET version_num = '0001';"
        )
    beside.close()
    return written


def test_an_older_journal_is_copied_and_then_migrated_with_all_that_is_in_it(of_0001):
    before = of_0001.read_bytes()
    journal = Journal.open(of_0001)
    assert len(list(journal.find())) == 200
    found = compare_metadata(MigrationContext.configure(journal._connection), metadata)
    assert [difference for difference in found if "alembic_version" not in str(difference)] == []
    journal.close()
    copy = of_0001.with_name(f"journal.db.before-{database.HEAD}")
    assert copy.read_bytes() == before
    assert not list(of_0001.parent.glob("*.part"))


def test_a_migration_that_breaks_leaves_the_journal_as_it_was(of_0001):
    with sqlite3.connect(of_0001) as beside:
        beside.execute("CREATE INDEX jobs_by_fingerprint ON jobs (id)")  # in the way of the last step
    beside.close()
    with pytest.raises((JournalError, OperationalError)):
        Journal.open(of_0001)
    with sqlite3.connect(of_0001) as beside:
        assert "fingerprint" not in {row[1] for row in beside.execute("PRAGMA table_info(jobs)")}
        beside.execute("DROP INDEX jobs_by_fingerprint")
    beside.close()
    Journal.open(of_0001).close()


def test_a_journal_of_another_version_is_not_read_beside_it(of_0001):
    with pytest.raises(JournalError, match="schema 0001"):
        Journal.read(of_0001)


def test_a_journal_at_head_is_not_copied(written):
    Journal.open(written).close()
    assert not list(written.parent.glob("*before*"))


# --- beside a writer ------------------------------------------------------------------------------------


def test_a_reader_sees_what_is_committed_while_the_writer_writes(journal, path):
    accept(journal)
    reader = Journal.read(path)
    with journal.turn():
        journal.accept(a_clip("clip2"), [a_job("clip2")])
        journal.flush()
        assert [job.id for job in reader.find()] == ["clip1"]
    reader.close()
    again = Journal.read(path)
    assert sorted(job.id for job in again.find()) == ["clip1", "clip2"]
    assert again.counts == {State.QUEUED: 2}
    again.close()


def test_where_there_is_no_journal_there_is_nothing_to_read(path):
    assert Journal.read(path) is None
    path.touch()
    assert Journal.read(path) is None
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(JournalError, match="cannot be read"):
        Journal.read(path)


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
