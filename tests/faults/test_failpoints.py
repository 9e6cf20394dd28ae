"""Ended at each place that matters, and again while it recovers: whole, paid once, nothing forgotten."""

import contextlib
import random
import re
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from clipspool.journal import migrations
from clipspool.journal.migrations import HEAD
from clipspool.system.failpoint import EXIT_CODE
from faults.kill import TRACE, is_traceable
from faults.oracle import Oracle
from faults.test_ends import SEED, settle_doubts
from journeys.bay import beside, journal_id
from patience import patient
from repository import JOURNAL_0001 as OLD
from runway_sandbox import Render
from runway_sandbox.render import sample

QUICK_ONCE = ("accepted", "sent", "paper")
LONG_ONCE = (
    *("accepting", "intent", "noted", "leaving", "created", "task-noted"),
    *("fetched", "placed", "retired", "begun"),
)
ONCE = (*QUICK_ONCE, *(pytest.param(place, marks=pytest.mark.heavy) for place in LONG_ONCE))
QUICK_TURNS = (3,)
TURNS = (*QUICK_TURNS, *(pytest.param(n, marks=pytest.mark.heavy) for n in (1, 2, 4, 5, 6, 7, 8)))
"""Turns of a clip's life that let something out after their commit; not every life has the last ones."""
QUICK_TWICE = (("sent", "begun"),)
LONG_TWICE = (
    ("accepted", "adopted"),
    ("accepted", "committed"),
    ("intent", "begun"),
    ("task-noted", "begun"),
    ("placed", "begun"),
    ("placed", "committed"),
    ("paper", "placed"),
    ("retired", "committed"),
)
TWICE = (*QUICK_TWICE, *(pytest.param(places, marks=pytest.mark.heavy) for places in LONG_TWICE))


SPLIT = 'prompt = "deep winter"\nlong_clips = "split"\n'
QUICK_PARTS = ("split", "task-noted:2")
LONG_PARTS = (
    *("splitting", "intent:2", "noted:2", "leaving:2", "sent:2", "created:2"),
    *("fetched:1", "fetched:3", "joined", "paper", "placed", "retired"),
)
PARTS = (*QUICK_PARTS, *(pytest.param(place, marks=pytest.mark.heavy) for place in LONG_PARTS))


def end_at(bay, place):
    """Run until the process ends at a failpoint; give whether it came there."""
    code = bay.run_until_idle(60, CLIPSPOOL_FAILPOINT=place, CLIPSPOOL_TESTING="1")
    assert code in {0, EXIT_CODE}, bay.lately()
    assert Oracle(bay).violations(at_rest=False) == []
    return code == EXIT_CODE


def finish(bay):
    settle_doubts(bay)
    assert set(bay.jobs().values()) == {"delivered"}
    assert bay.paid == 1


@pytest.mark.parametrize("place", PARTS)
def test_ended_at_a_failpoint_no_part_of_a_long_clip_is_paid_twice(open_bays, tmp_path, place):
    name, _, count = place.partition(":")
    with open_bays(render=Render.REAL) as bay:
        bay.configure(top="[models.gen4_aleph]\nseconds_max = 1.0\n")
        sample(tmp_path / "long.mp4", seconds=2.5, width=160, height=90)
        bay.drop("long.mp4", SPLIT, (tmp_path / "long.mp4").read_bytes())
        assert end_at(bay, f"{name}:exit{count and ':' + count}")
        settle_doubts(bay)
        assert list(bay.jobs().values()) == ["delivered"] * 4, bay.lately()
        assert bay.paid == 3
        assert Oracle(bay).violations() == []


@pytest.mark.parametrize("place", ONCE)
def test_ended_at_a_failpoint_the_clip_is_whole_and_paid_once(bay, place):
    bay.drop()
    assert end_at(bay, f"{place}:exit")
    finish(bay)


@pytest.mark.parametrize("place", ["copying", "remembered", "kept"])
@pytest.mark.parametrize("is_lost", [False, pytest.param(True, marks=pytest.mark.heavy)])
def test_a_claim_from_an_inbox_that_is_only_read_is_undone_or_carried_on_also_without_the_journal(
    bay, place, is_lost
):
    bay.is_checked = False  # the oracle knows no copies
    bay.configure(keys='source = "keep"')
    bay.drop()
    code = bay.run_until_idle(60, CLIPSPOOL_FAILPOINT=f"{place}:exit", CLIPSPOOL_TESTING="1")
    assert code == EXIT_CODE
    if is_lost:
        for path in bay.journal.parent.glob("journal*"):
            path.unlink()
        assert bay.run_until_idle() == 0
        bay.call("recover", "--yes")
    assert bay.run_until_idle() == 0
    assert bay.run_until_idle() == 0
    assert list(bay.jobs().values()) == ["delivered"]
    assert bay.paid == 1


@pytest.mark.parametrize(
    ("place", "state"),
    [
        ("intent", "delivered"),
        *(
            pytest.param(*row, marks=pytest.mark.heavy)
            for row in (
                ("noted", "delivered"),
                ("leaving", "in_doubt"),
                ("sent", "in_doubt"),
                ("task-noted", "delivered"),
            )
        ),
    ],
)
def test_only_what_the_work_folder_cannot_tell_is_in_doubt(bay, place, state):
    bay.drop()
    assert end_at(bay, f"{place}:exit")
    assert bay.run_until_idle() == 0
    assert list(bay.jobs().values()) == [state]
    settle_doubts(bay)
    assert bay.paid == 1


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("place", "state"), [("intent", "queued"), ("task-noted", "running"), ("sent", "in_doubt")]
)
def test_a_command_without_a_daemon_learns_it_from_the_work_folder_too(bay, place, state):
    bay.drop()
    assert end_at(bay, f"{place}:exit")
    assert bay.call("pause", "--yes").returncode == 0
    assert list(bay.jobs().values()) == [state]
    assert bay.call("resume", "--yes").returncode == 0
    settle_doubts(bay)
    assert bay.paid == 1


@pytest.mark.heavy
def test_an_inbox_that_is_away_at_the_start_leaves_doubt(bay):
    bay.drop()
    assert end_at(bay, "intent:exit")
    away = bay.inbox.rename(bay.home / "away")
    bay.start()
    bay.until_states("in_doubt")
    away.rename(bay.inbox)
    assert bay.stop() == 0
    settle_doubts(bay)
    assert bay.paid == 1


@pytest.mark.parametrize("number", TURNS)
def test_ended_right_after_a_commit_the_clip_is_whole_and_paid_once(bay, number):
    bay.drop()
    end_at(bay, f"committed:exit:{number}")
    finish(bay)


@pytest.mark.parametrize("places", TWICE)
def test_ended_again_while_it_recovers_the_clip_is_whole_and_paid_once(bay, places):
    bay.drop()
    assert end_at(bay, f"{places[0]}:exit")
    assert end_at(bay, f"{places[1]}:exit")
    finish(bay)


@pytest.mark.parametrize(
    "place", ["placed", *(pytest.param(place, marks=pytest.mark.heavy) for place in ("reused", "paper"))]
)
def test_a_result_taken_over_is_whole_wherever_it_ends(bay, place):
    bay.is_checked = False  # the same bytes lie there twice, as they should
    bay.configure(keys='duplicates = "reuse"')
    path = bay.drop("one.mp4")
    data = path.read_bytes()
    assert bay.run_until_idle() == 0
    bay.drop("two.mp4", data=data)
    code = bay.run_until_idle(60, CLIPSPOOL_FAILPOINT=f"{place}:exit", CLIPSPOOL_TESTING="1")
    assert code == EXIT_CODE
    assert bay.run_until_idle() == 0
    assert list(bay.jobs().values()) == ["delivered"] * 2
    assert bay.paid == 1
    assert (bay.outbox / "two.mp4").read_bytes() == (bay.outbox / "one.mp4").read_bytes()


def downgrade(journal):
    """Undo all that migrations have added to the first schema."""
    folder = Path(migrations.__file__).parent
    later = "".join(file.read_text("utf-8") for file in sorted(folder.glob("*.sql"))[1:])
    with sqlite3.connect(journal) as undone:
        for index in re.findall(r"CREATE (?:UNIQUE )?INDEX (\w+)", later):
            undone.execute(f"DROP INDEX {index}")
        for table, column in re.findall(r"ALTER TABLE (\w+) ADD COLUMN (\w+)", later):
            undone.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table in re.findall(r"CREATE TABLE (\w+)", later):
            undone.execute(f"DROP TABLE {table}")
        undone.execute("UPDATE alembic_version SET version_num = '0001'")
    undone.close()


@pytest.mark.parametrize("place", ["migrate-copied", "migrated"])
def test_ended_in_a_migration_the_journal_is_as_it_was_and_is_migrated_at_the_next_start(bay, place):
    bay.drop()
    assert bay.run_until_idle() == 0
    downgrade(bay.journal)
    assert end_at(bay, f"{place}:exit")
    with sqlite3.connect(bay.journal) as journal:
        assert journal.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert "fingerprint" not in {row[1] for row in journal.execute("PRAGMA table_info(jobs)")}
    journal.close()
    bay.drop("two.mp4")
    assert bay.run_until_idle() == 0
    assert list(bay.jobs().values()) == ["delivered"] * 2
    (copy,) = bay.journal.parent.glob("*.before-*")
    with sqlite3.connect(copy) as beside:
        assert beside.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    beside.close()


"""Written by clipspool at schema 0001: a job in each state, with its history."""
STATES = {
    "clip0cancelled": "cancelled",
    "clip0delivered": "delivered",
    "clip0doubt": "in_doubt",
    "clip0failed": "failed",
    "clip0fetched": "fetched",
    "clip0queued-v1": "queued",
    "clip0queued-v2": "queued",
    "clip0rendered": "rendered",
    "clip0running": "running",
    "clip0submitting": "submitting",
}
TABLES = ("clips", "jobs", "tasks", "events", "facts")


def contents(path, columns=None):
    """Return every row of a journal, in the columns of another, or all its own."""
    with contextlib.closing(sqlite3.connect(path)) as journal:
        assert journal.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        columns = columns or {
            table: [row[1] for row in journal.execute(f"PRAGMA table_info({table})")] for table in TABLES
        }
        rows = {
            table: sorted(journal.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall(), key=repr)
            for table, names in columns.items()
        }
        version = journal.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        return version, columns, rows


@pytest.fixture
def old(bay):
    """Return a bay whose journal an older clipspool left behind, by kill -9, and what is in it."""
    bay.is_checked = False  # its clips are long gone
    bay.journal.parent.mkdir()
    with contextlib.closing(sqlite3.connect(bay.journal)) as journal:
        journal.executescript("PRAGMA journal_mode = wal;" + OLD.read_text())
    assert bay.jobs() == STATES
    return bay, *contents(bay.journal)[1:]


def keeps_all(bay, columns, rows):
    """Return whether a journal holds what it held, at the schema it had or at the newest."""
    version, _, now = contents(bay.journal, columns)
    assert now == rows
    return version


@pytest.mark.heavy
def test_a_journal_of_an_older_version_keeps_everything_wherever_kill_9_strikes_its_migration(old):
    bay, columns, rows = old
    if not is_traceable():
        pytest.skip("this machine does not let us trace, or its calls are not known to the tracer")
    for place in ("migrate-copied", "migrated"):
        assert bay.run_until_idle(60, CLIPSPOOL_FAILPOINT=f"{place}:exit", CLIPSPOOL_TESTING="1") == EXIT_CODE
        assert keeps_all(bay, columns, rows) == "0001"
    report = bay.home / "report.json"
    versions = []
    for number in range(1, 200, random.Random(SEED).choice((9, 10, 11))):
        shutil.copytree(bay.journal.parent, bay.home / "kept")
        bay.start(before=[sys.executable, str(TRACE), str(number), str(report)], wait=False)
        bay.daemon.wait(patient(60))
        bay.daemon = None
        if '"started"' in bay.log.read_text():
            break
        versions.append(contents(bay.journal)[0])
        if versions[-1] == "0001":
            assert keeps_all(bay, columns, rows) == "0001", f"call {number}"
        shutil.rmtree(bay.journal.parent)
        (bay.home / "kept").rename(bay.journal.parent)
    assert set(versions) == {"0001", HEAD}


@pytest.mark.heavy
def test_jobs_of_an_older_version_in_every_state_go_on_and_none_is_paid_for_again(old):
    bay, columns, rows = old
    assert bay.run_until_idle(60, CLIPSPOOL_FAILPOINT="migrated:exit", CLIPSPOOL_TESTING="1") == EXIT_CODE
    bay.start()
    bay.until(lambda: bay.jobs()["clip0submitting"] == "in_doubt", 20)
    bay.until(lambda: bay.jobs()["clip0queued-v1"] == "failed", 20)
    assert bay.stop() == 0
    (copy,) = bay.journal.parent.glob("*.before-*[0-9]")
    assert contents(copy) == ("0001", columns, rows)
    told = bay.jobs()
    unmoved = {"cancelled", "delivered", "in_doubt", "failed"}
    assert {job: told[job] for job, state in STATES.items() if state in unmoved} == {
        job: state for job, state in STATES.items() if state in unmoved
    }
    for table in ("events", "tasks"):
        kept = contents(bay.journal, {table: columns[table]})[2][table]
        if table == "events":
            assert set(rows[table]) <= set(kept)
        else:
            assert {row[:4] for row in rows[table]} <= {row[:4] for row in kept}
    assert bay.paid == 0


@pytest.mark.parametrize(
    "first", ["the taker", *(pytest.param(one, marks=pytest.mark.heavy) for one in ("the owner", "adopted"))]
)
def test_a_take_over_that_is_killed_between_its_claim_and_the_manifest_is_finished_by_the_taker(
    open_bays, first
):
    with open_bays() as bay:
        bay.is_checked = False  # half of the story is in the other journal
        one, two = bay, beside(bay)
        for each in (one, two):
            each.configure()
        one.drop()
        assert one.run_until_idle(60, CLIPSPOOL_FAILPOINT="created:exit", CLIPSPOOL_TESTING="1") == EXIT_CODE
        two.start(CLIPSPOOL_FAILPOINT="taking-over:exit", CLIPSPOOL_TESTING="1")
        assert two.call("recover", "--from", journal_id(one), "--yes").returncode == 1
        assert two.daemon.wait(patient(20)) == EXIT_CODE
        two.daemon = None
        if first == "the owner":
            assert one.run_until_idle() == 0
        if first == "adopted":
            assert (
                two.run_until_idle(60, CLIPSPOOL_FAILPOINT="adopted:exit", CLIPSPOOL_TESTING="1") == EXIT_CODE
            )
        for each in (two, one, two):
            assert each.run_until_idle() == 0
        (theirs,) = one.jobs().values()
        (ours,) = two.jobs().values()
        # The request left, and its answer was lost with the process: whoever has the clip is in doubt.
        assert (theirs, ours) == ("cancelled", "in_doubt")
        assert bay.paid == 1


def test_a_failpoint_without_the_flag_is_refused_before_anything_is_touched(bay):
    bay.drop()
    assert bay.run_until_idle(CLIPSPOOL_FAILPOINT="sent:exit") == 78
    assert not bay.journal.exists()
