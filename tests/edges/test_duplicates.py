"""Duplicates on a real journal, turned by hand: who is set aside, who goes on, and who is served again."""

from dataclasses import replace

import pytest

from clipspool.jobs.events import AnswerLost, Cancelled, Failed, JobHeld, Prepared, Reused, TaskSeen
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import Error, Held, Paid, State
from clipspool.scheduler import commands as operator
from fakes import RESULT, Desk, a_clip, a_job, a_request

S = State
ASKED = Prepared("ab" * 32, 9, 1_000, 15.0, fingerprint="f1")


@pytest.fixture
def desk(tmp_path):
    one = Desk(tmp_path)
    yield one
    one.close()


def drop(desk, *clip_ids, **changes):
    for clip_id in clip_ids:
        desk.shop.say[Stage.PREPARE].append(ASKED)
        desk.drop(clip_id, **changes)


def test_the_same_clip_and_request_again_is_held_and_points_to_the_first(desk):
    drop(desk, "clip1")
    desk.until(S.DELIVERED)
    drop(desk, "clip2")
    desk.turns(5, 60.0)
    job = desk.job("clip2")
    assert (job.state, job.held) == (S.QUEUED, Held.DUPLICATE)
    assert "job clip1 (day/shot.mp4), delivered" in job.reason
    assert desk.shop.paid == ["clip1"]
    assert desk.scheduler.is_idle


def test_a_duplicate_that_is_cancelled_says_what_makes_it_run_after_all(desk):
    """Moved back as it is it would be held once more."""
    drop(desk, "clip1")
    desk.until(S.DELIVERED)
    drop(desk, "clip2")
    desk.turns(5, 60.0)
    assert desk.job("clip2").held is Held.DUPLICATE
    desk.order(operator.cancel, ["clip2"], "ann")
    desk.until(S.CANCELLED, "clip2")
    advice = desk.job("clip2").error.what_to_do
    assert "write `again = true` into its sidecar, then move the clip and its sidecar" in advice
    drop(desk, "clip3", request=PUT_BACK)
    desk.turns(5, 60.0)
    assert desk.job("clip3").held is Held.DUPLICATE
    drop(desk, "clip4", request=replace(PUT_BACK, again=True))
    desk.until(S.DELIVERED, "clip4")


def test_of_two_that_come_at_once_exactly_one_runs(desk):
    drop(desk, "clip1", "clip2")
    desk.turns(10, 60.0)
    assert len(desk.shop.paid) == 1
    held = desk.job("clip2" if desk.shop.paid == ["clip1"] else "clip1")
    assert held.held is Held.DUPLICATE
    assert " when this one was found; " in held.reason


def test_of_a_hundred_that_come_at_once_exactly_one_runs(desk):
    drop(desk, *(f"clip{number:03}" for number in range(100)))
    desk.turns(80, 60.0)
    assert len(desk.shop.paid) == 1


def test_variants_of_one_clip_are_no_duplicates(desk):
    desk.shop.say[Stage.PREPARE].extend([ASKED] * 2)
    desk.drop(variants=("_v1", "_v2"))
    desk.turns(10, 60.0)
    assert sorted(desk.shop.paid) == ["clip1-v1", "clip1-v2"]


def test_a_duplicate_that_is_approved_runs(desk):
    drop(desk, "clip1", "clip2")
    desk.turns(10, 60.0)
    held = next(job for job in map(desk.job, ("clip1", "clip2")) if job.held)
    desk.order(operator.approve, [held.id], "ann")
    desk.until(S.DELIVERED, held.id)
    assert len(desk.shop.paid) == 2


def test_the_same_request_again_is_paid_for_where_its_sidecar_says_that_it_is_meant(desk):
    drop(desk, "clip1")
    desk.until(S.DELIVERED)
    drop(desk, "clip2", request=replace(a_request(), again=True))
    desk.until(S.DELIVERED, "clip2")
    assert desk.shop.paid == ["clip1", "clip2"]
    drop(desk, "clip3")
    desk.turns(5, 60.0)
    assert desk.job("clip3").held is Held.DUPLICATE, "it was said of one clip"


def fails(desk, paid):
    desk.shop.say[Stage.POLL].append(Failed(Error("INTERNAL", "it fell over", retryable=True)))
    drop(desk, "clip1")
    failed = desk.until(S.FAILED)
    with desk.journal.turn():
        desk.journal.record(failed, replace(failed, paid=paid), Failed(failed.error))


PUT_BACK = replace(a_request(), was_put_back=True)


@pytest.mark.parametrize("paid", [Paid.NO, Paid.UNKNOWN])
def test_a_failed_clip_that_was_moved_back_runs_again_where_it_was_not_surely_paid_for(desk, paid):
    fails(desk, paid)
    drop(desk, "clip2", request=PUT_BACK)
    desk.until(S.DELIVERED, "clip2")


def test_a_failed_clip_that_was_moved_back_is_held_where_it_was_paid_for(desk):
    fails(desk, Paid.YES)
    drop(desk, "clip2", request=PUT_BACK)
    desk.turns(5, 60.0)
    assert desk.job("clip2").held is Held.DUPLICATE
    assert "paid, and failed" in desk.job("clip2").reason
    assert "`again = true`" in desk.job("clip2").reason


def test_a_copy_of_a_clip_that_perhaps_was_paid_for_is_held_as_long_as_the_failed_one_lies_there(desk):
    fails(desk, Paid.UNKNOWN)
    drop(desk, "clip2")  # a mirror that brings every clip again and again
    desk.turns(5, 60.0)
    assert desk.job("clip2").held is Held.DUPLICATE
    assert "perhaps paid, and failed" in desk.job("clip2").reason


def cancelled(desk, paid):
    desk.shop.say[Stage.POLL].extend([TaskSeen("RUNNING", rendering=True)] * 100)
    drop(desk, "clip1")
    desk.until(S.RUNNING)
    desk.order(operator.cancel, ["clip1"], "ann")
    ended = desk.until(S.CANCELLED)
    with desk.journal.turn():
        desk.journal.record(ended, replace(ended, paid=paid), Cancelled("ann"))
    desk.shop.say[Stage.POLL].clear()


@pytest.mark.parametrize(
    ("paid", "request_", "held"),
    [
        (Paid.NO, a_request(), None),
        (Paid.UNKNOWN, a_request(), Held.DUPLICATE),
        (Paid.UNKNOWN, PUT_BACK, None),  # the note beside it says that it would be charged again
        (Paid.YES, PUT_BACK, Held.DUPLICATE),  # the note asks for `again = true`
    ],
)
def test_what_was_cancelled_after_it_was_paid_for_is_not_paid_for_again_without_a_word(
    desk, paid, request_, held
):
    cancelled(desk, paid)
    drop(desk, "clip2", request=request_)
    desk.turns(8, 60.0)
    assert desk.job("clip2").held is held
    if held is not None:
        assert f"{'paid' if paid is Paid.YES else 'perhaps paid'}, and cancelled" in desk.job("clip2").reason
    else:
        assert desk.state("clip2") is S.DELIVERED


@pytest.mark.parametrize("earlier", [a_job("clip1-v2", variant="_v2"), a_job("clip1-r2", version=2)])
@pytest.mark.parametrize(("paid", "held"), [(Paid.NO, None), (Paid.UNKNOWN, Held.DUPLICATE)])
def test_a_variant_or_version_that_was_perhaps_paid_for_is_not_paid_for_again_by_moving_its_clip_back(
    desk, earlier, paid, held
):
    """Its note names the operator's order, and does not speak of moving it back."""
    desk.shop.say[Stage.POLL].append(Failed(Error("INTERNAL", "it fell over", retryable=True)))
    desk.shop.say[Stage.PREPARE].append(ASKED)
    desk.scheduler.enqueue(Accepted(a_clip("clip1"), (earlier,)))
    failed = desk.until(S.FAILED, earlier.id)
    with desk.journal.turn():
        desk.journal.record(failed, replace(failed, paid=paid), Failed(failed.error))
    drop(desk, "clip2", request=PUT_BACK)
    desk.turns(5, 60.0)
    assert desk.job("clip2").held is held
    assert desk.shop.paid == ([earlier.id] if held else [earlier.id, "clip2"])


def test_a_clip_moved_back_is_held_all_the_same_where_another_got_its_result(desk):
    drop(desk, "clip1")
    desk.until(S.DELIVERED)
    drop(desk, "clip2", request=PUT_BACK)
    desk.turns(5, 60.0)
    assert desk.job("clip2").held is Held.DUPLICATE


def test_a_seed_that_was_drawn_and_is_named_from_its_provenance_is_the_same_request(desk):
    drop(desk, "clip1", request=replace(a_request(), seed=7, seed_is_drawn=True))
    desk.until(S.DELIVERED)
    for clip_id, seed in (("same", 7), ("other", 8)):
        desk.shop.say[Stage.PREPARE].append(replace(ASKED, fingerprint=f"seed{seed}", alike=("f1",)))
        desk.drop(clip_id, request=replace(a_request(), seed=seed))
        desk.turns(8, 60.0)
    assert desk.job("same").held is Held.DUPLICATE
    assert desk.state("other") is S.DELIVERED


def test_a_retry_is_no_duplicate_of_itself(desk):
    desk.shop.say[Stage.SUBMIT].append(lambda _job: Failed(Error("X", "refused")))
    drop(desk, "clip1")
    desk.until(S.FAILED)
    desk.shop.say[Stage.PREPARE].append(ASKED)
    desk.order(operator.retry, ["clip1"], "ann")
    desk.until(S.DELIVERED)


def test_a_clip_that_a_person_ordered_to_be_run_again_is_compared_with_nothing(desk):
    """The order said what it may cost; it is approved by it, though the clip had not been read before."""
    drop(desk, "clip1")
    desk.until(S.DELIVERED)
    desk.shop.say[Stage.PREPARE].append(Failed(Error("X", "its disk was gone")))
    desk.drop("clip2")
    desk.until(S.FAILED, "clip2")
    desk.shop.say[Stage.PREPARE].append(ASKED)
    desk.order(operator.retry, ["clip2"], "ann")
    desk.until(S.DELIVERED, "clip2")
    assert desk.shop.paid == ["clip1", "clip2"]


def test_a_duplicate_that_was_cancelled_while_it_was_read_ends_and_is_not_held(desk):
    drop(desk, "clip1")
    desk.until(S.DELIVERED)
    held = desk.shop.hold(Stage.PREPARE)
    drop(desk, "clip2")
    desk.turns(2)
    desk.order(operator.cancel, ["clip2"], "ann")
    desk.release(held)
    assert desk.until(S.CANCELLED, "clip2").held is None
    assert desk.shop.paid == ["clip1"]


@pytest.mark.parametrize("choice", ["hold", "reuse"])
def test_a_duplicate_that_an_older_journal_holds_meanwhile_says_both(desk, choice):
    """Approved it is not compared once more, so whoever approves it has to know."""
    desk.scheduler.comparison.choices = {"bay": choice}
    drop(desk, "clip1")
    desk.until(S.DELIVERED)
    held = desk.shop.hold(Stage.PREPARE)
    drop(desk, "clip2")
    desk.turns(2)
    desk.order(lambda scheduler: scheduler.decide(desk.job("clip2"), JobHeld(Held.FROM_BACKUP, "older")))
    desk.release(held)
    desk.turns(2)
    job = desk.job("clip2")
    assert (job.held, job.reuse) == (Held.FROM_BACKUP, None)
    assert "the same clip with the same request is job clip1" in job.reason
    assert job.reason.endswith("; older")
    assert desk.shop.paid == ["clip1"]


@pytest.mark.parametrize("stage", [Stage.PREPARE, Stage.SUBMIT])
def test_an_earlier_one_that_failed_unpaid_is_no_reason_to_hold(desk, stage):
    if stage is Stage.SUBMIT:
        desk.shop.say[stage].append(lambda _job: Failed(Error("X", "refused")))
        drop(desk, "clip1")
    else:
        desk.shop.say[stage].append(Failed(Error("X", "it does not fit")))
        desk.drop("clip1")
    desk.until(S.FAILED)
    drop(desk, "clip2")
    desk.until(S.DELIVERED, "clip2")


@pytest.mark.parametrize(
    ("stage", "event"),
    [
        (Stage.SUBMIT, AnswerLost("no answer came", {})),
        (Stage.POLL, Failed(Error("SAFETY.INPUT", "it was moderated"))),
    ],
)
def test_an_earlier_one_that_may_be_paid_for_is(desk, stage, event):
    desk.shop.say[stage].append(lambda _job: event)
    drop(desk, "clip1")
    desk.turns(6, 60.0)
    drop(desk, "clip2")
    desk.turns(6, 60.0)
    assert desk.job("clip2").held is Held.DUPLICATE
    assert desk.shop.paid == ["clip1"]


def test_the_first_is_not_held_by_its_duplicate_when_it_is_prepared_again(desk):
    desk.scheduler.allow(["bay"], replace(desk.scheduler.picker.limits, running_max=0))
    drop(desk, "clip1")
    desk.turns(3)
    drop(desk, "clip2")
    desk.turns(3)
    assert desk.job("clip2").held is Held.DUPLICATE
    desk.order(operator.approve, ["clip2"], "ann")
    with desk.journal.turn():
        again = replace(desk.job("clip1"), prepared=False)
        desk.journal.record(desk.job("clip1"), again, ASKED)
    desk.shop.say[Stage.PREPARE].append(ASKED)
    desk.turns(3)
    assert (desk.job("clip1").prepared, desk.job("clip1").held) == (True, None)


def test_where_the_operator_chose_to_run_duplicates_they_run(desk):
    desk.scheduler.comparison.choices = {"bay": "run"}
    drop(desk, "clip1", "clip2")
    desk.until(S.DELIVERED, "clip2")
    assert sorted(desk.shop.paid) == ["clip1", "clip2"]


# --- reuse ----------------------------------------------------------------------------------------------


def test_where_the_operator_chose_to_reuse_the_earlier_result_serves_and_nothing_is_paid(desk):
    desk.scheduler.comparison.choices = {"bay": "reuse"}
    drop(desk, "clip1")
    desk.until(S.DELIVERED)
    drop(desk, "clip2")
    desk.shop.say[Stage.PREPARE].append(lambda job: Reused((RESULT,), job.reuse.job_id))
    job = desk.until(S.DELIVERED, "clip2")
    assert (job.reuse.job_id, job.reuse.results, job.paid) == ("clip1", desk.job().results, "no")
    assert desk.shop.paid == ["clip1"]
    assert desk.journal.spent(0.0).submissions == 1


def test_an_earlier_one_that_is_not_delivered_yet_holds_also_where_results_are_reused(desk):
    desk.scheduler.comparison.choices = {"bay": "reuse"}
    desk.shop.hold(Stage.POLL)
    drop(desk, "clip1")
    desk.until(S.RUNNING)
    drop(desk, "clip2")
    desk.turns(4)
    assert desk.job("clip2").held is Held.DUPLICATE


def test_those_that_were_set_aside_are_served_once_the_first_is_delivered(desk):
    desk.scheduler.comparison.choices = {"bay": "reuse"}
    held = desk.shop.hold(Stage.POLL)
    drop(desk, "clip1")
    desk.until(S.RUNNING)
    drop(desk, "clip2")
    desk.turns(2, 60.0)
    assert desk.job("clip2").held is Held.DUPLICATE
    desk.shop.say[Stage.PREPARE].append(lambda job: Reused((RESULT,), job.reuse.job_id))
    desk.release(held)
    assert desk.until(S.DELIVERED, "clip2").reuse.job_id == "clip1"
    assert desk.shop.paid == ["clip1"]


@pytest.mark.parametrize("choices", [{}, {"other": "reuse"}])
def test_those_that_were_set_aside_wait_for_a_person_where_nothing_is_reused(desk, choices):
    desk.scheduler.comparison.choices = choices
    drop(desk, "clip1", "clip2")
    desk.turns(12, 60.0)
    assert sorted(str(desk.job(clip_id).held) for clip_id in ("clip1", "clip2")) == ["None", "duplicate"]


def test_a_result_that_is_to_be_finished_otherwise_is_not_reused(desk):
    desk.scheduler.comparison.choices = {"bay": "reuse"}
    drop(desk, "clip1")
    desk.until(S.DELIVERED)
    drop(desk, "clip2", request=a_request(finish="timeline"))
    desk.turns(4, 60.0)
    assert desk.job("clip2").held is Held.DUPLICATE
