"""A timeline in an inbox: what it waits for, what it says, and what becomes of its media."""

import json
import shutil
from pathlib import Path

import pytest

from clipspool.intake import timelines
from clipspool.intake.accept import Acceptance
from clipspool.intake.sidecar.parse import BYTES_MAX
from clipspool.jobs.model import Problem
from clipspool.jobs.text import local_time
from clipspool.spool.timelines import claimed_of, home_of, plan_of
from inboxes import CLIP, EPOCH, Bench, box

EDL = (Path(__file__).parents[1] / "timelines" / "resolve.edl").read_bytes()
XML = (Path(__file__).parents[1] / "timelines" / "premiere.xml").read_bytes()
FACTS = {"container": "mov", "size_bytes": 9, "seconds": 6.0, "frames": 150, "fps": "25/1"}


def bench_in(path, **rules):
    """Return an inbox in which every clip has 150 frames, those of A001_C003 from 01:00:00:00 on."""

    def inspect(fd):
        has_timecode = "C003" in Path(f"/proc/self/fd/{fd}").readlink().name
        return FACTS | ({"timecode": "01:00:00:00"} if has_timecode else {}), []

    return Bench(path, inspect=inspect, **{"layers": {"[defaults]": {"model": "gen4_aleph"}}, **rules})


@pytest.fixture
def bench(tmp_path):
    return bench_in(tmp_path / "bay")


def unlike(name):
    """Return a clip that differs from others."""
    return CLIP + box(b"free", name.encode())


def drop(bench, *media, edl=EDL, folder="day/"):
    bench.write(f"{folder}cut.edl", edl)
    for name in media or ("A001_C003.mov", "A001_C004.mov"):
        bench.drop(f"{folder}{name}", unlike(name), sidecar=None)


def cuts_of(bench):
    """Give each job's clip, variant, and the first frame and number of frames that are sent."""
    return sorted(
        (
            one.clip.path,
            job.variant,
            round(job.request.start_seconds * 25),
            round(job.request.length_seconds * 25),
        )
        for one in bench.accepted
        for job in one.jobs
    )


def test_each_marked_clip_becomes_a_job_of_its_media_with_handles(bench):
    drop(bench)
    bench.settle()
    assert cuts_of(bench) == [
        ("day/A001_C003.mov", "_v1", 13, 49),
        ("day/A001_C003.mov", "_v2", 63, 49),
        ("day/A001_C004.mov", "", 0, 42),
    ]
    requests = {job.variant: job.request for one in bench.accepted for job in one.jobs if job.variant}
    assert [requests[name].prompt for name in ("_v1", "_v2")] == ["Deep winter at dusk", "fog"]
    assert {(one.finish, one.long_clips) for one in requests.values()} == {("timeline", "trim")}
    assert bench.lying() == []
    (timeline,) = {one.timeline for one in requests.values()}
    plan = plan_of(bench.root, timeline)
    assert (plan.path, plan.unmarked) == ("day/cut.edl", 1)
    assert [cut.why for cut in plan.cuts if not cut.clip] == ["its speed is changed"]


def test_the_sidecar_of_a_timeline_says_what_all_its_clips_have_in_common(bench):
    drop(bench)
    bench.write("day/cut.toml", "handle_frames = 0\nseed = 7\n")
    bench.settle()
    assert [cut[2:] for cut in cuts_of(bench)] == [(25, 25), (75, 25), (5, 25)]
    assert {job.request.seed for one in bench.accepted for job in one.jobs} == {7}
    assert bench.lying() == []


def test_a_sidecar_that_is_too_long_is_never_read_in_part(bench):
    drop(bench)
    bench.write("day/cut.toml", f"seed = 7\n{'#' * BYTES_MAX}")
    bench.settle()
    assert bench.accepted == []
    assert "is larger than 64 KiB" in bench.note("day/cut.edl")


def test_a_sidecar_of_another_letter_case_is_the_timelines(bench):
    drop(bench)
    bench.write("day/Cut.TOML", "handle_frames = 0\n")
    bench.settle()
    assert [cut[2:] for cut in cuts_of(bench)] == [(25, 25), (75, 25), (5, 25)]


@pytest.mark.parametrize("name", ["cut.toml.txt", "cut.edl.toml.rtf", "cut.tml"])
def test_settings_under_a_name_that_is_not_read_are_not_passed_over(bench, name):
    drop(bench)
    bench.write(f"day/{name}", "handle_frames = 0\n")
    bench.settle()
    bench.look(60)
    assert bench.accepted == []
    assert f"did you mean `{name}`? It is not read under that name" in bench.note("day/cut.edl")
    (bench.path / "day" / name).rename(bench.path / "day/cut.toml")
    bench.settle()
    assert len(cuts_of(bench)) == 3


def test_settings_that_may_be_a_clips_of_its_name_do_not_hold_a_timeline(bench):
    drop(bench)
    bench.drop("day/cut.mov", unlike("cut"), sidecar=None)
    bench.write("day/cut.toml.txt", 'prompt = "x"\n')
    bench.settle()
    assert len(cuts_of(bench)) == 3


def test_a_preset_may_say_how_long_handles_are_below_the_sidecar(bench):
    drop(bench)
    bench.write("_presets/tight.toml", "handle_frames = 1\n")
    bench.write("day/_defaults.toml", 'preset = "tight"\nhandle_frames = 9\n')
    bench.settle()
    for _ in range(3):
        bench.look(3)
    assert [cut[2:] for cut in cuts_of(bench)] == [(24, 27), (74, 27), (4, 27)]


def test_a_timeline_waits_for_its_media_and_names_them_and_media_wait_for_it(bench):
    drop(bench, "A001_C003.mov")
    bench.settle()
    bench.look(1)
    assert bench.note("day/cut.edl") is None  # they may be on their way
    bench.look(60)
    bench.look(1)
    assert "neither in its folder nor below it: `A001_C004.mov`" in bench.note("day/cut.edl")
    assert bench.accepted == []
    assert bench.waiting()["day/A001_C003.mov"].reason == "the timeline `cut.edl` shows it, and waits"
    assert bench.note("day/A001_C003.mov") is None
    bench.drop("day/media/A001_C004.mov", unlike("4"), sidecar=None)
    bench.settle()
    bench.look(1)
    assert len(cuts_of(bench)) == 3
    assert bench.lying() == []


def test_of_clips_with_one_name_the_one_whose_folder_the_timeline_names_is_taken(bench):
    fog = b"<marker><comment>fog</comment><name>AI</name><in>12</in><out>-1</out></marker></clipitem>"
    xml = XML.replace(b"media/A001_C003.mov", b"card1/C0001.MP4").replace(
        b"media/A001_C004.mov", b"card2/C0001.MP4"
    )
    second = xml.index(b'<clipitem id="clipitem-2">')
    bench.write("day/cut.xml", xml[:second] + xml[second:].replace(b"</clipitem>", fog, 1))
    for name in ("card1", "card2", "card3"):
        bench.drop(f"day/{name}/C0001.MP4", unlike(name), sidecar=None)
    bench.settle()
    assert cuts_of(bench) == [("day/card1/C0001.MP4", "", 13, 49), ("day/card2/C0001.MP4", "", 0, 47)]
    assert bench.lying() == ["day/card3/C0001.MP4"]


@pytest.mark.parametrize("name", ["day/cut.toml", "day/_defaults.toml"])
def test_results_that_no_timeline_can_show_are_not_paid_for(bench, name):
    drop(bench)
    bench.write(name, 'seed = 1\noutput_format = "png_sequence"\n')
    bench.settle()
    bench.look(1)
    assert bench.accepted == []
    said = bench.note("day/cut.edl")
    assert f"{name}, line 2: `output_format` makes a folder of pictures, which no timeline can show" in said
    bench.write(name, 'seed = 1\noutput_format = "prores"\n')
    bench.settle()
    bench.look(1)
    assert len(cuts_of(bench)) == 3


def test_a_clip_that_is_marked_more_often_than_it_may_have_results_is_named(bench):
    event = "{0:03}  A001C003 V     C        01:00:01:00 01:00:02:00 01:00:00:00 01:00:01:00\n"
    event += "* FROM CLIP NAME: A001_C003.mov\n* COMMENT: look {0}\n"
    drop(bench, "A001_C003.mov", edl="".join(map(event.format, range(1, 102))).encode())
    bench.settle()
    said = "`day/A001_C003.mov` is marked 101 times, and has 100 results at most: remove markers"
    assert said in bench.note("day/cut.edl")


def test_a_marked_picture_is_not_asked_for_where_it_lies_already(bench):
    drop(bench, edl=EDL.replace(b"A001_C004.mov", b"plate.[1001-1100].exr"))
    bench.write("day/plate.1001.exr", b"v/1\x01")
    bench.settle()
    bench.look(60)
    bench.look(1)
    said = bench.note("day/cut.edl")
    assert "it marks pictures, of which no film can be made here: `plate.[1001-1100].exr`" in said
    assert bench.accepted == []


def test_of_clips_with_one_name_none_is_guessed(bench):
    drop(bench, "card1/A001_C003.mov", "card2/A001_C003.mov", "A001_C004.mov")
    bench.settle()
    bench.look(60)
    assert bench.accepted == []
    which = "clip 1 `A001_C003.mov` may show `day/card1/A001_C003.mov` or `day/card2/A001_C003.mov`"
    assert which in bench.note("day/cut.edl")
    assert "waits" in bench.waiting()["day/card2/A001_C003.mov"].reason
    (bench.path / "day/card1/A001_C003.mov").rename(bench.path / "day/A001_C003.mov")
    bench.settle()
    bench.look(1)
    assert [cut[0] for cut in cuts_of(bench)] == ["day/A001_C003.mov"] * 2 + ["day/A001_C004.mov"]


def test_defaults_do_not_pay_for_media_that_a_timeline_shows(tmp_path):
    bench = bench_in(
        tmp_path / "bay", sidecar_required=False, layers={"[defaults]": {"model": "m", "prompt": "x"}}
    )
    drop(bench, "A001_C003.mov", "A001_C005.mov")
    bench.settle()
    for _ in range(3):
        bench.look(30)
    assert bench.accepted == []
    bench.drop("day/A001_C004.mov", unlike("4"), sidecar=None)
    bench.settle()
    bench.look(1)
    assert len(cuts_of(bench)) == 3
    # What it shows without a mark is put away and not sent.
    assert bench.lying() == ["_done/day/A001_C005.mov"]


@pytest.mark.parametrize(
    ("edl", "why"),
    [
        (EDL.replace(b"* LOC:", b"* X:").replace(b"* COMMENT:", b"* Y:"), "no clip in it is marked"),
        (EDL.replace(b"01:00:03:00 01:00:04:00", b"01:00:08:00 01:00:09:00"), "it shows frames 200 to 224"),
        (EDL.replace(b"01:00:03:00 01:00:04:00", b"01:00:03:27 01:00:04:27"), "cannot be read at 25 frames"),
        (b"TITLE: x\n", "it cannot be read as a timeline"),
        (EDL.replace(b"fog", b"f" * 1001), "clip 3 `A001_C003.mov`: its prompt is too long: 1,001"),
        (EDL.replace(b"rain at night", b"r" * 1001), "clip 2 `A001_C004.mov`: its prompt is too long"),
    ],
)
def test_what_is_wrong_with_a_timeline_is_said_and_costs_nothing(bench, edl, why):
    drop(bench, edl=edl)
    bench.settle()
    bench.look(1)
    assert why in bench.note("day/cut.edl")
    assert bench.accepted == []
    drop(bench)
    bench.settle()
    bench.look(1)
    assert len(cuts_of(bench)) == 3
    assert bench.note("day/cut.edl") is None


@pytest.fixture
def eager(tmp_path):
    """An inbox whose defaults serve every clip."""
    defaults = {"[defaults]": {"model": "gen4_aleph", "prompt": "snow"}}
    return bench_in(tmp_path / "bay", sidecar_required=False, layers=defaults)


def link(bench):
    (bench.path / "cut.edl").write_bytes(EDL)
    (bench.path / "day").mkdir()
    (bench.path / "day" / "cut.edl").symlink_to("../cut.edl")
    (bench.path / "cut.edl").unlink()


@pytest.mark.parametrize("edl", [b"TITLE: x\n", b"\xff\xfe", link, b""])
def test_beside_a_timeline_that_cannot_be_read_no_clip_is_paid_for_by_defaults_alone(eager, edl):
    if edl is link:
        link(eager)
        eager.drop("day/A001_C003.mov", unlike("3"), sidecar=None)
    else:
        drop(eager, "A001_C003.mov", edl=edl)
    eager.drop("day/cards/other.mp4", unlike("other"), sidecar=None)
    eager.drop("day/own.mp4", unlike("own"))
    eager.drop("apart.mp4", unlike("apart"), sidecar=None)
    eager.settle()
    for _ in range(3):
        eager.look(30)
    assert sorted(eager.paths) == ["apart.mp4", "day/own.mp4"]
    for name in ("day/A001_C003.mov", "day/cards/other.mp4"):
        assert "`cut.edl` cannot be read, and may show it" in eager.waiting()[name].reason
        assert eager.note(name) is None
    assert eager.note("day/cut.edl")
    (eager.path / "day/cut.edl").unlink()
    eager.look(30)
    eager.look(30)
    assert len(eager.paths) == 4


@pytest.mark.parametrize(
    "name", ["cut.aaf", "Cut.AAF", "cut.otioz", "Reel 3.fcpxmld/Info.fcpxml", "cut.otiod/content.otio"]
)
def test_beside_a_timeline_of_a_kind_that_is_not_read_no_clip_is_paid_for_by_defaults_alone(eager, name):
    eager.write(f"day/{name}", b"who knows")
    whole = f"day/{name.partition('/')[0]}"
    eager.drop("day/A001_C003.mov", unlike("3"), sidecar=None)
    eager.drop("day/cards/other.mp4", unlike("other"), sidecar=None)
    eager.drop("day/own.mp4", unlike("own"))
    eager.drop("apart.mp4", unlike("apart"), sidecar=None)
    eager.settle()
    for _ in range(4):
        eager.look(30)
    assert sorted(eager.paths) == ["apart.mp4", "day/own.mp4"]
    for clip in ("day/A001_C003.mov", "day/cards/other.mp4"):
        assert "export it as OTIO, EDL, FCP XML or FCPXML, and remove it" in eager.waiting()[clip].reason
    assert "Meanwhile clips without a sidecar wait here and below" in eager.note(whole)
    eager.write("day/cut.edl", EDL.replace(b"A001_C004", b"A001_C003"))
    eager.look(30)
    eager.look(30)
    assert sorted(set(eager.paths)) == ["apart.mp4", "day/A001_C003.mov", "day/own.mp4"]
    shutil.rmtree(eager.path / whole) if "/" in name else (eager.path / whole).unlink()
    eager.look(30)
    eager.look(30)
    assert "day/cards/other.mp4" in eager.paths


@pytest.mark.parametrize("name", ["dailies.ale", "mix.omf"])
def test_a_log_or_a_sound_mix_holds_no_clip_back(eager, name):
    eager.write(f"day/{name}", b"who knows")
    eager.drop("day/C0001.mp4", sidecar=None)
    eager.settle()
    eager.look(30)
    assert eager.paths == ["day/C0001.mp4"]
    eager.look(60)
    assert "Meanwhile" not in eager.note(f"day/{name}")


def test_an_xml_of_another_kind_holds_no_clip_back(eager):
    eager.write("day/take.xml", b'<?xml version="1.0"?><NonRealTimeMeta/>')
    eager.drop("day/C0001.mp4", sidecar=None)
    eager.settle()
    eager.look(30)
    assert eager.paths == ["day/C0001.mp4"]
    assert "neither FCP XML (xmeml) nor FCPXML" in eager.note("day/take.xml")


def test_an_empty_timeline_is_told_of_and_holds_no_clip_with_a_sidecar_for_ever(bench):
    bench.write("day/cut.edl", b"")
    bench.drop("day/own.mp4")
    bench.settle()
    assert bench.accepted == [], "it may be on its way"
    assert bench.note("day/cut.edl") is None
    bench.look(60)
    bench.look(3)
    assert "it is empty (0 bytes)" in bench.note("day/cut.edl")
    assert bench.paths == ["day/own.mp4"]
    assert bench.inbox.is_idle, "a run until all is done ends"


def test_a_timeline_with_an_empty_sidecar_is_told_of(bench):
    drop(bench)
    bench.write("day/cut.toml", "")
    bench.settle()
    bench.look(60)
    assert "its sidecar `cut.toml` is empty (0 bytes)" in bench.note("day/cut.edl")
    assert bench.accepted == []


def test_a_clip_that_comes_between_two_scans_is_known_to_its_timeline_before_defaults_serve_it(eager):
    drop(eager, "A001_C003.mov")
    eager.settle()
    eager.drop("day/A001_C004.mov", unlike("4"), sidecar=None)
    eager.inbox._watch._hints.add(str(eager.path / "day/A001_C004.mov"))
    for _ in range(5):
        eager.seconds += 4.0
        eager.inbox.run_pass(eager.seconds)
    assert len(cuts_of(eager)) == 3
    assert {job.request.prompt for one in eager.accepted for job in one.jobs} == {
        "Deep winter at dusk",
        "rain at night",
        "fog",
    }


def test_a_clip_that_a_model_does_not_take_is_named_by_its_number(tmp_path):
    def check(request, _media):
        return [Problem("longer than it takes")] if request.prompt == "fog" else []

    bench = bench_in(tmp_path / "bay", check=check)
    drop(bench)
    bench.settle()
    bench.look(1)
    assert "  - clip 3 `A001_C003.mov`: longer than it takes\n" in bench.note("day/cut.edl")
    alone = EDL.replace(b"rain at night", b"fog").replace(b"* COMMENT: fog\n\n004", b"\n004")
    drop(bench, edl=alone)
    bench.settle()
    bench.look(1)
    assert "  - clip 2 `A001_C004.mov`: longer than it takes\n" in bench.note("day/cut.edl")


def test_a_clip_that_is_too_long_by_itself_is_told_of_without_its_handles(tmp_path):
    bench = bench_in(
        tmp_path / "bay", check=lambda request, _: [Problem(f"{request.length_seconds:g} s are too long")]
    )
    drop(bench)
    bench.settle()
    bench.look(1)
    assert "clip 1 `A001_C003.mov`: 1 s are too long" in bench.note("day/cut.edl")


def test_two_clips_of_the_same_frames_prompt_and_seed_are_not_both_paid_for(bench):
    twice = EDL.replace(b"01:00:03:00 01:00:04:00 01:00:02", b"01:00:01:00 01:00:02:00 01:00:02")
    drop(bench, edl=twice.replace(b"fog", b"Deep winter at dusk"))
    bench.write("day/cut.toml", "seed = 7\n")
    bench.settle()
    bench.look(1)
    assert "clip 3 `A001_C003.mov`: it shows what clip 1 `A001_C003.mov` shows" in bench.note("day/cut.edl")
    assert bench.accepted == []
    bench.write("day/cut.toml", "handle_frames = 12\n")  # each draws a seed of its own
    bench.settle()
    assert len(cuts_of(bench)) == 3


def test_what_its_other_files_say_is_not_said_of_a_single_clip(bench):
    drop(bench)
    bench.write("day/cut.toml", "overlap_frames = 12\n")
    bench.settle()
    bench.look(1)
    note = bench.note("day/cut.edl")
    assert "cut.toml, line 1: `overlap_frames` changes nothing, since the clips of a timeline" in note


def test_a_clip_with_a_sidecar_of_its_own_is_not_taken_for_the_timeline(bench):
    drop(bench)
    bench.write("day/A001_C003.toml", 'prompt = "mine"\n')
    bench.settle()
    bench.look(1)
    assert "it has a sidecar of its own" in bench.note("day/A001_C003.mov")
    assert "has a sidecar of its own, `A001_C003.toml`" in bench.note("day/cut.edl")
    assert bench.accepted == []


def test_what_the_model_does_not_take_with_handles_is_sent_without(tmp_path):
    def check(request, _media):
        return [Problem("too long")] if request.length_seconds > 1 else []

    bench = bench_in(tmp_path / "bay", check=check)
    drop(bench)
    bench.settle()
    assert [cut[2:] for cut in cuts_of(bench)] == [(25, 25), (75, 25), (5, 25)]
    plan = plan_of(bench.root, bench.accepted[0].jobs[0].request.timeline)
    assert plan.cuts[0].why.startswith("without handles")


def test_paths_of_other_machines_lead_into_the_inbox_and_nowhere_else(tmp_path):
    beyond = tmp_path / "beyond"
    beyond.mkdir()
    (beyond / "A001_C003.mov").write_bytes(CLIP)
    bench = bench_in(tmp_path / "bay")
    bench.write("day/cut.xml", XML.replace(b"file://localhost/Z%3a/media", f"file://{beyond}".encode()))
    bench.settle()
    bench.look(60)
    bench.look(1)
    assert "neither in its folder nor below it: `A001_C003.mov`" in bench.note("day/cut.xml")
    bench.write("day/cut.xml", XML.replace(b"file://localhost/Z%3a/media", b"../../../beyond"))
    bench.settle()
    bench.look(1)
    assert bench.accepted == []
    bench.drop("day/A001_C003.mov", sidecar=None)
    bench.settle()
    bench.look(1)
    assert bench.paths == ["day/A001_C003.mov"]


def stop(_rel):
    raise OSError("the machine stops here")


@pytest.mark.parametrize("claims", [1, 2])
def test_a_timeline_that_a_crash_cut_short_goes_on_and_claims_nothing_twice(bench, monkeypatch, claims):
    real, made = Acceptance.accept, []

    def cut_short(self, ready):
        if len(made) == claims:
            raise OSError("the machine stops here")
        made.append(ready)
        return real(self, ready)

    monkeypatch.setattr(Acceptance, "accept", cut_short)
    monkeypatch.setattr(bench.root, "remove", stop)
    drop(bench)
    bench.settle()
    first = list(bench.accepted)
    assert len(first) == claims
    monkeypatch.undo()
    bench.begin()  # another process
    bench.settle()
    bench.look(1)
    assert len(bench.accepted) == 2
    assert len(cuts_of(bench)) == 3
    assert bench.lying() == []
    (timeline,) = {job.request.timeline for one in bench.accepted for job in one.jobs}
    plan = plan_of(bench.root, timeline)
    assert claimed_of(bench.root, plan) == plan.clips == {"day/A001_C003.mov", "day/A001_C004.mov"}
    assert [cut.number for cut in plan.cuts] == [1, 2, 3, 5]


def test_media_that_went_after_a_crash_is_not_waited_for(bench, monkeypatch):
    real, made = Acceptance.accept, []

    def cut_short(self, ready):
        if made:
            raise OSError("the machine stops here")
        made.append(ready)
        return real(self, ready)

    monkeypatch.setattr(Acceptance, "accept", cut_short)
    drop(bench)
    bench.settle()
    monkeypatch.undo()
    (left,) = [name for name in bench.lying() if name.endswith(".mov")]
    (bench.path / left).unlink()
    bench.begin()
    bench.settle()
    bench.look(1)
    plan = plan_of(bench.root, bench.accepted[0].jobs[0].request.timeline)
    assert len(plan.clips) == 1
    assert any("removed before it was accepted" in cut.why for cut in plan.cuts)


def test_a_plan_that_somebody_else_wrote_leads_nowhere(bench):
    drop(bench)
    bench.settle()
    timeline = bench.accepted[0].jobs[0].request.timeline
    file = bench.path / home_of(timeline) / "plan.json"
    body = json.loads(file.read_text())
    for path in ("../../beyond.edl", "/etc/x.edl", "", 5):
        file.write_text(json.dumps(body | {"path": path}))
        assert plan_of(bench.root, timeline) is None
    assert plan_of(bench.root, "../work") is None


def test_xml_on_a_cameras_card_is_the_cameras(bench):
    bench.write("card/CONTENTS/CLIP/0001AB.XML", b"<P2Main/>")
    bench.settle()
    bench.look(100)
    assert bench.note("card/CONTENTS/CLIP/0001AB.XML") is None


def test_while_a_timelines_sidecar_has_mistakes_its_clips_are_not_paid_for_by_themselves(tmp_path):
    defaults = {"[defaults]": {"model": "gen4_aleph", "prompt": "snow"}}
    bench = bench_in(tmp_path / "bay", sidecar_required=False, layers=defaults)
    drop(bench)
    bench.write("day/cut.toml", 'promt = "x"\n')
    bench.settle()
    bench.look(60.0)
    assert bench.accepted == []
    assert "the timeline `cut.edl` shows it" in bench.waiting()["day/A001_C003.mov"].reason
    assert "unknown key `promt`" in bench.note("day/cut.edl")
    (bench.path / "day" / "cut.toml").unlink()
    bench.look()
    assert bench.accepted


def test_a_mark_that_is_not_utf_8_is_told_of(bench):
    drop(bench, edl=EDL.replace(b"Deep winter", b"W\xfcnter"))
    bench.settle()
    assert bench.accepted == []
    assert "has a letter that is not UTF-8 (shown as \ufffd): `W\ufffdnter at dusk`" in bench.note(
        "day/cut.edl"
    )


def test_a_clip_that_ends_before_it_begins_is_told_of(bench):
    drop(bench, edl=EDL.replace(b"01:00:01:00 01:00:02:00", b"01:00:02:00 01:00:01:00"))
    bench.settle()
    assert "it ends where it begins, or before that" in bench.note("day/cut.edl")


def test_a_mistake_of_ours_with_a_timeline_is_told_of_beside_it(bench, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(timelines, "placed", broken)
    drop(bench)
    bench.drop("other.mp4")
    bench.settle()
    assert "clipspool made a mistake with it" in bench.note("day/cut.edl")
    assert [one.clip.path for one in bench.accepted] == ["other.mp4"]
    monkeypatch.undo()
    bench.look(60.0)
    assert bench.note("day/cut.edl") is None
    assert len(bench.accepted) == 3


def test_a_timeline_waits_like_a_clip_for_a_pause_and_for_its_time(tmp_path):
    bench = bench_in(tmp_path / "bay", hold_seconds=60.0)
    drop(bench)
    bench.settle()
    due = local_time(EPOCH + 60)  # a count of seconds would be wrong a second later
    assert f"all is well; it is accepted at {due}" in bench.waiting()["day/cut.edl"].reason
    bench.write("_pause", b"")
    bench.look(100)
    assert bench.accepted == []
    (bench.path / "_pause").unlink()
    bench.look(1)
    assert len(cuts_of(bench)) == 3


def test_of_two_timelines_that_mark_the_same_clip_none_is_taken_before_one_is_gone(bench):
    drop(bench)
    bench.write("day/cut v2.edl", EDL.replace(b"Deep winter", b"High summer"))
    bench.settle()
    bench.look(5)
    bench.look(5)
    assert bench.accepted == []
    assert "`cut v2.edl` marks `A001_C003.mov` and 1 more too: remove one" in bench.note("day/cut.edl")
    assert "`cut.edl` marks `A001_C003.mov` and 1 more too: remove one" in bench.note("day/cut v2.edl")
    (bench.path / "day/cut.edl").unlink()
    bench.look(1)
    bench.look(5)
    bench.look(1)
    assert next(job.request.prompt for one in bench.accepted for job in one.jobs) == "High summer at dusk"
    assert bench.lying() == []


def test_a_timeline_that_marks_none_of_the_others_clips_does_not_hold_it(bench):
    drop(bench)
    unmarked = b"\n".join(line for line in EDL.splitlines() if not line.startswith((b"* LOC", b"* COMM")))
    bench.write("day/cut v2.edl", unmarked)
    bench.settle()
    bench.look(5)
    bench.look(1)
    assert len(cuts_of(bench)) == 3
