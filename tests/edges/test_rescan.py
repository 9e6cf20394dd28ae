"""Rescans of a folder on a local disk: names are read again only where one came or went."""

import errno
import os
import time
from pathlib import Path

import pytest

from clipspool.intake.tree import Tree
from clipspool.intake.types import Rules
from clipspool.spool.root import Root
from clipspool.system.mounts import FolderMarks

TICK = 0.02  # longer than the kernel's, in which two changes get the same time
LATER = 10.0  # seconds by which the clock is ahead, so that a change is old enough at once


class Bay:
    def __init__(self, path, ahead=LATER):
        self.path, self.seconds = path, 0.0
        rules = Rules(
            name="bay",
            extensions=frozenset({".mp4"}),
            ignore=(),
            sidecar_required=True,
            settle_seconds=1.0,
            rescan_seconds=30.0,
            detect="rescan",
            priority=0,
            hold_seconds=0.0,
            layers={},
            journal="j",
        )
        self.tree = Tree(Root(path), rules, lambda *_: None, lambda: time.time() + ahead)

    def write(self, name, data=b"x"):
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_bytes(data)

    def rescan(self):
        """Return the groups of which a file came, changed, went or settled."""
        time.sleep(TICK)
        self.seconds += 2.0
        self.tree.walk(self.seconds)
        affected = [base for _, base in self.tree.affected]
        self.tree.affected.clear()
        return sorted(affected)

    def settle(self):
        while self.rescan():
            pass


@pytest.fixture
def bay(tmp_path):
    bay = Bay(tmp_path)
    for number in range(8):
        bay.write(f"day/lone{number}.mp4")
    bay.write("day/pair.mp4")
    bay.write("day/pair.mp4.toml")
    bay.settle()
    return bay


def test_a_name_that_comes_goes_or_gets_another_file_is_noticed_by_the_next_rescan(bay):
    bay.write("day/new.mp4")
    assert bay.rescan() == ["new"]
    assert bay.rescan() == ["new"]  # it settled
    bay.write("other.mp4", b"a longer one")
    assert bay.rescan() == ["other"]
    (bay.path / "other.mp4").rename(bay.path / "day/lone3.mp4")
    assert bay.rescan() == ["lone3", "other"]
    assert bay.rescan() == ["lone3"]
    (bay.path / "day/lone5.mp4").unlink()
    assert bay.rescan() == ["lone5"]
    assert bay.rescan() == []


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOENT])
def test_a_file_that_could_not_be_looked_at_for_a_moment_is_seen_again_though_no_name_changed(
    bay, monkeypatch, code
):
    real = os.stat

    def failing(path, *args, **more):
        if str(path).startswith("pair"):
            raise OSError(code, os.strerror(code), path)
        return real(path, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", failing)
        assert bay.rescan() == ["pair"]
    assert bay.rescan() == ["pair"]
    assert {entry.name for entry in bay.tree.folders["day"].entries("pair")} == {"pair.mp4", "pair.mp4.toml"}


def test_a_folder_whose_times_were_set_back_does_not_hide_a_new_name(bay):
    before = (bay.path / "day").stat()
    bay.write("day/new.mp4")
    os.utime(bay.path / "day", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert bay.rescan() == ["new"]


def test_a_clip_with_its_sidecar_that_is_written_to_is_noticed_by_the_next_rescan(bay):
    bay.write("day/pair.mp4.toml", b"other")
    assert bay.rescan() == ["pair"]
    assert bay.rescan() == ["pair"]
    bay.write("day/pair.mp4", b"other")
    assert bay.rescan() == ["pair"]


@pytest.mark.parametrize("number", range(0, 8, 3))
def test_a_settled_clip_without_a_sidecar_that_is_written_to_is_noticed_within_eight_rescans(bay, number):
    assert not any(bay.rescan() for _ in range(8))
    bay.write(f"day/lone{number}.mp4", b"grown")
    noticed = [bool(bay.rescan()) for _ in range(9)]
    first = noticed.index(True)
    assert first < 8
    assert noticed[first + 1 :] == [True] + [False] * (7 - first)  # and it settles in the next one


def test_an_event_about_a_clip_that_rests_is_followed_at_once(bay):
    bay.write("day/lone4.mp4", b"grown")
    bay.tree.follow_hints(["day/lone4.mp4"], bay.seconds + 1.0)
    assert list(bay.tree.affected) == [("day", "lone4")]


def test_events_about_many_clips_are_all_followed_at_once(bay):
    names = [f"day/many{number}.mp4" for number in range(300)]
    for name in names:
        bay.write(name)
    bay.settle()
    bay.write(names[123], b"grown")
    bay.tree.follow_hints(names, bay.seconds + 1.0)
    assert list(bay.tree.affected) == [("day", "many123")]


def test_a_clip_that_is_still_written_to_is_looked_at_in_each_rescan(bay):
    bay.write("day/new.mp4")
    for size in range(2, 12):
        assert bay.rescan() == ["new"]
        bay.write("day/new.mp4", b"x" * size)


def test_a_folder_that_changed_just_now_is_read_again_whatever_its_times_say(tmp_path):
    bay = Bay(tmp_path, ahead=0.0)
    bay.write("lone.mp4")
    bay.settle()
    bay.write("lone.mp4", b"grown")
    assert bay.rescan() == ["lone"]


def test_only_a_local_disk_has_marks_and_only_of_changes_that_are_old_enough(tmp_path):
    def mark(path, now):
        fd = os.open(path, os.O_RDONLY)
        try:
            return FolderMarks(lambda: now).of(fd)
        finally:
            os.close(fd)

    changed = tmp_path.stat().st_ctime
    assert mark(tmp_path, changed + 2.1) is not None
    assert mark(tmp_path, changed + 1.9) is None
    assert mark(tmp_path, changed - 9.9) is None
    assert mark(Path("/proc/self"), time.time() + LATER) is None
