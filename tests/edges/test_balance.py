"""What the account had before and after a doubt, on a real journal."""

import threading
import time
from dataclasses import replace

import pytest

from clipspool.jobs.account import Balance
from clipspool.jobs.events import AnswerLost, Prepared
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Paid, State
from clipspool.scheduler import balance
from clipspool.scheduler import commands as operator
from clipspool.scheduler.balance import BalanceReader, note
from fakes import NOON, Desk
from patience import patient

S = State


@pytest.fixture
def desk(tmp_path):
    one = Desk(tmp_path)
    yield one
    one.close()


def look(desk, amount, at=None):
    desk.order(note, desk.clock.now if at is None else at, Balance(amount, "credits"))


def doubt(desk, clip_id="clip1"):
    desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("no answer came", {"bytes_written": 9}))
    desk.drop(clip_id)
    return desk.until(S.IN_DOUBT, clip_id)


def test_a_doubt_gets_the_looks_before_it_was_sent_and_after_it_arose(desk):
    look(desk, 1000.0)
    desk.clock.passes(60)
    doubt(desk)
    desk.clock.passes(60)
    look(desk, 985.0)
    evidence = desk.job().task.evidence
    assert evidence["bytes_written"] == 9
    assert evidence["balance_before"]["amount"] == 1000.0
    assert evidence["balance_after"]["amount"] == 985.0
    assert evidence["other_submissions"] == 0
    assert desk.state() is S.IN_DOUBT
    look(desk, 700.0, desk.clock.now + 60)
    assert desk.job().task.evidence == evidence


def test_other_submissions_in_between_are_counted(desk):
    look(desk, 1000.0)
    desk.clock.passes(60)
    doubt(desk)
    desk.drop("clip2")
    desk.until(S.DELIVERED, "clip2")
    look(desk, 970.0)
    assert desk.job().task.evidence["other_submissions"] == 1


def test_a_look_from_before_the_doubt_is_no_look_after_it(desk):
    doubt(desk)
    look(desk, 1000.0, NOON)
    assert "balance_after" not in desk.job().task.evidence


def test_without_a_look_before_only_the_one_after_is_told(desk):
    doubt(desk)
    desk.clock.passes(9)
    look(desk, 985.0)
    evidence = desk.job().task.evidence
    assert "balance_before" not in evidence
    assert evidence["balance_after"]["amount"] == 985.0


def test_looks_through_another_key_are_not_compared(desk):
    look(desk, 1000.0)
    desk.clock.passes(60)
    doubt(desk)
    desk.scheduler.profile = "https://api.test/v1#other"
    desk.clock.passes(60)
    look(desk, 5.0)
    assert "balance_after" not in desk.job().task.evidence


SHED = {"http_status": 503, "is_shedding": True, "retry_after_seconds": 3.0}


def shed(desk, clip_id="clip1", evidence=SHED, **changes):
    desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("HTTP 503: busy", dict(evidence)))
    desk.drop(clip_id, **changes)
    return desk.until(S.IN_DOUBT, clip_id)


def looks(desk, *amounts, apart=30.0):
    for amount in amounts:
        desk.clock.passes(apart)
        look(desk, amount)


def test_a_refusal_of_load_that_left_the_balance_as_it_was_ends_its_doubt_by_itself(desk):
    look(desk, 1000.0)
    desk.clock.passes(60)
    assert shed(desk).paid is Paid.UNKNOWN
    looks(desk, 1000.0)
    assert desk.state() is S.IN_DOUBT, "one look may come before the charge is booked"
    looks(desk, 1000.0)
    job = desk.job()
    assert (job.state, job.held, job.paid, job.doubts) == (S.QUEUED, None, Paid.NO, 0)
    assert "1,000 credits before and after" in job.reason
    assert desk.until(S.DELIVERED).task.number == 2
    assert desk.shop.paid == ["clip1", "clip1"]
    assert desk.scheduler.spending.today.credits == job.credits_estimated, "what was not charged is not spent"


def test_what_was_not_charged_leaves_the_clip_its_whole_limit(tmp_path):
    desk = Desk(tmp_path, credits_per_clip_max=20.0)  # it is estimated at 15
    look(desk, 1_000_000.0)
    desk.clock.passes(60)
    shed(desk)
    looks(desk, 1_000_000.0, 1_000_000.0)
    assert "1,000,000 credits before and after" in desk.job().reason
    assert desk.until(S.DELIVERED).held is None
    assert desk.journal.clip_cost("clip1").spent == 15.0
    desk.close()


@pytest.mark.parametrize(
    "case",
    [
        "charged",
        "charged late",
        "charged at once",
        "no look before",
        "no shedding",
        "second look too soon",
        "another clip was sent",
        "another clip ended",
        "long ago",
        "price unknown",
        "other unit",
        "an end was asked for",
    ],
)
def test_whatever_may_hide_a_charge_leaves_the_doubt(desk, case):
    if case == "another clip ended":
        desk.drop("clip2")
        desk.until(S.DELIVERED, "clip2")
        desk.clock.passes(5)
    if case != "no look before":
        look(desk, 1000.0)
    if case == "price unknown":
        desk.shop.say[Stage.PREPARE].append(Prepared("ab" * 32, 9, 1_000, None))
    desk.clock.passes(2000 if case == "long ago" else 60)
    if case == "another clip ended":
        with desk.journal.turn():
            desk.journal.record(
                desk.job("clip2"), replace(desk.job("clip2"), updated_at=desk.clock.now), Prepared("a", 1, 1)
            )
    evidence = {"http_status": 500} if case == "no shedding" else SHED
    shed(desk, evidence=evidence)
    if case == "another clip was sent":
        desk.drop("clip2")
        desk.until(S.DELIVERED, "clip2")
    first = 985.0 if case in {"charged", "charged at once"} else 1000.0
    second = 985.0 if case in {"charged late", "charged at once"} else 1000.0
    looks(desk, first)
    if case == "an end was asked for":
        desk.order(operator.cancel, ["clip1"], "ann")
        assert desk.state() is S.CANCELLED
        return
    if case == "other unit":
        desk.clock.passes(30)
        desk.order(note, desk.clock.now, Balance(1000.0, "USD"))
    else:
        looks(desk, second, apart=1.0 if case == "second look too soon" else 30.0)
    assert desk.state() is S.IN_DOUBT
    assert desk.shop.paid.count("clip1") == 1


def test_a_look_that_was_answered_only_after_the_request_left_is_no_look_before_it(desk):
    desk.order(note, desk.clock.now, Balance(1000.0, "credits"), desk.clock.now + 500)
    desk.clock.passes(60)
    shed(desk)
    looks(desk, 1000.0, 1000.0)
    assert desk.state() is S.IN_DOUBT
    assert "balance_before" not in desk.job().task.evidence


def test_who_and_why_are_kept_for_every_order(desk):
    doubt(desk)
    desk.order(operator.cancel, ["clip1"], "ann@edit-3 (pts/1)", "wrong grade")
    told = [(e.event, e.facts) for e in desk.journal.history(desk.job())][-1]
    assert told == ("cancelled", {"by": "ann@edit-3 (pts/1)", "why": "wrong grade"})
    assert desk.job().error.message == "cancelled by ann@edit-3 (pts/1) (wrong grade)"


def test_an_order_that_changes_no_state_is_in_the_history_too(desk):
    desk.drop(due_at=NOON + 3600)
    desk.turn()
    desk.order(operator.approve, ["clip1"], "ann", "the client waits")
    assert [e.event for e in desk.journal.history(desk.job())] == ["accepted", "approved"]


def test_a_provider_that_does_not_tell_is_not_asked_again_and_again(monkeypatch):
    monkeypatch.setattr(balance, "_SETTLE_SECONDS", 0.0)
    asked, looked = [], threading.Event()

    def ask():
        asked.append(1)
        looked.set()

    teller = BalanceReader(ask, lambda _command: pytest.fail("nothing was told"), lambda: NOON)
    teller.start()
    assert looked.wait(patient(5))
    teller._look()
    teller.stop()
    assert len(asked) == 1


def test_a_balance_that_was_told_before_and_cannot_be_read_is_asked_for_again_in_a_minute(monkeypatch):
    monkeypatch.setattr(balance, "_OUTAGE_SECONDS", 0.05)
    answers = iter([Balance(9.0, "credits"), None, None, Balance(8.0, "credits")])
    told = threading.Semaphore(0)
    reader = BalanceReader(lambda: next(answers, None), lambda _command: told.release(), time.time)
    reader.start()
    try:
        assert told.acquire(timeout=patient(5))
        reader._request()
        assert told.acquire(timeout=patient(5))
    finally:
        reader.stop()
