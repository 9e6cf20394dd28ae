"""What an operator may order: the same for the commands and the page."""

from dataclasses import replace

import pytest

from clipspool.jobs.events import TAKEN_OVER
from clipspool.jobs.model import Error, Held, Paid, State
from clipspool.jobs.permissions import may_approve, may_attach, may_cancel, may_retry
from fakes import a_job, a_task

ASKED = {"retry": may_retry, "attach": may_attach, "approve": may_approve, "cancel": may_cancel}


@pytest.mark.parametrize(
    ("state", "held", "orders"),
    [
        (State.QUEUED, None, {"approve", "cancel"}),
        (State.QUEUED, Held.POISON, {"approve", "cancel"}),
        (State.SUBMITTING, None, {"cancel"}),
        (State.IN_DOUBT, Held.IN_DOUBT, {"retry", "attach", "cancel"}),
        (State.RUNNING, None, {"cancel"}),
        (State.RUNNING, Held.OVERDUE, {"cancel"}),
        (State.RUNNING, Held.LOST, {"retry", "attach", "cancel"}),
        (State.RENDERED, Held.RESULT, {"retry", "cancel"}),
        (State.RENDERED, Held.POISON, {"approve", "cancel"}),
        (State.FETCHED, Held.OUTBOX, {"cancel"}),
        (State.DELIVERED, None, set()),
        (State.FAILED, None, {"retry"}),
        (State.CANCELLED, None, {"retry"}),
    ],
)
def test_each_state_and_hold_has_its_orders(state, held, orders):
    job = a_job(state=state, held=held, task=a_task())
    assert {name for name, may in ASKED.items() if may(job)} == orders


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_a_task_is_attached_to_a_job_that_ended_only_where_one_may_be_missing(state):
    unanswered = a_job(state=state, task=a_task(task_id=None), paid=Paid.UNKNOWN)
    assert may_attach(unanswered)
    assert may_attach(replace(unanswered, paid=Paid.YES)), "of an earlier request"
    assert not may_attach(replace(unanswered, paid=Paid.NO))
    assert not may_attach(replace(unanswered, task=None))
    assert not may_attach(replace(unanswered, task=a_task()))
    assert not may_attach(replace(unanswered, error=Error(TAKEN_OVER, "taken over by another")))
