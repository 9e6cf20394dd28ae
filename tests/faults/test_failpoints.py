"""Ended at each place that matters, and again while it recovers: whole, paid once, nothing forgotten."""

import sqlite3

import pytest

from clipspool.failpoint import EXIT_CODE
from faults.oracle import Oracle
from faults.test_ends import settle_doubts

QUICK_ONCE = ("accepted", "sent", "paper")
LONG_ONCE = ("accepting", "intent", "noted", "created", "task-noted", "fetched", "placed", "retired", "begun")
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


@pytest.mark.parametrize("place", ONCE)
def test_ended_at_a_failpoint_the_clip_is_whole_and_paid_once(bay, place):
    bay.drop()
    assert end_at(bay, f"{place}:exit")
    finish(bay)


@pytest.mark.parametrize(
    ("place", "state"),
    [
        ("intent", "delivered"),
        *(
            pytest.param(*row, marks=pytest.mark.heavy)
            for row in (("noted", "in_doubt"), ("sent", "in_doubt"), ("task-noted", "delivered"))
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


@pytest.mark.parametrize("place", ["migrate-copied", "migrated"])
def test_ended_in_a_migration_the_journal_is_as_it_was_and_is_migrated_at_the_next_start(bay, place):
    bay.drop()
    assert bay.run_until_idle() == 0
    with sqlite3.connect(bay.journal) as journal:
        journal.executescript(
            "DROP INDEX jobs_by_fingerprint; ALTER TABLE jobs DROP COLUMN fingerprint;"
            "ALTER TABLE jobs DROP COLUMN reuse; UPDATE alembic_version SET version_num = '0001';"
        )
    journal.close()
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


def test_a_failpoint_without_the_flag_is_refused_before_anything_is_touched(bay):
    bay.drop()
    assert bay.run_until_idle(CLIPSPOOL_FAILPOINT="sent:exit") == 78
    assert not bay.journal.exists()
