"""A journal in PostgreSQL: lost connections, commits of unknown end, other writers and other versions."""

import socket
import subprocess
import sys
import threading
from contextlib import suppress

import psycopg
import pytest

import postgres
from clipspool.jobs.model import State
from clipspool.journal import Address, Filter, Journal, JournalError, JournalUnreachable, NoJournal
from clipspool.journal.files import mark_node
from clipspool.journal.looks import Window
from clipspool.journal.postgres import connect_beside, make_schema
from clipspool.journal.server import translated
from fakes import a_clip, a_job
from journals import InServer, accept


@pytest.fixture
def driver(tmp_path):
    return InServer(tmp_path)


@pytest.fixture
def journal(driver):
    one = driver.open()
    yield one
    one.close()


def test_a_lost_connection_undoes_the_turn_and_the_journal_opens_again(driver, journal):
    accept(journal)

    def change():
        with journal.turn():
            journal.accept(a_clip("clip2"), [a_job("clip2")])
            journal.flush()
            postgres.shared().end_connections(driver.schema)

    with pytest.raises(JournalUnreachable, match="does not answer"):
        change()
    journal.close()
    again = driver.open()
    assert [job.id for job in again.find()] == ["clip1"]
    again.close()


def test_a_commit_whose_answer_does_not_come_is_no_commit_until_the_journal_is_read_anew(driver, journal):
    """The server commits, and the connection ends before it says so."""
    database = journal._database
    execute = database._connection.execute

    def cut(statement, *values):
        answer = execute(statement, *values)
        if statement == b"COMMIT":
            database._connection.pgconn.finish()
            return execute(b"SELECT 1")
        return answer

    database._connection.execute = cut
    with pytest.raises(JournalUnreachable):
        accept(journal)
    again = driver.open()
    assert again.job("clip1").state is State.QUEUED
    again.close()


def test_a_transaction_in_which_a_statement_failed_is_no_commit(journal):
    def change():
        with journal.turn():
            journal.set_fact("paused", ["*"])
            with suppress(psycopg.errors.UniqueViolation):
                journal._database._connection.execute(b"INSERT INTO facts VALUES ('paused', '1')")

    with pytest.raises(JournalError, match="undid the change"):
        change()
    assert journal.fact("paused") is None


def test_what_follows_a_failed_statement_is_said_to_fail_for_the_same_reason(driver, journal):
    """A full disk, for one: the log said no more than that the transaction was aborted."""
    journal._database._connection.execute(b"SET lock_timeout = '20ms'")

    def change():
        with journal.turn():
            with suppress(JournalUnreachable):
                journal.set_fact("paused", ["*"])
            journal.set_fact("brake", {})

    with connect_beside(driver.address) as other, other.transaction():
        other.execute("LOCK TABLE facts")
        with pytest.raises(JournalUnreachable, match="lock timeout"):
            change()
    with journal.turn():
        journal.set_fact("brake", {"at": 1})
    assert journal.fact("brake") == {"at": 1}


def test_a_journal_has_one_writer(driver, journal, monkeypatch):
    monkeypatch.setattr("clipspool.journal.postgres._OWNERSHIP_SECONDS", 0.0)
    with pytest.raises(JournalError, match="Another clipspool writes the journal"):
        driver.open()
    journal.close()
    driver.open().close()


@pytest.mark.usefixtures("journal")
def test_the_next_writer_waits_until_the_server_has_noticed_that_the_last_one_is_gone(driver):
    postgres.shared().end_connections(driver.schema)
    driver.open().close()


@pytest.mark.parametrize(
    ("number", "why"), [("9999", "belongs to a newer clipspool"), ("0000", "belongs to an older clipspool")]
)
def test_a_journal_of_another_version_is_refused_by_readers_and_running_writers(driver, journal, number, why):
    driver.run("UPDATE journal_schema SET number = ?", (number,))
    with pytest.raises(JournalError, match=why):
        driver.read()
    with pytest.raises(JournalError, match=why), journal.turn():
        journal.set_fact("paused", ["*"])
    assert driver.ask("SELECT value FROM facts WHERE name = 'paused'") == []
    with pytest.raises(JournalError):  # nothing is written any more, also where the error was swallowed
        journal.fact("paused")


def test_a_newer_journal_is_not_opened(driver):
    driver.open().close()
    driver.run("UPDATE journal_schema SET number = '9999'", ())
    with pytest.raises(JournalError, match=r"newer clipspool .*all nodes have to be of one version"):
        driver.open()


def test_nodes_that_start_together_on_an_empty_database_make_its_tables_once(driver):
    start, failed = threading.Barrier(4), []

    def begin():
        start.wait()
        try:
            make_schema(driver.address)
        except Exception as error:  # noqa: BLE001  (the threads tell the test)
            failed.append(error)

    nodes = [threading.Thread(target=begin) for _ in range(4)]
    for node in nodes:
        node.start()
    for node in nodes:
        node.join()
    assert failed == []


def test_a_database_without_a_journal_has_none_to_read(driver):
    assert driver.read() is None
    with pytest.raises(NoJournal, match="yet"), Window(driver.address).look():
        pass


def test_a_window_opens_another_connection_after_one_was_lost(driver, journal):
    accept(journal)
    window = Window(driver.address)
    with window.look() as look:
        assert look.counts == {State.QUEUED: 1}
        look._database._connection.pgconn.finish()
    with pytest.raises(JournalUnreachable), window.look() as look:
        look.job("clip1")
    with window.look() as look:
        assert look.job("clip1") is not None
    window.close()


def test_the_writer_waits_for_the_disk_whatever_the_server_is_set_to(journal):
    def told(name):
        return journal._database._connection.execute(f"SHOW {name}".encode()).fetchone()[0]

    assert told("synchronous_commit") == "on"
    assert told("idle_in_transaction_session_timeout") == "10s"
    assert told("statement_timeout") == "10s"


@pytest.mark.parametrize("given", ["PREPARE one AS SELECT 1; PREPARE one AS SELECT 1", "EXECUTE one"])
def test_a_pool_that_changes_the_connection_at_each_transaction_is_named(driver, given):
    """Statements that one connection prepared are missing on the next, or are there already."""
    connection = connect_beside(driver.address)
    with pytest.raises(JournalError, match="PgBouncer's transaction mode"), translated(driver.address):
        connection.execute(given)
    connection.close()


def test_a_server_that_is_not_there_is_named_without_its_password():
    address = Address("postgresql://ann@/farm?host=/nowhere", "hunter2")
    with pytest.raises(JournalUnreachable, match="postgresql:///farm does not answer") as told:
        Journal.open(address)
    assert "hunter2" not in f"{told.value} {address} {address!r}"


def test_a_file_of_sqlite_and_a_journal_in_postgresql_do_not_pass_for_each_other(tmp_path):
    path = tmp_path / "journal.db"
    mark_node(path, "postgresql://db/farm")
    mark_node(path, "postgresql://db/farm")
    for opens in (Journal.open, Journal.read):
        with pytest.raises(
            JournalError, match=r"is in postgresql://db/farm: name that with `url` in \[journal\]"
        ):
            opens(path)
    path.unlink()
    Journal.open(path).close()
    with pytest.raises(
        JournalError,
        match=r"is a journal of SQLite.*`clipspool farm import`.*move this one aside.*`clipspool recover`",
    ):
        mark_node(path, "postgresql://db/farm")


def test_psycopg_is_loaded_for_a_journal_in_postgresql_alone():
    script = "import sys, clipspool.journal; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_without_psycopg_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "clipspool.journal.postgres", raising=False)
    with pytest.raises(JournalError, match=r"pip install 'clipspool\[farm\]'"):
        Journal.read(Address("postgresql:///farm"))


def test_a_search_finds_letters_of_every_encoding_in_a_path_and_nothing_in_odd_requests(driver, journal):
    job = a_job(created_at=1.0)
    accept(journal, job, a_clip(path="caf\u00e9/b\udcf6at.mp4"))
    odd = a_job("clip2", created_at=2.0)
    odd.request.extra["odd"] = "\0 \ud800 \udc00\ud800 \U0001f40d"
    accept(journal, odd)

    def found(word):
        with driver.look() as look:
            return [job.id for job in look.page(Filter(word=word), None, 9).jobs]

    assert (found("CAF\u00c9"), found("at"), found("zebra")) == (["clip1"], ["clip1"], [])
    assert {one.id for one in journal.queue("bay", 1e12, 9)} == {"clip1", "clip2"}


@pytest.mark.slow
def test_a_password_is_taken_from_the_settings_or_from_pgpassfile_and_is_in_no_message(
    open_path, monkeypatch
):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = postgres.Server(open_path / "server", port=port)
    server.make()
    server.start()
    try:
        with server.connect() as beside:
            beside.execute("CREATE ROLE ann LOGIN PASSWORD 'hunter2-hunter2'")
            beside.execute("CREATE SCHEMA anns AUTHORIZATION ann")
            (server.data / "pg_hba.conf").write_text(
                "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            )
            beside.execute("SELECT pg_reload_conf()")
        url = f"postgresql://ann@127.0.0.1:{port}/postgres?options=-csearch_path%3Danns"
        Journal.open(Address(url, "hunter2-hunter2")).close()
        for wrong in (None, "hunter3-hunter3"):
            with pytest.raises(JournalUnreachable, match="password") as no:
                Journal.open(Address(url, wrong))
            assert "hunter" not in str(no.value)
        file = open_path / "passwords"
        file.write_text(f"127.0.0.1:{port}:postgres:ann:hunter2-hunter2\n")
        file.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(file))
        Journal.open(Address(url)).close()
    finally:
        server.stop()
