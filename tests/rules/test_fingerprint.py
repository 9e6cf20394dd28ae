"""What makes two requests the same."""

from dataclasses import replace

import pytest

from clipspool.jobs.fingerprint import fingerprint, fingerprints_alike, is_sent_alike
from clipspool.jobs.model import Reference
from fakes import a_request

CLIP = "ab" * 32
IMAGE = Reference(name="looks/winter.png", file="ref-0.png")
ADDRESS = Reference(uri="https://example.com/winter.png")


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "deep summer"},
        {"model": "aleph2"},
        {"seed": 43},
        {"seed": 42, "seed_is_drawn": True},
        {"ratio": "1280:720"},
        {"references": (ADDRESS,)},
        {"extra": {"look": 1}},
        {"content_moderation": {"public_figure_threshold": "low"}},
        {"long_clips": "trim"},
        {"start_seconds": 2.0},
        {"length_seconds": 2.0},
    ],
)
def test_whatever_the_provider_is_told_makes_another_request(changes):
    assert fingerprint(a_request(**changes), CLIP, ()) != fingerprint(a_request(), CLIP, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"priority": 9},
        {"not_before": 1_800_000_000.0},
        {"timeline": "abc123", "timeline_credits": 90.0},
        {"finish": "timeline", "finish_size": "source", "keep_untouched": True},
    ],
)
def test_when_it_is_sent_and_how_it_is_finished_makes_no_other_request(changes):
    assert fingerprint(a_request(**changes), CLIP, ()) == fingerprint(a_request(), CLIP, ())


def test_a_drawn_seed_makes_no_other_request():
    one, other = (a_request(seed=seed, seed_is_drawn=True) for seed in (1, 2))
    assert fingerprint(one, CLIP, ()) == fingerprint(other, CLIP, ())


def test_a_reference_counts_by_its_content_whatever_its_name():
    one = a_request(references=(IMAGE, ADDRESS))
    other = a_request(references=(replace(IMAGE, name="again.png", file="ref-1.png"), ADDRESS))
    assert fingerprint(one, CLIP, ("11" * 32,)) == fingerprint(other, CLIP, ("11" * 32,))
    assert fingerprint(one, CLIP, ("11" * 32,)) != fingerprint(one, CLIP, ("22" * 32,))


def test_other_bytes_make_another_request():
    assert fingerprint(a_request(), CLIP, ()) != fingerprint(a_request(), "cd" * 32, ())


OPEN = {"seed": 7, "seed_is_drawn": True, "ratio": "1280:720", "ratio_is_chosen": True}


@pytest.mark.parametrize(
    "named",
    [
        {"seed": 7, "ratio": "1280:720"},
        {"seed": 7, "ratio": "1280:720", "ratio_is_chosen": True},
        {"seed": 8, "seed_is_drawn": True, "ratio": "1280:720"},
    ],
)
def test_a_seed_that_was_drawn_and_a_ratio_that_was_chosen_are_found_again_where_they_are_named(named):
    first, second = a_request(**OPEN), a_request(**named)
    known = fingerprint(first, CLIP, ())
    assert known in {fingerprint(second, CLIP, ()), *fingerprints_alike(second, CLIP, ())}
    assert is_sent_alike(first, second)


def test_a_ratio_that_was_named_is_found_again_where_it_is_chosen():
    first, second = (
        a_request(seed=7, ratio="1280:720"),
        a_request(seed=7, ratio="1280:720", ratio_is_chosen=True),
    )
    assert fingerprint(first, CLIP, ()) in fingerprints_alike(second, CLIP, ())


@pytest.mark.parametrize("changes", [{"seed": 8}, {"ratio": "960:960"}, {"ratio": None}])
def test_another_seed_or_ratio_is_another_request(changes):
    assert not is_sent_alike(a_request(**OPEN), a_request(**{"seed": 7, "ratio": "1280:720", **changes}))


def test_no_fingerprint_is_looked_for_twice():
    for seed in (True, False):
        for ratio in ({}, {"ratio": "1280:720"}, {"ratio": "1280:720", "ratio_is_chosen": True}):
            request = a_request(seed_is_drawn=seed, **ratio)
            alike = fingerprints_alike(request, CLIP, ())
            assert len({*alike, fingerprint(request, CLIP, ())}) == len(alike) + 1


def test_the_same_image_at_another_time_is_another_request():
    at = [
        a_request(references=(Reference(uri="https://example.com/a.png", at=at),)) for at in ("first", "2.0")
    ]
    plain = a_request(references=(Reference(uri="https://example.com/a.png"),))
    assert len({fingerprint(one, CLIP, ()) for one in (*at, plain)}) == 3
