"""When an inbox may send: days, times and zones, over midnight and over clock changes."""

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.jobs.conditions import Conditions
from clipspool.jobs.hours import read_hours
from clipspool.jobs.limits import Limits
from fakes import NOON, a_job

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Kathmandu",
    "UTC",
)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def at(text, zone=BERLIN):
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def hours(*written):
    return read_hours(written)


@pytest.mark.parametrize(
    ("written", "moment", "is_open"),
    [
        ("Europe/Berlin Mon-Fri 19:00-07:00", "2026-11-30 18:59", False),
        ("Europe/Berlin Mon-Fri 19:00-07:00", "2026-11-30 19:00", True),
        ("Europe/Berlin Mon-Fri 19:00-07:00", "2026-12-01 06:59", True),
        ("Europe/Berlin Mon-Fri 19:00-07:00", "2026-12-01 07:00", False),
        ("Europe/Berlin Mon-Fri 19:00-07:00", "2026-12-05 06:59", True),  # Saturday, begun on Friday
        ("Europe/Berlin Mon-Fri 19:00-07:00", "2026-12-07 06:59", False),  # Monday, not begun on Sunday
        ("Europe/Berlin Sat-Sun", "2026-12-05 00:00", True),
        ("Europe/Berlin Sat-Sun", "2026-12-06 23:59", True),
        ("Europe/Berlin Sat-Sun", "2026-12-07 00:00", False),
        ("Europe/Berlin Fri-Mon 12:00-24:00", "2026-12-07 23:59", True),
        ("Europe/Berlin mon,Wednesday 8:00-9:00", "2026-12-02 08:30", True),
        ("Europe/Berlin mon,Wednesday 8:00-9:00", "2026-12-01 08:30", False),
        ("Europe/Berlin 22:00-06:00", "2026-12-03 02:00", True),
        ("UTC Mon-Sun 22:00-06:00", "2026-12-03 22:30", False),
    ],
)
def test_days_and_times_are_those_of_the_wall_clock(written, moment, is_open):
    assert hours(written).is_open(at(moment)) is is_open


@pytest.mark.parametrize(
    ("written", "now", "opens"),
    [
        ("Europe/Berlin Mon-Fri 19:00-07:00", "2026-11-30 12:00", "2026-11-30 19:00"),
        ("Europe/Berlin Mon-Fri 19:00-07:00", "2026-12-05 12:00", "2026-12-07 19:00"),
        ("Europe/Berlin Sat-Sun", "2026-12-05 12:00", "2026-12-05 12:00"),
        # In the night of 29 March 2026 the clock goes from 02:00 to 03:00.
        ("Europe/Berlin Sun 02:30-06:00", "2026-03-29 01:00", "2026-03-29 03:00"),
        ("Europe/Berlin Sun 02:15-02:45", "2026-03-29 01:00", "2026-04-05 02:15"),
        # Late on the evening before a day of 23 hours.
        ("Europe/Berlin Sun 12:00-13:00", "2026-03-28 23:30", "2026-03-29 12:00"),
    ],
)
def test_it_is_known_when_sending_continues(written, now, opens):
    assert hours(written).opens_at(at(now)) == at(opens)


def test_an_hour_that_the_clock_repeats_counts_both_times():
    night = hours("Europe/Berlin Sun 02:00-02:30")
    first = datetime(2026, 10, 25, 0, 0, tzinfo=UTC).timestamp()
    assert [night.is_open(first + minutes * 60) for minutes in (0, 29, 30, 59, 60, 89, 90)] == [
        *(True, True, False, False, True, True, False)
    ]
    assert night.opens_at(first + 30 * 60) == first + 60 * 60
    assert hours("Europe/Berlin Sun 02:15-02:45").opens_at(first + 50 * 60) == first + 75 * 60


def test_without_a_zone_times_are_those_of_the_machine(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        new_york = ZoneInfo("America/New_York")
        assert hours("Mon 09:00-10:00").is_open(at("2026-11-30 09:30", new_york))
        assert hours("Sun 02:30-04:00").opens_at(at("2026-03-07 12:00", new_york)) == at(
            "2026-03-08 03:00", new_york
        )
    finally:
        monkeypatch.undo()
        time.tzset()


clocks = st.tuples(st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
windows = st.builds(
    lambda zone, first, last, begin, end: "{} {}-{} {:02}:{:02}-{:02}:{:02}".format(
        zone, first, last, *begin, *end
    ),
    st.sampled_from(ZONES),
    st.sampled_from(DAYS),
    st.sampled_from(DAYS),
    clocks,
    clocks,
).filter(lambda one: len(set(one.split()[-1].split("-"))) > 1)
# The weeks in which one of the zones changes its clock, and one in which none does.
weeks = st.sampled_from(["2026-03-05", "2026-03-25", "2026-04-02", "2026-10-01", "2026-10-22", "2026-11-29"])


@given(st.lists(windows, min_size=1, max_size=3), weeks, st.integers(0, 7 * 24 * 60))
def test_the_next_opening_is_the_first_open_minute_whatever_the_clock_does(written, week, minute):
    rule = hours(*written)
    now = at(week, UTC) + minute * 60.0
    opens = rule.opens_at(now)
    assert rule.is_open(opens)
    # Nothing opens earlier: looked for at every quarter, and right before.
    step = 15 * 60.0
    earlier = [now + n * step for n in range(int((opens - now) // step) + 1) if now + n * step < opens]
    assert not any(rule.is_open(one) for one in [*earlier, max(opens - 1, now)] if one < opens)


@given(st.lists(windows, min_size=1, max_size=3), weeks, st.integers(0, 7 * 24 * 60))
def test_hours_are_open_as_a_clock_on_the_wall_reads(written, week, minute):
    now = at(week, UTC) + minute * 60.0

    def reads(one):
        zone, days, times = one.split()
        wall = datetime.fromtimestamp(now, UTC if zone == "UTC" else ZoneInfo(zone))
        first, last = (DAYS.index(day) for day in days.split("-"))
        begin, end = times.split("-")
        served = [DAYS[(first + n) % 7] for n in range((last - first) % 7 + 1)]
        today, yesterday = DAYS[wall.weekday()], DAYS[wall.weekday() - 1]
        clock = f"{wall:%H:%M}"
        if begin < end:
            return today in served and begin <= clock < end
        return (today in served and clock >= begin) or (yesterday in served and clock < end)

    assert hours(*written).is_open(now) is any(map(reads, written))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", "must be days and times"),
        ("Mon Tue 10:00-11:00", "must be days and times"),
        ("Mox 10:00-11:00", "a day that there is not: `Mox`"),
        ("Mon 10-11", "times as HH:MM-HH:MM"),
        ("Mon 25:00-26:00", "a time that no clock shows"),
        ("Mon 10:00-10:00", "leave the times out"),
        ("Europe/Bärlin Mon 10:00-11:00", "does not know: Europe/Bärlin"),
        ("../etc/passwd Mon 10:00-11:00", "does not know"),
    ],
)
def test_hours_that_cannot_be_read_are_refused_with_what_would_be_right(written, words):
    with pytest.raises(ValueError, match=words):
        hours(written)


def test_a_job_outside_the_hours_says_when_it_continues_and_how_it_goes_at_once():
    limits = Limits(hours={"bay": hours("UTC Mon-Fri 19:00-07:00")})
    held, reason = Conditions(NOON, limits=limits).why_waiting(a_job())
    assert held == "hours"
    assert reason == (
        "outside its hours (UTC Mon-Fri 19:00-07:00); sending continues at 2027-01-15 19:00:00 UTC, "
        "or after `clipspool approve`"
    )
    assert Conditions(NOON, limits=limits).why_waiting(a_job(approved=True))[0] is None
    assert Conditions(NOON, limits=limits).why_waiting(a_job(inbox="hall"))[0] is None
