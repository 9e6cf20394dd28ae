"""When a result is far shorter or longer than what was sent, and when it is not."""

import pytest

from clipspool.media.lengths import Length, is_far_from


def of(seconds, fps=24):
    return Length(seconds, round(seconds * fps), f"{fps}/1")


@pytest.mark.parametrize(
    ("result", "sent"),
    [
        (of(5, 24), of(5, 25)),
        (of(4.6), of(5)),
        (of(5.4), of(5)),
        (of(4.96, 30), of(5, 60)),
        (of(28), of(30)),
        (Length(3.125, 75, "24/1"), Length(3.0, 75, "25/1")),
        (Length(6.0, 150, "25/1"), Length(5.0, 150, "30/1")),
        (Length(5.0, 150, "30/1"), Length(6.006, 151, "24000/1001")),
        (of(0.26, 24), of(0.25, 24)),
        (Length(0.25, 6, "24/1"), Length(0.2, 5, "25/1")),
        (of(1.6), of(2)),
    ],
)
def test_what_a_model_rounds_or_labels_otherwise_is_no_reason_to_hold(result, sent):
    assert not is_far_from(result, sent)


@pytest.mark.parametrize(
    ("result", "sent"),
    [
        (of(1), of(5)),
        (of(4.4), of(5)),
        (of(5), of(1)),
        (of(5), of(3)),
        (of(0.6), of(1)),
        (of(26), of(30)),
        (Length(1.0), Length(5.0)),
        (Length(5.0), Length(10.0, 240, "24/1")),
    ],
)
def test_what_is_far_shorter_or_longer_is_one(result, sent):
    assert is_far_from(result, sent)


def test_a_model_that_uses_five_seconds_of_a_longer_clip_gives_back_five():
    assert not is_far_from(of(5), of(12).at_most(5.0))
    assert is_far_from(of(1), of(12).at_most(5.0))
    assert of(3).at_most(None) == of(3) == of(3).at_most(5.0)


def test_a_length_is_told_in_words():
    assert Length(3.125, 75, "24/1").in_words() == "3.12 s (75 frames at 24 frames a second)"
    assert Length(2.0).in_words() == "2 s"
