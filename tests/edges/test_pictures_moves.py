"""A folder of pictures that is cut anywhere on its way lies whole in one place, on one disk or on several."""

import errno
import os
from dataclasses import replace
from itertools import count

import pytest

from clipspool.jobs.model import PICTURES_SOURCE, Error, Paid, State
from clipspool.spool.claims import claim
from clipspool.spool.pruning import NotOurs, files_of, remove
from clipspool.spool.recovery import left_behind, tidy
from clipspool.spool.root import Root
from clipspool.spool.sources import digest, stamp
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import Manifest, bring_back, folder_of
from clipspool.stages.changed import change_of
from clipspool.stages.retire import retire, sweep
from disks import Crash, Disk
from fakes import NOON, a_clip, a_job, a_task, always
from numbered import fill

DONE = a_job(state=State.DELIVERED, task=a_task(), paid=Paid.YES)
FAILED = a_job(state=State.FAILED, task=a_task(), error=Error("X", "it failed", "", paid=Paid.YES))
REFUSALS = [0, errno.EXDEV]


class Place:
    """An inbox with a folder of pictures and its sidecar, not accepted yet."""

    def __init__(self, path, keeps_sources=True):
        (path / "in/day").mkdir(parents=True)
        (path / "out").mkdir()
        self.path = path / "in"
        self.names = fill(self.path / "day/seq", range(1, 4))
        (self.path / "day/seq/Thumbs.db").write_bytes(b"thumbs")
        (self.path / "day/seq.toml").write_text('prompt = "winter"\n')
        self.root = Root(self.path)
        self.bay = Folders("bay", self.root, Root(path / "out"), keeps_sources=keeps_sources)
        size, mtime_ns = stamp(self.root, "day/seq")
        clip = a_clip(path="day/seq", sidecar="day/seq.toml", source=PICTURES_SOURCE)
        self.clip = replace(clip, size=size, mtime_ns=mtime_ns, sha256=digest(self.root, "day/seq"))

    def claim(self):
        claim(self.root, Manifest(self.clip, (DONE,), "journal"))
        return self

    def whole(self):
        """Return where all its pictures lie together, under a name that is not ours for a moment."""
        found = []
        for folder, _, files in os.walk(self.path):
            if {*self.names, "Thumbs.db"} <= set(files) and not folder.endswith(".tmp"):
                found.append(str(os.path.relpath(folder, self.path)))
        return found

    def pieces(self):
        """Return where any of its pictures lie, apart from what is about to be removed."""
        walked = os.walk(self.path)
        return sorted(
            str(os.path.relpath(folder, self.path))
            for folder, _, files in walked
            if any(name.endswith(".png") for name in files) and not folder.endswith(".tmp")
        )


HOME = folder_of("clip1")
IN_WORK = f"{HOME}/{PICTURES_SOURCE}"


def cut_at(step, refused, act):
    """Do something that is cut at its `step`-th change; return whether it was."""
    try:
        with Disk(step, refused).in_place():
            act()
    except Crash:
        return True
    return False


@pytest.mark.parametrize("refused", REFUSALS)
def test_a_claim_that_is_cut_anywhere_leaves_all_pictures_in_one_place(tmp_path, refused):
    for step in count(1):
        place = Place(tmp_path / str(step))
        was_cut = cut_at(step, refused, place.claim)
        assert len(place.whole()) in ({1, 2} if refused else {1})
        with Disk(0, refused).in_place():
            accepted = left_behind("bay", place.root, "journal", set())
        assert place.pieces() == place.whole()
        assert place.whole() == ([IN_WORK] if accepted else ["day/seq"])
        assert bool(accepted) == (not (place.path / "day/seq").exists())
        if not was_cut:
            break
    assert accepted
    assert step > (25 if refused else 6)


@pytest.mark.parametrize("refused", REFUSALS)
@pytest.mark.parametrize("job", [DONE, FAILED], ids=["done", "failed"])
def test_a_retirement_that_is_cut_anywhere_ends_in_one_folder_with_its_sidecar(tmp_path, refused, job):
    for step in count(1):
        place = Place(tmp_path / str(step)).claim()
        act = lambda p=place: retire(p.clip, [job], p.bay, always)  # noqa: E731
        was_cut = cut_at(step, refused, act)
        with Disk(0, refused).in_place():
            clip = act()
        home = "_done/day/seq" if job is DONE else "_failed/day/seq"
        assert (clip.lies_at, clip.sidecar_lies_at) == (home, f"{home}.toml")
        assert place.whole() == place.pieces() == [home]
        assert (place.path / f"{home}.error.toml").exists() == (job is FAILED)
        sweep(clip, place.bay)
        assert not (place.path / HOME).exists()
        if not was_cut:
            break
    assert step > (20 if refused else 4)


@pytest.mark.parametrize("refused", REFUSALS)
def test_a_folder_that_is_brought_back_and_cut_anywhere_lies_in_its_work_folder(tmp_path, refused):
    for step in count(1):
        place = Place(tmp_path / str(step)).claim()
        clip = retire(place.clip, [DONE], place.bay, always)
        sweep(clip, place.bay)
        act = lambda p=place, c=clip: bring_back(p.root, c, DONE, "journal")  # noqa: E731
        was_cut = cut_at(step, refused, act)
        with Disk(0, refused).in_place():
            act()
        assert place.whole() == place.pieces() == [IN_WORK]
        if not was_cut:
            break
    assert step > (20 if refused else 6)


def test_a_copy_keeps_the_pictures_dates_so_that_they_are_known_again(tmp_path):
    place = Place(tmp_path)
    os.utime(place.path / "day/seq/shot.0002.png", (1e9, 1e9))
    before = stamp(place.root, "day/seq")
    with Disk(0, errno.EXDEV).in_place():
        place.claim()
    assert stamp(place.root, IN_WORK) == before


def test_a_folder_is_deleted_where_sources_are_not_kept_but_not_what_changed(tmp_path):
    place = Place(tmp_path / "a", keeps_sources=False).claim()
    retire(place.clip, [DONE], place.bay, always)
    assert place.pieces() == []
    assert not (place.path / "_done").exists()
    place = Place(tmp_path / "b", keeps_sources=False).claim()
    (place.path / IN_WORK / "shot.0004.png").write_bytes(b"one more")
    clip = retire(place.clip, [DONE], place.bay, always)
    assert clip.lies_at == "_done/day/seq"
    assert "pictures changed after they were sent" in (place.path / "_done/day/seq.changed.txt").read_text()


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda folder: (folder / "shot.0002.png").unlink(), "its pictures changed"),
        (lambda folder: (folder / "shot.0002.png").write_bytes(b"other"), "its pictures changed"),
        (lambda folder: (folder / "shot.0002.png").rename(folder / "shot.0009.png"), ""),
        (lambda folder: (folder / "note.txt").write_bytes(b"look"), "`note.txt` was put into it"),
        (lambda folder: os.utime(folder / "shot.0002.png", (1, 1)), ""),
    ],
    ids=["gone", "other", "renamed", "strange", "dated"],
)
def test_what_became_of_the_pictures_after_they_were_sent_is_said(tmp_path, act, said):
    place = Place(tmp_path).claim()
    act(place.path / IN_WORK)
    assert said in change_of(place.clip, [DONE], place.bay)


def test_the_name_of_a_picture_is_part_of_a_folders_hash(tmp_path):
    place = Place(tmp_path)
    before = digest(place.root, "day/seq")
    (place.path / "day/seq/shot.0003.png").rename(place.path / "day/seq/shot.0004.png")
    assert digest(place.root, "day/seq") != before


def test_a_folder_is_pruned_whole_and_not_where_somebody_put_something_into_it(tmp_path):
    place = Place(tmp_path / "a").claim()
    clip = retire(place.clip, [DONE], place.bay, always)
    found = files_of(place.root, clip, ())
    assert [one.rel for one in found] == ["_done/day/seq", "_done/day/seq.toml"]
    (place.path / "_done/day/seq/mine.txt").write_text("keep me")
    remove(place.root, found)
    assert place.whole() == ["_done/day/seq"]
    with pytest.raises(NotOurs):
        files_of(place.root, clip, ())
    (place.path / "_done/day/seq/mine.txt").unlink()
    picture = place.path / "_done/day/seq" / place.names[1]
    before = picture.read_bytes()
    picture.write_bytes(b"painted over meanwhile")
    remove(place.root, found)
    assert place.whole() == ["_done/day/seq"]
    picture.write_bytes(before)
    os.utime(picture, ns=(clip.mtime_ns, clip.mtime_ns))
    remove(place.root, found)
    assert place.pieces() == []
    assert not (place.path / "_done/day").exists()


def test_a_folder_that_a_crash_left_half_copied_is_removed_after_an_hour(tmp_path):
    place = Place(tmp_path)
    left = place.path / "_failed/.0123456789abcdef.tmp"
    fill(left, range(3))
    os.utime(left, (NOON, NOON))
    tidy(place.root, NOON + 60)
    assert left.exists()
    tidy(place.root, NOON + 7200)
    assert not left.exists()


def test_a_link_in_the_folder_is_never_followed_and_never_copied(tmp_path):
    place = Place(tmp_path)
    (tmp_path / "secret").write_text("secret")
    (place.path / "day/seq/shot.0004.png").symlink_to(tmp_path / "secret")
    with Disk(0, errno.EXDEV).in_place(), pytest.raises(OSError, match="no regular file"):
        place.claim()
    assert place.whole() == ["day/seq"]
    assert (tmp_path / "secret").read_text() == "secret"
