"""A journal of SQLite that is copied into PostgreSQL."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from click.testing import CliRunner

from clipspool.cli import clipspool
from clipspool.jobs.events import Connected, TaskCreated
from clipspool.journal import Address, Journal, JournalError, Lock
from clipspool.journal.importing import import_journal
from fakes import NOON, PROFILE, a_clip, a_job
from journals import CLIP, FULL, InServer, accept, happen
from repository import JOURNAL_0001

TABLES = ("clips", "jobs", "tasks", "events", "facts")


@pytest.fixture
def server(tmp_path):
    return InServer(tmp_path)


@pytest.fixture
def path(tmp_path):
    """Make a journal with whatever may be in one."""
    path = tmp_path / "journal.db"
    with closing(Journal.open(path)) as journal:
        accept(journal, FULL, CLIP)
        for number in range(3):
            job = accept(journal, a_job(f"j{number}", reason="nul \0 inside"), a_clip(f"j{number}"))
            job = happen(journal, job, Connected(PROFILE), NOON + number)
            happen(journal, job, TaskCreated(f"task-{number}", 15.0))
        with journal.turn():
            journal.set_fact("paused", ["*"])
    return path


def everything(journal):
    jobs = sorted(journal.find(), key=lambda job: job.id)
    return (
        [replace(job, reason=job.reason.replace("\\x00", "\0")) for job in jobs],
        [journal.clip(job.clip_id) for job in jobs],
        [journal.history(job) for job in jobs],
        journal.spent(0.0),
        {name: journal.fact(name) for name in ("id", "paused")},
        journal.last_event(),
    )


def rows(path, table):
    with closing(sqlite3.connect(path)) as base:
        return base.execute(f"SELECT count(*) FROM {table}").fetchone()


def test_all_that_is_in_a_journal_is_in_its_copy_and_goes_on_there(path, server):
    with closing(Journal.read(path)) as journal:
        before = everything(journal)
    tables = {}
    assert import_journal(path, server.address, tables.__setitem__) == path.with_name("journal.db.imported")
    assert not path.exists()
    assert set(tables) >= set(TABLES)
    with closing(server.open()) as journal:
        assert everything(journal) == before
        accept(journal, a_job("next"))
        assert journal.last_event() == before[-1] + 1


def test_a_journal_of_an_older_version_is_copied_too(tmp_path, server):
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as base:
        base.executescript(JOURNAL_0001.read_text())
    with closing(Journal.open(path)) as journal:
        before = journal.count()
    import_journal(path, server.address, lambda *_: None)
    with closing(server.open()) as journal:
        assert journal.count() == before
        assert before.total() > 0


def test_a_copy_that_ended_before_the_file_had_its_other_name_is_ended_by_the_next(path, server):
    moved = import_journal(path, server.address, lambda *_: None)
    moved.rename(path)
    tables = []
    assert import_journal(path, server.address, lambda *one: tables.append(one)) == moved
    assert tables == []


def test_a_database_with_another_journal_is_left_as_it_is(path, server):
    with closing(server.open()) as journal:
        accept(journal, a_job("theirs"))
    with pytest.raises(JournalError, match="a journal is copied into an empty one"):
        import_journal(path, server.address, lambda *_: None)
    assert path.exists()
    with closing(server.read()) as journal:
        assert [job.id for job in journal.find()] == ["theirs"]


def test_a_copy_that_fails_leaves_nothing(path, server):
    def fail(table, _rows):
        if table == "tasks":
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        import_journal(path, server.address, fail)
    assert rows(path, "jobs") == (4,)
    assert server.ask("SELECT count(*) FROM clips") == [(0,)]


def test_the_command_refuses_a_running_clipspool_and_says_what_it_copied(path, server, tmp_path):
    config = tmp_path / "config.toml"
    inbox = '[[inbox]]\npath = "bay"\noutbox = "out"\n'
    config.write_text(f'[journal]\npath = "{path}"\nurl = "{server.address.url}"\n{inbox}')

    def run():
        return CliRunner().invoke(clipspool, ["farm", "import", "-c", str(config)], env={})

    lock = Lock(path)
    assert lock.take()
    told = run()
    assert (told.exit_code, "stop it first" in told.output) == (1, True)
    lock.release()
    told = run()
    assert told.exit_code == 0, told.output
    assert "jobs: 4\n" in told.output
    assert "journal.db.imported; `clipspool run` goes on with it." in told.output
    assert "There is no journal" in run().output
    config.write_text(f'[journal]\npath = "{path}"\n{inbox}')
    told = run()
    assert (told.exit_code, "names no PostgreSQL" in told.output) == (78, True)


def test_a_server_that_does_not_answer_changes_nothing(path):
    with pytest.raises(JournalError, match="does not answer"):
        import_journal(path, Address("postgresql:///farm?host=/nowhere"), lambda *_: None)
    assert rows(path, "clips") == (4,)
