"""A timeline dropped with its media comes back as the same timeline, linked to the results."""

import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import opentimelineio as otio
import pytest

from media_clips import ffprobe, run
from runway_sandbox import Render

HOME = Path(__file__).parents[1] / "timelines"
LIGHT = "lum='24+N':cb=128:cr=128"
"""Each frame is lighter than the one before, so that a frame can be told by its light."""


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """Two clips of 6 s at 25 frames: one with timecode and sound, one without either."""
    folder = tmp_path_factory.mktemp("media")
    for name, more in (("A001_C003.mov", ["-timecode", "01:00:00:00"]), ("A001_C004.mov", [])):
        shown = ["-f", "lavfi", "-i", f"color=black:s=32x18:r=25:d=6,geq={LIGHT},scale=320:180"]
        sound = ["-f", "lavfi", "-i", "sine=d=6", "-c:a", "pcm_s16le"] if more else []
        made = ["-c:v", "libx264", "-qp", "4", "-pix_fmt", "yuv420p", *more, str(folder / name)]
        run(["ffmpeg", "-v", "error", "-nostdin", "-y", *shown, *sound, *made])
    return folder


def light_of(path, frame):
    """Measure the light of one frame of a film."""
    chosen = ["-vf", f"select=eq(n\\,{frame}),scale=1:1,format=gray", "-frames:v", "1", "-f", "rawvideo", "-"]
    shown = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), *chosen], check=True, capture_output=True
    )
    return shown.stdout[0]


def drop(bay, shape, media):
    """Drop a timeline into a folder of its own, and then its media; return where it comes back."""
    home = bay.inbox / shape.replace(".", "-")
    home.mkdir()
    (home / shape).write_bytes((HOME / shape).read_bytes())
    for source in sorted(media.iterdir()):
        part = home / f".{source.name}.part"
        part.write_bytes(source.read_bytes())
        part.rename(home / source.name)
    return bay.outbox / home.name / shape


def looks_like(result, source, first, frames):
    """Check that a result has so many frames, and begins with this frame of its source."""
    told = ffprobe(result, "stream=nb_frames,r_frame_rate")
    assert told == {"nb_frames": str(frames), "r_frame_rate": "25/1"}
    assert abs(light_of(result, 0) - light_of(source, first)) <= 1, result.name


def is_edl(outbox):
    """Read the EDL back with OpenTimelineIO: the media is the result's, its times are what they were."""
    clips = list(otio.adapters.read_from_file(str(outbox / "resolve.edl"), rate=25).find_clips())
    return [clip.name for clip in clips], [clip.source_range.start_time.value for clip in clips]


def bring_back(bay, media, *shapes):
    """Drop timelines with their media; return where they came back, once all has left the inbox."""
    bay.is_checked = False  # the oracle knows no clip of which a part was sent
    # Each timeline has the same clips and prompts.
    bay.configure(keys=f'duplicates = "run"\npath_map = {{ "{bay.outbox}" = "Z:\\\\results" }}')
    bay.start()
    back = [drop(bay, shape, media) for shape in shapes]
    bay.until(lambda: all(path.exists() for path in back), 60, "all timelines come back")
    bay.until(lambda: all(one.startswith("_done/") for one in bay.lying()), 20, "all is done")
    return back


def test_an_edl_goes_there_and_back_and_says_what_it_could_not_link(open_bays, media):
    source, plain = media / "A001_C003.mov", media / "A001_C004.mov"
    with open_bays(render=Render.ECHO) as bay:
        (path,) = bring_back(bay, media, "resolve.edl")
        edl = path.parent
        looks_like(edl / "A001_C003_v1.mov", source, 25 - 12, 49)
        looks_like(edl / "A001_C003_v2.mov", source, 75 - 12, 49)
        looks_like(edl / "A001_C004.mp4", plain, 0, 42)  # no more handles before it
        names, starts = is_edl(edl)
        assert names == [
            "A001_C003_v1.mov",
            "A001_C004.mp4",
            "A001_C003_v2.mov",
            "A001_C005.mov",
            "A001_C004.mov",
        ]
        assert starts[:4] == [90025, 5, 90075, 25]
        text = path.read_text()
        assert "* LOC: 01:00:00:10 RED     Deep winter at dusk" in text
        told = (edl / "resolve.edl.txt").read_text()
        assert "Linked (3 of 4 marked clips):" in told
        assert "clip 5 `A001_C004.mov`: its speed is changed" in told
        assert "Without a mark, and left as they were: 1" in told

        assert "_done/resolve-edl/resolve.edl" in bay.lying()
        assert bay.paid == 3


def test_a_timeline_that_is_held_for_its_price_is_approved_by_its_name(open_bays, media):
    with open_bays(render=Render.CANNED) as bay:
        bay.is_checked = False
        limit = "[budget]\ncredits_per_clip_max = 1.0\n"
        bay.configure(top=limit, keys='duplicates = "run"')
        bay.start()
        drop(bay, "resolve.edl", media)
        bay.until(lambda: [job["held"] for job in bay.told("jobs")] == ["budget"] * 3, what="all are held")
        asked = bay.call("approve", "resolve.edl")
        assert (
            "Approve the jobs of resolve-edl/resolve.edl? 3 jobs will be sent and charged: about"
            in asked.stderr
        )
        assert bay.call("approve", "other.edl", "--yes").returncode == 1
        assert bay.paid == 0
        done = bay.call("approve", "resolve-edl/resolve.edl", "--yes")
        assert done.stdout.count(" is now queued") == 3, done.stderr
        bay.until(lambda: bay.paid == 3, what="all are sent")


@pytest.mark.slow
def test_timelines_of_three_other_programs_go_there_and_back(open_bays, media):
    source = media / "A001_C003.mov"
    with open_bays(render=Render.ECHO) as bay:
        premiere, finalcut, cut = bring_back(bay, media, "premiere.xml", "finalcut.fcpxml", "cut.otio")
        # Premiere's: in and out count from the result's first picture; the sound keeps its own file.
        looks_like(premiere.parent / "A001_C003.mov", source, 25 - 12, 49)
        first, second, sound = otio.adapters.read_from_file(str(premiere)).find_clips()
        url = "file://localhost/Z:/results/premiere-xml/A001_C003.mov"
        assert (first.media_reference.target_url, first.source_range.start_time.value) == (url, 90025)
        assert first.media_reference.available_range.start_time.value == 90025 - 12
        assert second.media_reference.target_url.endswith("Z%3a/media/A001_C004.mov")
        assert sound.media_reference.target_url.endswith("Z%3a/media/A001_C003.mov")
        assert "Basic Motion" in premiere.read_text()

        # Final Cut's: the clip keeps its time, the asset begins where the result does.
        root = ET.parse(finalcut).getroot()
        clip = root.find(".//asset-clip")
        asset = next(one for one in root.iter("asset") if one.get("id") == clip.get("ref"))
        assert asset.find("media-rep").get("src") == "file:///Z:/results/finalcut-fcpxml/A001_C003.mov"
        assert (asset.get("start"), asset.get("duration"), clip.get("start")) == (
            "90013/25s",
            "49/25s",
            "3601s",
        )
        assert root.find(".//title") is not None

        # OTIO: what the transition shows beyond the cut is within the handles.
        one, other = otio.adapters.read_from_file(str(cut)).find_clips()
        assert one.media_reference.target_url == "file:///Z:/results/cut-otio/A001_C003.mov"
        assert one.available_range().start_time.value == 90013
        assert one.source_range.start_time.value == 90025
        assert other.media_reference.target_url == "A001_C004.mov"

        assert "_done/premiere-xml/A001_C004.mov" in bay.lying()  # shown, and not marked
        assert bay.paid == 3
