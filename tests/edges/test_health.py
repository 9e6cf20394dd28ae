"""Whether health is honest: about turns, scans, events and the journal's disk, as they really are."""

import os
import shutil
import subprocess
import sys
import threading

import pytest

from clipspool.intake.watch import Watch
from clipspool.journal import Journal
from clipspool.reporting.health import Health, WriteTrial
from fakes import NOON, Clock, Shelf
from inboxes import Bench
from patience import patient


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "state/journal.sqlite3"
    opened = Journal.open(path)
    yield path
    opened.close()


def looked(journal, *, turn_age=0.2, **inboxes):
    return Health(
        WriteTrial(journal).look, lambda: turn_age, lambda: inboxes or {"bay": Shelf()}, Clock(NOON)
    ).look()


def test_all_is_well(journal):
    parts = looked(journal)
    assert parts["ok"] is True
    assert parts["turn"] == {"ok": True, "why": "", "since": None, "age_seconds": 0.2}
    assert parts["journal"] == {"ok": True, "why": "", "since": None}
    assert parts["inboxes"]["bay"]["ok"]
    assert sorted(path.name for path in journal.parent.glob("*trial*")) == []


def test_a_scheduler_that_hangs_is_said_with_since_when(journal):
    parts = looked(journal, turn_age=90.0)
    assert not parts["ok"]
    assert parts["turn"]["why"] == "the scheduler ended no turn for 90 s"
    assert parts["turn"]["since"] == "2027-01-15T11:58:30Z"
    assert parts["journal"]["ok"]


@pytest.mark.parametrize(
    ("shelf", "why"),
    [
        (Shelf(state="offline", reason="the folder is gone"), "offline: the folder is gone"),
        (Shelf(state="starting", scan_age_seconds=None), "not scanned yet"),
        (Shelf(scan_age_seconds=200.0), "not scanned for 200 s"),
        (Shelf(emitters=(1, 3)), "2 of 3 threads that receive events have died"),
    ],
)
def test_one_inbox_that_is_not_well_is_named_and_the_others_are_well(journal, shelf, why):
    parts = looked(journal, bay=Shelf(), far=shelf)
    assert not parts["ok"]
    assert parts["inboxes"]["far"]["why"] == why
    assert parts["inboxes"]["bay"]["ok"]


def test_a_scan_is_measured_by_how_often_there_should_be_one(journal):
    assert looked(journal, bay=Shelf(scan_age_seconds=800.0, rescan_seconds=300.0))["ok"]
    assert not looked(journal, bay=Shelf(scan_age_seconds=1000.0, rescan_seconds=300.0))["ok"]


def test_an_inbox_that_only_rescans_needs_no_events(journal):
    assert looked(journal, bay=Shelf(detect="rescan", emitters=(0, 0)))["ok"]


def test_a_journal_that_was_put_away_or_replaced_is_not_well(journal):
    trial = WriteTrial(journal)
    aside = journal.with_name("aside")
    journal.rename(aside)
    assert "No such file" in trial.look()[0]
    shutil.copy(aside, journal)
    fresh = Clock(0.0)
    trial = WriteTrial(aside, fresh)
    shutil.copy(aside, journal.with_name("copy"))
    journal.with_name("copy").rename(aside)
    assert trial.look()[0] == "the journal's file was moved or replaced while it was in use"


def test_a_journal_that_cannot_be_written_makes_the_whole_unwell():
    well = Health(lambda: ("no space", 5.0), lambda: 0.2, lambda: {"bay": Shelf()}, Clock(NOON)).look()
    assert well["ok"] is False
    assert well["inboxes"]["bay"]["ok"]


def test_a_trial_serves_for_a_time_and_says_since_when_there_is_trouble(journal):
    clock = Clock(1000.0)
    trial = WriteTrial(journal, clock)
    assert trial.look() == ("", None)
    aside = journal.rename(journal.with_name("aside"))
    clock.passes(5.0)
    assert trial.look() == ("", None)
    clock.passes(6.0)
    assert trial.look()[0] != ""
    clock.passes(20.0)
    assert trial.look()[1] == 20.0
    aside.rename(journal)
    clock.passes(20.0)
    assert trial.look() == ("", None)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting is root's")
def test_a_full_disk_and_a_read_only_one_are_seen_though_nothing_was_to_be_written(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        journal = Journal.open(place / "journal.sqlite3")
        clock = Clock(0.0)
        trial = WriteTrial(place / "journal.sqlite3", clock)
        assert trial.look()[0] == ""
        with pytest.raises(OSError, match="No space"):
            (place / "filler").write_bytes(b"x" * (2 << 20))
        clock.passes(11.0)
        assert trial.look()[0] == "the journal's folder cannot be written: No space left on device"
        (place / "filler").unlink()
        journal.close()
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        clock.passes(11.0)
        assert "Read-only" in trial.look()[0] or "not writable" in trial.look()[0]
    finally:
        subprocess.run(["umount", "-l", place], check=False)


def test_a_disk_that_hangs_hangs_nobody_who_asks(journal):
    goes_on = threading.Event()
    trial = WriteTrial(journal, write=lambda _path: goes_on.wait(20), hangs_seconds=0.2)
    try:
        assert "hangs" in trial.look()[0]
        assert "hangs" in trial.look()[0]
        assert sum(thread.name == "health" for thread in threading.enumerate()) == 1
    finally:
        goes_on.set()
        trial._thread.join(patient(10))
    assert trial.look() == ("", None)


def test_the_trial_leaves_the_journals_locks_alone(journal):
    other = Journal.open(journal)
    take = f"import sqlite3; sqlite3.connect({str(journal)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    with other.turn():
        other.set_fact("x", 1)
        assert WriteTrial(journal).look() == ("", None)
        taken = subprocess.run([sys.executable, "-c", take], capture_output=True, text=True, check=False)
        assert "database is locked" in taken.stderr
    other.close()


def test_a_watch_tells_how_many_of_its_threads_live(tmp_path):
    (tmp_path / "day").mkdir()
    watch = Watch(tmp_path, threading.Event())
    assert watch.emitters() == (0, 1)
    watch.begin(("day",))
    try:
        assert (watch.emitters(), watch.is_alive()) == ((2, 2), True)
        emitter = next(iter(watch._observer.emitters))
        emitter.stop()
        emitter.join(patient(5))
        assert (watch.emitters(), watch.is_alive()) == ((1, 2), False)
    finally:
        watch.end()


@pytest.mark.parametrize(("detect", "emitters"), [("rescan", (0, 0)), ("events", (1, 1))])
def test_an_inbox_tells_how_it_is_watched_and_how_fresh_it_is(tmp_path, detect, emitters):
    bench = Bench(tmp_path / "bay", detect=detect)
    inbox = bench.inbox
    try:
        assert (inbox.scan_age_seconds, inbox.emitters) == (None, (0, 0))
        inbox.run_pass(bench.seconds)
        bench.seconds += 7.0
        assert (inbox.scan_age_seconds, inbox.emitters, inbox.rescan_seconds) == (7.0, emitters, 30.0)
        bench.fault = OSError("the mount is gone")
        bench.seconds += 60.0
        inbox.run_pass(bench.seconds)
        assert (inbox.state, inbox.scan_age_seconds, inbox.emitters) == ("offline", 67.0, (0, 0))
    finally:
        inbox.stop()
