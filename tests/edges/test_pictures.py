"""A folder of numbered pictures is one clip: with a sidecar of its name, when it is whole, and not before."""

import os

import pytest

from clipspool.spool.workfolder import read_manifest
from inboxes import SIDECAR, benches
from numbered import fill, png


@pytest.fixture
def bench(tmp_path):
    with benches(tmp_path / "bay") as make:
        yield make


def dropped(bench, name="seq", sidecar=SIDECAR, **pictures):
    """Drop a folder of pictures, then its sidecar."""
    names = fill(bench.path / name, **pictures)
    later(bench, f"{name}.toml", sidecar)
    return names


def later(bench, name, text):
    """Write a file whose date is surely after all that is there: a kernel counts time in ticks."""
    newest = max((p.stat().st_ctime_ns for p in bench.path.rglob("*") if p.is_file()), default=0)
    path = bench.write(name, text)
    while path.stat().st_ctime_ns <= newest:
        path = bench.write(name, text)
    return path


def test_a_folder_with_a_sidecar_of_its_name_is_accepted_as_one_clip(bench):
    b = bench(journal="j")
    names = dropped(b, "day/seq")
    b.settle()
    (accepted,) = b.accepted
    clip = accepted.clip
    assert (clip.path, clip.sidecar, clip.source) == ("day/seq", "day/seq.toml", "clip.pictures")
    work = b.path / ".clipspool/work" / clip.id
    assert sorted(path.name for path in (work / "clip.pictures").iterdir()) == names
    assert clip.size == sum(path.stat().st_size for path in (work / "clip.pictures").iterdir())
    assert (work / "sidecar.toml").exists()
    assert b.lying() == []
    assert clip.media["pictures"]["count"] == 24
    assert (clip.media["seconds"], clip.media["pictures"]["is_default_rate"]) == (1.0, True)
    assert read_manifest(b.root, clip.id).clip == clip
    assert b.waiting() == {}


def test_a_text_file_of_the_folders_name_is_enough(bench):
    b = bench(layers={"own": {"model": "m"}})
    fill(b.path / "seq")
    later(b, "seq.txt", "deep winter")
    b.settle()
    assert b.accepted[0].jobs[0].request.prompt == "deep winter"


@pytest.mark.parametrize("suffix", [".tif", ".exr", ".dpx"])
def test_pictures_that_are_no_reference_images_are_seen_as_well(bench, suffix):
    b = bench()
    for number in range(5):
        b.write(f"seq/a.{number:04}{suffix}", b"not what its name says")
    later(b, "seq.toml", SIDECAR)
    b.settle()
    assert "`a.0000" in b.note("seq")
    assert "is no picture" in b.note("seq")


def test_the_rate_is_the_sidecars_and_the_same_for_all_variants(bench):
    b = bench()
    dropped(b, sidecar=SIDECAR + "frames_per_second = 12\n[[variant]]\nseed = 1\n[[variant]]\nseed = 2\n")
    b.settle()
    (accepted,) = b.accepted
    assert (accepted.clip.media["seconds"], accepted.clip.media["fps"]) == (2.0, "12/1")
    assert [job.request.frames_per_second for job in accepted.jobs] == [12.0, 12.0]
    rates = "[[variant]]\nframes_per_second = 12\n[[variant]]\nframes_per_second = 24\n"
    dropped(b, "two", sidecar=SIDECAR + rates)
    b.settle()
    assert "has to be the same for all variants" in b.note("two")


def test_a_rate_in_a_films_own_sidecar_is_a_problem_and_in_defaults_it_is_none(bench):
    b = bench(layers={"own": {"frames_per_second": 12.0}})
    b.drop("a.mp4", sidecar=SIDECAR + "frames_per_second = 12\n")
    b.drop("b.mp4")
    b.settle()
    assert b.paths == ["b.mp4"]
    assert "line 3: `frames_per_second` is for folders of numbered pictures" in b.note("a.mp4")


# --- what is no clip, or not yet --------------------------------------------------------------------------


def test_pictures_without_a_sidecar_are_never_a_clip_whatever_the_defaults_say(bench):
    b = bench(sidecar_required=False, layers={"own": {"model": "m", "prompt": "winter"}})
    fill(b.path / "seq")
    b.look()
    b.look(3600.0)
    assert b.paths == []
    assert "named exactly seq.txt" in b.note("seq")
    later(b, "seq.toml", SIDECAR)
    b.settle()
    assert b.paths == ["seq"]
    assert b.note("seq") is None


def test_references_that_are_numbered_get_no_note_in_a_folder_for_references(bench):
    b = bench()
    fill(b.path / "refs")
    b.look()
    b.look(3600.0)
    assert (b.paths, b.note("refs")) == ([], None)


def test_the_note_comes_back_when_the_sidecar_goes(bench):
    b = bench()
    dropped(b, numbers=[1, 2, 4])
    b.settle()
    assert "picture 3 is missing" in b.note("seq")
    (b.path / "seq.toml").unlink()
    b.look(60.0)
    b.look(60.0)
    assert "named exactly seq.txt" in b.note("seq")


def test_two_stills_with_a_sidecar_of_their_folders_name_are_no_clip(bench):
    b = bench(sidecar_required=False, layers={"own": {"model": "m", "prompt": "winter"}})
    dropped(b, numbers=[1, 2])
    b.look()
    b.look(3600.0)
    assert b.paths == []
    assert "no clip named `seq` yet" in b.note("seq.toml")


def test_references_in_a_folder_beside_their_clip_stay_there(bench):
    b = bench()
    fill(b.path / "winter")
    b.drop("winter.mp4", sidecar=None)
    later(b, "winter.toml", SIDECAR + 'references = ["winter/shot.1001.png"]\n')
    b.settle()
    assert b.paths == ["winter.mp4"]
    assert len(list((b.path / "winter").iterdir())) == 24


def test_a_sidecar_that_refers_to_the_folders_own_pictures_is_for_a_clip_that_is_still_to_come(bench):
    b = bench()
    dropped(b, "winter", SIDECAR + 'references = ["winter/shot.1001.png"]\n')
    b.settle()
    assert b.paths == []
    assert "one of the pictures of the clip itself" in b.note("winter")
    b.drop("winter.mp4", sidecar=None)
    b.settle()
    assert b.paths == ["winter.mp4"]
    assert b.note("winter") is None


def test_missing_pictures_are_named_and_the_clip_goes_on_when_they_come(bench):
    b = bench()
    dropped(b, numbers=[1, 2, 3, 5, 6, 9])
    b.settle()
    assert b.paths == []
    assert "pictures 4, 7 to 8 are missing" in b.note("seq")
    assert b.waiting()["seq"].problem
    for number in (4, 7, 8):
        b.write(f"seq/shot.{number:04}.png", png(number))
    b.look()
    later(b, "seq.toml", SIDECAR)
    b.settle()
    assert b.paths == ["seq"]
    assert b.note("seq") is None


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("shot.1003.png", png(3, width=20), "`shot.1003.png` has 20x10 pixels, `shot.1001.png` 16x10"),
        ("shot.1003.png", b"GIF89a" + bytes(100), "`shot.1003.png` in it is no picture"),
        ("shot.1003.png", b"II*\0" + bytes(4), "`shot.1003.png` in it is not whole"),
        ("shot.1003.png", png(3)[:-20], "`shot.1003.png` in it is not whole"),
        ("shot.1003.png", b"", "`shot.1003.png` in it is not whole"),
        ("shot.1004.jpg", b"\xff\xd8\xff\xd9", "of more than one kind or name"),
        ("other.0001.png", png(), "of more than one kind or name"),
        ("note.txt", b"look", "nothing but its numbered pictures"),
        ("take.mp4", b"film", "in it is `take.mp4`"),
        ("more/shot.1004.png", png(), "in it is `more`"),
    ],
)
def test_what_has_no_place_among_the_pictures_is_named(bench, name, data, said):
    b = bench()
    fill(b.path / "seq", range(1001, 1006))
    b.write(f"seq/{name}", data)
    later(b, "seq.toml", SIDECAR)
    b.look()
    b.look(60.0)
    assert b.paths == []
    assert said in b.note("seq")


def test_what_desktops_and_nas_leave_there_goes_along(bench):
    b = bench()
    for name in (".DS_Store", "._shot.1001.png", "Thumbs.db", "@eaDir/shot.1001.png"):
        b.write(f"seq/{name}", b"x")
    dropped(b)
    b.settle()
    assert b.paths == ["seq"]
    assert b.lying() == []


def test_links_are_no_pictures(bench, tmp_path):
    b = bench()
    (tmp_path / "secret.png").write_bytes(png())
    fill(b.path / "seq", range(1, 4))
    (b.path / "seq/shot.0004.png").symlink_to(tmp_path / "secret.png")
    later(b, "seq.toml", SIDECAR)
    b.look()
    b.look(60.0)
    assert b.paths == []
    assert "in it is `shot.0004.png`" in b.note("seq")


# --- still on its way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("partner", ["shot.1003.png.tmp", "shot.1003.png.part", ".shot.1003.png.Xk2a9Q"])
def test_a_picture_on_its_way_keeps_the_folder_waiting(bench, partner):
    b = bench()
    dropped(b, numbers=[1001, 1002, 1003])
    b.write(f"seq/{partner}", b"half")
    later(b, "seq.toml", SIDECAR)
    b.settle()
    assert b.paths == []
    assert "is in it" in b.waiting()["seq"].reason
    (b.path / "seq" / partner).unlink()
    later(b, "seq.toml", SIDECAR)
    b.settle()
    assert b.paths == ["seq"]


def test_a_folder_that_is_written_picture_by_picture_is_accepted_when_none_comes_any_more(bench):
    b = bench()
    for number in range(1, 30):
        b.write(f"seq/shot.{number:04}.png", png(number))
        later(b, "seq.toml", SIDECAR)
        b.look(2.0)
        assert b.paths == []
    b.look(3.0)
    assert b.paths == ["seq"]
    assert b.accepted[0].clip.media["pictures"]["count"] == 29


def test_a_picture_that_is_written_again_begins_the_rest_anew(bench):
    b = bench()
    dropped(b)
    b.look()
    b.look(2.0)
    b.write("seq/shot.1005.png", png(99))
    later(b, "seq.toml", SIDECAR)
    b.look(2.0)
    assert b.paths == []
    b.look(3.0)
    assert b.paths == ["seq"]


def test_without_a_later_sidecar_the_folder_rests_for_long_and_says_so(bench):
    b = bench()
    b.write("seq.toml", SIDECAR)
    fill(b.path / "seq")
    os.utime(b.path / "seq/shot.1024.png")
    b.look()
    b.look(61.0)
    assert b.paths == []
    assert "24 pictures are there" in b.note("seq")
    assert "by itself when none came for 5:00, or once its sidecar is saved again" in b.note("seq")
    b.look(240.0)
    assert b.paths == ["seq"]
    assert b.note("seq") is None


def test_pictures_that_come_slowly_are_waited_for_longer(bench, monkeypatch):
    """One rendered every 20 seconds: the sidecar alone is no sign that the last has come."""
    from clipspool.intake import sequences  # noqa: PLC0415

    b = bench()
    dropped(b)
    real = sequences.stamp_of
    pictures = sorted(path.stat().st_ino for path in (b.path / "seq").iterdir())

    def slow(status):
        size, mtime, ctime, *rest = real(status)
        return size, mtime, ctime - pictures.index(status.st_ino) * 20 * 10**9, *rest

    monkeypatch.setattr(sequences, "stamp_of", slow)
    b.settle()
    b.look(60.0)
    assert b.paths == []
    b.look(20.0)
    assert b.paths == ["seq"]


def test_a_picture_that_comes_at_the_last_instant_leaves_the_folder_where_it_is(bench, monkeypatch):
    from clipspool.spool import claims  # noqa: PLC0415

    b = bench()
    dropped(b)
    real = claims._bring_in
    extra = b.path / "seq/shot.1025.png"
    monkeypatch.setattr(
        "clipspool.intake.accept.claim",
        lambda *given: (extra.exists() or extra.write_bytes(png()), claims.claim(*given)),
    )
    b.settle()
    assert b.paths == []
    assert extra.exists()
    assert not list((b.path / ".clipspool/work").iterdir())
    later(b, "seq.toml", SIDECAR)
    b.settle()
    assert b.accepted[0].clip.media["pictures"]["count"] == 25
    assert real is claims._bring_in


def test_the_rest_of_a_folder_that_was_accepted_too_early_is_not_taken_for_a_clip(bench):
    b = bench()
    dropped(b)
    b.settle()
    fill(b.path / "seq", range(1025, 1040))
    b.look()
    b.look(120.0)
    assert b.paths == ["seq"]
    assert "named exactly seq.txt" in b.note("seq")
