"""Nothing that is not whole leaves an inbox: real files, written the way that other programs write them."""

import pytest

from clipspool.check.folders import look_at_inbox
from clipspool.settings import load
from inboxes import Bench


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(**rules):
        made.append(Bench(tmp_path / "bay", **rules))
        return made[-1]

    yield make
    for one in made:
        assert one.inbox.stop()


# --- other programs' folders and files ------------------------------------------------------------------


def test_what_lies_in_recycle_bins_and_snapshots_is_never_taken(bench):
    b = bench()
    for folder in ("@Recycle", "#snapshot", "day/System Volume Information", "day/@eaDir", "day/#RECYCLE"):
        b.drop(f"{folder}/old.mp4")
    b.drop("day/#1 hero/new.mp4")
    b.settle()
    assert b.paths == ["day/#1 hero/new.mp4"]
    assert b.waiting() == {}


def test_clips_in_a_folder_that_only_looks_like_the_nas_are_told_of_once(bench, capsys):
    b = bench()
    b.drop("#1 hero/cut/a.mp4")
    (b.path / "@empty").mkdir()
    b.settle()
    b.look(100.0)
    assert b.paths == []
    (told,) = b.waiting().values()
    assert (told.path, told.problem) == ("#1 hero", False)
    assert "rename it" in told.reason
    assert capsys.readouterr().out.count("folder_passed_by") == 1
    (b.path / "#1 hero").rename(b.path / "1 hero")
    b.settle()
    assert b.paths == ["1 hero/cut/a.mp4"]
    assert b.waiting() == {}


def test_check_names_a_folder_that_only_looks_like_the_nas(tmp_path):
    (tmp_path / "config.toml").write_text(
        '[journal]\npath = "j.db"\n[[inbox]]\npath = "bay"\noutbox = "out"\n'
    )
    for folder in ("bay/@night", "bay/#recycle", "bay/day", "out"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.mp4").touch()
    (inbox,) = load(tmp_path / "config.toml", {"HOME": str(tmp_path)}).inbox
    said = [finding for finding in look_at_inbox(inbox) if "not looked into" in finding.why]
    assert [finding.level for finding in said] == ["warn"]
    assert "@night" in said[0].why


@pytest.mark.parametrize(
    "partner", ["a.mp4.aria2", "a.mp4.lftp-pget-status", "a.mp4.st", "a.mp4.1a2b3c4d.partial"]
)
def test_a_partner_keeps_a_clip_that_looks_whole_and_its_going_lets_it_on(bench, partner):
    b = bench(sidecar_wait_seconds=60.0)
    b.drop("a.mp4")
    b.write(partner, "control")
    b.settle()
    assert b.paths == []
    b.look(100.0)
    assert b.paths == []
    assert f"`{partner}` lies beside it" in b.note("a.mp4")
    (b.path / partner).unlink()
    b.look()
    assert b.paths == ["a.mp4"]
    assert b.note("a.mp4") is None


def test_a_partner_that_came_after_the_last_rescan_is_seen_before_the_clip_is_taken(bench):
    """Without events only a clip itself is looked at until the next rescan; its partner is not."""
    b = bench(rescan_seconds=1000.0)
    b.drop("a.mp4")
    b.look()
    b.write("a.mp4.aria2", "control")
    b.seconds += 3.0
    b.inbox.look(b.seconds)
    assert b.paths == []
    b.seconds += 3.0
    b.inbox.look(b.seconds)
    assert b.paths == []
    assert "`a.mp4.aria2` lies beside it" in b.waiting()["a.mp4"].reason
    (b.path / "a.mp4.aria2").unlink()
    b.look()
    assert b.paths == ["a.mp4"]


def test_a_copy_that_a_synchronising_tool_put_aside_is_asked_about_and_goes_on_under_a_name_of_its_own(bench):
    b = bench()
    conflict = b.drop("x.sync-conflict-20261129-120000-ABCDEFG.mp4")
    b.drop("x.mp4")
    b.settle()
    assert b.paths == ["x.mp4"]
    assert "synchronising tool" in b.note(conflict.name)
    conflict.rename(b.path / "x2.mp4")
    (b.path / f"{conflict.name}.toml").rename(b.path / "x2.toml")
    b.settle()
    assert b.paths == ["x.mp4", "x2.mp4"]
    assert b.note(conflict.name) is None
