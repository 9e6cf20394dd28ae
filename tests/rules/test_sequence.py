"""Which files of a folder are the pictures of one film, and what they are at a rate."""

from fractions import Fraction

import pytest

from clipspool.jobs.fingerprint import fingerprint
from clipspool.jobs.model import Request
from clipspool.jobs.sequence import (
    Facts,
    Sequence,
    at_rate,
    exact_rate,
    in_words,
    number_of,
    pictures_of,
    sequence_of,
    timecode_of,
)


def names(*numbers, name="shot.{:04}.png"):
    return [name.format(number) for number in numbers]


def test_pictures_are_in_the_order_of_their_numbers_however_those_are_padded():
    assert pictures_of(["a10.png", "a9.png", ".a1.png", "_a2.png", "a.png", "a3.toml", "Thumbs.db"]) == [
        "a9.png",
        "a10.png",
    ]
    found = sequence_of(["a99.jpg", "a100.jpg", "a101.JPG"])
    assert found == Sequence(("a99.jpg", "a100.jpg", "a101.JPG"), (99, 100, 101), "jpeg")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (names(1, 2, 4), "picture 3 is missing; `shot.0001.png` to `shot.0004.png` are there"),
        (names(1, 5, 7), "pictures 2 to 4, 6 are missing"),
        (names(1, 3, 5, 7, 9, 11, 13, 15, 17), "2, 4, 6, 8, 10, 12 and 2 more gaps are missing"),
        ([*names(1, 2), *names(1, 2, name="other.{:04}.png")], "more than one kind or name"),
        ([*names(1, 2), *names(3, name="shot.{:04}.exr")], "`shot.0001.png` (2)"),
        ([*names(1, 2), "shot.001.png"], "two pictures numbered 1"),
        (names(1, 2, 900_000_000), "missing"),
    ],
)
def test_pictures_that_are_no_film_are_refused_with_what_is_missing_or_mixed(given, said):
    found = sequence_of(given)
    assert isinstance(found, str)
    assert said in found


def test_only_kinds_that_can_be_read_are_pictures_of_a_film():
    assert [number_of(f"a.0001{end}") for end in (".png", ".JPEG", ".tif", ".exr", ".dpx")] == [1] * 5
    assert [number_of(name) for name in ("a.0001.psd", "a.png", "a.0001", "a.0001.png.tmp")] == [None] * 4


@pytest.mark.parametrize(
    ("given", "exact"),
    [
        (0, "24"),
        (25, "25"),
        (23.976, "24000/1001"),
        (23.98, "24000/1001"),
        (29.97, "30000/1001"),
        (59.94, "60000/1001"),
        (12.5, "25/2"),
        (24.0, "24"),
    ],
)
def test_a_rate_is_the_exact_one_that_is_meant(given, exact):
    assert exact_rate(given) == Fraction(exact)


def test_facts_of_a_folder_follow_the_rate_and_those_of_a_film_do_not():
    facts = Facts("png", 48, "a.0001.png", "a.0048.png", 1, ("flat",))
    media = {"width": 16, "pictures": facts.to_dict()}
    assert Facts.of(media) == facts
    slow = at_rate(media, 12)
    assert (slow["fps"], slow["frames"], slow["seconds"]) == ("12/1", 48, 4.0)
    assert at_rate(media, 0)["seconds"] == 2.0
    film = {"seconds": 3.0, "fps": "25/1"}
    assert at_rate(film, 12) is film
    first, note = in_words(facts, exact_rate(12))
    assert "made of 48 numbered pictures (PNG), `a.0001.png` to `a.0048.png`, at 12 frames a second" in first
    assert note == "flat"


@pytest.mark.parametrize(
    ("start", "rate", "timecode"),
    [
        (86_400, "24", "01:00:00:00"),
        (1001, "24", "00:00:41:17"),
        (90_000, "25", "01:00:00:00"),
        (1001, "24000/1001", "00:00:41:17"),
        (0, "24", ""),
        (1, "24", ""),
        (24 * 86_400, "24", ""),
        (20_261_130, "24", ""),
    ],
)
def test_the_first_number_is_the_timecode_where_it_is_one(start, rate, timecode):
    assert timecode_of(start, Fraction(rate)) == timecode


def test_a_film_that_asks_for_no_rate_has_the_fingerprint_that_it_always_had():
    request = Request("winter", "gen4_aleph", 1)
    assert "frames_per_second" not in request.to_dict()
    slow = Request("winter", "gen4_aleph", 1, frames_per_second=12.0)
    assert fingerprint(slow, "a", ()) != fingerprint(request, "a", ())
    assert slow.media_keys() == {"frames_per_second": 12.0}
