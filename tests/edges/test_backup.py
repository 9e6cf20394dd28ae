"""Copies of a journal, taken while it is written, and put back without a risk for money."""

import errno
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from clipspool.jobs.events import Connected, TaskCreated
from clipspool.jobs.model import Held
from clipspool.journal import Journal, JournalError, Lock, backup
from clipspool.journal.backup import back_up, examine, is_held, restore
from clipspool.scheduler.restore_guard import RestoreGuard
from fakes import PROFILE, a_job
from journals import accept, happen


@pytest.fixture
def journal(tmp_path):
    journal = Journal.open(tmp_path / "journal.sqlite3")
    yield journal
    journal.close()


def grow(journal, job_id):
    happen(journal, happen(journal, accept(journal, a_job(job_id)), Connected(PROFILE)), TaskCreated("t"))


def test_a_backup_is_whole_and_private_and_its_checksum_is_what_sha256sum_reads(journal, tmp_path):
    grow(journal, "clip1")
    target = tmp_path / "copy"
    copied = back_up(tmp_path / "journal.sqlite3", target)
    assert (tmp_path / "copy.sha256").read_text() == f"{copied.sha256}  copy\n"
    for path in (target, tmp_path / "copy.sha256"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    copy = Journal.read(target)
    assert copy.job("clip1") == journal.job("clip1")
    assert copy.last_event() == journal.last_event() == copied.reached
    copy.close()
    assert not list(tmp_path.glob(".copy*"))


def test_a_backup_taken_while_the_journal_is_written_is_of_one_moment(journal, tmp_path):
    stopping = threading.Event()

    def write():
        number = 0
        while not stopping.is_set():
            grow(journal, f"clip{number}")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            back_up(tmp_path / "journal.sqlite3", tmp_path / f"copy{number}")
    finally:
        stopping.set()
        writer.join()
    for number in range(5):
        with sqlite3.connect(tmp_path / f"copy{number}") as copy:
            jobs, tasks, accepted, created = (
                copy.execute(f"SELECT count(*) FROM {what}").fetchone()[0]
                for what in (
                    "jobs",
                    "tasks WHERE task_id IS NOT NULL",
                    "events WHERE event = 'accepted'",
                    "events WHERE event = 'task_created'",
                )
            )
        assert (jobs, tasks) == (accepted, created)


@pytest.mark.usefixtures("journal")
def test_a_backup_goes_to_a_disk_without_hard_links_too(tmp_path, monkeypatch):
    """SMB, exFAT: where backups are often put."""

    def refuse(*_names, **_how):
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    back_up(tmp_path / "journal.sqlite3", tmp_path / "copy")
    assert examine(tmp_path / "copy").identity
    (tmp_path / "there").write_text("precious")
    with pytest.raises(FileExistsError):
        back_up(tmp_path / "journal.sqlite3", tmp_path / "there")
    assert (tmp_path / "there").read_text() == "precious"


@pytest.mark.usefixtures("journal")
def test_no_file_is_overwritten_by_a_backup(tmp_path):
    (tmp_path / "copy").write_text("precious")
    with pytest.raises(FileExistsError):
        back_up(tmp_path / "journal.sqlite3", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "precious"


def test_an_older_copy_that_is_put_back_is_held_for_a_person_even_where_no_mark_is_left(journal, tmp_path):
    path = tmp_path / "journal.sqlite3"
    back_up(path, tmp_path / "copy")
    grow(journal, "clip1")
    reached = journal.last_event()
    journal.close()
    aside = restore(tmp_path / "copy", path)
    assert is_held(path)
    former = Journal.read(aside)
    assert former.last_event() == reached
    former.close()
    restored = Journal.open(path)
    guard = RestoreGuard(restored, lambda *_: None)
    assert not guard.allows("bay")
    assert restored.job("clip1") is None
    with restored.turn():
        guard.accept()
    assert guard.allows("bay")
    assert guard.reached() > reached
    restored.close()


def test_a_copy_that_lacks_nothing_is_not_held(journal, tmp_path):
    grow(journal, "clip1")
    path = tmp_path / "journal.sqlite3"
    journal.close()
    back_up(path, tmp_path / "copy")
    restore(tmp_path / "copy", path)
    assert not is_held(path)


def test_a_journal_whose_files_were_copied_as_they_lay_is_put_back_with_what_its_log_holds(journal, tmp_path):
    path, copies = tmp_path / "journal.sqlite3", tmp_path / "copies"
    grow(journal, "clip1")
    copies.mkdir()
    for file in tmp_path.glob("journal.sqlite3*"):
        shutil.copy(file, copies)
    grow(journal, "clip2")
    reached = journal.last_event()
    journal.close()
    restore(copies / path.name, path)
    with closing(Journal.open(path)) as restored:
        assert (restored.job("clip1").task.task_id, restored.job("clip2")) == ("t", None)
        assert restored.fact("restored") > reached
    assert not list(tmp_path.glob("*.restoring*"))


@pytest.mark.usefixtures("journal")
@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_what_root_puts_back_on_a_new_machine_belongs_to_the_daemons_user(tmp_path):
    back_up(tmp_path / "journal.sqlite3", tmp_path / "copy")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    os.chown(fresh, 65534, 65534)
    restore(tmp_path / "copy", fresh / "journal.sqlite3")
    owners = {file.name: file.stat().st_uid for file in fresh.iterdir()}
    assert owners == dict.fromkeys(["journal.sqlite3", "journal.sqlite3.lock"], 65534)


def test_a_journal_behind_a_link_is_put_back_where_it_lies(journal, tmp_path):
    grow(journal, "clip1")
    journal.close()
    path, link = tmp_path / "journal.sqlite3", tmp_path / "link"
    link.symlink_to(path)
    back_up(path, tmp_path / "copy")
    aside = restore(tmp_path / "copy", link)
    assert link.is_symlink()
    assert (aside.parent, aside.is_symlink()) == (tmp_path, False)
    assert aside.name.startswith("journal.sqlite3.before")


@pytest.mark.parametrize("former", ["missing", "damaged", "another"])
def test_a_copy_is_held_where_what_it_lacks_cannot_be_told(journal, tmp_path, former):
    path = tmp_path / "journal.sqlite3"
    grow(journal, "clip1")
    journal.close()
    back_up(path, tmp_path / "copy")
    path.unlink()
    match former:
        case "damaged":
            path.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
        case "another":
            Journal.open(path).close()
    aside = restore(tmp_path / "copy", path)
    assert is_held(path)
    assert (aside is None) == (former == "missing")


@pytest.mark.usefixtures("journal")
def test_a_journal_in_use_is_not_replaced(tmp_path):
    path = tmp_path / "journal.sqlite3"
    back_up(path, tmp_path / "copy")
    lock = Lock(path)
    assert lock.take()
    with pytest.raises(JournalError, match="stop it first"):
        restore(tmp_path / "copy", path)
    lock.release()
    assert not list(tmp_path.glob("*.before-restore*"))


@pytest.mark.parametrize("damage", ["changed", "cut", "page", "text", "newer", "foreign"])
def test_a_copy_that_is_not_what_was_backed_up_is_refused_and_changes_nothing(journal, tmp_path, damage):
    path, copy = tmp_path / "journal.sqlite3", tmp_path / "copy"
    grow(journal, "clip1")
    back_up(path, copy)
    data = copy.read_bytes()
    match damage:
        case "changed":
            copy.write_bytes(data[:-100] + b"x" * 100)
        case "cut":
            (tmp_path / "copy.sha256").unlink()
            copy.write_bytes(data[: len(data) // 2])
        case "page":
            (tmp_path / "copy.sha256").unlink()
            copy.write_bytes(data[:-4096] + bytes(4096))
        case "text":
            (tmp_path / "copy.sha256").unlink()
            copy.write_text("no journal")
        case "newer" | "foreign":
            (tmp_path / "copy.sha256").unlink()
            with closing(sqlite3.connect(copy)) as other, other:
                newer = "UPDATE alembic_version SET version_num = '9999'"
                other.execute(newer if damage == "newer" else "DROP TABLE alembic_version")
    journal.close()
    with pytest.raises(JournalError, match="newer clipspool" if damage == "newer" else "copy"):
        restore(copy, path)
    assert examine(path).reached >= 3


def test_each_job_that_was_queued_in_a_copy_is_held_once_and_again_after_the_next_restore(journal, tmp_path):
    path, copy = tmp_path / "journal.sqlite3", tmp_path / "copy"
    accept(journal, a_job("clip1"))
    held = []

    def begin():
        restore(copy, path)
        restored = Journal.open(path)
        guard = RestoreGuard(restored, lambda job, event: held.append((job.id, event.held)))
        guard.begin(())
        guard.begin(())
        return restored, guard

    back_up(path, copy)
    journal.close()
    path.unlink()
    restored, guard = begin()
    assert held == [("clip1", Held.FROM_BACKUP)]
    with restored.turn():
        guard.accept()
    restored.close()
    copy.unlink()
    copy.with_name("copy.sha256").unlink()
    back_up(path, copy)  # of a journal that was restored before, and accepted
    path.unlink()
    restored, _ = begin()
    assert held == [("clip1", Held.FROM_BACKUP)] * 2
    restored.close()
    copy.unlink()
    copy.with_name("copy.sha256").unlink()
    back_up(path, copy)  # of one that was not accepted
    path.unlink()
    begin()[0].close()
    assert held == [("clip1", Held.FROM_BACKUP)] * 3


def test_a_restore_that_is_cut_short_leaves_the_journal_that_there_was(journal, tmp_path, monkeypatch):
    path = tmp_path / "journal.sqlite3"
    back_up(path, tmp_path / "copy")
    grow(journal, "clip1")
    reached = journal.last_event()
    journal.close()

    def die(*_):
        raise KeyboardInterrupt

    for place, name in ((type(path), "replace"), (os, "link"), (os, "fsync")):
        with monkeypatch.context() as cut:
            cut.setattr(place, name, die)
            with pytest.raises(KeyboardInterrupt):
                restore(tmp_path / "copy", path)
        kept = Journal.read(path)
        assert kept is not None, name
        assert kept.last_event() == reached
        kept.close()
    asides = [restore(tmp_path / "copy", path) for _ in range(2)]
    assert is_held(path), "also the second time, where the former one is this very copy"
    former = Journal.read(asides[0])
    assert former.last_event() == reached, "the second restore of a second left it alone"
    former.close()
    assert not list(tmp_path.glob("*.restoring"))


@pytest.mark.usefixtures("journal")
def test_a_checksum_that_a_killed_backup_left_is_no_hindrance_and_anothers_stays(tmp_path):
    sums = tmp_path / "copy.sha256"
    sums.write_text(f"{'0' * 64}  copy\n")
    copied = back_up(tmp_path / "journal.sqlite3", tmp_path / "copy")
    assert sums.read_text() == f"{copied.sha256}  copy\n"
    (tmp_path / "copy").unlink()
    sums.write_text(f"{'0' * 64}  copy\n{'1' * 64}  other\n")
    with pytest.raises(FileExistsError, match=r"copy\.sha256"):
        back_up(tmp_path / "journal.sqlite3", tmp_path / "copy")


BACK_UP = """
import sys
from pathlib import Path
from clipspool.journal.backup import back_up
back_up(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_of_two_backups_to_one_name_one_is_whole_and_the_other_says_that_it_is_there(
    journal, tmp_path, monkeypatch
):
    path, copy, synced = tmp_path / "journal.sqlite3", tmp_path / "copy", backup.sync

    def sync(part):
        """Let another process begin and end a backup of its own, of a journal that has grown, meanwhile."""
        grow(journal, "clip1")
        subprocess.run([sys.executable, "-c", BACK_UP, path, copy], check=True)
        synced(part)

    monkeypatch.setattr(backup, "sync", sync)
    with pytest.raises(FileExistsError, match=r"copy$"):
        back_up(path, copy)
    assert examine(copy).reached == journal.last_event(), "with the checksum of the one that got the name"
    assert copy.with_name("copy.sha256").exists()
    assert not list(tmp_path.glob(".copy*"))


@pytest.mark.usefixtures("journal")
def test_what_a_killed_backup_left_is_removed_by_the_next_and_what_one_under_way_has_is_not(tmp_path):
    left, own = tmp_path / ".copy.999999999.part", tmp_path / f".copy.{os.getppid()}.part"
    for file in (left, left.with_name(f"{left.name}-journal"), own):
        file.touch()
    back_up(tmp_path / "journal.sqlite3", tmp_path / "copy")
    assert list(tmp_path.glob(".copy*")) == [own]


@pytest.mark.usefixtures("journal")
def test_no_copy_is_left_without_its_checksum(tmp_path, monkeypatch):
    def refuse(_fd):
        raise OSError(errno.ENOSPC, "full")

    name = backup._name

    def fill(*names):
        name(*names)
        monkeypatch.setattr(os, "fsync", refuse)

    monkeypatch.setattr(backup, "_name", fill)
    with pytest.raises(OSError, match="full"):
        back_up(tmp_path / "journal.sqlite3", tmp_path / "copy")
    assert not list(tmp_path.glob("*copy*"))


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("damage", ["newer", "locked"])
def test_a_journal_that_cannot_be_copied_is_named_and_not_waited_for(tmp_path, monkeypatch, damage):
    path = tmp_path / "journal.sqlite3"
    connect = sqlite3.connect
    monkeypatch.setattr(
        backup, "_open", lambda file, mode: connect(f"file:{file}?mode={mode}", uri=True, timeout=0.1)
    )
    with closing(connect(tmp_path / "other", isolation_level=None)) as other:
        with closing(connect(path)) as source:
            source.backup(other)
        other.execute("PRAGMA journal_mode = delete")
        if damage == "newer":
            other.execute("UPDATE alembic_version SET version_num = '9999'")
        else:
            other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError, match=rf"^The journal {tmp_path}/other (was|cannot)"):
            back_up(tmp_path / "other", tmp_path / "copy")
    assert not list(tmp_path.glob("*copy*"))
