"""Nothing that is not whole leaves an inbox: real files, written the way that other programs write them."""

import os
import shutil
import struct
import subprocess

import pytest

from clipspool.app.settings import load
from clipspool.cli.check.folders import look_at_inbox
from films import FTYP, cluster, film, fragment, fragmented, info, matroska, tracks
from inboxes import benches
from media_clips import clip


@pytest.fixture
def bench(tmp_path):
    with benches(tmp_path / "bay") as make:
        yield make


# --- other programs' folders and files ------------------------------------------------------------------


def test_what_lies_in_recycle_bins_and_snapshots_is_never_taken(bench):
    b = bench()
    for folder in ("@Recycle", "#snapshot", "day/System Volume Information", "day/@eaDir", "day/#RECYCLE"):
        b.drop(f"{folder}/old.mp4")
    b.drop("day/@GMT-2026.12.01-00.00.00/old.mp4")
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
    settings = load(tmp_path / "config.toml", {"HOME": str(tmp_path)})
    said = [
        finding
        for finding in look_at_inbox(settings.inbox[0], settings)
        if "ignored: at the top" in finding.why
    ]
    assert [finding.level for finding in said] == ["warn"]
    assert "@night" in said[0].why


def test_a_small_clip_is_whole_where_a_read_returns_a_part_of_what_was_asked_for(bench, monkeypatch):
    """As a FUSE driver may."""
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: real(fd, min(count, 50), at))
    b = bench()
    b.drop("a.mp4", film())
    b.settle()
    assert b.paths == ["a.mp4"]


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
    assert f"`{partner}` is beside it" in b.note("a.mp4")
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
    b.inbox.run_pass(b.seconds)
    assert b.paths == []
    b.seconds += 3.0
    b.inbox.run_pass(b.seconds)
    assert b.paths == []
    assert "`a.mp4.aria2` is beside it" in b.waiting()["a.mp4"].reason
    (b.path / "a.mp4.aria2").unlink()
    b.look()
    assert b.paths == ["a.mp4"]


def test_a_copy_that_a_synchronising_tool_put_aside_is_asked_about_and_goes_on_under_a_name_of_its_own(bench):
    b = bench()
    conflict = b.drop("x.sync-conflict-20261129-120000-ABCDEFG.mp4")
    b.drop("x.mp4")
    b.settle()
    assert b.paths == ["x.mp4"]
    assert "sync tool" in b.note(conflict.name)
    conflict.rename(b.path / "x2.mp4")
    (b.path / f"{conflict.name}.toml").rename(b.path / "x2.toml")
    b.settle()
    assert b.paths == ["x.mp4", "x2.mp4"]
    assert b.note(conflict.name) is None


# --- parts that were never written ----------------------------------------------------------------------


def lack(whole, copy, how):
    """Write a copy of which the second quarter is missing: zeros, room set aside, or a hole."""
    data, count = whole.read_bytes(), whole.stat().st_size
    with copy.open("wb", buffering=0) as file:
        match how:
            case "zeros":
                file.write(bytes(count))
            case "room":
                os.posix_fallocate(file.fileno(), 0, count)
            case _:
                os.ftruncate(file.fileno(), count)
        file.seek(0)
        file.write(data[: count // 4])
        file.seek(count // 2)
        file.write(data[count // 2 :])


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A film of 1 to 2 MB, its index in front."""
    path = tmp_path_factory.mktemp("films") / "large.mp4"
    noise = "color=gray:s=1280x720:r=24:d=0.5,noise=alls=60:allf=t"
    coding = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-crf", "39"]
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", noise, *coding, "-movflags", "+faststart"]
    subprocess.run([*command, str(path)], check=True)
    return path


def tells_of_holes(folder):
    with (folder / "probe").open("wb") as file:
        file.truncate(1 << 20)
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 0


@pytest.mark.parametrize("how", ["zeros", "room", "hole"])
def test_a_clip_with_a_part_missing_never_goes_on_by_itself_and_goes_on_when_it_is_filled(
    bench, tmp_path, large, how
):
    if how != "zeros" and not tells_of_holes(tmp_path):
        pytest.skip("this file system does not tell of holes")
    b = bench()
    path = b.drop("a.mp4", data=b"x")
    lack(large, path, how)
    b.settle()
    assert b.paths == []
    b.look(10_000.0)
    assert b.paths == []
    assert ("was never written" in b.note("a.mp4")) or ("nothing but zeros" in b.note("a.mp4"))
    with path.open("rb+") as file:
        file.write(large.read_bytes())
    b.settle()
    assert b.paths == ["a.mp4"]
    assert b.note("a.mp4") is None


def test_room_set_aside_is_seen_though_somebody_read_it_before(bench, large):
    """Reading makes it look like data on ext4; then the zeros in its pictures tell."""
    b = bench()
    path = b.drop("a.mp4", data=b"x")
    lack(large, path, "room")
    path.read_bytes()
    b.settle()
    b.look(10_000.0)
    assert b.paths == []


def test_silence_and_black_are_no_parts_missing(bench, tmp_path):
    b = bench()
    for name in ("prores.mov", "black_raw.mov", "plain.mp4", "fragments.mp4", "vp9.webm"):
        shutil.copy(clip(tmp_path / "made", name), b.drop(name))
    quiet = b.path / "quiet.mov"
    sound = ["-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo:d=9"]
    picture = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=24:d=1", "-c:v", "libx264", "-pix_fmt", "yuv420p"]
    subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-t",
            "9",
            *sound,
            *picture,
            "-c:a",
            "pcm_s24le",
            str(b.drop("quiet.mov")),
        ],
        check=True,
    )
    assert quiet.read_bytes().count(bytes(1 << 20))
    b.settle()
    assert len(b.paths) == 6, b.waiting()


def test_a_clip_whose_index_points_behind_its_end_waits_until_the_rest_is_there(bench):
    b = bench()
    path = b.drop("a.mp4", data=film((400, 500, 600), missing=700))
    b.settle()
    b.look(10_000.0)
    assert b.paths == []
    assert "its index names" in b.note("a.mp4")
    path.write_bytes(film((400, 500, 600)))
    b.settle()
    assert b.paths == ["a.mp4"]


# --- ends that nothing tells ----------------------------------------------------------------------------

LIVE = matroska(info(), tracks(), cluster(0, length=0), length=0)


@pytest.mark.parametrize(
    "data", [LIVE, fragmented(), FTYP + film()[len(FTYP) :][:0] + fragmented()[len(FTYP) :]]
)
def test_a_recording_that_tells_no_end_waits_long_and_says_so_and_then_goes_on(bench, data):
    b = bench()
    b.drop("a.mkv", data=data)
    b.settle()
    assert b.paths == []
    assert "does not say where it ends" in b.waiting()["a.mkv"].reason
    assert "5 minutes" in b.waiting()["a.mkv"].reason
    assert not b.inbox.is_idle
    b.look(60.0)
    assert "more may come" in b.note("a.mkv")
    assert "Nothing has to be done" in b.note("a.mkv")
    assert "Fix this" not in b.note("a.mkv")
    b.look(230.0)
    assert b.paths == []
    b.look(10.0)
    assert b.paths == ["a.mkv"]
    assert b.note("a.mkv") is None


def test_a_recording_that_comes_in_steps_is_not_taken_between_two_of_them(bench):
    b = bench(unsure_seconds=20.0)
    path = b.drop("a.mkv", data=LIVE)
    b.look()
    for step in range(1, 8):
        b.look(4.0)
        b.look(4.0)
        assert b.paths == [], step
        with path.open("ab") as file:
            file.write(cluster(500 * step, length=0))
    b.look()
    b.look(20.0)
    assert b.paths == []  # it paused for 8 s each time: 20 s are too few to tell
    b.look(30.0)
    assert b.paths == ["a.mkv"]


def test_a_recording_waits_as_long_as_its_writer_has_it_open_and_less_once_that_closed_it(bench, monkeypatch):
    monkeypatch.setattr("clipspool.intake.whole.Writers.are_all_seen", lambda _self: True)
    b = bench(unsure_seconds=100.0)
    path = b.drop("a.mp4", data=fragmented())
    writer = path.open("ab")
    b.settle()
    b.look(500.0)
    assert b.paths == []
    assert "still has it open for writing" in b.note("a.mp4")
    writer.close()
    b.look(1.0)
    assert b.paths == ["a.mp4"]


def test_a_clip_that_is_whole_waits_for_its_writer_to_close_it_but_not_for_ever(bench):
    b = bench(unsure_seconds=100.0)
    kept, closed = b.drop("kept.mp4"), b.drop("closed.mp4")
    with kept.open("ab"):
        with closed.open("ab"):
            b.settle()
            assert b.paths == []
            assert "still has it open for writing" in b.waiting()["closed.mp4"].reason
            assert not b.inbox.is_idle
        b.look(1.0)
        assert b.paths == ["closed.mp4"]
        b.look(60.0)
        assert "still has it open for writing" in b.note("kept.mp4")
        b.look(40.0)
        assert b.paths == ["closed.mp4", "kept.mp4"]


def test_a_writer_that_closes_early_shortens_the_wait(bench, monkeypatch):
    monkeypatch.setattr("clipspool.intake.whole.Writers.are_all_seen", lambda _self: True)
    b = bench(unsure_seconds=100.0)
    path = b.drop("a.mp4", data=fragmented())
    with path.open("ab"):
        b.settle()
    b.look(1.0)
    assert b.paths == []
    b.look(7.0)
    assert b.paths == ["a.mp4"]


def test_where_an_nfs_server_runs_a_closed_file_tells_nothing(bench, monkeypatch):
    monkeypatch.setattr("clipspool.intake.whole.Writers.are_all_seen", lambda _self: False)
    b = bench(unsure_seconds=100.0)
    path = b.drop("a.mp4", data=fragmented())
    with path.open("ab"):
        b.settle()
    b.look(50.0)
    assert b.paths == []
    b.look(50.0)
    assert b.paths == ["a.mp4"]


def test_a_recording_that_reached_its_end_goes_on_at_once(bench):
    b = bench()
    ends = {
        "mfra.mp4": fragmented() + struct.pack(">I4s", 16, b"mfra") + bytes(8),
        "told.mp4": fragmented(3, told=600),
        "told.mkv": matroska(info(0.5), tracks(), cluster(0, length=0), length=0),
        "known.mkv": matroska(info(), tracks(), cluster(0)),
    }
    for name, data in ends.items():
        b.drop(name, data=data)
    b.settle()
    assert set(b.paths) == set(ends)


def test_a_recording_that_grows_on_while_it_waits_is_looked_at_anew(bench):
    b = bench(unsure_seconds=60.0)
    path = b.drop("a.mp4", data=fragmented(2))
    b.settle()
    b.look(55.0)
    with path.open("ab") as file:
        file.write(fragment(3, 400))
    b.look(1.0)
    b.look(59.0)
    assert b.paths == []
    b.look(240.0)
    assert b.paths == ["a.mp4"]
