"""What makes two requests the same."""

from dataclasses import replace

import pytest

from clipspool.jobs.fingerprint import fingerprint
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
    ],
)
def test_whatever_the_provider_is_told_makes_another_request(changes):
    assert fingerprint(a_request(**changes), CLIP, ()) != fingerprint(a_request(), CLIP, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"priority": 9},
        {"not_before": 1_800_000_000.0},
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
