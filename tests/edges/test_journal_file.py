"""A journal in a file of SQLite: settings, damage, locks, full disks, and journals of other versions."""

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from clipspool.cli.check.setup import look_at_journal
from clipspool.jobs.model import State
from clipspool.journal import Journal, JournalError, Lock, migrations, postgres, sqlite
from clipspool.journal.backup import back_up
from clipspool.journal.database import read_statements
from clipspool.journal.sqlite import STATEMENTS
from fakes import a_clip, a_job, a_request
from journals import accept
from repository import JOURNAL_0001

"""Written by clipspool 0.1 at schema 0001."""
SOURCES = Path(sqlite.__file__).parent


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path):
    one = Journal.open(path)
    yield one
    one.close()


# --- statements by name ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_fits_the_tables(journal, name):
    values = dict.fromkeys(re.findall(r":(\w+)", STATEMENTS[name]))
    journal._database._connection.execute(f"EXPLAIN {STATEMENTS[name]}", values)


def test_both_databases_have_the_same_statements_and_parameters():
    def asked(statements, sign):
        return {name: set(re.findall(sign, statement)) - {"rows"} for name, statement in statements.items()}

    assert asked(postgres.STATEMENTS, rb"%\(([a-z]\w*)\)s") == {
        name: {word.encode() for word in words}
        for name, words in asked(STATEMENTS, r"(?<!:):([a-z]\w*)").items()
    }


def test_no_statement_is_written_twice():
    shared, *own = (read_statements(SOURCES / f"{name}.sql") for name in ("statements", "sqlite", "postgres"))
    assert own[0].keys() == own[1].keys()
    assert not shared.keys() & own[0].keys()
    for name in own[0]:
        flat = [" ".join(re.sub("--.*", "", statements[name]).split()) for statements in own]
        assert flat[0] != flat[1], f"{name} belongs into statements.sql"


def test_each_statement_is_used_and_each_that_is_used_is_there():
    words = {word for file in SOURCES.glob("*.py") for word in re.findall(r'"(\w+)"', file.read_text())}
    chosen = {"clips_with_sources", "clips_with_history"}  # by name, by whoever prunes
    assert STATEMENTS.keys() - chosen <= words
    calls = r'(?:run|run_many|rows|column|value|_chosen|_write|_change_clip)\(\s*"(\w+)"'
    used = {name for file in SOURCES.glob("*.py") for name in re.findall(calls, file.read_text())}
    assert used == STATEMENTS.keys() - chosen


def test_the_queue_is_read_by_its_own_index(journal):
    """Else a queue of thousands is sorted in each turn."""
    values = dict.fromkeys(re.findall(r":(\w+)", STATEMENTS["queue"]))
    plan = journal._database._connection.execute(f"EXPLAIN QUERY PLAN {STATEMENTS['queue']}", values)
    steps = [step for *_, step in plan]
    assert any("USING INDEX jobs_in_queue" in step for step in steps)
    assert not any("ORDER BY" in step for step in steps)


def test_what_a_start_counts_is_read_from_an_index_alone(journal):
    """Else each start reads 100,000 ended jobs with all their requests."""
    for name in ("count_by_state", "count_parts_by_state", "clips_not_retired"):
        values = dict.fromkeys(re.findall(r":(\w+)", STATEMENTS[name]))
        plan = journal._database._connection.execute(f"EXPLAIN QUERY PLAN {STATEMENTS[name]}", values)
        ((*_, step),) = plan
        assert re.search(r"COVERING INDEX|INDEX (jobs_of_parts|clips_not_retired)", step), step


# --- what SQLite is told ------------------------------------------------------------------------------------


def test_the_writers_settings_are_fit_for_a_power_cut(journal):
    def told(name):
        return journal._database._connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert told("journal_mode") == "wal"
    assert told("synchronous") == 2
    assert told("foreign_keys") == 1
    assert told("trusted_schema") == 0
    assert told("busy_timeout") == 5000


def test_a_setting_that_is_not_taken_is_refused(path, monkeypatch):
    monkeypatch.setitem(sqlite._WRITER, "journal_mode", "off")
    monkeypatch.setitem(sqlite._WRITER, "synchronous", 17)
    with pytest.raises(JournalError, match="does not allow"):
        Journal.open(path)


def schema_of(path):
    """Return what SQLite knows: each table's columns, each index with its columns and condition."""
    with closing(sqlite3.connect(path)) as base:

        def rows(sql):
            return base.execute(sql).fetchall()

        tables = [
            name for (name,) in rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        indexes = rows("SELECT name, lower(sql) FROM sqlite_master WHERE type = 'index' ORDER BY name")
        return (
            rows("SELECT version_num FROM alembic_version"),
            {
                name: (rows(f"PRAGMA table_info({name})"), rows(f"PRAGMA foreign_key_list({name})"))
                for name in tables
            },
            [(name, sql and " ".join(sql.split())) for name, sql in indexes],
        )


def test_a_journal_of_0001_becomes_what_a_new_journal_is(path, tmp_path):
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as base:
        base.executescript(JOURNAL_0001.read_text())
        assert schema_of(old)[0] == [("0001",)]
    Journal.open(old).close()
    Journal.open(path).close()
    assert schema_of(old) == schema_of(path)
    assert schema_of(path)[0] == [(migrations.HEAD,)]


def test_a_path_may_hold_what_an_address_may_not(tmp_path):
    folder = tmp_path / "50% off%20? #1 & co"
    folder.mkdir()
    one = Journal.open(folder / "journal.db")
    one.close()
    assert [p.name for p in folder.iterdir() if p.suffix == ".db"] == ["journal.db"]


def test_a_journals_folder_is_closed_to_others_whatever_the_umask(tmp_path):
    path = tmp_path / "state/clipspool/journal.sqlite3"
    before = os.umask(0)
    try:
        Journal.open(path).close()
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o750


# --- a disk that fails, files that go -----------------------------------------------------------------------


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


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
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


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize(("is_old", "trouble"), [(False, "full"), (True, "full"), (True, "ro")])
def test_a_sound_journal_that_its_disk_keeps_from_being_opened_is_to_stay_where_it_is(
    tmp_path, is_old, trouble
):
    """Moved aside it would forget what was paid for."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small], check=True)
    try:
        path = small / "journal.db"
        if is_old:
            with closing(sqlite3.connect(path)) as old:
                old.executescript("PRAGMA journal_mode = wal;" + JOURNAL_0001.read_text())
        else:
            Journal.open(path).close()
        if trouble == "ro":
            subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        else:
            with (small / "fill").open("wb", 0) as fill, contextlib.suppress(OSError):
                while True:
                    fill.write(bytes(4096))
        message = refused(path)
        assert "leave it where it is" in message
        assert "recover" not in message
        if trouble == "ro":
            subprocess.run(["mount", "-o", "remount,rw", small], check=True)
        else:
            (small / "fill").unlink()
        Journal.open(path).close()
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_a_turn_in_which_a_full_disk_was_overlooked_does_not_count(journal):
    """A command's error is its answer, and the turn goes on: what it recorded before would be lost."""
    accept(journal)
    execute = journal._database._connection.execute

    def lacks_room():
        with journal.turn():
            journal.set_fact("intent", 1)
            execute("PRAGMA max_page_count = 1").fetchone()
            with contextlib.suppress(JournalError):
                journal.set_fact("large", "x" * 100_000)
            execute("PRAGMA max_page_count = 4294967294").fetchone()
            journal.set_fact("after", 1)

    with pytest.raises(JournalError, match="cannot be written"):
        lacks_room()
    assert [journal.fact(name) for name in ("intent", "large", "after")] == [None] * 3
    accept(journal, a_job("clip2"))
    assert journal.fact("id")


# --- one owner ----------------------------------------------------------------------------------------------


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


def test_a_journal_under_two_names_has_one_owner(path, tmp_path):
    link = tmp_path / "another name"
    link.symlink_to(path)
    one, other = Lock(path), Lock(link)
    assert one.take()
    assert not other.take()
    assert other.holder() == os.getpid()
    one.release()


def test_an_owner_whose_journal_could_not_be_written_leaves_that_to_the_next_one(path):
    first = Lock(path)
    assert first.take()
    first.release()
    second = Lock(path)
    assert second.take()
    assert not second.was_excused  # it ended, or it was killed
    second.excuse()
    second.release()
    third = Lock(path)
    assert third.take()
    assert third.was_excused
    third.pass_excuse_on()
    third.release()
    fourth = Lock(path)
    assert fourth.take()
    assert fourth.was_excused
    fourth.release()


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
        "one.executescript('PRAGMA cache_size=1; BEGIN IMMEDIATE; CREATE TABLE t(x);')\n"
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


# --- what it refuses ----------------------------------------------------------------------------------------


@pytest.fixture
def written(path):
    """Return the path of a closed journal of some hundred pages."""
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


def test_a_database_of_another_program_is_left_as_it_is(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (id INTEGER)")
    assert "another program" in refused(path)
    with pytest.raises(JournalError, match="another program"):
        Journal.read(path)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_a_journal_that_another_program_locks_is_not_blamed_on_its_disk(written, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **how: connect(*given, **how | {"timeout": 0.1}))
    with closing(connect(written, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = delete")
        other.execute("BEGIN EXCLUSIVE")
        said = refused(written)
        with pytest.raises(JournalError, match="Another program"):
            Journal.read(written)
    assert "Another program" in said
    assert "disk" not in said


def test_a_journal_of_a_newer_clipspool_is_refused(written):
    with sqlite3.connect(written) as beside:
        beside.execute("UPDATE alembic_version SET version_num = '9999'")
    beside.close()
    assert "newer clipspool (schema 9999" in refused(written)
    with pytest.raises(JournalError, match=r"newer clipspool \(schema 9999.*use that version"):
        Journal.read(written)
    (found,) = (one for one in look_at_journal(written) if one.level == "bad")
    assert "newer clipspool" in found.why


def test_an_older_journal_is_read_once_a_start_has_converted_it_and_check_finds_nothing_wrong(path, tmp_path):
    connection = sqlite3.connect(path)
    connection.executescript(JOURNAL_0001.read_text("utf-8"))
    connection.close()
    with pytest.raises(JournalError, match=r"older clipspool .*`clipspool run` converts it"):
        Journal.read(path)
    assert [one.level for one in look_at_journal(path)] == ["ok"]
    back_up(path, tmp_path / "copy")
    Journal.open(path).close()
    Journal.read(path).close()


def test_where_there_is_no_journal_there_is_nothing_to_read(path):
    assert Journal.read(path) is None
    path.touch()
    assert Journal.read(path) is None
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(JournalError, match="cannot be read"):
        Journal.read(path)


# --- migrations ---------------------------------------------------------------------------------------------


@pytest.fixture
def of_0001(written):
    """Return a journal as the first schema had it."""
    with sqlite3.connect(written) as beside:
        beside.executescript(
            "DROP INDEX jobs_of_parts; DROP INDEX clips_not_retired;"
            "DROP INDEX jobs_by_fingerprint; ALTER TABLE jobs DROP COLUMN fingerprint;"
            "ALTER TABLE jobs DROP COLUMN reuse; ALTER TABLE jobs DROP COLUMN version;"
            "ALTER TABLE jobs DROP COLUMN prepared_by; ALTER TABLE jobs DROP COLUMN part;"
            "ALTER TABLE jobs DROP COLUMN parts;"
            "DROP INDEX jobs_chosen; ALTER TABLE jobs DROP COLUMN chosen; DROP INDEX clips_by_folder;"
            "UPDATE alembic_version SET version_num = '0001';"
        )
    beside.close()
    return written


def test_an_older_journal_is_copied_and_then_migrated_with_all_that_is_in_it(of_0001):
    of_0001.chmod(0o600)
    with closing(sqlite3.connect(of_0001)) as beside:
        before = list(beside.iterdump())
    journal = Journal.open(of_0001)
    assert len(list(journal.find())) == 200
    journal.close()
    copy = of_0001.with_name(f"journal.db.before-{migrations.HEAD}")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as beside:
        assert list(beside.iterdump()) == before
        assert beside.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list(of_0001.parent.glob("*.part"))


def test_what_is_in_the_log_alone_is_in_the_copy_of_an_older_journal(of_0001):
    """A reader that does not end keeps the log from being brought into the journal's file."""
    with closing(sqlite3.connect(of_0001, isolation_level=None)) as reader:
        reader.execute("PRAGMA journal_mode = wal")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM facts").fetchone()
        with closing(sqlite3.connect(of_0001)) as beside, beside:
            beside.execute("INSERT INTO facts VALUES ('late', '1')")
        Journal.open(of_0001).close()
    with closing(sqlite3.connect(of_0001.with_name(f"journal.db.before-{migrations.HEAD}"))) as copy:
        assert copy.execute("SELECT value FROM facts WHERE name = 'late'").fetchall() == [("1",)]


def test_a_migration_that_breaks_leaves_the_journal_as_it_was(of_0001):
    with sqlite3.connect(of_0001) as beside:
        beside.execute("CREATE INDEX jobs_by_fingerprint ON jobs (id)")  # in the way of the last step
    beside.close()
    with pytest.raises(JournalError, match="already exists"):
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
