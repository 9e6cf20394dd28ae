"""The picture of spend: its bars, its scale, the day's limit."""

import pytest

from clipspool.journal import DaySpent
from clipspool.web.plot import COLOURS, plot

DAY = 86_400
NOW = 20_000 * DAY + 3_600.0


def spend(*rows):
    return [DaySpent(day, inbox, submissions, amount) for day, inbox, submissions, amount in rows]


def drawn(*rows, credits_per_day=None, submissions_per_day=500):
    return plot(spend(*rows), NOW, credits_per_day, submissions_per_day, days=30, width=700, height=200)


def test_bars_of_one_day_stand_on_each_other_and_are_as_tall_as_what_they_cost():
    picture = drawn((20_000, "a", 1, 40.0), (20_000, "b", 2, 80.0), (19_999, "a", 1, 40.0))
    yesterday, a, b = picture.bars
    assert a.height == pytest.approx(yesterday.height)
    assert b.height == pytest.approx(2 * a.height, abs=0.2)
    assert a.y + a.height == pytest.approx(picture.bottom, abs=0.2)
    assert b.y + b.height == pytest.approx(a.y, abs=0.2)
    assert yesterday.x + yesterday.width < a.x == b.x
    assert picture.left <= yesterday.x
    assert b.x + b.width <= picture.right
    assert [bar.says for bar in picture.bars] == [
        "2024-10-03, a: 40 credits",
        "2024-10-04, a: 40 credits",
        "2024-10-04, b: 80 credits",
    ]


def test_the_limit_is_drawn_at_its_height_unless_it_would_flatten_the_bars():
    near = drawn((20_000, "a", 1, 40.0), credits_per_day=100.0)
    top, highest = near.levels[1], near.bars[0]
    assert top.says == "100"
    assert near.limit_at == top.at
    assert highest.height == pytest.approx((near.bottom - top.at) * 0.4, abs=0.2)
    far = drawn((20_000, "a", 1, 40.0), credits_per_day=1_000.0)
    assert far.limit_at is None
    assert far.limit_says == "1,000 credits a day"
    assert far.levels[1].says == "40"


def test_without_a_price_submissions_are_counted():
    picture = drawn((20_000, "a", 3, 0.0), (20_000 - 30, "a", 9, 0.0), submissions_per_day=10)
    assert picture.unit == "submissions"
    assert len(picture.bars) == 1
    assert picture.limit_says == "10 submissions a day"
    assert picture.says == (
        "Spend of the last 30 days: 3 submissions, 3 of them today, at most 10 submissions a day."
    )


def test_inboxes_beyond_the_style_sheets_colours_share_the_last_one():
    picture = drawn(*((20_000, f"inbox-{n}", 1, 1.0) for n in range(COLOURS + 2)))
    assert [bar.colour for bar in picture.bars] == [*range(COLOURS), COLOURS - 1, COLOURS - 1]


def test_nothing_spent_draws_no_bar_and_says_so():
    picture = drawn()
    assert picture.bars == ()
    assert picture.says.endswith("0 submissions, 0 of them today, at most 500 submissions a day.")
