"""Nouns are copied and written out by hand, for speed: as the standard library would."""

import dataclasses

import pytest

from clipspool.jobs.model import Error, Paid, State, Task
from clipspool.jobs.nouns import plain, replace
from clipspool.media.facts import Probe
from fakes import a_clip, a_job

NOUNS = [
    (a_job(), {"state": State.RUNNING, "reason": "it renders", "due_at": 5.0}),
    (a_job(task=Task(1, "profile", 2.0)), {"task": None, "paid": Paid.YES}),
    (Task(1, "profile", 2.0), {"task_id": "t", "credits": 3.0}),
    (Error("A.CODE", "why", "what to do"), {"paid": Paid.UNKNOWN}),
    (a_clip(), {}),
]


@pytest.mark.parametrize(("noun", "changes"), [*NOUNS, (Probe("mp4", 7), {"container": "pictures"})])
def test_a_copy_differs_in_what_was_changed_alone(noun, changes):
    before = dataclasses.asdict(noun)
    copy = replace(noun, **changes)
    assert copy == dataclasses.replace(noun, **changes)
    assert type(copy) is type(noun)
    assert dataclasses.asdict(noun) == before


def test_a_field_that_there_is_not_is_a_mistake():
    with pytest.raises(KeyError):
        replace(a_job(), colour="red")


@pytest.mark.parametrize("noun", [noun for noun, _ in NOUNS])
def test_a_noun_is_written_out_as_the_standard_library_does_but_for_tuples(noun):
    def listed(value):
        if isinstance(value, dict):
            return {key: listed(one) for key, one in value.items()}
        return [listed(one) for one in value] if isinstance(value, tuple) else value

    assert plain(noun) == listed(dataclasses.asdict(noun))
