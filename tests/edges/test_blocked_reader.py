"""A reader that stops midway keeps no hold on the journal: its log is brought in all the same."""

import contextlib
import sqlite3
import subprocess
import sys

import pytest

from fakes import Desk


@pytest.fixture
def config(tmp_path):
    """Return a configuration whose journal has many jobs in it."""
    desk = Desk(tmp_path)
    for number in range(1200):
        desk.drop(f"clip{number:04}", due_at=desk.clock.now + 9e8)
    desk.turns(4)
    desk.close()
    for name in ("bay", "results"):
        (tmp_path / name).mkdir()
    config = tmp_path / "config.toml"
    config.write_text(
        f"""[journal]\npath = "{tmp_path / "journal.db"}"\n[[inbox]]\nname = "bay"\n"""
        f"""path = "{tmp_path / "bay"}"\noutbox = "{tmp_path / "results"}"\n"""
    )
    return config


def test_a_list_that_nobody_reads_on_lets_the_journals_log_be_brought_in(config, tmp_path):
    command = [sys.executable, "-m", "clipspool", "jobs", "--json", "-c", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as blocked:
        assert blocked.stdout.readline()
        with contextlib.closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as writer:
            for number in range(5):
                writer.execute("INSERT INTO facts VALUES (?, ?)", (f"n{number}", "1"))
            busy, log, moved = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert (busy, log, moved) == (0, 0, 0)
        assert blocked.poll() is None, "it waits for its reader"
        lines = 1 + len(blocked.stdout.readlines())
    assert (blocked.returncode, lines) == (0, 1200)


def test_the_journals_log_is_cut_once_a_reader_has_ended(tmp_path):
    desk = Desk(tmp_path)
    (limit,) = desk.journal._database._connection.execute("PRAGMA journal_size_limit").fetchone()
    desk.close()
    assert limit == 64 << 20
