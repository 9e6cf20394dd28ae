"""How the results of a clip's parts become one film."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.media.facts import Audio, ClipPart, Probe
from clipspool.media.joins import JoinPlan, join_plan
from clipspool.media.parts import parts_of
from clipspool.media.plan import Bounds, Refuse
from clipspool.media.timeline import BY_TIME, Bars, FinishChoices

SOURCE = Probe(
    container="mov",
    size_bytes=1,
    video_codec="prores",
    width=1920,
    height=1080,
    coded_width=1920,
    coded_height=1080,
    fps="25/1",
    variable_frame_rate=False,
    seconds=12.0,
    frames=300,
    pixel_format="yuv422p10le",
    bit_depth=10,
    audio=Audio("pcm_s24le", 2, 48000, 1, ("pcm_s24le",)),
    timecode="10:00:00:00",
    reel="A001C003",
)
RESULT = replace(
    SOURCE,
    container="mp4",
    video_codec="h264",
    width=1280,
    height=720,
    coded_width=1280,
    coded_height=720,
    pixel_format="yuv420p",
    bit_depth=8,
    audio=None,
    timecode=None,
    reel=None,
)
LIMITS = Bounds(seconds_max=5.0)
PARTS = parts_of(SOURCE, LIMITS)


def result_of(part, fps="25/1", frames=None, **facts):
    frames = part.frames if frames is None else frames
    return replace(RESULT, fps=fps, frames=frames, seconds=float(frames / Fraction(fps)), **facts)


def joined(results=None, parts=PARTS, source=SOURCE, **choices):
    return join_plan(results or [result_of(part) for part in parts], source, parts, **choices)


def shown_at(plan, starts):
    """Return the first frame of each piece in the film, and the one after its last."""
    return [
        (start + piece.skip, start + piece.skip + piece.frames)
        for start, piece in zip(starts, plan.pieces, strict=True)
    ]


@given(
    st.sampled_from([(LIMITS, "25/1"), (Bounds(seconds_min=4.0, seconds_max=4.5), "30000/1001")]),
    st.integers(0, 48),
    st.lists(st.integers(1, 899), max_size=12, unique=True),
    st.sampled_from(["25/1", "24/1", "30000/1001", "50/1"]),
    st.booleans(),
)
def test_every_frame_of_the_film_is_shown_once_or_faded_between_two_neighbours(
    model, overlap, cuts, result_fps, as_is
):
    limits, fps = model
    source = replace(SOURCE, fps=fps, seconds=float(900 / Fraction(fps)), frames=900)
    parts = parts_of(source, limits, cuts=sorted(cuts), overlap_frames=overlap)
    assert not isinstance(parts, Refuse)
    rate = Fraction(fps)
    counts = [round(part.frames / rate * Fraction(result_fps)) for part in parts]
    results = [result_of(part, result_fps, count) for part, count in zip(parts, counts, strict=True)]
    plan = join_plan(results, source, parts, as_is=as_is, overlap_frames=overlap)
    grid = Fraction(plan.finish.fps)
    assert grid == (Fraction(result_fps) if as_is else rate)
    starts = [floor(part.start * grid / rate + Fraction(1, 2)) for part in parts]
    ends = [floor(part.end * grid / rate + Fraction(1, 2)) for part in parts]
    places = shown_at(plan, starts)
    assert (places[0][0], places[-1][1]) == (0, plan.finish.frames)
    assert plan.finish.frames == floor(900 * grid / rate + Fraction(1, 2))
    for (begin, end), start, upto, piece in zip(places, starts, ends, plan.pieces, strict=True):
        assert start <= begin < end <= upto, "a part shows its own frames only"
        assert 0 <= piece.fade <= round(overlap * grid / rate)
    for (before, after), later in zip(pairwise(places), plan.pieces[1:], strict=True):
        assert before[1] - after[0] == later.fade
    for piece, later in pairwise(plan.pieces):
        assert piece.frames >= piece.fade + later.fade, "never are three parts shown at once"


def test_parts_are_faded_where_they_share_frames_and_meet_hard_at_scene_changes():
    plan = joined()
    assert [(piece.skip, piece.frames, piece.fade) for piece in plan.pieces] == [
        (0, 108, 0),
        (0, 108, 12),
        (0, 108, 12),
    ]
    assert plan.finish.changes[0] == "joined of 3 parts: 2 faded into one another over 12 frames"
    parts = parts_of(SOURCE, LIMITS, cuts=(90, 190))
    plan = joined(parts=parts)
    assert [piece.fade for piece in plan.pieces] == [0, 0, 0]
    assert plan.finish.changes[0] == "joined of 3 parts: 2 at scene changes"


def test_a_joined_film_has_the_rate_length_sound_timecode_and_reel_of_its_source():
    finish = joined().finish
    assert (finish.container, finish.fps, finish.frames) == ("mov", "25/1", 300)
    assert (finish.width, finish.height, finish.copy_video) == (1280, 720, False)
    assert (finish.audio, finish.timecode, finish.reel) == (("copy",), "10:00:00:00", "A001C003")
    assert not finish.is_part, "its sound goes to its own end"
    assert "pictures coded again as H.264" in finish.changes
    assert joined(wanted=FinishChoices(dimensions=True, codec="prores")).finish.codec == "prores"
    assert joined(wanted=FinishChoices(dimensions=True)).finish.width == 1920


def test_as_it_is_a_joined_film_keeps_the_rate_of_the_results_and_has_the_sources_sound():
    source = replace(SOURCE, fps="50/1", frames=600)
    parts = [ClipPart(start=0, frames=250), ClipPart(start=250, frames=200), ClipPart(start=450, frames=150)]
    heard = replace(RESULT, audio=Audio("aac", 2, 48000))
    results = [result_of(part, "25/1", round(part.frames / 2), audio=heard.audio) for part in parts]
    finish = joined(results, parts, source, as_is=True).finish
    assert (finish.fps, finish.frames, finish.timecode) == ("25/1", 300, None)
    assert finish.audio == ("copy",)
    assert "the result's own sound left out" in finish.changes
    assert not any("frames a second" in change for change in finish.changes)
    assert joined(results, parts, source).finish.fps == "50/1"


def test_as_it_is_a_joined_film_has_the_sources_rate_where_a_part_begins_between_two_pictures():
    source = replace(SOURCE, fps="50/1", frames=600)
    parts = [ClipPart(start=0, frames=251), ClipPart(start=251, frames=349)]
    plan = joined(
        [result_of(part, "25/1", -(-part.frames // 2)) for part in parts], parts, source, as_is=True
    )
    assert (plan.finish.fps, plan.finish.frames) == ("50/1", 600)
    assert [piece.frames for piece in plan.pieces] == [251, 349]
    assert any("each picture shown several times" in change for change in plan.finish.changes)


def test_results_of_prores_stay_prores():
    results = [result_of(part, video_codec="prores", container="mov") for part in PARTS]
    assert joined(results, as_is=True).finish.codec == "prores"


@pytest.mark.parametrize("as_is", [False, True])
def test_results_with_their_parts_frames_under_another_rate_are_placed_one_by_one(as_is):
    results = [result_of(part, "24/1", part.frames - (number == 1)) for number, part in enumerate(PARTS)]
    plan = joined(results, as_is=as_is)
    assert all(piece.by_frame for piece in plan.pieces)
    assert (plan.finish.fps, plan.finish.frames) == ("25/1", 300)
    assert "frames at 24 a second, placed one by one on the source's at 25" in plan.finish.changes, (
        plan.finish.changes
    )
    wanted = joined(results, as_is=as_is, wanted=FinishChoices(by_time=True))
    assert not any(piece.by_frame for piece in wanted.pieces)
    assert (wanted.finish.fps, wanted.finish.frames) == (("24/1", 288) if as_is else ("25/1", 300))
    assert BY_TIME in wanted.finish.changes
    by_time = joined([result_of(part, "24/1", part.frames - 4) for part in PARTS])
    assert not any(piece.by_frame for piece in by_time.pieces)
    assert "25 frames a second (the result had 24)" in by_time.finish.changes


def test_what_differs_between_the_parts_is_said():
    first = result_of(PARTS[0])
    short = result_of(PARTS[1], frames=PARTS[1].frames - 3)
    long = result_of(PARTS[2], frames=PARTS[2].frames + 2, width=640, height=360)
    plan = joined([first, short, long])
    assert "last frame held for up to 3 frames in 1 of 3 parts" in plan.finish.changes
    assert "up to 2 frames cut off in 1 of 3 parts" in plan.finish.changes
    assert "1 of 3 parts had another size, and were scaled" in plan.finish.changes
    assert (plan.finish.width, plan.finish.height) == (1280, 720)


def test_black_bars_come_off_each_part():
    plan = joined(bars=Bars(1280, 720, "64/25"))
    assert {(piece.crop_width, piece.crop_height) for piece in plan.pieces} == {(1280, 500)}
    assert (plan.finish.width, plan.finish.height) == (1280, 500)


def test_a_plan_reaches_the_decoding_process_as_it_is():
    plan = joined()
    assert JoinPlan.from_dict(plan.to_dict()) == plan
