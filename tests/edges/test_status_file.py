"""`_status.txt` on a real disk, from a real journal."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from clipspool.intake.types import Waiting
from clipspool.jobs.events import Failed
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import Error, State
from clipspool.jobs.path_map import AS_THEY_ARE
from clipspool.journal.looks import Window
from clipspool.reporting.status_file.keeper import WRITE_SECONDS, Kept, StatusFile, StatusFiles
from clipspool.spool.guard import Guard
from clipspool.spool.root import Root
from fakes import Desk
from patience import patient


@dataclass
class Bay:
    """As much of an inbox as the file asks for."""

    state: str = "watching"
    waiting: tuple = ()
    paused_by: str = ""
    peers: tuple = ()


class Scene:
    def __init__(self, path):
        self.desk = Desk(path)
        self.folder = path / "bay"
        self.folder.mkdir()
        self.inbox = Bay()
        self.guard = Guard("inbox", None, lambda _: None)
        root = Root(self.folder, guard=self.guard)
        self.kept = Kept(root, path / "results", AS_THEY_ARE, Limits(), self.inbox)
        self.journal = path / "journal.db"
        self.file = StatusFile("bay", self.kept, self.journal, self.desk.clock)

    @property
    def path(self):
        return self.folder / "_status.txt"

    @property
    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    @property
    def text(self):
        return self.path.read_text()

    def refresh(self, seconds=WRITE_SECONDS):
        self.desk.clock.passes(seconds)
        return self.file.refresh()


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    yield scene
    scene.desk.close()


def test_it_follows_a_clip_to_its_end(scene):
    scene.refresh()
    assert "No clips accepted yet" in scene.text
    scene.desk.drop()
    scene.desk.turn()
    scene.file.mark_stale()
    assert scene.refresh()
    assert "UNDER WAY (1)" in scene.text
    scene.desk.until(State.DELIVERED)
    scene.file.mark_stale()
    assert scene.refresh()
    assert "DELIVERED (1 in 3 days)" in scene.text
    assert scene.names == [".clipspool", "_status.txt"]


def test_a_failed_clip_is_told_with_its_reason(scene):
    scene.desk.shop.say[Stage.POLL].append(Failed(Error("INTERNAL", "it broke", "Drop it again.")))
    scene.desk.drop()
    scene.desk.until(State.FAILED)
    scene.refresh()
    assert "it broke" in scene.text
    assert "Drop it again." in scene.text


def test_it_is_written_only_when_something_changed_and_at_most_every_five_seconds(scene):
    assert scene.refresh()
    scene.file.mark_stale()
    assert not scene.refresh()  # heard of something, and it makes no difference
    scene.desk.drop()
    scene.desk.turn()
    scene.file.mark_stale()
    assert scene.refresh()
    scene.inbox.waiting = (Waiting("a.mp4", "no sidecar", 0.0, problem=True),)
    assert not scene.refresh(1.0)
    assert scene.refresh(WRITE_SECONDS)
    assert "NEEDS YOU (1)" in scene.text
    before = scene.path.stat().st_ino
    assert not scene.refresh(30.0)
    assert scene.path.stat().st_ino == before


@pytest.mark.parametrize("make", [lambda p: p.write_text("shopping list\n"), Path.mkdir, os.mkfifo])
def test_what_is_not_ours_is_never_touched(scene, make):
    make(scene.path)
    before = scene.path.lstat()
    assert not scene.refresh()
    assert not scene.refresh()
    scene.file.remove()
    after = scene.path.lstat()
    assert [after.st_ino, after.st_mtime_ns] == [before.st_ino, before.st_mtime_ns]


def test_a_link_to_a_file_of_ours_is_not_followed(scene, tmp_path):
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text("This file is kept by clipspool: or so it says\n")
    scene.path.symlink_to(elsewhere)
    assert not scene.refresh()
    assert scene.path.is_symlink()
    assert elsewhere.read_text().endswith("or so it says\n")


def test_two_that_share_an_inbox_keep_a_file_each(scene, tmp_path):
    scene.refresh()
    (tmp_path / "second").mkdir()
    other = Desk(tmp_path / "second")
    second = StatusFile("bay", scene.kept, tmp_path / "second/journal.db", other.clock)
    assert second.refresh()
    identity = str(other.journal.fact("id"))[:6]
    assert scene.names == [".clipspool", f"_status-{identity}.txt", "_status.txt"]
    scene.desk.drop()
    scene.desk.turn()
    scene.file.mark_stale()
    assert scene.refresh()
    assert "UNDER WAY (1)" in scene.text
    second.remove()
    assert scene.names == [".clipspool", "_status.txt"]
    other.close()


def second_daemon(scene, tmp_path):
    (tmp_path / "second").mkdir()
    other = Desk(tmp_path / "second")
    return other, StatusFile("bay", scene.kept, tmp_path / "second/journal.db", other.clock)


def test_who_is_left_alone_has_the_plain_name_again(scene, tmp_path):
    scene.refresh()
    other, second = second_daemon(scene, tmp_path)
    assert second.refresh()
    assert len(scene.names) == 3
    scene.file.remove()
    other.drop()
    other.turn()
    second.mark_stale()
    other.clock.passes(WRITE_SECONDS)
    assert second.refresh()
    assert scene.names == [".clipspool", "_status.txt"]
    assert "UNDER WAY (1)" in scene.text
    other.close()


def test_a_new_journal_in_the_place_of_a_lost_one_has_its_file_at_once(scene):
    scene.refresh()
    first = scene.text
    scene.desk.close()
    for file in scene.journal.parent.glob("journal.db*"):
        file.unlink()
    scene.desk = Desk(scene.journal.parent)
    second = StatusFile("bay", scene.kept, scene.journal, scene.desk.clock)
    assert second.refresh()
    assert scene.names == [".clipspool", "_status.txt"]
    assert scene.text.splitlines()[0] != first.splitlines()[0]


def test_a_file_of_a_journal_that_left_no_sign_of_life_goes_when_it_is_old(scene):
    old = scene.folder / "_status-abc123.txt"
    old.write_text("This file is kept by clipspool (abc123): how this folder's clips stand.\n")
    foreign = scene.folder / "_status-notes.txt"
    foreign.write_text("shopping list\n")
    os.utime(foreign, (1, 1))
    assert scene.refresh()
    assert old.exists()
    os.utime(old, (1, 1))
    scene.desk.drop()
    scene.desk.turn()
    scene.file.mark_stale()
    assert scene.refresh()
    assert scene.names == [".clipspool", "_status-notes.txt", "_status.txt"]


def test_a_file_of_a_daemon_that_has_left_a_sign_of_life_stays_however_old_it_is(scene):
    old = scene.folder / "_status-abc123.txt"
    old.write_text("This file is kept by clipspool (abc123): how this folder's clips stand.\n")
    os.utime(old, (1, 1))
    (scene.folder / ".clipspool/daemons").mkdir(parents=True)
    (scene.folder / ".clipspool/daemons/abc123def.toml").write_text("")
    assert scene.refresh()
    assert old.exists()


def test_a_link_named_as_a_status_file_is_not_followed_when_old_ones_are_removed(scene, tmp_path):
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text("This file is kept by clipspool (abc123): or so it says\n")
    os.utime(elsewhere, (1, 1))
    (scene.folder / "_status-abc123.txt").symlink_to(elsewhere)
    assert scene.refresh()
    assert (scene.folder / "_status-abc123.txt").is_symlink()
    assert elsewhere.exists()


def test_a_failed_source_is_told_of_once_it_has_moved(scene):
    scene.desk.shop.say[Stage.POLL].append(Failed(Error("INTERNAL", "it broke")))
    gate = scene.desk.shop.hold("retire")
    scene.desk.drop()
    scene.desk.until(State.FAILED)
    scene.refresh()
    assert "it broke" in scene.text
    assert "The source is in" not in scene.text
    scene.desk.release(gate)
    scene.desk.turns(3)
    scene.file.mark_stale()
    assert scene.refresh()
    assert "The source is in _done/day/shot.mp4" in scene.text


def test_once_the_other_file_is_gone_ours_comes(scene):
    scene.path.write_text("shopping list\n")
    scene.refresh()
    scene.path.unlink()
    assert scene.refresh()
    assert scene.text.startswith("This file is kept by clipspool")


def test_nothing_is_written_while_the_inbox_is_offline(scene):
    scene.inbox.state = "offline"
    assert not scene.refresh()
    assert scene.names == []
    scene.inbox.state = "watching"
    assert scene.refresh()


def test_nothing_is_written_into_an_empty_mount_point(scene):
    scene.refresh()
    moved = scene.folder.rename(scene.folder.with_name("unmounted"))
    scene.folder.mkdir()
    scene.file.mark_stale()
    scene.desk.drop()
    scene.desk.turn()
    assert not scene.refresh()
    assert scene.names == []
    scene.folder.rmdir()
    moved.rename(scene.folder)
    assert scene.refresh()


def test_an_editor_who_deletes_it_gets_it_back_with_the_next_news(scene):
    scene.refresh()
    scene.path.unlink()
    scene.desk.drop()
    scene.desk.turn()
    scene.file.mark_stale()
    assert scene.refresh()
    assert scene.path.exists()


def test_the_end_is_said_also_when_it_comes_before_the_first_look(scene):
    scene.inbox.state = "offline"
    scene.file.write_stopped()
    assert scene.names == []
    scene.inbox.state = "watching"
    scene.file.write_stopped()
    assert "clipspool is stopped" in scene.text


def test_turned_off_by_a_reload_it_is_removed_and_others_stay(scene):
    files = StatusFiles(scene.journal, scene.desk.clock)
    scene.refresh()
    files.keep({"bay": scene.kept})
    (file,) = files._files.values()
    files.keep({"bay": replace(scene.kept)})
    assert list(files._files.values()) == [file]
    files.keep({})
    until = time.monotonic() + patient(5)
    while scene.path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not scene.path.exists()


# --- what the journal is asked --------------------------------------------------------------------------


def test_the_journal_tells_what_is_under_way_nearest_to_its_end_first(scene):
    desk = scene.desk
    for number in range(3):
        desk.drop(f"clip{number}", priority=number)
    desk.drop("other", inbox="other")
    desk.turn()
    desk.until(State.DELIVERED, "clip2")
    with Window(scene.journal).look() as journal:
        told = journal.open_jobs("bay")
        assert told.by_state.total() == len(journal.jobs_under_way(10, "bay"))
        assert journal.open_jobs().by_state.total() == told.by_state.total() + 1
        assert journal.held_jobs(10) == []
        ended = journal.ended_jobs(State.DELIVERED, 0.0, 10)
        assert "clip2" in {job.id for job in ended}
        assert journal.ended_jobs(State.DELIVERED, desk.clock.now + 1, 10) == []
        order = [list(State).index(job.state) for job in journal.jobs_under_way(10)]
        assert order == sorted(order, reverse=True)
