"""A job's history in words: every event has a sentence, and time is counted once."""

from typing import get_args

import pytest
from rich.console import Console

from clipspool.cli.logs import story, summary
from clipspool.jobs.events import Event, name_of
from clipspool.jobs.model import State
from clipspool.jobs.records import FORMER_NAMES, HistoryEntry
from clipspool.jobs.text import span
from clipspool.reporting.history import by, seconds_by_state, size_in_words, story_json, words
from fakes import NOON

EVENTS = [*sorted(name_of(event) for event in get_args(Event)), "accepted", "retired"]


def entry(event, at=0.0, before=None, after=None, **facts):
    return HistoryEntry(NOON + at, "clip1", event, before, after, facts)


STORY = [
    entry("accepted", 0, None, "queued", size=250_000),
    entry("connected", 2, "queued", "submitting"),
    entry("task_created", 2.5, "submitting", "running", task_id="task-1"),
    entry("task_seen", 10, "running", "running", status="THROTTLED"),
    entry("failed", 62.5, "running", "failed", error={"code": "INTERNAL", "message": "it broke"}),
    entry("retired", 63, to="_failed/shot.mp4"),
    entry("retried", 1062.5, "failed", "queued", by="ida"),
    entry("connected", 1063.5, "queued", "submitting"),
]


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_a_sentence_also_without_its_facts(event):
    bare = words(entry(event, before="queued", after="queued"))
    assert bare
    assert bare != event.replace("_", " ") or event == "cancelled"


@pytest.mark.parametrize(("former", "current"), FORMER_NAMES.items())
def test_a_former_event_name_has_a_current_one_that_is_no_former_name(former, current):
    assert current in EVENTS
    assert former not in EVENTS


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (entry("accepted", size=246_958), "accepted: moved out of the inbox, 247 kB"),
        (entry("task_seen", status="RUNNING", progress=0.43), "the provider says RUNNING, 43%"),
        (
            entry("not_submitted", fault={"message": "Too many requests"}),
            "not submitted, nothing was charged: Too many requests",
        ),
        (
            entry("failed", error={"code": "INTERNAL", "message": "it broke"}, credits=15.0),
            "failed (INTERNAL): it broke, 15 credits",
        ),
        (entry("delivered", results=[{"name": "a.mp4"}, {"name": "b.mp4"}]), "delivered as a.mp4, b.mp4"),
        (
            entry("prepared", changes=["scaled to 1280 x 720"], sent_size=3_000_000, way="bucket"),
            "clip read and checked, converted: scaled to 1280 x 720 (3.0 MB); uploaded through bucket",
        ),
        (
            entry("stage_failed", before="fetched", after="fetched", message="No space left"),
            "the delivery failed and will be tried again: No space left",
        ),
    ],
)
def test_a_sentence_says_what_happened(told, expected):
    assert words(told) == expected


def test_an_operator_is_named_and_the_provider_is_the_provider():
    assert by(entry("retried", by="ida")) == "ida"
    assert by(entry("task_succeeded")) == "provider"
    assert by(entry("failed", before="running")) == "provider"
    assert by(entry("failed", before="queued")) == "clipspool"
    assert by(entry("fetched")) == "clipspool"


def test_time_is_counted_by_state_and_not_while_a_job_had_ended():
    spent = seconds_by_state(STORY, NOON + 1065)
    assert spent == {State.QUEUED: 3.0, State.SUBMITTING: 2.0, State.RUNNING: 60.0}


def test_a_job_that_ended_takes_no_more_time():
    assert seconds_by_state(STORY[:6], NOON + 9999) == seconds_by_state(STORY[:5], NOON + 62.5)


def test_a_clock_that_was_set_back_makes_no_negative_time():
    back = [entry("accepted", 10, None, "queued"), entry("connected", 4, "queued", "submitting")]
    assert seconds_by_state(back, NOON) == {State.QUEUED: 0.0, State.SUBMITTING: 0.0}


@pytest.mark.parametrize(
    ("seconds", "spelled"),
    [
        (0.034, "0.03 s"),
        (9.96, "10.0 s"),
        (41.9, "41 s"),
        (187, "3:07"),
        (7387, "2:03:07"),
        (3600 * 76, "3 d 4 h"),
    ],
)
def test_a_span_is_spelled_as_people_say_it(seconds, spelled):
    assert span(seconds) == spelled


@pytest.mark.parametrize(
    ("size", "spelled"),
    [(7, "7 bytes"), (1, "1 byte"), (2048, "2.0 kB"), (30_000_000, "30 MB"), (3_000_000_000, "3.0 GB")],
)
def test_a_size_is_spelled_as_people_say_it(size, spelled):
    assert size_in_words(size) == spelled


def test_scripts_get_milliseconds_and_the_time_between():
    first, second, *_ = story_json(STORY)
    assert (first["at"], first["seconds"], first["by"]) == ("2027-01-15T12:00:00.000Z", None, "clipspool")
    assert (second["seconds"], second["from"], second["to"]) == (2.0, "queued", "submitting")


def drawn(width):
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(story(list(story_json([*STORY, entry("task_created", 1064, task_id="z" * 36)])), width))
    return capture.get()


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_story_fits_the_terminal_and_shows_ids_whole(width):
    text = drawn(width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "z" * 36 in text, "to be copied whole"
    assert "2027-01-15" in text
    assert "+16:39" in text


def test_the_last_line_says_where_the_time_went():
    spent = seconds_by_state(STORY, NOON + 1065)
    assert summary(spent, is_open=True) == "1:05 so far: queued 3.0 s, submitting 2.0 s, running 1:00"
    assert summary({}, is_open=False) == "0.00 s in total"
