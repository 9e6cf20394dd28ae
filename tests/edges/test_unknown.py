"""What lies in an inbox and is neither clip nor sidecar is answered, and never in a flood."""

import os

import pytest

from inboxes import CLIP, EPOCH, SIDECAR, benches


@pytest.fixture
def bench(tmp_path):
    with benches(tmp_path / "bay", layers={"own": {"model": "m"}}) as make:
        yield make


def notes(bench):
    return sorted(
        str(path.relative_to(bench.path)).removesuffix(".problem.txt")
        for path in bench.path.rglob("*.problem.txt")
    )


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "A.wmv",
            "it is video of a kind that is not accepted (.wmv); accepted: .avi, .gif, .m2ts, .m4v, .mkv,",
        ),
        ("B.FLV", "ffmpeg -i"),
        ("C.vob", "not accepted (.vob)"),
        ("D.ogv", "not accepted (.ogv)"),
        ("E.3gp", "not accepted (.3gp)"),
        ("A001.R3D", "camera raw"),
        ("A002.braw", "camera raw"),
        ("still.dng", "camera raw"),
        ("mix.wav", "sound without pictures"),
        ("all.zip", "archive"),
        ("all.7z", "archive"),
        ("cut.prproj", "project of a program"),
        ("cut.drp", "project of a program"),
        ("cut.aaf", "timeline of a kind that is not read"),
        ("cut.ale", "export it as OTIO, EDL, FCP XML or FCPXML"),
        ("frame.exr", "still picture"),
        ("notes.docx", "document"),
        ("shot.mp4 - Shortcut.lnk", "shortcut"),
        ("settings.yaml", "TOML"),
        ("shot.toml.txt", "rename it to `shot.toml`"),
        ("shot.toml.rtf", "save it as plain text, named `shot.toml`"),
        ("what.xyz", "this kind of file (.xyz) is unknown"),
        ("shot.mp4 ", "rename it to `shot.mp4`"),
        ("shot.mov.", "rename it to `shot.mov`"),
        ("nosuffix", "this kind of file is unknown"),
    ],
)
def test_a_file_of_no_use_gets_a_note_that_says_what_it_is_and_what_to_do(bench, required, name, said):
    b = bench(sidecar_required=required)
    path = b.write(f"day/{name}", b"anything")
    b.look()
    b.look(59.0)
    assert notes(b) == []
    b.look(1.0)
    assert said in b.note(f"day/{name}")
    assert name in b.note(f"day/{name}")
    assert b.note(f"day/{name}").endswith(f"This note goes when {name} is renamed, moved or removed.\n")
    assert b.waiting()[f"day/{name}"].problem
    path.unlink()
    b.look()
    assert notes(b) == []
    assert b.waiting() == {}


@pytest.mark.parametrize("name", ["notes.txt", "prompt ideas.txt"])
def test_a_text_that_no_clip_may_have_meant_gets_a_note_and_waits_for_nobody(bench, name):
    b = bench()
    path = b.write(name, b"anything")
    b.look()
    b.look(60.0)
    said = b.note(name)
    assert said.startswith(f"clipspool does not use {name}:")
    assert "no clip has its name. If it is a prompt, give it the name of its clip" in said
    assert "nothing has to be done" in said
    assert "Fix this" not in said
    assert b.waiting() == {}
    b.look(1000.0)
    assert notes(b) == [name]
    b.drop(f"{name.removesuffix('.txt')}.mp4")
    b.settle()
    assert notes(b) == []
    path.unlink(missing_ok=True)


def test_a_text_with_nearly_the_name_of_a_clip_still_asks_its_editor(bench):
    b = bench()
    b.write("e10-shot.txt", b"anything")
    b.write("e10_shot.mp4", CLIP)
    b.look()
    b.look(1000.0)
    assert b.waiting()["e10-shot.txt"].problem


@pytest.mark.parametrize("top", ["#Work", "@Foo"])
def test_a_folder_that_is_passed_by_for_its_first_letter_gets_a_note_beside_it(bench, top):
    b = bench()
    b.write(f"{top}/shot.mp4", CLIP)
    b.look()
    said = b.note(top)
    assert "this folder is not looked into" in said
    assert "rename it" in said
    other = bench()
    other.look()
    assert notes(other) == [top], "it stays over a new start"
    (b.path / top).rename(b.path / "Work")
    other.look(30.0)
    assert top not in notes(other)


@pytest.mark.parametrize(
    "name",
    [
        *(".DS_Store", "Thumbs.db", "desktop.ini", "README.txt", "LICENSE", "C0001M01.XML", "GX010001.THM"),
        *(
            "a.mp4:Zone.Identifier",
            "a.toml:AFP_AfpInfo",
            "._A.wmv",
            "_private.wmv",
            "shot.mp4.md5",
            "shot.toml~",
            "A.wmv.part",
            "x.bak",
        ),
    ],
)
def test_what_systems_and_tools_leave_behind_gets_no_answer(bench, name):
    b = bench()
    b.write(name, b"anything")
    b.look()
    b.look(1000.0)
    assert notes(b) == []
    assert b.waiting() == {}


@pytest.mark.parametrize("kind", ["folder", "nowhere", "device"])
def test_a_link_without_a_clips_name_is_named_as_one(bench, kind, tmp_path):
    b = bench()
    if kind == "device":
        os.mkfifo(b.path / "day 1")
    else:
        (b.path / "day 1").symlink_to(tmp_path if kind == "folder" else "nowhere")
    b.look()
    b.look(60.0)
    assert "it is a link or a device, and none is followed" in b.note("day 1")


def test_what_is_to_be_ignored_gets_no_answer(bench):
    b = bench(ignore=("*.wmv", "raw/*"))
    b.write("A.wmv", b"x")
    b.write("raw/A.r3d", b"x")
    b.look()
    b.look(1000.0)
    assert notes(b) == []


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (CLIP[:40], "rename it to `take7.mp4`"),
        (b"\x1aE\xdf\xa3" + b"x" * 40, "rename it to `take7.mkv`"),
        (b"FLV\x01" + b"x" * 40, "it holds video (Flash video)"),
        (b"\x06\x0e+4" + b"x" * 40, "rename it to `take7.mxf`"),
        ((b"G" + b"x" * 187) * 4, "rename it to `take7.ts`"),
    ],
)
def test_film_in_a_file_without_a_suffix_is_told_by_its_first_bytes(bench, start, said):
    b = bench()
    b.write("take7", start)
    b.look()
    b.look(60.0)
    assert said in b.note("take7")


def test_a_link_to_film_outside_is_not_opened(bench, tmp_path):
    (tmp_path / "outside").write_bytes(CLIP)
    b = bench()
    (b.path / "take7").symlink_to(tmp_path / "outside")
    b.look()
    b.look(60.0)
    assert "holds video" not in b.note("take7")


def test_ten_thousand_files_of_a_kind_get_one_note_that_is_written_once_they_stand_still(bench):
    b = bench()
    for number in range(10_000):
        os.close(os.open(b.path / f"A{number:05}.wmv", os.O_CREAT | os.O_WRONLY))
    b.drop("shot.mp4")
    b.settle()
    b.look(60.0)
    assert b.paths == ["shot.mp4"]
    assert notes(b) == ["A00000.wmv"]
    assert "for each of the 10,000 files `A00000.wmv`, `A00001.wmv`, `A00002.wmv` and 9,997 more" in b.note(
        "A00000.wmv"
    )
    assert len(b.waiting()) == 1
    due = b.inbox.run_pass(b.seconds)
    assert due >= b.seconds + 9.0, "nothing but the look for others that share the inbox is due"


def test_a_note_for_many_names_them_all_and_none_that_is_only_misnamed(bench):
    b = bench()
    for number in range(5):
        b.write(f"odd{number}.xyz", b"x")
    b.write("a.mp4 ", b"x")
    b.write("c.toml", b'prompt = "x"')
    b.write("c", b"x")
    b.write("b", b"FLV\x01" + b"x" * 40)
    b.look()
    b.look(60.0)
    assert notes(b) == ["a.mp4 ", "b", "c", "c.toml"]
    assert "found `c`; a name without a suffix is not accepted" in b.note("c.toml")
    assert "for each of the 6 files `c`, `odd0.xyz`, `odd1.xyz` and 3 more:" in b.note("c")
    assert "The others are `odd2.xyz`, `odd3.xyz`, `odd4.xyz`." in b.note("c")
    assert "rename it to `a.mp4`" in b.note("a.mp4 ")
    assert "Flash video" in b.note("b")


def test_few_of_a_kind_get_a_note_each_and_many_kinds_no_flood(bench):
    b = bench()
    for name in ("A.wmv", "B.wmv", "E.wmv"):
        b.write(name, b"x")
    suffixes = [
        "f4v",
        "tod",
        "vro",
        "mpe",
        "nut",
        "divx",
        "wmv",
        "flv",
        "3gp",
        "vob",
        "ogv",
        "dv",
        "asf",
        "rm",
        "qt",
    ]
    for suffix in suffixes:
        for number in range(4):
            b.write(f"dump/{number}.{suffix}", b"x")
    b.look()
    b.look(60.0)
    assert [name for name in notes(b) if "/" not in name] == ["A.wmv", "B.wmv", "E.wmv"]
    assert len([name for name in notes(b) if "/" in name]) == 1


def test_a_note_for_many_moves_on_when_its_file_goes_and_notes_of_an_earlier_run_are_tidied(bench):
    b = bench()
    for number in range(6):
        b.write(f"A{number}.wmv", b"x")
    b.look()
    b.look(60.0)
    (b.path / "A0.wmv").unlink()
    b.look()
    assert notes(b) == ["A1.wmv"]
    b.write("A3.wmv.problem.txt", b.note("A1.wmv"))
    b.write("mine.problem.txt", "not one of ours")
    b.begin()
    b.look()
    b.look(60.0)
    b.look()
    assert notes(b) == ["A1.wmv", "mine"]


def test_a_folder_of_numbered_pictures_gets_one_note_beside_it(bench):
    b = bench()
    for number in range(5):
        b.write(f"seq/shot.{number:04}.png", b"x")
        b.write(f"exr/beauty_{number:06}.exr", b"x")
    b.look()
    b.look(60.0)
    assert notes(b) == ["exr", "seq"]
    assert "5 numbered pictures, `shot.0000.png` to `shot.0004.png`" in b.note("seq")
    assert "named exactly seq.txt" in b.note("seq")
    assert "frames_per_second = 24 " in b.note("seq")
    assert "cannot take seq yet" in b.note("seq")
    assert "\n" not in b.waiting()["seq"].reason  # the status file and `status` have a line for it
    for path in (b.path / "seq").iterdir():
        path.unlink()
    (b.path / "seq").rmdir()
    b.look()
    assert notes(b) == ["exr"]


def test_numbered_pictures_in_the_inbox_itself_get_one_note(bench):
    b = bench()
    for number in range(500):
        b.write(f"shot{number:04}.jpg", b"x")
    b.look()
    b.look(200.0)
    assert notes(b) == ["shot0000.jpg"]


def test_an_image_that_no_clip_refers_to_is_asked_about_and_one_that_a_clip_uses_is_not(bench):
    b = bench()
    b.seconds = 0.0
    b.write("winter.png", b"x")
    b.write("refs/summer.png", b"x")
    for path in b.path.rglob("*.png"):
        os.utime(path)
    b.inbox._now = b.inbox._waiting_files._now = lambda: path.stat().st_ctime + b.seconds
    b.look()
    b.look(119.0)
    assert notes(b) == []
    b.look(1.0)
    assert notes(b) == ["winter.png"]
    assert 'references = ["winter.png"]' in b.note("winter.png")
    b.drop("a.mp4", sidecar=SIDECAR + 'references = ["winter.png"]\n')
    b.settle()
    assert b.paths == ["a.mp4"]
    b.look()
    b.look(1000.0)
    assert notes(b) == []


def test_images_that_have_lain_there_for_days_are_kept_for_later_clips(bench):
    b = bench()
    b.write("winter.png", b"x")
    assert abs((b.path / "winter.png").stat().st_ctime - EPOCH) > 86_400
    b.look()
    b.look(1000.0)
    assert notes(b) == []


@pytest.mark.parametrize(
    ("folders", "noted"),
    [
        (["DCIM/100CANON"], "DCIM"),
        (["CARD01/DCIM/100MEDIA", "CARD01/PRIVATE/M4ROOT/CLIP"], "CARD01"),
        (["CONTENTS/VIDEO", "CONTENTS/AUDIO"], "CONTENTS"),
        (["day/A/BPAV/CLPR/1"], "day/A"),
        (["XDROOT/Clip", "AVF_INFO"], "AVF_INFO"),
    ],
)
def test_a_camera_card_gets_one_note_and_only_what_has_a_sidecar_is_taken_from_it(bench, folders, noted):
    b = bench(sidecar_required=False, layers={"own": {"model": "m", "prompt": "x"}})
    for folder in folders:
        for number in range(6):
            b.write(f"{folder}/C{number}.MXF", b"x")
            b.write(f"{folder}/C{number}M01.XML", b"x")
        b.drop(f"{folder}/proxy.mp4", sidecar=None)
    b.drop(f"{folders[0]}/wanted.mp4")
    b.settle()
    b.look(60.0)
    assert b.paths == [f"{folders[0]}/wanted.mp4"]
    assert notes(b) == [noted]
    assert "camera's card" in b.note(noted)
    assert not b.waiting()[f"{folders[0]}/proxy.mp4"].problem


def test_what_a_program_keeps_as_one_file_is_not_looked_into(bench):
    b = bench(sidecar_required=False, layers={"own": {"model": "m", "prompt": "x"}})
    b.drop("Cut.fcpbundle/Original Media/a.mov", sidecar=None)
    b.settle()
    b.look(60.0)
    assert b.accepted == []
    assert notes(b) == ["Cut.fcpbundle"]
    assert "export the clips" in b.note("Cut.fcpbundle")


@pytest.mark.parametrize(
    "folder",
    [
        "Adobe Premiere Pro Video Previews",
        "Adobe Premiere Pro Auto-Save",
        "Avid MediaFiles",
        "CacheClip",
        "OptimizedMedia",
        "Media Cache Files",
    ],
)
def test_what_an_editing_program_keeps_for_itself_is_not_paid_for(bench, folder):
    b = bench(sidecar_required=False, layers={"own": {"model": "m", "prompt": "x"}})
    b.drop(f"Project/{folder}/MXF/1/a.mov", sidecar=None)
    b.drop("Project/Media/a.mov", sidecar=None)
    b.drop("Adobe clips/b.mov", sidecar=None)
    b.settle()
    b.look(60.0)
    assert sorted(b.paths) == ["Adobe clips/b.mov", "Project/Media/a.mov"]
    assert notes(b) == [f"Project/{folder}"]
    assert "export the clips" in b.note(f"Project/{folder}")


def test_a_text_file_whose_name_is_nearly_a_clips_names_that_clip(bench):
    b = bench()
    b.drop("e10_shot.mp4", sidecar=None)
    b.write("e10-shot.txt", "snow")
    b.settle()
    b.look(60.0)
    assert "rename it to `e10_shot.txt`" in b.note("e10-shot.txt")
    assert "did you mean `e10-shot.txt`" in b.note("e10_shot.mp4")


def test_a_sidecar_beside_a_file_that_is_no_clip_says_so_and_what_is_accepted(bench):
    b = bench()
    b.write("E.wmv", b"x")
    b.write("E.toml", SIDECAR)
    b.settle()
    b.look(60.0)
    assert "found `E.wmv`; .wmv is not accepted" in b.note("E.toml")
    assert ".mp4" in b.note("E.toml")
    assert notes(b) == ["E.toml", "E.wmv"]


def test_a_near_miss_of_a_folders_settings_is_named_beside_it_too(bench):
    b = bench()
    for name in ("_Default.toml", "defaults.toml", "_prompt.rtf"):
        b.write(f"day/{name}", "seed = 6")
    b.settle()
    b.look(60.0)
    assert "rename it to `_defaults.toml`" in b.note("day/_Default.toml")
    assert "rename it to `_defaults.toml`" in b.note("day/defaults.toml")
    assert "save it as plain text, named `_prompt.txt`" in b.note("day/_prompt.rtf")


@pytest.mark.parametrize("name", ["Winter.JPG", "WINTER.jpg", "winter.jpg"])
def test_a_lone_image_in_other_letters_is_the_one_that_is_meant(bench, name):
    b = bench()
    b.write(f"Refs/{name}", b"image")
    b.drop("a.mp4", sidecar=SIDECAR + 'references = ["refs/winter.jpg"]\n')
    b.settle()
    assert b.accepted[0].jobs[0].request.references[0].name == f"Refs/{name}"


def test_of_two_images_none_is_guessed_and_one_that_is_nearly_right_is_named(bench):
    b = bench()
    b.write("Winter.JPG", b"image")
    b.write("WINTER.jpg", b"image")
    b.write("summer (1).png", b"image")
    b.drop("a.mp4", sidecar=SIDECAR + 'references = ["winter.jpg"]\n')
    b.drop("b.mp4", sidecar=SIDECAR + 'references = ["summer.jpg"]\n')
    b.settle()
    assert b.accepted == []
    assert "did you mean `W" in b.note("a.mp4")
    assert "did you mean `summer (1).png`?" in b.note("b.mp4")


def test_the_package_of_a_timeline_names_the_file_in_it_that_is_read(bench):
    b = bench()
    b.write("day/Reel 3.fcpxmld/Info.fcpxml", b"<fcpxml/>")
    b.look()
    b.look(61.0)
    b.look(1.0)
    assert "put the file `Info.fcpxml` in it here instead" in b.note("day/Reel 3.fcpxmld")
