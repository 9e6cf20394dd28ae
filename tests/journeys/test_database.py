"""A daemon whose journal is in PostgreSQL: every command, and a database that is lost under it."""

import os
import tempfile
import time
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


def test_a_daemon_that_waits_for_its_database_ends_at_sigterm(bay):
    bay.is_checked = False
    bay.move_to(postgres.shared(), "never")
    bay.config.write_text(bay.config.read_text().replace("host=/", "host=/nowhere/"))
    bay.start(wait=False)
    bay.until(lambda: bay.events("journal_awaited"))
    assert "does not answer" in bay.events("journal_awaited")[0]["why"]
    assert bay.call("status").returncode == 1
    assert bay.stop() == 0


@pytest.fixture
def own_server():
    """Give a server that a test may end as it likes."""
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
