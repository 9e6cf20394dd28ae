"""An inbox with hours, turned by hand through a week: only paid requests wait."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from clipspool.jobs.hours import read_hours
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import State
from clipspool.scheduler import commands as operator
from fakes import NOON, Desk

HOUR = 3600.0
NIGHTS = read_hours(("UTC Mon-Fri 19:00-07:00", "UTC Sun"))


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    desk.scheduler.allow(["bay"], Limits(hours={"bay": NIGHTS}))
    yield desk
    desk.close()


def sent(desk):
    return [job for stage, job in desk.shop.done if stage is Stage.SUBMIT]


def test_a_clip_is_prepared_at_once_and_sent_when_the_hours_begin(desk):
    desk.drop()
    desk.turns(4)
    assert [stage for stage, _ in desk.shop.done] == [Stage.PREPARE]
    assert desk.state() is State.QUEUED
    desk.turns(6, HOUR)
    assert not sent(desk)
    desk.turns(8, HOUR)
    assert desk.shop.paid == ["clip1"]


def test_what_runs_is_followed_and_delivered_outside_the_hours(desk):
    desk.clock.passes(18.9 * HOUR)  # Saturday, six minutes before the end
    desk.drop()
    desk.until(State.DELIVERED)
    assert desk.shop.paid == ["clip1"]
    assert desk.clock.now > NOON + 19 * HOUR


def test_a_connection_that_is_open_when_the_hours_end_sends_nothing(desk):
    desk.clock.passes(19 * HOUR - 30)
    desk.drop()
    while not sent(desk):
        desk.turn(1.0)
    desk.turn(60.0)
    desk.turns(5, 60.0)
    assert desk.shop.paid == []
    assert desk.job().paid.value == "no"


def test_an_approved_job_goes_at_once_past_thousands_that_wait(desk):
    for number in range(60):
        desk.drop(f"clip{number}", priority=1, prepared=True)
    desk.drop("urgent")
    desk.turns(3)
    assert sent(desk) == []
    desk.order(operator.approve, ["urgent"], "ann")
    desk.turns(4)
    assert desk.shop.paid == ["urgent"]


def test_new_hours_apply_to_clips_that_wait(desk):
    desk.drop()
    desk.turns(4)
    desk.scheduler.allow(["bay"], Limits())
    desk.turns(3)
    assert desk.shop.paid == ["clip1"]


def test_through_a_week_nothing_is_sent_outside_the_hours_and_nothing_is_forgotten(desk):
    for quarter in range(7 * 24 * 4):
        if quarter % 20 == 0:
            desk.drop(f"clip{quarter}")
        before = len(desk.shop.paid)
        desk.turn(HOUR / 4)
        assert len(desk.shop.paid) == before or NIGHTS.is_open(desk.clock.now)
    desk.turns(24, HOUR)
    assert len(desk.shop.paid) == len(set(desk.shop.paid)) == 34


@pytest.mark.parametrize("begin", ["2026-03-25T12:00", "2026-10-21T12:00"])
def test_in_a_week_in_which_the_clock_is_changed_clips_go_every_night_by_the_clock_on_the_wall(desk, begin):
    """In Berlin the hour from two to three is skipped on 29 March, and comes twice on 25 October."""
    zone = ZoneInfo("Europe/Berlin")
    desk.clock.now = datetime.fromisoformat(begin).replace(tzinfo=zone).timestamp()
    desk.scheduler.allow(["bay"], Limits(hours={"bay": read_hours(("Europe/Berlin Mon-Sun 01:30-03:30",))}))
    nights = set()
    for quarter in range(7 * 24 * 4):
        if quarter % 32 == 0:
            desk.drop(f"clip{quarter}", due_at=desk.clock.now)
        before = len(desk.shop.paid)
        desk.turn(HOUR / 4)
        if len(desk.shop.paid) > before:
            wall = datetime.fromtimestamp(desk.clock.now, zone)
            assert (1, 30) <= (wall.hour, wall.minute) < (3, 30)
            nights.add(wall.date())
    assert len(nights) == 7
    assert len(desk.shop.paid) == len(set(desk.shop.paid)) >= 20
