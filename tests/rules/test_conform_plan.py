"""What is done to a clip before it is sent, and to a result before it goes into the timeline."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clipspool.media.facts import Audio, Probe, inside
from clipspool.media.plan import AsIs, Bounds, Conform, Refuse, fitted, plan
from clipspool.media.rates import constant_rate
from clipspool.media.timeline import BY_TIME, Bars, FinishChoices, FinishPlan, finish_plan, later_timecode

CLIP = Probe(
    container="mp4",
    size_bytes=2_000_000,
    video_codec="h264",
    width=1280,
    height=720,
    coded_width=1280,
    coded_height=720,
    fps="24/1",
    variable_frame_rate=False,
    seconds=4.0,
    frames=96,
    pixel_format="yuv420p",
    bit_depth=8,
)
MODEL = Bounds(width_max=1920, height_max=1920, fps_max=30, seconds_max=5)


@pytest.mark.parametrize(("frames", "hidden"), [(96, 0), (97, 0), (95, 0), (98, 2), (140, 44)])
def test_pictures_that_an_edit_list_hides_are_not_sent(frames, hidden):
    made = plan(replace(CLIP, frames=frames), MODEL, 3_700_000)
    assert isinstance(made, Conform) == bool(hidden)
    if isinstance(made, Conform):
        assert f"{hidden} pictures left out that players do not show" in made.changes
    assert plan(replace(CLIP, frames=None), MODEL, 3_700_000) == AsIs()


def test_a_result_that_players_show_otherwise_than_it_is_stored_is_not_copied():
    five_seconds = replace(CLIP, seconds=5.0, frames=120)
    assert not finish_plan(replace(CLIP, frames=120), five_seconds).copy_video, "24 pictures are hidden"
    assert not finish_plan(replace(CLIP, fps="30/1", frames=150), replace(CLIP, seconds=6.25)).by_frame
    wide = replace(CLIP, sar="4/3", width=1706)
    for wanted in (FinishChoices(), FinishChoices(dimensions=True)):
        assert not finish_plan(wide, CLIP, wanted=wanted).copy_video, "its pixels are not square"
    assert finish_plan(CLIP, CLIP, wanted=FinishChoices(dimensions=True)).copy_video


@pytest.mark.parametrize("model", [MODEL, Bounds(seconds_min=2)])
def test_a_single_picture_is_no_video_for_any_model(model):
    still = plan(replace(CLIP, seconds=1 / 24, frames=1), model, None)
    assert isinstance(still, Refuse)
    assert still.reason == "it is a single picture, not a video"
    assert not isinstance(plan(replace(CLIP, seconds=2 / 24, frames=2), model, None), Refuse)


RESULT_AT_24 = replace(CLIP, seconds=3.125, frames=75)
SOURCE_AT_25 = replace(CLIP, fps="25/1", seconds=3.0, frames=75)


def test_a_result_with_as_many_frames_under_another_rate_is_placed_one_by_one():
    made = finish_plan(RESULT_AT_24, SOURCE_AT_25)
    assert made.by_frame
    assert made.copy_video, "only its label is another"
    assert "75 frames at 24 frames a second, placed one by one on the source's 75 at 25" in made.changes
    assert not any("cut off" in said or "held for" in said for said in made.changes)


def test_a_result_with_the_rate_that_was_sent_is_not_taken_for_a_mislabelled_one():
    """A second of 60 frames is sent with 30, and held to the two seconds that the model takes at least."""
    source = replace(CLIP, fps="60/1", seconds=1.0, frames=60)
    result = replace(CLIP, fps="30/1", seconds=2.0, frames=60)
    made = finish_plan(result, source, sent_fps="30/1")
    assert not made.by_frame
    assert "60 frames cut off to the source's length" in made.changes
    assert finish_plan(result, source, sent_fps="24/1").by_frame


def test_a_result_with_as_many_frames_keeps_its_own_time_where_that_is_asked_for():
    made = finish_plan(RESULT_AT_24, SOURCE_AT_25, wanted=FinishChoices(by_time=True))
    assert (made.by_frame, made.copy_video, made.fps, made.frames) == (False, False, "25/1", 75)
    rate, end = "25 frames a second (the result had 24)", "3 frames cut off to the source's length"
    assert {BY_TIME, rate, end} <= {*made.changes}
    assert finish_plan(CLIP, CLIP, wanted=FinishChoices(by_time=True)) == finish_plan(CLIP, CLIP)


@pytest.mark.parametrize(
    "result",
    [
        replace(RESULT_AT_24, frames=72, seconds=3.0),
        replace(RESULT_AT_24, frames=None),
        replace(RESULT_AT_24, variable_frame_rate=True),
    ],
)
def test_a_result_with_other_frames_is_placed_by_time(result):
    made = finish_plan(result, SOURCE_AT_25)
    assert not made.by_frame
    assert "25 frames a second (the result had 24)" in made.changes


def test_a_result_that_lies_in_the_timeline_already_is_not_written_anew():
    assert finish_plan(CLIP, CLIP).is_nothing
    for source in (
        SOURCE_AT_25,
        replace(CLIP, timecode="01:00:00:00"),
        replace(CLIP, audio=Audio("aac", 2, 48_000)),
    ):
        assert not finish_plan(CLIP, source).is_nothing
    assert not finish_plan(replace(CLIP, audio=Audio("aac", 2, 48_000)), CLIP).is_nothing


def test_what_a_result_lacks_that_lies_in_the_timeline_already_is_named():
    made = finish_plan(
        replace(CLIP, besides=("title",)), replace(CLIP, besides=("captions (mov_text)", "title"))
    )
    assert made.is_nothing
    assert made.lost == "lost from the source: captions (mov_text)"
    assert finish_plan(CLIP, CLIP).lost == ""


def test_a_clip_that_the_model_takes_whole_is_cut_too_where_a_start_is_named():
    behind = plan(CLIP, MODEL, None, long_clips="trim", start_seconds=CLIP.seconds)
    assert isinstance(behind, Refuse)
    assert behind.what_to_do == "Choose a start between 0 and 3.9."
    cut = plan(CLIP, MODEL, 3_700_000, long_clips="trim", start_seconds=1.51)
    assert isinstance(cut, Conform)
    assert (cut.start_seconds, cut.seconds) == (1.5, 2.5)
    assert "cut to 2.5 s from 1.5 s on, frame 36 (it was 4 s)" in cut.changes
    assert plan(CLIP, MODEL, 3_700_000, long_clips="trim", start_seconds=0.01) == AsIs(), "its first frame"
    assert plan(CLIP, MODEL, 3_700_000, start_seconds=99) == AsIs(), "only `trim` uses it"


def test_a_start_that_leaves_less_than_the_model_takes_is_refused_with_the_last_one_that_would_do():
    short = replace(MODEL, seconds_min=2.0)
    refused = plan(CLIP, short, None, long_clips="trim", start_seconds=2.5)
    assert isinstance(refused, Refuse)
    assert refused.what_to_do == "Choose a start between 0 and 2."
    assert isinstance(plan(CLIP, short, None, long_clips="trim", start_seconds=2), Conform)
    less = plan(replace(CLIP, seconds=1.5), short, None, long_clips="trim", start_seconds=0.5)
    assert isinstance(less, Refuse)
    assert less.what_to_do == "Delete `start_seconds`."


def test_a_turn_that_is_no_quarter_is_named_in_what_was_changed():
    odd = replace(CLIP, container="mkv", noticed="it is marked as turned by 37 degrees")
    assert odd.noticed in plan(odd, MODEL, None).changes


def test_a_clip_that_fits_goes_as_it_is():
    assert plan(CLIP, MODEL, 3_700_000) == AsIs()


@pytest.mark.parametrize(
    ("clip", "word"),
    [
        (replace(CLIP, size_bytes=9_000_000), "3,700,000 bytes"),
        (replace(CLIP, container="mkv"), "H.264"),
        (replace(CLIP, video_codec="theora"), "H.264"),
        (replace(CLIP, width=3840, height=2160), "1920x1080"),
        (replace(CLIP, fps="60/1"), "30 frames"),
        (replace(CLIP, fps="60000/1001"), "29.97 frames"),
        (replace(CLIP, variable_frame_rate=True, fps="2987/100"), "constant 29.97 frames"),
        (replace(CLIP, rotation=90, width=720, height=1280), "rotation of 90"),
        (replace(CLIP, transfer="smpte2084", bit_depth=10), "tone-mapped"),
        (replace(CLIP, bit_depth=12, pixel_format="yuv444p12le"), "8-bit 4:2:0"),
        (replace(CLIP, pixel_format="yuv444p"), "8-bit 4:2:0"),
        (replace(CLIP, pixel_format="yuv422p"), "8-bit 4:2:0"),
        (replace(CLIP, bit_depth=10, pixel_format="yuv420p10le"), "8-bit 4:2:0"),
        (replace(CLIP, video_codec="hevc", bit_depth=10, pixel_format="yuv422p10le"), "8-bit 4:2:0"),
        (replace(CLIP, video_codec="vp9", container="webm", pixel_format="yuv444p"), "8-bit 4:2:0"),
        (replace(CLIP, sar="4/3"), "square"),
        (replace(CLIP, interlaced=True), "deinterlaced"),
        (replace(CLIP, container="mkv", audio=Audio("aac", 2, 48000)), "sound left out"),
    ],
)
def test_a_clip_that_does_not_fit_is_conformed_and_the_change_is_said(clip, word):
    made = plan(clip, MODEL, 3_700_000)
    assert isinstance(made, Conform)
    assert any(word in change for change in made.changes)
    assert Conform.from_dict(made.to_dict()) == made


@pytest.mark.parametrize(
    "clip",
    [
        replace(CLIP, pixel_format="yuvj420p"),
        replace(CLIP, video_codec="hevc", bit_depth=10, pixel_format="yuv420p10le"),
        replace(CLIP, video_codec="prores", container="mov", bit_depth=10, pixel_format="yuv422p10le"),
    ],
)
def test_colour_that_decoders_of_the_codec_take_in_general_goes_as_it_is(clip):
    assert plan(clip, MODEL, 3_700_000) == AsIs()


def test_8k_becomes_what_decoders_of_h264_take():
    eight_k = replace(CLIP, container="mkv", width=7680, height=4320)
    made = plan(eight_k, Bounds(), None)
    assert (made.width, made.height) == (4096, 2304)


def test_a_long_clip_is_refused_with_its_length_and_the_limit_or_cut_where_the_editor_says():
    clip = replace(CLIP, seconds=12.0)
    refused = plan(clip, MODEL, None)
    assert isinstance(refused, Refuse)
    assert "12 s" in refused.reason
    assert "5 s" in refused.reason
    cut = plan(clip, MODEL, None, long_clips="trim", start_seconds=3)
    assert isinstance(cut, Conform)
    assert (cut.start_seconds, cut.seconds) == (3, 5)
    tail = plan(clip, MODEL, None, long_clips="trim", start_seconds=10)
    assert isinstance(tail, Conform)
    assert tail.seconds == 2
    assert isinstance(plan(clip, MODEL, None, long_clips="trim", start_seconds=12), Refuse)
    assert isinstance(plan(clip, MODEL, None, long_clips="trim", start_seconds=-1), Refuse)
    late = plan(clip, MODEL, None, long_clips="trim", start_seconds=99)
    assert late.what_to_do == "Choose a start between 0 and 11.9."


def test_a_clip_one_frame_over_the_limit_is_not_long():
    assert plan(replace(CLIP, seconds=5.01), MODEL, None) == AsIs()


def test_a_clip_below_the_least_length_has_its_last_picture_held_and_a_single_picture_is_refused():
    short = plan(CLIP, replace(MODEL, seconds_min=6.02), None)
    assert isinstance(short, Conform)
    assert (short.seconds, short.own_seconds) == (145 / 24, 4.0), "whole frames, and not fewer than the least"
    assert "last picture held to 6.02 s, the model's least (it is 4 s)" in short.changes
    still = replace(CLIP, seconds=1 / 24, frames=1)
    assert isinstance(plan(still, replace(MODEL, seconds_min=6.0), None), Refuse)


@pytest.mark.parametrize(
    ("size", "frame", "picture"),
    [
        ((1720, 720), (1720, 860), (1720, 720)),
        ((4096, 1716), (1920, 960), (1920, 804)),
        ((640, 1600), (800, 1600), (640, 1600)),
    ],
)
def test_pictures_of_an_aspect_that_the_model_does_not_take_get_black_bars(size, frame, picture):
    made = plan(replace(CLIP, width=size[0], height=size[1]), MODEL, None)
    assert isinstance(made, Conform)
    assert (made.width, made.height) == pytest.approx(frame, abs=2)
    assert inside(made.width, made.height, made.picture_aspect) == pytest.approx(picture, abs=2)
    assert "black bars to the aspect that the model takes" in made.changes


def test_black_bars_and_held_pictures_come_off_the_result():
    bars = Bars(1720, 860, "1720/720")
    result = replace(CLIP, width=1280, height=640, coded_width=1280, coded_height=640)
    made = finish_plan(result, result, seconds=3.0, bars=bars)
    assert (made.crop_width, made.crop_height, made.width, made.height) == (1280, 536, 1280, 536)
    assert made.frames == 72
    assert made.changes == (
        "black bars cut off again (1280x536 pixels are left)",
        "24 frames cut off to the source's length",
        "pictures coded again as H.264",
        "it is progressive, SDR, 8 bit",
    )
    other = finish_plan(CLIP, CLIP, bars=bars)
    assert other.crop_width == 0, "the result is 16:9, and what was sent was 2:1"
    assert "black bars left in it: the result has another shape than what was sent" in other.changes


def test_a_start_between_two_frames_is_moved_to_the_nearest_one_and_it_is_said():
    clip = replace(CLIP, fps="25/1", seconds=8.0, frames=200, container="mkv")
    made = plan(clip, MODEL, None, long_clips="trim", start_seconds=1.021)
    assert made.start_seconds == 1.04
    assert "cut to 5 s from 1.04 s on, frame 26 (it was 8 s)" in made.changes
    ntsc = replace(clip, fps="24000/1001", seconds=400.0)
    start = plan(ntsc, MODEL, None, long_clips="trim", start_seconds=301.3).start_seconds
    assert start * 24000 / 1001 == pytest.approx(round(start * 24000 / 1001), abs=1e-6)


def test_few_bytes_keep_the_picture_and_name_a_smaller_one_to_try_and_too_few_are_refused():
    small = plan(replace(CLIP, size_bytes=9_000_000), MODEL, 150_000)
    assert isinstance(small, Conform)
    assert (small.width, small.height) == (1280, 720)
    assert 0 < small.smaller_width < 1280
    roomy = plan(replace(CLIP, size_bytes=9_000_000), MODEL, 3_700_000)
    assert isinstance(roomy, Conform)
    assert roomy.smaller_width == 0
    assert isinstance(plan(CLIP, MODEL, 10_000), Refuse)


@given(
    st.integers(min_value=64, max_value=8000),
    st.integers(min_value=64, max_value=8000),
    st.integers(min_value=64, max_value=4000),
    st.integers(min_value=64, max_value=4000),
)
def test_sides_fit_the_limits_and_keep_the_aspect_within_a_pixel(width, height, width_max, height_max):
    assume(0.25 <= width / height <= 4)
    limits = Bounds(width_max=width_max, height_max=height_max)
    new_width, new_height = fitted(width, height, limits)
    assert new_width % 2 == new_height % 2 == 0
    assert 2 <= new_width <= width_max
    assert 2 <= new_height <= height_max
    assert new_width <= width
    if (new_width, new_height) != (width - width % 2, height - height % 2):
        assert abs(new_height - new_width * height / width) <= 1


def test_an_odd_picture_loses_a_column_and_a_row_and_is_not_scaled():
    assert fitted(322, 181, Bounds()) == (322, 180)
    assert fitted(1279, 717, Bounds()) == (1278, 716)
    assert fitted(853, 480, Bounds()) == (852, 480)


@given(st.integers(min_value=64, max_value=400), st.integers(min_value=64, max_value=400))
def test_a_small_picture_is_enlarged_to_what_the_model_takes(width, height):
    new_width, new_height = fitted(width, height, Bounds(width_min=480, height_min=480))
    assert new_width >= 480
    assert new_height >= 479
    assert abs(new_height - new_width * height / width) <= 1


def test_a_result_like_its_source_keeps_its_pictures_and_gets_the_sound():
    source = replace(CLIP, audio=Audio("aac", 2, 48000), timecode="01:00:00:00")
    made = finish_plan(CLIP, source)
    assert (made.copy_video, made.audio, made.container, made.timecode) == (
        True,
        ("copy",),
        "mp4",
        "01:00:00:00",
    )
    assert FinishPlan.from_dict(made.to_dict()) == made


@pytest.mark.parametrize(
    ("codecs", "container", "sounds"),
    [
        (["pcm_s24le"], "mov", ("copy",)),
        (["aac", "aac"], "mp4", ("copy", "copy")),
        (["vorbis"], "mp4", ("aac",)),
        (["flac", "aac"], "mov", ("pcm", "copy")),
        (["opus", "pcm_s16le"], "mov", ("aac", "copy")),
    ],
)
def test_every_track_is_taken_over_as_it_is_where_its_container_can_have_it(codecs, container, sounds):
    source = replace(CLIP, audio=Audio(codecs[0], 2, 48000, len(codecs), tuple(codecs)))
    made = finish_plan(CLIP, source)
    assert (made.container, made.audio) == (container, sounds)
    said = [change for change in made.changes if change.startswith("sound")]
    assert len(said) == len(set(sounds))
    assert FinishPlan.from_dict(made.to_dict()) == made


def test_only_a_part_has_its_sound_cut():
    source = replace(CLIP, seconds=12.0, frames=288, audio=Audio("aac", 2, 48000))
    assert not finish_plan(CLIP, source).is_part
    assert not finish_plan(CLIP, source, seconds=12.0).is_part
    assert finish_plan(CLIP, source, seconds=4.0).is_part
    assert finish_plan(CLIP, source, start_seconds=8.0, seconds=4.0).is_part


@pytest.mark.parametrize(
    ("fps", "base", "rate"),
    [
        ("2987/100", "30/1", "30000/1001"),
        ("210/11", "30/1", "30"),
        ("69/2", "60/1", "60"),
        ("47/2", "30/1", "30"),
        ("160000/6537", "25/1", "25"),
        ("37/2", "90000/1", "24000/1001"),
        ("152/5", "90000/1", "30"),
        ("80/1", "90000/1", "80"),
    ],
)
def test_a_rate_that_varies_becomes_a_common_one_there_and_back(fps, base, rate):
    varying = replace(CLIP, fps=fps, fps_base=base, variable_frame_rate=True)
    assert constant_rate(varying) == Fraction(rate)
    assert Fraction(finish_plan(CLIP, varying).fps) == Fraction(rate)


def test_of_several_video_tracks_only_the_one_that_players_show_is_sent():
    made = plan(replace(CLIP, video_tracks=2), MODEL, 3_700_000)
    assert isinstance(made, Conform)
    assert made.changes[1:] == ("the one of 2 video tracks that players show",)


def test_nothing_is_said_that_was_not_changed():
    mirrored = plan(replace(CLIP, mirrored=True), MODEL, 3_700_000)
    assert isinstance(mirrored, Conform)
    assert mirrored.changes == ("coded again as H.264 MP4", "mirrored, as players show it")
    clear = plan(replace(CLIP, pixel_format="yuva444p12le", bit_depth=12), MODEL, None)
    assert isinstance(clear, Conform)
    assert "transparency left out" in clear.changes


def test_a_result_of_another_length_is_held_or_cut_and_that_is_said():
    short, long = replace(CLIP, seconds=3.75, frames=90), replace(CLIP, seconds=4.5, frames=108)
    assert "last frame held for 6 frames to the source's length" in finish_plan(short, CLIP).changes
    assert "12 frames cut off to the source's length" in finish_plan(long, CLIP).changes
    one = replace(CLIP, seconds=97 / 24, frames=97)
    assert "1 frame cut off to the source's length" in finish_plan(one, CLIP).changes
    part = finish_plan(CLIP, replace(CLIP, seconds=12.0, frames=288), start_seconds=2, seconds=4.0)
    assert part.frames == 96


@pytest.mark.parametrize(
    ("timecode", "frames", "fps", "later"),
    [
        ("01:00:00:00", 48, Fraction(24), "01:00:02:00"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("00:00:59;29", 1, Fraction(30000, 1001), "00:01:00;02"),
        ("00:09:59;29", 1, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:00;00", 17982, Fraction(30000, 1001), "00:10:00;00"),
        ("not a timecode", 5, Fraction(24), "not a timecode"),
    ],
)
def test_a_timecode_moves_on_by_frames(timecode, frames, fps, later):
    assert later_timecode(timecode, frames, fps) == later


def test_what_the_pictures_are_is_said_in_one_sentence_with_what_the_source_was():
    source = replace(CLIP, bit_depth=10, transfer="arib-std-b67", primaries="bt2020", interlaced=True)
    said = "it is progressive, SDR, 8 bit; its source is interlaced, HDR (HLG) in BT.2020, 10 bit"
    assert finish_plan(CLIP, source).changes[-1] == said
    lost = finish_plan(CLIP, replace(CLIP, captions=True, pixel_format="yuva420p")).changes
    assert "the closed captions in the source's pictures are lost" in lost
    assert "the source's transparency is lost" in lost


@pytest.mark.parametrize(("codec", "said"), [("prores", "ProRes 422 HQ"), ("dnxhr", "DNxHR HQX")])
def test_a_codec_for_editing_makes_a_mov_and_a_reel_name_too(codec, said):
    made = finish_plan(CLIP, CLIP, wanted=FinishChoices(codec=codec))
    assert (made.container, made.copy_video, made.codec) == ("mov", False, codec)
    assert f"pictures coded again as {said}" in made.changes
    reel = replace(CLIP, timecode="01:00:00:00", reel="A001")
    assert finish_plan(CLIP, reel).container == "mov"
    assert finish_plan(
        replace(CLIP, video_codec="prores", container="mov"), CLIP, wanted=FinishChoices(codec="prores")
    ).copy_video


def test_transparency_beside_the_pictures_makes_a_clip_be_converted_and_it_is_said():
    made = plan(replace(CLIP, container="webm", video_codec="vp9", pixel_format="yuva420p"), MODEL, None)
    assert isinstance(made, Conform)
    assert "transparency left out" in made.changes
