"""Clips that are refused for missing credits, and a cheaper model for them; by hand on a real journal."""

import pytest

from clipspool.jobs.account import Balance
from clipspool.jobs.events import AnswerLost, Changed, JobHeld, NotSubmitted, Prepared
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.hours import read_hours
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.limits import Limits
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import Held, Part, Reuse, State
from clipspool.jobs.shares import Share, Shares
from clipspool.media.facts import Probe
from clipspool.provider.catalog import Catalog
from clipspool.provider.transport.way import InRequest
from clipspool.scheduler import commands as operator
from clipspool.scheduler.balance import note
from clipspool.scheduler.loop import Scheduler
from clipspool.scheduler.selection import InFlight
from clipspool.stages.quoting import Quoting
from fakes import BUSY, NO_CREDITS, PACE, PROFILE, Desk, Workshop, a_clip, a_job, a_request

S = State
MEDIA = Probe("mp4", 1000, "h264", 1280, 720, fps="25/1", seconds=4.0).to_dict()
PRICES = {"gen4_aleph": 60.0, "half": 30.0, "tenth": 6.0, "dear": 400.0, "aleph2": 112.0}
"""What four seconds cost."""


def model(price, **keys):
    return {"credits_per_second": price / 4, "ratios": ["1280:720"], "fields": ["seed", "ratio"], **keys}


def quoting(fallback=("dear", "half", "tenth"), **more):
    models = {
        "gen4_aleph": {"fallback": list(fallback)},
        **{name: model(PRICES[name]) for name in ("half", "tenth", "dear")},
        "unpriced": {"ratios": ["1280:720"]},
    }
    return Quoting(Catalog.load(models | more), [InRequest(5_000_000)])


class Priced(Workshop):
    """Prepares at the price of each model, and refuses a model for missing credits while it is told to."""

    def __init__(self):
        super().__init__()
        self.refuses = set()
        self.asked = []
        """(job id, model) of each request that left."""
        self.made = []
        """Ids of the jobs whose request was not refused."""

    def work(self, given, gate):
        job = given.job
        if given.stage is Stage.PREPARE:
            self.say[Stage.PREPARE].append(
                Prepared("ab" * 32, 9, 1_000, PRICES.get(job.request.model), attempt=given.attempt)
            )
        elif given.stage is Stage.SUBMIT and job.request.model in self.refuses:
            self.say[Stage.SUBMIT].append(lambda _job: NotSubmitted(NO_CREDITS))
        said = super().work(given, gate)
        if given.stage is Stage.SUBMIT and self.paid[len(self.asked) :]:
            self.asked.append((job.id, job.request.model))
            self.made += [] if isinstance(said, NotSubmitted) else [job.id]
        return said


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path, shop=Priced())
    desk.scheduler.short_of_credits.use(quoting().covered)
    desk.shop.refuses = {"gen4_aleph", "dear"}
    yield desk
    desk.close()


def drop(desk, clip_id="clip1", model="gen4_aleph", **changes):
    clip = a_clip(clip_id, accepted_at=desk.clock.now, media=MEDIA)
    job = a_job(clip_id, created_at=desk.clock.now, request=a_request(model=model), **changes)
    desk.scheduler.enqueue(Accepted(clip, (job,)))


def refused(desk, clip_id="clip1", **changes):
    """Drop a clip and turn until its request was refused."""
    drop(desk, clip_id, **changes)
    desk.turns(4)
    assert models_asked(desk, clip_id)


def look(desk, amount, after=2.0, unit="credits"):
    desk.clock.passes(after)
    desk.order(note, desk.clock.now, Balance(amount, unit))


def models_asked(desk, clip_id="clip1"):
    return [model for job, model in desk.shop.asked if job == clip_id]


def test_a_clip_that_the_account_cannot_pay_is_sent_to_a_model_that_it_can_and_paid_once(desk):
    refused(desk)
    look(desk, 59.9)
    job = desk.job()
    assert (job.request.model, job.request.instead_of, job.credits_estimated) == ("half", "gen4_aleph", None)
    assert job.reason == ("gen4_aleph costs about 60 credits, and the account has 59.9: half is used instead")
    desk.turns(4)
    assert desk.state() is S.RUNNING, "the account's pause does not hold it"
    assert desk.scheduler.brake.fault == NO_CREDITS
    assert desk.shop.made == ["clip1"]
    assert models_asked(desk) == ["gen4_aleph", "half"]
    assert [entry.event for entry in desk.journal.history(desk.job())].count("fell_back") == 1


def test_what_is_remembered_is_in_the_journal_of_a_farm_too(tmp_path, driver):
    desk = Desk(tmp_path, shop=Priced(), opens=lambda _path: driver.open())
    desk.scheduler.short_of_credits.use(quoting().covered)
    desk.shop.refuses = {"gen4_aleph", "half"}
    refused(desk)
    look(desk, 40.0)
    desk.turns(4)
    look(desk, 40.0)
    leads = Scheduler(desk.journal, desk.shop, profile=PROFILE, pace=PACE, now=desk.clock)
    assert leads.short_of_credits.excused(leads.brake, {}, PROFILE) == {"clip1"}
    desk.turns(4)
    assert models_asked(desk) == ["gen4_aleph", "half", "tenth"]
    assert desk.shop.made == ["clip1"]
    leads.workers.stop()
    desk.close()


def test_a_balance_in_dollars_counts_as_well(desk):
    refused(desk)
    look(desk, 0.31, unit="USD")
    assert desk.job().request.model == "half"


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (400.0, "gen4_aleph"),
        (60.0, "gen4_aleph"),
        (59.0, "half"),
        (30.0, "half"),
        (29.9, "tenth"),
        (5.0, "gen4_aleph"),
    ],
)
def test_the_first_model_of_the_list_is_taken_that_what_is_left_covers(desk, left, expected):
    refused(desk)
    look(desk, left)
    assert desk.job().request.model == expected


def test_only_a_balance_that_was_read_after_the_refusal_counts(desk):
    look(desk, 40.0)
    desk.clock.passes(1.0)
    refused(desk)
    desk.turns(3)
    assert desk.job().request.model == "gen4_aleph"
    desk.order(note, desk.clock.now, Balance(40.0, "credits"))
    assert desk.job().request.model == "gen4_aleph", "it was begun when the refusal came"
    look(desk, 40.0)
    assert desk.job().request.model == "half"


def test_the_balance_of_another_account_says_nothing(desk):
    refused(desk)
    desk.scheduler.profile = "https://api.test/v1#other"
    look(desk, 40.0)
    assert desk.job().request.model == "gen4_aleph"


def test_a_refusal_by_another_account_says_nothing(desk):
    desk.scheduler.profile = "https://api.test/v1#other"
    held = desk.shop.hold(Stage.SUBMIT)
    drop(desk)
    desk.turns(4)
    desk.scheduler.profile = PROFILE
    desk.release(held)
    desk.turn()
    assert models_asked(desk)
    look(desk, 40.0)
    assert desk.job().request.model == "gen4_aleph"


def test_all_others_are_held_while_it_is_sent_and_after(desk):
    drop(desk)
    desk.turns(2)
    for number in range(2, 6):
        drop(desk, f"clip{number}", priority=5)
    desk.turns(3)
    asked = {job for job, _ in desk.shop.asked}
    look(desk, 40.0, after=0.5)
    desk.turns(6, 0.1)
    assert len(desk.shop.made) == 1
    assert {job for job, _ in desk.shop.asked} == asked, "its success lets no dearer clip be tried"
    assert desk.scheduler.brake.is_on


def test_a_refused_clip_is_found_behind_however_many_that_came_after_it(desk):
    refused(desk)
    for number in range(40):
        drop(desk, f"later{number}", priority=9)
    desk.turns(3)
    look(desk, 40.0, after=0.1)
    desk.turns(5)
    assert desk.shop.made == ["clip1"]


def test_what_was_sent_since_the_reading_is_no_longer_left(desk):
    refused(desk)
    desk.clock.passes(5.0)
    refused(desk, "clip2")
    look(desk, 40.0)
    changed = {name: desk.job(name).request.model for name in ("clip1", "clip2")}
    assert changed == {"clip1": "half", "clip2": "tenth"}, "30 of the 40 are for the first"
    desk.turns(6)
    assert sorted(desk.shop.made) == ["clip1", "clip2"]


def test_a_price_that_turns_out_higher_than_what_is_left_waits_like_all_others(desk, monkeypatch):
    refused(desk)
    monkeypatch.setitem(PRICES, "half", 41.0)
    look(desk, 40.0)
    desk.turns(5)
    assert desk.job().prepared
    assert desk.shop.made == []
    look(desk, 41.0)
    desk.turns(3)
    assert desk.shop.made == ["clip1"]


def test_without_a_known_price_nothing_is_sent_past_the_pause(desk, monkeypatch):
    refused(desk)
    monkeypatch.delitem(PRICES, "half")
    look(desk, 40.0)
    desk.turns(5)
    assert desk.job().prepared
    assert desk.shop.made == []


def test_each_model_is_tried_once_until_more_is_left(desk):
    desk.shop.refuses |= {"half", "tenth"}
    refused(desk)
    for _ in range(12):
        look(desk, 40.0, after=0.2)
        desk.turns(4)
    assert models_asked(desk) == ["gen4_aleph", "half", "tenth"]
    look(desk, 35.0, after=0.1)
    desk.turns(4)
    assert len(models_asked(desk)) == 3, "less is left than before"
    look(desk, 41.0, after=0.1)
    desk.turns(4)
    assert models_asked(desk)[3:] == ["half"]


def test_what_was_tried_is_known_after_a_restart(desk):
    desk.shop.refuses |= {"half"}
    refused(desk)
    look(desk, 40.0)
    desk.turns(4)
    assert models_asked(desk) == ["gen4_aleph", "half"]
    again = Scheduler(desk.journal, desk.shop, profile=PROFILE, pace=PACE, now=desk.clock)
    again.short_of_credits.use(quoting(("half",)).covered)
    desk.clock.passes(5.0)
    desk.order(note, desk.clock.now, Balance(40.0, "credits"))
    assert not list(again.short_of_credits.due(again.brake, (), PROFILE))
    again.workers.stop()


def test_a_clip_that_was_let_past_the_pause_still_is_after_a_restart(desk):
    refused(desk)
    look(desk, 40.0)
    again = Scheduler(desk.journal, desk.shop, profile=PROFILE, pace=PACE, now=desk.clock)
    assert again.short_of_credits.excused(again.brake, {}, PROFILE) == {"clip1"}
    again.workers.stop()


def test_once_there_are_credits_again_nothing_of_it_is_remembered(desk):
    refused(desk)
    assert desk.journal.fact("short_of_credits")
    desk.shop.refuses.clear()
    desk.turns(4, 60.0)
    assert models_asked(desk) == ["gen4_aleph"] * 2
    assert not desk.scheduler.brake.is_on, "its success lets the others go on"
    assert desk.journal.fact("short_of_credits") is None


@pytest.mark.parametrize("code", ["ACCOUNT.KEY_REFUSED", "ACCOUNT.DAILY_QUOTA", "ACCOUNT.FORBIDDEN"])
def test_another_fault_of_the_account_changes_no_model(desk, code):
    desk.shop.refuses.clear()
    fault = Fault(FaultOf.ACCOUNT, code, "no")
    desk.shop.say[Stage.SUBMIT].append(lambda _job: NotSubmitted(fault))
    refused(desk)
    look(desk, 40.0)
    assert desk.job().request.model == "gen4_aleph"


def test_a_clip_that_was_refused_for_another_reason_keeps_its_model(desk):
    desk.shop.refuses.clear()
    desk.shop.say[Stage.SUBMIT].append(lambda _job: NotSubmitted(BUSY))
    drop(desk)
    desk.turns(4)
    desk.shop.refuses = {"gen4_aleph"}
    drop(desk, "clip2", priority=9)
    desk.turns(3)
    desk.scheduler.allow(["bay"], Limits(running_max=1))
    desk.scheduler.braking.release()
    desk.turns(4)
    assert (models_asked(desk), models_asked(desk, "clip2")) == (["gen4_aleph"], ["gen4_aleph"])
    look(desk, 40.0, after=0.5)
    assert [desk.job(name).request.model for name in ("clip1", "clip2")] == ["gen4_aleph", "half"]


def test_the_pause_holds_it_once_the_account_has_another_fault(desk):
    refused(desk)
    look(desk, 40.0)
    key = Fault(FaultOf.ACCOUNT, "ACCOUNT.KEY_REFUSED", "The key was refused")
    desk.scheduler.braking.set(desk.scheduler.brake.pressed(key, desk.clock.now + 9000, lambda: 0.5))
    desk.turns(4)
    assert desk.shop.made == []


def test_a_clip_whose_answer_was_lost_at_the_cheaper_model_is_in_doubt_and_asks_for_no_other(desk):
    refused(desk)
    desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("no answer came", {}))
    look(desk, 40.0)
    desk.turns(4)
    assert desk.state() is S.IN_DOUBT
    look(desk, 10.0)
    desk.turns(4)
    assert models_asked(desk) == ["gen4_aleph", "half"]
    assert desk.journal.fact("short_of_credits") is None


def test_a_clip_that_was_in_doubt_before_asks_for_no_other_model(desk):
    desk.shop.refuses.clear()
    desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("no answer came", {}))
    drop(desk)
    desk.until(S.IN_DOUBT)
    desk.shop.refuses = {"gen4_aleph"}
    desk.order(operator.retry, ["clip1"], "ann")
    desk.turns(8, 5.0)
    assert desk.scheduler.brake.fault == NO_CREDITS
    look(desk, 40.0)
    assert desk.job().request.model == "gen4_aleph"


@pytest.mark.parametrize(
    ("limits", "held"),
    [
        ({"credits_per_job_max": 29.0}, "budget"),
        ({"credits_per_clip_max": 29.0}, "budget"),
        ({"credits_per_day": 29.0}, None),
        ({"submissions_per_day": 0}, None),
        ({"shares": Shares(models={"half": Share(None, 29.0)})}, None),
    ],
)
def test_every_limit_on_what_may_be_spent_holds_for_it(desk, limits, held):
    refused(desk)
    desk.scheduler.allow(["bay"], Limits(**limits))
    look(desk, 40.0)
    desk.turns(5)
    assert desk.job().request.model == "half"
    assert desk.job().held == held
    assert desk.shop.made == []


def test_who_approved_the_price_of_one_model_did_not_approve_that_of_another(desk):
    desk.scheduler.allow(["bay"], Limits(credits_per_job_max=10.0))
    drop(desk)
    desk.turns(3)
    desk.order(operator.approve, ["clip1"], "ann")
    desk.turns(3)
    look(desk, 40.0)
    desk.turns(5)
    assert (desk.job().request.model, desk.job().held) == ("half", "budget")
    desk.order(operator.approve, ["clip1"], "ann")
    desk.turns(4)
    assert desk.shop.made == ["clip1"]


def test_what_is_held_for_a_person_is_not_sent(desk):
    refused(desk)
    look(desk, 40.0)
    desk.order(lambda scheduler: scheduler.decide(desk.job(), JobHeld(Held.VETO, "not this one")))
    desk.turns(6)
    assert desk.job().held == "veto"
    assert models_asked(desk) == ["gen4_aleph"]


def test_a_pause_of_its_inbox_holds_it(desk):
    refused(desk)
    desk.scheduler.pauses.set_by_operator(frozenset({"bay"}))
    look(desk, 40.0)
    desk.turns(4)
    assert desk.job().request.model == "half"
    assert desk.shop.made == []
    desk.scheduler.pauses.set_by_operator(frozenset())
    desk.turns(5)
    assert desk.shop.made == ["clip1"]


def test_outside_the_hours_of_its_inbox_it_is_prepared_and_not_sent(desk):
    refused(desk)
    nights = read_hours(("UTC Mon-Sun 19:00-07:00",))
    desk.scheduler.allow(["bay"], Limits(hours={"bay": nights}))
    look(desk, 40.0)
    desk.turns(5)
    assert desk.job().request.model == "half"
    assert desk.job().prepared
    assert desk.shop.done.count((Stage.SUBMIT, "clip1")) == 1, "no connection is made for it"
    kept, brake = desk.scheduler.short_of_credits, desk.scheduler.brake
    for state, excused in ((State.QUEUED, set()), (State.SUBMITTING, {"clip1"})):
        connected = InFlight(Stage.SUBMIT, a_job("other", state=state, credits_estimated=30.0))
        found = kept.excused(brake, {"other": connected}, PROFILE)
        assert found == excused, "what is connected is not recorded as sent yet"
    desk.turn(7 * 3600.0)
    desk.turns(4)
    assert desk.shop.made == ["clip1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"part": 1},
        {"parts": (Part(1, 2, 0, 9, 0, "25"), Part(2, 2, 9, 9, 0, "25"))},
        {"reuse": Reuse("earlier", "bay", ())},
    ],
)
def test_the_parts_of_a_film_and_what_serves_another_result_keep_their_model(desk, changes):
    drop(desk)
    desk.turns(4)
    job = desk.job()
    for number in (1, 2) if "parts" in changes else ():
        drop(desk, f"clip1-p00{number}")
    kept = desk.scheduler.short_of_credits
    odd = a_job(**changes, request=a_request())
    kept._journal = Odd(desk.journal, odd)
    desk.clock.passes(2.0)
    desk.journal.set_fact(
        "balance", [{"at": desk.clock.now, "amount": 40.0, "unit": "credits", "profile": PROFILE}]
    )
    found = list(kept.due(desk.scheduler.brake, (), PROFILE))
    kept._journal = desk.journal
    assert job.attempts == 1
    assert found == []


class Odd:
    """A journal whose one job is another."""

    def __init__(self, journal, job):
        self._real, self._job = journal, job

    def __getattr__(self, name):
        return getattr(self._real, name)

    def load(self, _ids):
        return {self._job.id: self._job}

    def parts_of(self, job):
        return [job] if job.parts else []


def test_a_job_that_is_held_or_that_a_worker_has_keeps_its_model(desk):
    refused(desk)
    look(desk, 1000.0)
    kept, brake = desk.scheduler.short_of_credits, desk.scheduler.brake
    desk.clock.passes(2.0)
    desk.journal.set_fact(
        "balance", [{"at": desk.clock.now, "amount": 40.0, "unit": "credits", "profile": PROFILE}]
    )
    assert list(kept.due(brake, ("clip1",), PROFILE)) == []
    assert desk.job().request.model == "gen4_aleph"


def test_a_clip_that_changed_is_prepared_anew_before_it_is_sent_past_the_pause(desk):
    refused(desk)
    desk.shop.say[Stage.SUBMIT].append(Changed("the source changed"))
    look(desk, 40.0)
    desk.turns(8, 1.0)
    assert desk.shop.made == ["clip1"]
    assert [stage for stage, _ in desk.shop.done].count(Stage.PREPARE) == 3


@pytest.mark.parametrize(
    ("fallback", "left", "media", "expected"),
    [
        (["half"], 40.0, MEDIA, ("half", 30.0)),
        (["unpriced", "tenth"], 40.0, MEDIA, ("tenth", 6.0)),
        (["unpriced"], 40.0, MEDIA, None),
        (["nowhere", "gen4_aleph"], 40.0, MEDIA, None),
        (["half"], 40.0, {}, None),
        (["half"], 60.0, MEDIA, None),
    ],
)
def test_a_model_is_chosen_only_by_prices_that_are_known(fallback, left, media, expected):
    found = quoting(fallback).covered(a_request(), media, "gen4_aleph", left, ())
    assert (found and (found[0].model, found[1])) == expected


def test_no_model_is_chosen_that_would_make_a_film_in_parts():
    long = Probe("mp4", 1000, "h264", 1280, 720, fps="25/1", seconds=8.0).to_dict()
    gen4 = {"fallback": ["short", "half"], "seconds_max": 10.0}
    offered = quoting(gen4_aleph=gen4, short=model(2.0, seconds_max=5.0))
    found = offered.covered(a_request(long_clips="split"), long, "gen4_aleph", 100.0, ())
    assert found[0].model == "half"
