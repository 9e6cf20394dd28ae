"""What is given to a worker on another machine, and what it returns, is read there as it was written."""

import types
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipspool.jobs.assignments import (
    Assignment,
    event_from_text,
    event_to_text,
    new_attempt,
)
from clipspool.jobs.events import Event, TaskSeen, name_of
from clipspool.jobs.lifecycle import Stage
from fakes import a_clip, a_job

TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
"""With surrogates: they stand for what of a file's name is not UTF-8."""
NUMBERS = st.integers(-(1 << 63), 1 << 63) | st.floats(allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=3,
)
PLAIN = {str: TEXT, int: st.integers(), float: st.floats(allow_nan=False), bool: st.booleans(), Any: JSON}


@cache
def some(kind):
    """Return a strategy for values of a type that a field of ours has."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if origin in {Union, types.UnionType}:
        return st.one_of([st.none() if one is type(None) else some(one) for one in arguments])
    if origin is tuple:
        return st.lists(some(arguments[0]), max_size=2).map(tuple)
    if origin in {dict, Mapping}:
        return st.dictionaries(TEXT, JSON, max_size=2)
    if origin is Literal:
        return st.sampled_from(arguments)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    return st.builds(kind, **{name: some(hint) for name, hint in get_type_hints(kind).items()})


@pytest.mark.parametrize("kind", get_args(Event), ids=name_of)
def test_every_event_is_read_as_it_was_written(kind):
    @settings(max_examples=30)  # of each of 41 kinds
    @given(some(kind))
    def check(event):
        text = event_to_text(event)
        assert text.isascii()
        assert event_from_text(text) == event

    check()


@given(some(Assignment))
def test_every_assignment_is_read_as_it_was_written(assignment):
    assert Assignment.from_text(assignment.to_text()) == assignment


def test_what_is_read_has_the_types_that_it_had():
    """An enum of text equals its text, and a tuple in JSON is a list: equality alone would not show it."""
    job = replace(a_job(), due_at=1.0)
    read = Assignment.from_text(Assignment(Stage.FETCH, job, a_clip(), new_attempt()).to_text())
    assert type(read.stage) is Stage
    assert type(read.job.state) is type(job.state)
    assert type(read.job.results) is tuple


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"event": "unheard_of"}', '{"event": "task_seen", "x": 1}']
)
def test_what_is_no_event_is_refused(text):
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        event_from_text(text)


def test_a_field_that_was_added_since_is_optional():
    assert event_from_text('{"event": "task_seen", "status": "RUNNING", "rendering": true}') == TaskSeen(
        "RUNNING", rendering=True
    )


def test_no_two_attempts_have_one_name():
    assert len({new_attempt() for _ in range(1000)}) == 1000
