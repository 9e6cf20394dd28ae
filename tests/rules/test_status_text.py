"""The words of `_status.txt`: what an editor reads."""

import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from clipspool.intake.names import Kind, Names
from clipspool.intake.types import EXTENSIONS, Waiting
from clipspool.jobs.account import Account, Balance
from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.hours import read_hours
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import Error, Held, State
from clipspool.jobs.path_map import Places
from clipspool.jobs.records import Life, OpenJobs, Peer, Spend
from clipspool.jobs.text import STATUS_NAME, local_time
from clipspool.reporting.status_file.text import (
    ENDED_MOST,
    MOST,
    EndedJob,
    FolderStatus,
    body_of,
    for_editors,
    text_of,
    without_commands,
)
from fakes import NO_CREDITS, NOON, RESULT, a_job

EMPTY = FolderStatus(
    "bay", "/srv/results", OpenJobs(Counter(), Counter()), kept_by="5eed", conditions=Conditions(NOON)
)


def under_way(*jobs, conditions=EMPTY.conditions):
    tally = OpenJobs(Counter(job.state for job in jobs), Counter())
    return replace(EMPTY, tally=tally, under_way=jobs, conditions=conditions)


def held(job):
    return replace(EMPTY, tally=OpenJobs(Counter(), Counter([job.held])), held=[job])


def told(picture):
    return text_of(picture, NOON)


def test_intake_passes_over_the_file():
    assert Names(EXTENSIONS).kind(STATUS_NAME) is Kind.IGNORED


def test_an_empty_inbox_says_how_to_begin_and_where_results_come_to():
    text = told(EMPTY)
    assert text.startswith("This file is kept by clipspool (5eed). ")
    assert "bay, 2027-01-15 12:00 (UTC)" in text
    assert "Results appear in /srv/results" in text
    assert "Drop a clip and its sidecar here to begin." in text


def test_an_account_that_does_not_cover_the_queue_is_told_of():
    short = replace(EMPTY, account=Account(450.0, 2, Balance(200.0, "credits")))
    assert "about 450 credits, and 2 jobs of unknown price; the account has 200 credits: sending" in told(
        short
    )
    assert ", and 1 job of unknown" in told(replace(short, account=Account(1.0, 1, Balance(0.0, "credits"))))
    assert Account(0.0, 1).in_words() == "Queued: 1 job of unknown price."
    assert "account" not in told(replace(EMPTY, account=Account(450.0, 0, Balance(900.0, "credits"))))


def test_times_are_those_of_the_place():
    zone = timezone(timedelta(hours=2), "EET")
    assert "2027-01-15 14:00 (EET)" in text_of(EMPTY, NOON, zone)


def test_a_moment_beyond_the_change_to_summer_time_is_what_the_clock_on_the_wall_will_show(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        july = datetime(2027, 7, 1, 12, tzinfo=UTC).timestamp()
        text = text_of(under_way(a_job(due_at=july)), NOON, None)
        assert "bay, 2027-01-15 13:00 (CET)" in text
        assert "scheduled for 2027-07-01 14:00" in text
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_needs_the_editor_stands_first_with_its_reason():
    waiting = (
        Waiting("day/b.mp4", "it is still changing", NOON, problem=False),
        Waiting("day/a.mp4", "day/a.toml, line 1: unknown key `promt`", NOON, problem=True),
    )
    text = told(replace(EMPTY, waiting=waiting))
    assert text.index("NEEDS YOU (1)") < text.index("day/a.mp4") < text.index("ARRIVING (1)")
    assert "      day/a.toml, line 1: unknown key `promt`" in text
    assert "  day/b.mp4                       it is still changing" in text


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (a_job(), "queued, waiting for its turn"),
        (a_job(due_at=NOON + 3600), "scheduled for 2027-01-15 13:00"),
        (
            a_job(due_at=NOON + 3600, reason="Too many"),
            "will be tried again automatically at 2027-01-15 13:00: Too many",
        ),
        (a_job(state=State.SUBMITTING), "sending"),
        (a_job(state=State.RUNNING), "accepted by the provider, waiting to render"),
        (a_job(state=State.RUNNING, rendering_since=NOON), "rendering"),
        (a_job(state=State.RUNNING, rendering_since=NOON, progress=0.47), "rendering, 40 % done"),
        (a_job(state=State.RENDERED), "rendered; downloading the result"),
        (a_job(state=State.FETCHED), "result downloaded; delivering it"),
    ],
)
def test_a_clip_under_way_says_how_far_it_is(job, words):
    assert f"  day/shot.mp4                    {words}\n" in told(under_way(job))


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (Conditions(NOON, paused=frozenset({"bay"})), "paused by the operator"),
        (Conditions(NOON, brake=Brake(1, NOON + 60, NO_CREDITS)), "the provider is not accepting clips now"),
    ],
)
def test_what_holds_all_clips_back_is_said_of_each_without_commands(conditions, words):
    text = told(under_way(a_job(), conditions=conditions))
    assert words in text
    assert "clipspool resume" not in text


def test_outside_its_hours_an_inbox_says_when_its_clips_are_sent():
    limits = Limits(hours={"bay": read_hours(("UTC Mon-Fri 19:00-07:00",))})
    text = told(under_way(a_job(), conditions=Conditions(NOON, limits=limits)))
    assert "Clips are sent UTC Mon-Fri 19:00-07:00; sending continues at 2027-01-15 19:00" in text
    assert "waiting for this folder's hours; it is sent from 2027-01-15 19:00 on" in text


def test_a_day_that_is_spent_ends_at_a_moment_of_the_place_since_it_is_utcs():
    spent = Conditions(NOON, spend=Spend(3), limits=Limits(submissions_per_day=3))
    zone = timezone(timedelta(hours=-8), "PST")
    text = text_of(under_way(a_job(), conditions=spent), NOON, zone)
    assert "today's budget is used up; it continues at 2027-01-15 16:00" in text


def test_a_clip_that_is_dearer_than_any_day_waits_for_the_operator():
    few = Conditions(NOON, limits=Limits(credits_per_day=20.0))
    text = told(under_way(a_job(credits_estimated=25.0), conditions=few))
    assert "waiting for the operator: it would cost about 25 credits, and a day may cost 20" in text


def test_on_the_page_a_moment_has_its_zone_and_a_path_is_the_editors():
    places = Places({"/srv/bay": "Z:\\bay"})
    assert for_editors(a_job(due_at=NOON + 3600), EMPTY.conditions, places) == (
        f"scheduled for {local_time(NOON + 3600)}"
    )
    tried = a_job(due_at=NOON + 3600, reason="no room in /srv/bay/day; `clipspool show x` tells more")
    assert for_editors(tried, EMPTY.conditions, places).endswith("no room in Z:\\bay\\day")


@pytest.mark.parametrize(
    ("job", "name"),
    [
        (a_job(), "day/shot.mp4 "),
        (a_job(variant="_v2"), "day/shot.mp4 (v2) "),
        (a_job(version=3), "day/shot.mp4 (version 3) "),
        (a_job(variant="_v2", version=3), "day/shot.mp4 (v2, version 3) "),
    ],
)
def test_a_clip_is_named_with_its_variant_and_its_version(job, name):
    assert f"  {name}" in told(under_way(job))


def test_the_file_is_not_written_anew_for_every_percent():
    shown = {
        tuple(body_of(under_way(a_job(state=State.RUNNING, rendering_since=NOON, progress=n / 100))))
        for n in range(100)
    }
    assert len(shown) == 10


@pytest.mark.parametrize("why", Held)
def test_what_is_held_says_that_the_operator_is_at_it(why):
    text = told(held(a_job(held=why, reason="the reason")))
    assert "NEEDS THE OPERATOR (1)" in text
    assert "  day/shot.mp4, job clip1\n      " in text


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("it is a; `clipspool approve` pays, `clipspool cancel` ends it (`again = true` says so)", "it is a"),
        ("the day is over; it continues tomorrow (UTC), or after `clipspool approve`", None),
        ("The operator can run only this variant again: `clipspool retry k3-v2`.", None),
        ("folder `_pause`; remove it", "folder `_pause`; remove it"),
    ],
)
def test_editors_read_no_commands_of_operators(words, left):
    shown = without_commands(words)
    assert "clipspool " not in shown
    assert shown == (left or shown)
    assert shown[-1] in "a).t"


def test_a_failed_clip_says_why_what_to_do_and_where_it_lies():
    job = a_job(state=State.FAILED, error=Error("INTERNAL", "it broke", "Drop it again."))
    text = told(replace(EMPTY, failed=[EndedJob(job, "_failed/day/shot.mp4")]))
    assert "FAILED (1 in 3 days)" in text
    for words in ("it broke", "Drop it again.", "The source is in _failed/day/shot.mp4"):
        assert f"      {words}" in text


def test_a_delivered_clip_names_its_results():
    job = a_job(state=State.DELIVERED, results=(replace(RESULT, name="day/shot-2.mp4"),), updated_at=NOON)
    text = told(replace(EMPTY, delivered=[job]))
    assert "  day/shot.mp4                    2027-01-15 12:00  day/shot-2.mp4" in text
    many = told(replace(EMPTY, delivered=[job] * ENDED_MOST))
    assert f"DELIVERED (the last {ENDED_MOST})" in many


def test_of_thousands_the_first_are_shown_and_the_rest_is_counted():
    picture = replace(
        EMPTY,
        tally=OpenJobs(Counter({State.QUEUED: 5000}), Counter()),
        under_way=[a_job()] * MOST,
        waiting=tuple(Waiting(f"{n}.mp4", "no", NOON, problem=True) for n in range(2000)),
    )
    text = told(picture)
    assert "UNDER WAY (5,000)" in text
    assert "  and 4,970 more\n" in text
    assert "  and 1,500 more\n" in text
    assert "  499.mp4: see the note beside it\n" in text
    assert len(text.splitlines()) < 620


def test_paths_are_called_as_the_editors_know_them():
    waiting = (Waiting("a.mp4", "/srv/bay/x.toml is not readable", NOON, problem=True),)
    picture = replace(EMPTY, places=Places({"/srv": "S:\\"}), waiting=waiting)
    assert "Results appear in S:\\results" in told(picture)
    assert "S:\\bay\\x.toml is not readable" in told(picture)


def test_a_name_that_would_deceive_is_spelled_out_and_long_lines_are_wrapped():
    waiting = (Waiting("a\u202e\n.mp4", "word " * 60, NOON, problem=True),)
    text = told(replace(EMPTY, waiting=waiting))
    assert "a\\u202e\\n.mp4" in text
    assert max(map(len, text.splitlines()[1:])) <= 100


def test_a_variant_is_told_apart_and_odd_bytes_can_be_written():
    text = told(under_way(a_job(variant="_v2", path="caf\udce9.mp4")))
    assert "caf\\xe9.mp4 (v2)" in text
    text.encode()


def test_a_clipspool_that_has_stopped_says_so():
    assert "clipspool is stopped" in told(replace(EMPTY, has_stopped=True))
    assert "clipspool is stopped" not in told(EMPTY)


def test_each_file_says_whose_it_is_and_what_a_dead_machine_left_without_the_operators_command():
    gone = Peer("bay", "a195a9d65434f284", "edit-9", Life.SILENT, 29, 0.0)
    lives = Peer("bay", "bb02", "edit-2", Life.LIVING, 5, 0.0)
    lines = told(replace(EMPTY, host="edit-1", peers=(gone, lives))).splitlines()
    assert any("by clipspool on edit-1" in line for line in lines)
    assert not any("clipspool recover" in line for line in lines)
    assert any("edit-9" in line and "not running" in line for line in lines)
    assert any("edit-2 also takes clips" in line for line in lines)
    one = told(replace(EMPTY, peers=(replace(gone, clips=1),)))
    assert "its 1 clip waits until it runs again, or until the operator takes over." in one
