"""An archive of pictures becomes a folder that appears whole; one that holds more stays as it came."""

import errno
import io
import os
import stat
import struct
import subprocess
import tomllib
import zipfile
import zlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from clipspool.jobs.events import Delivered, Fetched, PartlyFetched
from clipspool.jobs.model import Held, Result, Reuse, State
from clipspool.media.facts import Cropped, MediaFault
from clipspool.spool.root import Root
from clipspool.spool.watchfolder import Folders
from clipspool.stages import unpack as stages_unpack
from clipspool.stages.deliver import deliver
from clipspool.stages.finish import finish
from clipspool.stages.payload import Sent, SentFile, write_sent
from clipspool.stages.reuse import reuse
from clipspool.stages.unpack import unpack
from clipspool.system import moves
from fakes import NOON, Bench, always, lying
from numbered import png

NAMES = [f"frame_{number:05}.png" for number in range(4)]
ZIP = Result("clip1-a1-1.zip", ".zip", 1, "0" * 64, number=1)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.clip = replace(
        bench.clip, media={"container": "mp4", "size_bytes": 9, "seconds": 4 / 24, "frames": 4, "fps": "24/1"}
    )
    return bench


def packed(bench, members):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    (bench.work / ZIP.file).write_bytes(memory.getvalue())


def unpacked(bench, members=None, *, decoder=None, is_stopping=False, **request):
    packed(bench, members or {name: png(number) for number, name in enumerate(NAMES)})
    job = replace(bench.job, request=replace(bench.job.request, **request))
    return unpack(
        job,
        bench.clip,
        bench.bay,
        Fetched((ZIP,)),
        decoder,
        attempt="a1",
        stopping=lambda: is_stopping,
        report=lambda _: None,
    )


def delivered(bench, event, **more):
    archive = bench.work / ZIP.file
    size = archive.stat().st_size if archive.exists() else ZIP.size
    results = tuple(replace(one, size=size) if one.file == ZIP.file else one for one in event.results)
    job = replace(bench.job, results=results, state=State.FETCHED, **more)
    return deliver(job, bench.clip, bench.bay, NOON, always)


def test_the_pictures_appear_as_one_folder_with_its_provenance(bench):
    event = unpacked(bench)
    (result,) = event.results
    assert (result.frames, result.seconds, result.noticed) == (4, 4 / 24, ())
    assert finish(bench.job, bench.clip, bench.bay, event, None, attempt="a1") == event
    assert isinstance(done := delivered(bench, event), Delivered)
    assert done.results[0].name == "day/shot"
    found = lying(bench.results)
    paper = tomllib.loads(found.pop("day/shot.toml").decode())["result"]
    assert found == {f"day/shot/{name}": png(number) for number, name in enumerate(NAMES)}
    assert (paper["name"], paper["frames"], paper["size"]) == ("shot", 4, sum(map(len, found.values())))
    assert paper["finished"] == [
        "unpacked into 4 numbered pictures (PNG), `frame_00000.png` to `frame_00003.png`"
    ]
    # Done again after a crash before it was recorded: nothing is there twice.
    assert delivered(bench, event) == done
    assert sorted(path.name for path in (bench.results / "day").iterdir()) == ["shot", "shot.toml"]


@pytest.mark.parametrize(("came", "left"), [(4, 1), (5, 0)])
def test_pictures_that_only_hold_the_last_one_are_left_out_where_all_that_was_sent_came(bench, came, left):
    made = {"fps": "24/1", "seconds": 4 / 24, "own_seconds": 3 / 24}
    source = SentFile("x.mp4", 1, 1, "ab", "video/mp4", "inline", made=made)
    write_sent(bench.bay.inbox, bench.clip, bench.job, bench.job.prepared_by, Sent(source))
    (result,) = unpacked(bench, {f"f_{number:05}.png": png(number) for number in range(came)}).results
    assert (result.frames, bool(result.noticed)) == (came - left, not left)
    said = "1 pictures left out that show the last one held"
    assert (said in result.finished) == bool(left)


def scope(tmp_path, pixel_format="rgb48be", suffix="png"):
    """Make 20 pictures of 160x90 pixels whose middle is 62 pixels high; also the middle alone."""
    middle = f"testsrc2=s=160x62:r=24:d=0.8333,format={pixel_format}"
    for name, filters in (("whole", ",pad=w=160:h=90:x=0:y=14"), ("kept", "")):
        (tmp_path / name).mkdir()
        made = ["-f", "lavfi", "-i", f"{middle}{filters}", "-pix_fmt", pixel_format]
        subprocess.run(
            ["ffmpeg", "-v", "error", *made, str(tmp_path / name / f"f_%05d.{suffix}")], check=True
        )
    return {path.name: path.read_bytes() for path in sorted((tmp_path / "whole").iterdir())}


def sent_with_bars(bench, **more):
    made = {"fps": "24/1", "seconds": 20 / 24, "width": 160, "height": 90, "picture_aspect": "160/62", **more}
    source = SentFile("x.mp4", 1, 1, "ab", "video/mp4", "inline", made=made)
    write_sent(bench.bay.inbox, bench.clip, bench.job, bench.job.prepared_by, Sent(source))


def decoded(folder, pixel_format):
    frames = ["-f", "rawvideo", "-pix_fmt", pixel_format, "-"]
    command = ["ffmpeg", "-v", "error", "-i", str(folder / "f_%05d.png"), *frames]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize("pixel_format", ["rgb24", "rgba", "rgb48be"])
def test_black_bars_that_were_added_are_cut_off_each_picture(bench, decoder, tmp_path, pixel_format):
    came = scope(tmp_path, pixel_format)
    sent_with_bars(bench)
    (result,) = unpacked(bench, came, decoder=decoder).results
    assert "black bars cut off again (160x62 pixels are left)" in result.finished
    assert (result.frames, result.noticed) == (20, ())
    folder = bench.work / result.file
    assert (folder / "f_00020.png").read_bytes()[16:26] == struct.pack(
        ">IIBB", 160, 62, 16 if "48" in pixel_format else 8, 6 if "a" in pixel_format else 2
    )
    assert decoded(folder, pixel_format) == decoded(tmp_path / "kept", pixel_format)
    assert result.size == sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize(
    ("sides", "kind", "why"),
    [
        ((160, 120), ("rgb24", "png"), "another shape than what was sent"),
        ((160, 90), ("monob", "png"), "pictures of its kind cannot be cropped"),
        ((160, 90), ("rgb24", "tif"), "TIFF is not cropped, only PNG"),
    ],
)
def test_pictures_whose_bars_cannot_be_cut_off_are_delivered_as_they_came(
    bench, decoder, tmp_path, sides, kind, why
):
    came = scope(tmp_path, *kind)
    sent_with_bars(bench, width=sides[0], height=sides[1])
    (result,) = unpacked(bench, came, decoder=decoder).results
    assert any(said.endswith(why) and "are left in it" in said for said in result.finished)
    assert {path.name: path.read_bytes() for path in (bench.work / result.file).iterdir()} == came


def test_what_a_pictures_colours_mean_is_kept_when_its_bars_are_cut_off(decoder, tmp_path):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    gamma, p3, signed = (
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"cICP", bytes([12, 13, 0, 1])),
        chunk(b"caBX", b"signature of the whole picture"),
    )
    data = png(7, 160, 90)
    with (tmp_path / "a.png").open("w+b", buffering=0) as file:
        file.write(data[:33] + gamma + p3 + signed + data[33:])
        assert decoder.crop_stills([file.fileno()], (160, 90), (160, 62)) == Cropped(1)
        made = os.pread(file.fileno(), 9999, 0)
    assert made[33:].startswith(gamma + p3)
    assert made.count(b"cICP") == 1
    assert b"caBX" not in made


def test_a_stop_or_a_full_disk_while_bars_are_cut_off_leaves_it_for_later(bench, tmp_path):
    came = scope(tmp_path)
    sent_with_bars(bench)
    for code, is_full in (("MEDIA.STOPPED", False), ("MEDIA.NO_SPACE", True)):
        faulty = SimpleNamespace(still=lambda *_, code=code: MediaFault(code, "it was so", ""))
        event = unpacked(bench, came, decoder=faulty)
        assert isinstance(event, PartlyFetched)
        assert (event.results, event.held is Held.DISK, event.is_fault) == ((ZIP,), is_full, is_full)
        assert [path.name for path in bench.work.iterdir() if path.suffix == ".pictures"] == []


def test_pictures_that_were_cropped_before_a_crash_are_not_cropped_again(decoder, tmp_path):
    scope(tmp_path)
    with (tmp_path / "whole/f_00001.png").open("r+b") as file:
        for _ in range(2):
            assert decoder.crop_stills([file.fileno()], (160, 90), (160, 62)) == Cropped(1)
        assert os.pread(file.fileno(), 8, 16) == struct.pack(">II", 160, 62)


def test_a_folder_that_somebody_changed_is_not_taken_for_ours(bench):
    event = unpacked(bench)
    delivered(bench, event)
    (bench.results / "day/shot/frame_00001.png").write_bytes(png(9))
    assert delivered(bench, unpacked(bench)).results[0].name == "day/shot-2"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"sound.wav": b"RIFF"}, "`sound.wav` in it is no numbered picture"),
        ({"frame_00002.png": png(2)[:-9]}, "is not whole"),
        ({"frame_00002.png": png(2, width=8)}, "not of one size"),
        ({"frame_00002.png": b"x" * 99}, "is no picture"),
        ({"frame_00009.png": png(9)}, "pictures 4 to 8 are missing"),
        ({"day/frame_00002.png": png(2)}, "two pictures in it are named"),
        ({f"{'x' * 250}.00004.png": png(4)}, "is no numbered picture"),
    ],
)
def test_what_is_no_film_of_pictures_is_delivered_as_the_archive_that_came(bench, changed, why):
    event = unpacked(bench, {**{name: png(number) for number, name in enumerate(NAMES)}, **changed})
    (result,) = event.results
    assert (result.file, result.suffix) == (ZIP.file, ".zip")
    assert why in result.finished[0]
    assert sorted(path.name for path in bench.work.iterdir() if "pictures" in path.name) == []


def test_names_that_lead_elsewhere_lead_nowhere(bench):
    lead = ("../../", "/tmp/", "..\\..\\", "C:\\")
    members = {
        f"{way}{name}": png(number) for number, (way, name) in enumerate(zip(lead, NAMES, strict=True))
    }
    delivered(bench, unpacked(bench, {**members, "__MACOSX/._frame_00000.png": b"x", "day/": b""}))
    assert sorted(name for name in lying(bench.results) if name.endswith(".png")) == [
        f"day/shot/{name}" for name in NAMES
    ]
    assert not [path for path in bench.path.parent.rglob("*.png") if bench.results not in path.parents]


def test_a_link_in_an_archive_is_none_here(bench):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for number, name in enumerate(NAMES):
            archive.writestr(name, png(number))
        link = zipfile.ZipInfo("frame_00004.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    (bench.work / ZIP.file).write_bytes(memory.getvalue())
    event = unpack(
        bench.job, bench.clip, bench.bay, Fetched((ZIP,)), None, attempt="a1", stopping=bool, report=print
    )
    assert event.results[0].suffix == ".zip"


def test_a_full_disk_holds_the_job_and_a_stop_leaves_it_for_later(bench, monkeypatch):
    monkeypatch.setattr(Root, "space", lambda _: stages_unpack._SPARE_BYTES)
    event = unpacked(bench)
    assert isinstance(event, PartlyFetched)
    assert (event.results, event.held) == ((ZIP,), Held.DISK)
    monkeypatch.undo()
    event = unpacked(bench, is_stopping=True)
    assert isinstance(event, PartlyFetched)
    assert (event.results, event.is_fault) == ((ZIP,), False)
    assert not (bench.work / "clip1-a1-1.pictures").exists()


def test_a_job_that_is_to_end_gives_the_archive_as_it_came_where_there_is_no_room(bench, monkeypatch):
    monkeypatch.setattr(Root, "space", lambda _: stages_unpack._SPARE_BYTES)
    bench.job = replace(bench.job, cancel_by="ann")
    (result,) = unpacked(bench).results
    assert (result.file, result.suffix) == (ZIP.file, ".zip")
    assert "the archive is left as it came" in result.finished[0]


def test_a_count_that_differs_is_noticed_and_the_archive_is_kept_where_asked(bench):
    bench.clip = replace(
        bench.clip, media={"container": "mp4", "size_bytes": 9, "seconds": 0.25, "frames": 6, "fps": "24/1"}
    )
    made, kept = unpacked(bench, keep_untouched=True).results
    assert made.noticed == ("4 pictures came, and 6 were sent",)
    assert (kept.file, kept.is_untouched) == (ZIP.file, True)


@pytest.mark.parametrize("is_copied", [False, True])
def test_the_rights_are_those_of_a_folder_made_there_also_on_another_file_system(
    bench, monkeypatch, is_copied
):
    if is_copied:
        monkeypatch.setattr(moves, "rename_new", refuse_across(moves.rename_new))
    bench.bay = Folders(
        "bay", bench.bay.inbox, Root(bench.results, file_mode=0o640, folder_mode=0o2750), "j1"
    )
    delivered(bench, unpacked(bench))
    made = bench.results / "day/shot"
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (made, *made.iterdir())]
    assert modes == [0o2750] + [0o640] * 4
    assert not [path for path in made.parent.iterdir() if path.name.startswith(".")]


def refuse_across(rename_new):
    def rename(name, folder, to_name, to_folder):
        if not os.path.sameopenfile(folder, to_folder):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename_new(name, folder, to_name, to_folder)

    return rename


def test_the_same_request_once_more_takes_the_folder_over(bench):
    done = delivered(bench, unpacked(bench))
    given = Reuse("clip0", "bay", done.results)
    event = reuse(bench.job, bench.clip, {"bay": bench.bay}, given, attempt="a2")
    assert delivered(bench, event, id="clip2", reuse=given).results[0].name == "day/shot-2"
    assert (bench.results / "day/shot-2" / NAMES[2]).read_bytes() == png(2)
    (bench.results / "day/shot" / NAMES[2]).write_bytes(png(8))
    held = reuse(bench.job, bench.clip, {"bay": bench.bay}, given, attempt="a3")
    assert "is not what was delivered" in held.reason
