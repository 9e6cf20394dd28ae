"""Numbered pictures packed into one film, byte for byte, and made to fit from there by the real decoder."""

import io
import os
import subprocess
from dataclasses import replace

import pytest

from clipspool.jobs.events import Changed, Failed, Prepared
from clipspool.jobs.model import PICTURES_SOURCE, Error, Job, Request, State
from clipspool.jobs.sequence import Facts, pictures_of, sequence_of
from clipspool.media.facts import MediaFault, Written
from clipspool.media.stills import NotWhole, Unfit, lacks_end, read_still, survey
from clipspool.provider.catalog import Catalog
from clipspool.provider.protocol import Call
from clipspool.provider.transport import Depot
from clipspool.provider.transport.way import InRequest
from clipspool.spool.claims import claim
from clipspool.spool.root import Root
from clipspool.spool.sources import film_name, open_source, pictures_in, stamp
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import Manifest
from clipspool.stages.film import media_of
from clipspool.stages.payload import read_sent
from clipspool.stages.prepare import PrepareTools, prepare
from clipspool.stages.retire import retire
from clipspool.stages.submit import _call
from fakes import a_clip, always
from numbered import exr, fill, png

KINDS = {
    "png": ("png", ["-pix_fmt", "rgba"]),
    "jpg": ("jpeg", []),
    "tif": ("tiff", ["-pix_fmt", "rgb48le"]),
    "exr": ("exr", ["-compression", "zip16"]),
    "dpx": ("dpx", ["-pix_fmt", "gbrp10le"]),
}


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    home = tmp_path_factory.mktemp("sequences")
    for suffix, (_, options) in KINDS.items():
        source = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=24:d=0.25"]
        out = home / suffix / f"shot.%04d.{suffix}"
        out.parent.mkdir()
        command = ["ffmpeg", "-v", "error", *source, *options, "-start_number", "1001", str(out)]
        subprocess.run(command, check=True)
    return home


def pack(decoder, folder, target, kind, **more):
    names = pictures_of([path.name for path in folder.iterdir()])
    opened = ((name, io.FileIO(folder / name)) for name in names)
    options = {"rate": "24/1", "count": len(names), "timecode": "01:00:00:00", **more}
    with target.open("w+b") as file:
        return decoder.pack(opened, file.fileno(), kind=kind, **options)


@pytest.mark.parametrize("suffix", KINDS)
def test_pictures_are_packed_byte_for_byte_and_read_as_one_film(decoder, sequences, tmp_path, suffix):
    folder, target = sequences / suffix, tmp_path / "film.mov"
    assert pack(decoder, folder, target, KINDS[suffix][0]) == Written(target.stat().st_size, 6)
    data = target.read_bytes()
    assert all(path.read_bytes() in data for path in folder.iterdir())
    with target.open("rb") as file:
        seen = decoder.probe(file.fileno())
    assert (seen.width, seen.height, seen.frames, seen.fps, seen.seconds) == (160, 90, 6, "24/1", 0.25)
    assert seen.timecode == "01:00:00:00"
    with (folder / f"shot.1001.{suffix}").open("rb") as file:
        still = decoder.still(file.fileno(), KINDS[suffix][0])
    assert (still.pixel_format, still.bit_depth) == (seen.pixel_format, seen.bit_depth)


@pytest.mark.parametrize("suffix", KINDS)
def test_the_header_of_a_picture_tells_its_kind_its_size_and_whether_its_end_is_there(sequences, suffix):
    data = (sequences / suffix / f"shot.1003.{suffix}").read_bytes()
    found = read_still(io.BytesIO(data), len(data))
    assert (found.kind, found.width, found.height) == (KINDS[suffix][0], 160, 90)
    for share in (0.02, 0.3, 0.7, 0.98):
        cut = data[: int(len(data) * share)]
        with pytest.raises(NotWhole):
            read_still(io.BytesIO(cut), len(cut))
    with pytest.raises(NotWhole):
        read_still(io.BytesIO(bytes(5000)), 5000)
    assert read_still(io.BytesIO(b"GIF89a" + data), len(data) + 6) is None


def webp():
    """A WebP as far as its own length tells."""
    return b"RIFF" + (4 + 8000).to_bytes(4, "little") + b"WEBP" + b"VP8 " * 2000


def test_an_image_lacks_its_end_wherever_it_is_cut_and_whatever_stands_in_it_or_behind(sequences):
    jpeg = (sequences / "jpg" / "shot.1003.jpg").read_bytes()
    small = b"Exif\0\0" + jpeg  # as cameras put a small image into the large one
    with_small = jpeg[:2] + b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small + jpeg[2:]
    for data in (jpeg, with_small, (sequences / "png" / "shot.1003.png").read_bytes(), webp()):
        for behind in (b"", b"a film" * 2000):
            assert not lacks_end(io.BytesIO(data + behind), len(data + behind))
        for cut in (20, len(data) // 3, len(data) * 9 // 10, len(data) - 2):
            assert lacks_end(io.BytesIO(data[:cut]), cut)
            filled_later = data[:cut] + bytes(9000)
            assert data == webp() or lacks_end(io.BytesIO(filled_later), len(filled_later))
    assert lacks_end(io.BytesIO(bytes(5000)), 5000)
    assert not lacks_end(io.BytesIO(b"GIF89a"), 6)


@pytest.mark.parametrize(
    "data",
    [
        exr(),
        exr(tile=16),
        exr(kinds=(b"scanlineimage", b"tiledimage"), tile=16),
        exr(kinds=(b"tiledimage",) * 2, tile=16),
    ],
    ids=["lines", "tiles", "lines and tiles", "parts of tiles"],
)
def test_an_exr_is_whole_when_the_last_line_or_tile_of_each_part_is_there(data):
    found = read_still(io.BytesIO(data), len(data))
    assert (found.width, found.height, found.unread) == (40, 24, "")
    for cut in (len(data) - 1, len(data) * 9 // 10, len(data) // 3, 200, 30):
        with pytest.raises(NotWhole):
            read_still(io.BytesIO(data[:cut]), cut)


def test_deep_pixels_are_no_picture(tmp_path):
    for number in (1, 2, 3):
        (tmp_path / f"a.{number}.exr").write_bytes(exr(is_deep=True))
    names = sorted(path.name for path in tmp_path.iterdir())
    found = survey(sequence_of(names), ((name, io.FileIO(tmp_path / name)) for name in names))
    assert found == Unfit("`a.1.exr` in it has deep pixels: export flat pictures")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "dpx"])
def test_a_picture_that_does_not_decode_to_its_end_is_named_before_anything_is_paid(
    decoder, sequences, tmp_path, suffix
):
    folder = tmp_path / "seq"
    folder.mkdir()
    for path in (sequences / suffix).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    bad = folder / f"shot.1003.{suffix}"
    bad.write_bytes(bad.read_bytes()[:-400])
    found = pack(decoder, folder, tmp_path / "film.mov", KINDS[suffix][0])
    assert isinstance(found, MediaFault)
    assert (found.code, found.message) == ("MEDIA.INCOMPLETE", f"`{bad.name}` cannot be decoded to its end")


def test_pictures_of_another_size_are_named_when_they_are_packed(decoder, tmp_path):
    fill(tmp_path / "seq", range(1, 4))
    (tmp_path / "seq/shot.0002.png").write_bytes(png(2, width=20))
    found = pack(decoder, tmp_path / "seq", tmp_path / "film.mov", "png")
    assert "`shot.0002.png` is 20x10, those before it are 16x10" in found.message


def test_the_light_of_exr_is_shown_by_the_curve_of_srgb(decoder, tmp_path):
    """A linear grey of 0.2140 is the middle of what a screen shows."""
    (tmp_path / "seq").mkdir()
    grey = [
        "-f",
        "lavfi",
        "-i",
        "color=black:s=32x32:d=0.2:r=24,format=gbrpf32le,geq=r=0.2140:g=0.2140:b=0.2140",
    ]
    subprocess.run(["ffmpeg", "-v", "error", *grey, str(tmp_path / "seq/a.%04d.exr")], check=True)
    pack(decoder, tmp_path / "seq", tmp_path / "film.mov", "exr")
    from clipspool.media.plan import Bounds, plan  # noqa: PLC0415

    with (tmp_path / "film.mov").open("rb") as source, (tmp_path / "sent.mp4").open("w+b") as target:
        probe = decoder.probe(source.fileno())
        assert probe.transfer == "iec61966-2-1"
        decoder.conform(source.fileno(), target.fileno(), plan(probe, Bounds(), None))
    raw = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "sent.mp4"), *raw]
    luma = subprocess.run(command, check=True, capture_output=True).stdout[500]
    assert abs(luma - 128) <= 3


def test_a_pipe_that_was_read_before_is_never_taken_for_pictures(decoder, tmp_path, monkeypatch):
    monkeypatch.setattr("clipspool.media.feeding.MARK", b"another beginning\n\n")
    fill(tmp_path / "seq", range(1, 4))
    found = pack(decoder, tmp_path / "seq", tmp_path / "film.mov", "png")
    assert found.code == "MEDIA.CRASHED"


def test_a_picture_that_cannot_be_read_is_an_error_and_not_the_pictures_fault(decoder, tmp_path):
    fill(tmp_path / "seq", range(1, 4))

    def opened():
        yield "shot.0001.png", io.FileIO(tmp_path / "seq/shot.0001.png")
        raise OSError(5, "the disk is gone")

    with (tmp_path / "film.mov").open("w+b") as file, pytest.raises(OSError, match="the disk is gone"):
        decoder.pack(opened(), file.fileno(), kind="png", rate="24/1", count=3)


# --- the stage ----------------------------------------------------------------------------------------------


class Place:
    """A folder of pictures that was accepted, and what prepares it."""

    def __init__(self, home, decoder, **request):
        (home / "in").mkdir()
        (home / "out").mkdir()
        self.root, self.decoder = Root(home / "in"), decoder
        self.bay = Folders("bay", self.root, Root(home / "out"))
        names = fill(home / "in/seq", range(1001, 1049), width=160, height=90)
        found = survey(sequence_of(names), pictures_in(self.root, "seq"))
        assert isinstance(found, Facts)
        size, mtime_ns = stamp(self.root, "seq")
        with (home / "in/seq/shot.1001.png").open("rb") as file:
            media = media_of(decoder.still(file.fileno(), "png"), found, size)
        clip = a_clip(path="seq", sidecar=None, source=PICTURES_SOURCE, media=media)
        self.clip = replace(clip, size=size, mtime_ns=mtime_ns)
        asked = Request("winter", "gen4_aleph", 1, **{"frames_per_second": 24.0, **request})
        self.job = Job("clip1", "clip1", "bay", "", asked, 0.0)
        claim(self.root, Manifest(self.clip, (self.job,), "j"))
        self.work = home / "in/.clipspool/work" / "clip1"

    def prepare(self, attempt="a1", **asked):
        catalog = Catalog.load({})
        depot = Depot([InRequest(5_000_000)], lambda: 0.0)
        tools = PrepareTools(
            self.decoder, depot, lambda r: catalog.limits(r.model), catalog.credits, lambda: 0.0
        )
        job = replace(self.job, request=replace(self.job.request, **asked))
        done = prepare(job, self.clip, self.bay, tools, attempt=attempt)
        if isinstance(done, Prepared):
            self.job = replace(job, prepared_by=done.attempt)
            self.clip = replace(self.clip, sha256=done.sha256, size=done.size, mtime_ns=done.mtime_ns)
        return done

    def films(self):
        return sorted(path.name for path in self.work.glob("film-*"))


def test_a_folder_is_prepared_by_its_film_and_what_was_made_of_it_is_said(decoder, tmp_path):
    place = Place(tmp_path, decoder)
    done = place.prepare()
    assert isinstance(done, Prepared)
    sent = read_sent(place.root, place.clip, place.job)
    assert sent.source.made["seconds"] == 2.0
    first = "made of 48 numbered pictures (PNG), `shot.1001.png` to `shot.1048.png`, at 24 frames a second"
    assert sent.source.changes[0] == first
    assert "converted to H.264 MP4 (it was PNG pictures)" in sent.source.changes
    assert place.films() == [film_name(place.clip, place.job.request)]
    with open_source(place.root, place.clip, place.job.request) as film:
        seen = decoder.probe(film.fileno())
    assert (seen.frames, seen.timecode) == (48, "00:00:41:17")
    film = place.work / place.films()[0]
    before = film.stat()
    assert isinstance(place.prepare("a2"), Prepared)
    assert (film.stat().st_ino, film.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_rate_is_another_film_and_another_request(decoder, tmp_path):
    place = Place(tmp_path, decoder)
    one = place.prepare()
    other = place.prepare(frames_per_second=12.0)
    assert (one.credits_estimated, other.credits_estimated) == (30.0, 60.0)
    assert one.fingerprint != other.fingerprint
    assert len(place.films()) == 2


def test_pictures_that_changed_after_they_were_accepted_are_looked_at_anew(decoder, tmp_path):
    place = Place(tmp_path, decoder)
    (place.work / PICTURES_SOURCE / "shot.1049.png").write_bytes(png(49, width=160, height=90))
    done = place.prepare()
    assert isinstance(done, Prepared)
    assert (done.media["frames"], done.media["pictures"]["count"]) == (49, 49)
    (place.work / PICTURES_SOURCE / "shot.1030.png").unlink()
    gone = place.prepare("a2")
    assert isinstance(gone, Failed)
    assert "picture 1030 is missing" in gone.error.message


def test_other_pictures_in_the_place_of_a_folder_that_failed_are_not_sent_in_its_name(decoder, tmp_path):
    place = Place(tmp_path, decoder)
    assert isinstance(place.prepare(), Prepared)
    failed = replace(place.job, state=State.FAILED, error=Error("INTERNAL", "it broke"))
    place.clip = retire(place.clip, [failed], place.bay, always)
    lies_at = place.root.path / place.clip.lies_at
    (lies_at / "shot.1049.png").write_bytes(png(49, width=160, height=90))
    done = place.prepare("a2")
    assert (type(done), done.error.code) == (Failed, "CLIP.CHANGED")
    place.clip = retire(place.clip, [failed], place.bay, always)
    (place.root.path / place.clip.lies_at / "shot.1049.png").unlink()
    assert isinstance(place.prepare("a3"), Prepared), "put back, it runs"


def test_a_folder_that_changes_while_it_is_packed_is_prepared_again(decoder, tmp_path):
    place = Place(tmp_path, decoder)
    real = decoder.pack

    class Meddling:
        def __getattr__(self, name):
            return getattr(decoder, name)

        def pack(self, *given, **more):
            done = real(*given, **more)
            (place.work / PICTURES_SOURCE / "shot.1002.png").write_bytes(png(1, width=160, height=90))
            return done

    place.decoder = Meddling()
    assert isinstance(place.prepare(), Changed)
    assert place.films() == []
    assert not list(place.work.glob("*.part"))


def test_a_damaged_picture_fails_the_clip_before_anything_is_paid(decoder, tmp_path):
    place = Place(tmp_path, decoder)
    bad = place.work / PICTURES_SOURCE / "shot.1020.png"
    data = bytearray(bad.read_bytes())
    data[60:70] = b"\xff" * 10
    times = bad.stat()
    bad.write_bytes(data)
    os.utime(bad, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = place.prepare()
    assert isinstance(done, Failed)
    assert "`shot.1020.png`" in done.error.message
    assert place.films() == []


def test_a_file_in_the_place_of_the_folder_is_no_clip(decoder, tmp_path):
    place = Place(tmp_path, decoder)
    for path in (place.work / PICTURES_SOURCE).iterdir():
        path.unlink()
    (place.work / PICTURES_SOURCE).rmdir()
    (place.work / PICTURES_SOURCE).write_bytes(b"a file")
    assert place.prepare().error.code == "CLIP.NOT_A_FILE"


def test_unlike_pictures_are_told_by_their_headers(tmp_path):
    fill(tmp_path / "seq", range(1, 4))
    (tmp_path / "seq/shot.0002.png").write_bytes(b"\xff\xd8\xff\xc0\0\x0b\x08\0\x0a\0\x10\x01\xff\xd9")
    names = pictures_of(path.name for path in (tmp_path / "seq").iterdir())
    found = survey(sequence_of(names), pictures_in(Root(tmp_path), "seq"))
    assert found == Unfit("`shot.0002.png` in it is JPEG, and named PNG")


def test_a_folder_whose_record_is_gone_is_prepared_again_and_never_sent_as_it_is(decoder, tmp_path):
    place = Place(tmp_path, decoder)
    place.prepare()
    depot = Depot([InRequest(5_000_000)], lambda: 0.0)
    compose = lambda *given: ("video_to_video", {"given": given})  # noqa: E731
    assert isinstance(_call(place.job, place.clip, place.bay, depot, compose), Call)
    for paper in place.work.glob("*.sent.toml"):
        paper.unlink()
    assert isinstance(_call(place.job, place.clip, place.bay, depot, compose), Changed)
