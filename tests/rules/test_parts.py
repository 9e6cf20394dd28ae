"""How a clip that is longer than its model takes is divided."""

from fractions import Fraction
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clipspool.media.facts import PARTS_MAX, ClipPart, Probe
from clipspool.media.parts import is_too_long, parts_of
from clipspool.media.plan import Bounds, Conform, Refuse, plan

RATES = ("24000/1001", "24/1", "25/1", "30000/1001", "30/1", "50/1", "60000/1001", "8/1")
SHORT = Bounds(seconds_max=5.0)
LONG = Bounds(seconds_min=2.0, seconds_max=30.0)
EXACT = Bounds(seconds_min=4.0, seconds_max=4.5)


def clip(frames, fps="24/1"):
    return Probe(
        container="mov",
        size_bytes=1,
        video_codec="prores",
        width=1280,
        height=720,
        fps=fps,
        variable_frame_rate=False,
        seconds=float(frames / Fraction(fps)),
        frames=frames,
        pixel_format="yuv422p10le",
        bit_depth=10,
    )


def bounds(limits, fps):
    """Return the least and the most frames of a part."""
    rate = Fraction(fps)
    least = -(-Fraction(limits.seconds_min or 1.0) * rate // 1)
    return int(least), int(Fraction(limits.seconds_max) * rate // 1)


@st.composite
def long_clips(draw):
    limits, fps = draw(st.sampled_from([SHORT, LONG, EXACT])), draw(st.sampled_from(RATES))
    _, most = bounds(limits, fps)
    total = draw(st.integers(most + 2, most * 12))
    cuts = draw(st.lists(st.integers(1, total - 1), max_size=40, unique=True))
    return limits, clip(total, fps), sorted(cuts), draw(st.integers(0, 48))


@given(long_clips())
@example((EXACT, clip(240), [100, 130], 12))
def test_the_parts_hold_every_frame_once_apart_from_what_neighbours_share(given_clip):
    limits, probe, cuts, overlap = given_clip
    parts = parts_of(probe, limits, cuts=cuts, overlap_frames=overlap)
    assert parts == parts_of(probe, limits, cuts=cuts, overlap_frames=overlap)
    least, most = bounds(limits, probe.fps)
    assert all(least <= part.frames <= most for part in parts), parts
    assert (parts[0].start, parts[0].overlap, parts[-1].end) == (0, 0, probe.frames)
    shared = min(overlap, most // 4)
    for before, part in pairwise(parts):
        assert part.start > before.start
        assert part.start == before.end - part.overlap
        assert part.end > before.end
        assert part.overlap >= shared or part.start in cuts
    own = [frame for part in parts for frame in range(part.start + part.overlap, part.end)]
    assert own == list(range(probe.frames))


@given(long_clips())
def test_cuts_never_make_the_parts_cost_more_or_put_more_seams_into_scenes(given_clip):
    limits, probe, cuts, overlap = given_clip
    even = parts_of(probe, limits, overlap_frames=overlap)
    parts = parts_of(probe, limits, cuts=cuts, overlap_frames=overlap)
    assert sum(part.frames for part in parts) <= sum(part.frames for part in even)
    assert seams(parts, cuts) <= len(even) - 1


def seams(parts, cuts):
    return sum(part.start not in cuts for part in parts[1:])


@given(st.lists(st.integers(1, 599), max_size=12, unique=True), st.sampled_from([6, 12, 24]))
def test_no_choice_of_cuts_puts_fewer_seams_into_scenes(cuts, overlap):
    probe, (least, most) = clip(600), bounds(SHORT, "24/1")
    nodes = [0, *sorted(cuts), 600]

    @cache
    def fewest(begin):
        if begin == 600:
            return 0
        ends = [end for end in nodes if end - begin >= least]
        found = [fewest(end) + max(0, -(-(end - begin - overlap) // (most - overlap)) - 1) for end in ends]
        return min(found, default=10_000)

    parts = parts_of(probe, SHORT, cuts=sorted(cuts), overlap_frames=overlap)
    assert seams(parts, cuts) == fewest(0)


def test_a_clip_without_scene_changes_is_divided_evenly():
    assert parts_of(clip(312), SHORT) == (
        ClipPart(start=0, frames=112),
        ClipPart(start=100, frames=112, overlap=12),
        ClipPart(start=200, frames=112, overlap=12),
    )


def test_parts_begin_at_scene_changes_where_they_can():
    parts = parts_of(clip(312), SHORT, cuts=(90, 100, 210, 300))
    assert [(part.start, part.frames, part.overlap) for part in parts] == [
        (0, 100, 0),
        (100, 110, 0),
        (210, 102, 0),
    ]


def test_a_scene_change_too_near_to_another_begins_no_part():
    parts = parts_of(clip(960), LONG, cuts=(10, 490, 500, 945))
    assert [part.start for part in parts] == [0, 490]


def test_a_part_may_be_as_long_as_the_model_takes_and_no_frame_longer():
    for fps, frames in (("24000/1001", 119), ("30000/1001", 149), ("25/1", 125)):
        parts = parts_of(clip(4 * frames, fps), SHORT, overlap_frames=0)
        assert [part.frames for part in parts] == [frames] * 4
        assert frames / Fraction(fps) <= 5


def test_where_the_rate_is_low_neighbours_share_less():
    parts = parts_of(clip(80, "8/1"), SHORT)
    assert {part.overlap for part in parts[1:]} == {10}
    assert all(2 * part.overlap <= part.frames for part in parts)


def test_a_clip_that_is_not_too_long_is_one_part():
    assert parts_of(clip(120), SHORT) == (ClipPart(start=0, frames=120),)
    assert parts_of(clip(9000), Bounds()) == (ClipPart(start=0, frames=9000),)
    assert not is_too_long(clip(150, "30000/1001"), SHORT), "half a frame more is not long"
    assert is_too_long(clip(121), SHORT)


def test_a_clip_of_too_many_parts_is_refused_with_their_number():
    refused = parts_of(clip(24 * 3600), SHORT)
    assert isinstance(refused, Refuse)
    assert "3600 s long, which makes 800 parts of at most 5 s" in refused.reason
    many = range(30, 21_000, 30)
    parts = parts_of(clip(21_000), SHORT, cuts=many)
    assert len(parts) <= PARTS_MAX


@pytest.mark.parametrize("fps", RATES)
def test_a_part_is_sent_from_its_first_frame_on_with_all_its_frames(fps):
    probe = clip(7000 if fps != "8/1" else 500, fps)
    for part in parts_of(probe, LONG, cuts=(333,)):
        made = plan(probe, LONG, 3_000_000, part=part)
        assert isinstance(made, Conform)
        rate = Fraction(fps)
        assert round(made.start_seconds * rate, 6) == part.start
        assert round(made.seconds * rate, 6) == part.frames
        assert made.changes[0].startswith(f"frames {part.start} to {part.end - 1} of it")


def test_a_part_that_would_fit_as_it_is_is_cut_out_all_the_same():
    probe = Probe(**{**clip(240).to_dict(), "container": "mp4", "video_codec": "h264", "bit_depth": 8})
    made = plan(probe, Bounds(seconds_max=5.0), None, part=ClipPart(start=0, frames=240))
    assert isinstance(made, Conform)


def test_a_clip_that_is_split_is_not_planned_as_a_whole():
    with pytest.raises(ValueError, match="a part of a clip"):
        plan(clip(312), SHORT, None, long_clips="split")
