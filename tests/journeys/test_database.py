"""A daemon whose journal is in PostgreSQL: every command, and a database that is lost under it."""

import contextlib
import os
import re
import signal
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import postgres
from patience import patient

NAMES = [f"s{number:02}.mp4" for number in range(12)]


@pytest.fixture
def schema(bay):
    """Keep the bay's journal in the session's server; gives the schema's name."""
    name = f"journey_{os.getpid()}_{time.monotonic_ns()}"
    bay.move_to(postgres.shared(), name)
    return name


@pytest.mark.usefixtures("schema")
def test_commands_work_on_a_journal_in_postgresql_with_and_without_a_daemon(bay):
    bay.start()
    bay.drop("shot.mp4")
    bay.until_retired()
    assert bay.told("status")["jobs"]["delivered"] == 1
    assert bay.stop() == 0
    (job,) = bay.told("jobs")
    assert job["state"] == "delivered"
    assert "delivered" in bay.call("logs", job["id"]).stdout
    assert "only failed, cancelled" in bay.call("retry", job["id"], "--yes").stderr


def test_a_daemon_whose_connection_is_lost_goes_on_by_itself_in_the_same_process(bay, schema):
    bay.start()
    for name in NAMES[:4]:
        bay.drop(name)
    bay.until(lambda: bay.paid > 0)
    bay.database[0].end_connections(schema)
    pid = bay.daemon.pid
    bay.until_retired(4, seconds=30)
    assert bay.daemon.pid == pid
    assert [one["pid"] for one in bay.events("started")] == [pid, pid]
    assert bay.paid == 4


def test_a_reload_while_a_daemon_starts_over_does_not_end_it(bay, schema):
    bay.start()
    bay.database[0].end_connections(schema)
    bay.drop(NAMES[0])  # it notices when it writes
    while len(bay.events("started")) < 2:
        bay.daemon.send_signal(signal.SIGHUP)
        assert bay.daemon.poll() is None, bay.lately()
        time.sleep(0.01)
    bay.until_retired(seconds=30)
    assert bay.stop() == 0


def test_commands_say_in_a_sentence_that_a_table_is_locked(bay, schema):
    bay.start()
    assert bay.stop() == 0
    with bay.database[0].connect(schema) as beside, beside.transaction():
        beside.execute("LOCK TABLE nodes IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor() as at_once:  # each waits for seconds
            said = list(at_once.map(bay.call, ("farm", "status", "pause")))
        for done in said:
            assert (done.returncode, done.stdout) == (1, "")
            assert re.fullmatch(
                r"The journal in postgresql:\S+ does not answer \(canceling .* lock timeout.*\)\.\n",
                done.stderr,
            ), done.stderr


def test_a_daemon_that_waits_for_its_database_ends_at_sigterm(bay):
    bay.is_checked = False
    bay.move_to(postgres.shared(), "never")
    bay.config.write_text(bay.config.read_text().replace("host=/", "host=/nowhere/"))
    bay.start(wait=False)
    bay.until(lambda: bay.events("journal_awaited"))
    assert "does not answer" in bay.events("journal_awaited")[0]["why"]
    assert bay.call("status").returncode == 1
    assert bay.stop() == 0


class Cutter:
    """Stands between a daemon and its server; swallows the answer to a COMMIT, and cuts that connection."""

    def __init__(self, folder, server):
        self.folder, self._server = folder, server
        self.commits_left = None
        """How many COMMITs are still answered; None: all."""
        self.cuts = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, schema):
        return self._server.url(schema).replace(str(self._server.folder), str(self.folder))

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(self._server.folder / ".s.PGSQL.5432"))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(*ends, far), daemon=True).start()

    def _carry(self, source, target, server):
        with source:
            with contextlib.suppress(OSError):
                while data := source.recv(65_536):
                    if source is server and b"COMMIT\0" in data and self._is_cut():
                        break
                    target.sendall(data)
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)

    def _is_cut(self):
        if self.commits_left is None:
            return False
        self.commits_left -= 1
        if self.commits_left >= 0:
            return False
        self.commits_left = None
        self.cuts += 1
        return True


@pytest.fixture
def own_server():
    """Yield a server that a test may end as it likes."""
    with tempfile.TemporaryDirectory(prefix="clipspool-") as folder:
        Path(folder).chmod(0o755)
        server = postgres.Server(Path(folder) / "server")
        server.make()
        server.start()
        yield server
        if server.postmaster is not None:
            server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_database_that_ends_under_a_daemon_costs_no_clip_and_no_second_payment(own_server, bay, how):
    bay.move_to(own_server, "journal")
    bay.start()
    for number in range(3):
        for name in NAMES[number::3]:
            bay.drop(name)
        bay.until(lambda paid=4 * number: bay.paid > paid)
        if how == "restart":
            own_server.stop("immediate")
        else:
            own_server.kill()
        bay.until(lambda number=number: len(bay.events("journal_lost")) == number + 1)
        paid = bay.paid
        time.sleep(1.0)
        assert bay.paid - paid <= 16, "only requests that were on their way"
        sent = bay.paid
        bay.until(lambda number=number: len(bay.events("journal_awaited")) == number + 1)
        assert bay.paid == sent
        own_server.start()
        back = time.monotonic()
        bay.until(lambda number=number: len(bay.events("started")) == number + 2)
        assert time.monotonic() - back < patient(5)
    bay.until_retired(len(NAMES), seconds=40)
    assert set(bay.jobs().values()) == {"delivered"}
    assert bay.paid == len(NAMES)


@pytest.mark.slow
def test_a_commit_whose_answer_is_lost_costs_no_clip_and_no_second_payment(own_server, bay):
    cutter = Cutter(own_server.folder.parent, own_server)
    bay.move_to(own_server, "journal")
    bay.config.write_text(bay.config.read_text().replace(own_server.url("journal"), cutter.url("journal")))
    bay.start()
    for number, commits in enumerate((0, 1, 2, 3, 5, 8)):
        for name in NAMES[number::6]:
            bay.drop(name)
        cutter.commits_left = commits
        bay.until(lambda number=number: len(bay.events("started")) == number + 2, seconds=40)
    assert cutter.cuts == len(bay.events("journal_lost")) == 6
    bay.until_retired(len(NAMES), seconds=40)
    assert set(bay.jobs().values()) == {"delivered"}
    assert bay.paid == len(NAMES)
    assert bay.stop() == 0
    cutter.close()


@pytest.mark.slow
def test_an_older_copy_of_the_database_submits_nothing_until_it_is_accepted(bay, schema):
    bay.is_checked = False  # the oracle knows one journal, and this is its past
    server = bay.database[0]
    bay.start()
    bay.call("pause")
    bay.drop("one.mp4")
    bay.until_states("queued")
    backup = server.dump(schema)
    bay.call("resume")
    bay.until_retired()
    assert bay.stop() == 0
    server.restore(schema, backup)
    bay.start()
    bay.call("resume")
    bay.drop("two.mp4")
    bay.until(lambda: len(bay.jobs()) == 2)
    assert {job["held"] for job in bay.told("jobs")} == {"from_backup", "restored"}
    assert bay.paid == 1
    assert bay.call("resume", "--accept-restored", "--yes").returncode == 0
    bay.until(lambda: bay.paid == 2, what="what came since is sent")
    assert bay.call("approve", "--inbox", "bay", "--yes").returncode == 0
    bay.until_retired(2)
    assert bay.paid == 2
