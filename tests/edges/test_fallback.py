"""A model that is not offered any more, and what serves instead; turned by hand on a real journal."""

import pytest

from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.events import AnswerLost, Failed, NotCharged, NotSubmitted
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import Error, Paid, Part, Reuse, State
from clipspool.media.facts import Probe
from clipspool.provider.catalog import Catalog
from clipspool.provider.transport.way import InRequest
from clipspool.scheduler import commands as operator
from clipspool.stages.quoting import Quoting
from fakes import BUSY, NO_CREDITS, Desk, a_request

GONE = Fault(FaultOf.MODEL, "MODEL.NOT_OFFERED", "gen4_aleph is not offered")
MEDIA = Probe("mp4", 1000, "h264", 1280, 720, fps="25/1", seconds=4.0).to_dict()


def quoting(**models):
    catalog = Catalog.load(models or {"gen4_aleph": {"fallback": ["nowhere", "aleph2"]}})
    return Quoting(catalog, [InRequest(5_000_000)])


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    desk.scheduler.fallbacks.use(quoting().fallback, {})
    yield desk
    desk.close()


def events(desk, job_id="clip1"):
    return [entry.event for entry in desk.journal.history(desk.job(job_id))]


def test_a_clip_whose_model_is_gone_goes_to_its_fallback_prepared_anew_and_paid_once(desk):
    desk.shop.say[Stage.SUBMIT].append(NotSubmitted(GONE))
    desk.drop(request=a_request(ratio="1280:720", ratio_is_chosen=True))
    job = desk.until(State.DELIVERED)
    assert (job.request.model, job.request.instead_of) == ("aleph2", "gen4_aleph")
    assert [stage for stage, _ in desk.shop.done][:4] == [
        *(Stage.PREPARE, Stage.SUBMIT, Stage.PREPARE, Stage.SUBMIT)
    ]
    assert desk.shop.paid == ["clip1"]
    assert "fell_back" in events(desk)


def test_all_that_wait_for_the_model_fall_back_without_being_sent_to_it(desk):
    desk.shop.say[Stage.SUBMIT].append(NotSubmitted(GONE))
    for number in range(30):
        desk.drop(f"clip{number}", due_at=desk.clock.now + (60 if number else 0))
    desk.turns(6)
    desk.turns(6, 60.0)
    models = {desk.job(f"clip{number}").request.model for number in range(30)}
    assert models == {"aleph2"}
    assert [stage for stage, job in desk.shop.done if job == "clip1"].count(Stage.SUBMIT) <= 1


def test_what_no_fallback_takes_waits_for_its_own_model_and_hides_nobody(desk):
    desk.shop.say[Stage.SUBMIT].append(NotSubmitted(GONE))
    long_prompt = a_request(prompt="x" * 1000, extra={"outputFormat": "mp4"})
    desk.scheduler.fallbacks.use(
        lambda request, media, shut: (
            None if "x" in request.prompt else quoting().fallback(request, media, shut)
        ),
        {},
    )
    desk.scheduler.allow(["bay"], Limits(running_max=1))
    for number in range(40):
        desk.drop(f"stays{number}", request=long_prompt, priority=5)
    desk.drop("goes")
    desk.turns(14, 0.1)
    assert desk.job("goes").request.model == "aleph2"
    assert desk.job("stays0").request.model == "gen4_aleph"
    assert desk.shop.paid == ["goes"]


def test_nothing_falls_back_of_which_something_may_have_been_paid(desk):
    desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("no answer came", {}))
    desk.drop("doubtful")
    desk.until(State.IN_DOUBT, "doubtful")
    desk.shop.say[Stage.SUBMIT].append(NotSubmitted(GONE))
    desk.drop("clip1")
    desk.turns(4, 60.0)
    desk.order(operator.retry, ["doubtful"], "ann")
    desk.turns(3)
    assert desk.job("clip1").request.model == "aleph2"
    assert desk.job("doubtful").request.model == "gen4_aleph"


def test_an_account_without_credits_changes_no_model(desk):
    desk.shop.say[Stage.SUBMIT].append(NotSubmitted(NO_CREDITS))
    desk.drop()
    desk.turns(6, 60.0)
    assert desk.job().request.model == "gen4_aleph"


RETIRED = Failed(Error("MODEL.NOT_AVAILABLE", "Model variant gen4_aleph is not available"))


def test_a_clip_whose_own_request_shows_that_the_model_is_retired_falls_back_and_holds_up_no_other(desk):
    desk.shop.say[Stage.SUBMIT].append(lambda _job: RETIRED)
    desk.drop()
    job = desk.until(State.DELIVERED)
    assert (job.request.model, job.request.instead_of) == ("aleph2", "gen4_aleph")
    assert [event for event in events(desk) if event in {"failed", "not_submitted", "fell_back"}] == [
        *("not_submitted", "fell_back")
    ]
    assert not desk.scheduler.brake.models


def test_without_a_fallback_that_takes_it_such_a_clip_fails(desk):
    desk.scheduler.fallbacks.use(lambda *_: None, {})
    desk.shop.say[Stage.SUBMIT].append(lambda _job: RETIRED)
    desk.drop()
    assert desk.until(State.FAILED).error.code == "MODEL.NOT_AVAILABLE"


def test_a_clip_that_is_refused_for_itself_fails_whatever_stands_in_for_its_model(desk):
    desk.shop.say[Stage.SUBMIT].append(lambda _job: Failed(Error("REQUEST.INVALID", "ratio")))
    desk.drop()
    assert desk.until(State.FAILED).request.model == "gen4_aleph"


def test_a_clip_that_was_sent_before_fails_where_its_model_is_retired_meanwhile(desk):
    desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("no answer came", {}))
    desk.drop()
    desk.until(State.IN_DOUBT)
    desk.shop.say[Stage.SUBMIT].append(lambda _job: RETIRED)
    desk.order(operator.retry, ["clip1"], "ann")
    assert desk.until(State.FAILED).request.model == "gen4_aleph"


@pytest.mark.parametrize(
    ("changes", "busy", "falls"),
    [
        ({}, (), True),
        ({}, ("clip1",), False),
        ({"paid": Paid.UNKNOWN}, (), False),
        ({"paid": Paid.YES}, (), False),
        ({"part": 1}, (), False),
        ({"reuse": Reuse("earlier", "bay", ())}, (), False),
        ({"parts": (Part(1, 2, 0, 9, 0, "25"), Part(2, 2, 9, 9, 0, "25"))}, (), False),
    ],
)
def test_only_a_whole_job_falls_back_that_nobody_has_and_of_which_nothing_may_be_paid(
    desk, changes, busy, falls
):
    desk.scheduler.pauses.set_by_operator(frozenset({"*"}))
    desk.drop("clip1", **changes)
    for number in (1, 2) if "parts" in changes else ():
        desk.drop(f"clip1-p00{number}", part=number)
    desk.turn()
    shut = Brake(models={"gen4_aleph": Brake(fault=GONE, until=desk.clock.now + 60.0)})
    found = desk.scheduler.fallbacks.due(shut, busy, desk.clock.now)
    assert [job.id for job, _ in found] == ["clip1"] * falls


def test_a_clip_falls_back_once_a_model_that_takes_it_is_offered_again(desk):
    desk.scheduler.pauses.set_by_operator(frozenset({"*"}))
    desk.drop()
    desk.turn()
    gone = Brake(fault=GONE, until=desk.clock.now + 60.0)
    both, one = Brake(models={"gen4_aleph": gone, "aleph2": gone}), Brake(models={"gen4_aleph": gone})
    assert not list(desk.scheduler.fallbacks.due(both, (), desk.clock.now))
    assert list(desk.scheduler.fallbacks.due(one, (), desk.clock.now))


def test_an_approval_of_the_old_price_does_not_count_for_the_fallback(desk):
    desk.scheduler.allow(["bay"], Limits(credits_per_job_max=10.0))
    desk.drop()
    desk.turns(3)
    desk.shop.say[Stage.SUBMIT].append(NotSubmitted(GONE))
    desk.order(operator.approve, ["clip1"], "ann")
    desk.turns(6, 1.0)
    job = desk.job()
    assert (job.request.model, job.held) == ("aleph2", "budget")
    assert desk.shop.paid == []


QUOTA = Fault(FaultOf.ACCOUNT, "ACCOUNT.DAILY_QUOTA", "The daily quota is used up")


@pytest.mark.parametrize("fault", [BUSY, QUOTA])
def test_a_model_that_is_refused_for_load_gives_way_only_after_its_patience(desk, fault):
    desk.scheduler.fallbacks.use(quoting().fallback, {"gen4_aleph": 1800.0})
    desk.shop.say[Stage.SUBMIT].extend([NotSubmitted(fault)] * 100)
    desk.drop()
    desk.turns(29, 60.0)
    assert desk.job().request.model == "gen4_aleph"
    desk.turns(6, 60.0)
    assert desk.job().request.model == "aleph2"
    (why,) = [entry.facts["why"] for entry in desk.journal.history(desk.job()) if entry.event == "fell_back"]
    assert why.startswith("has been refused for 3")


def test_without_a_patience_a_busy_model_is_waited_for(desk):
    desk.shop.say[Stage.SUBMIT].extend([NotSubmitted(BUSY)] * 90)
    desk.drop()
    desk.turns(90, 60.0)
    assert desk.job().request.model == "gen4_aleph"


def test_a_model_that_took_a_request_meanwhile_is_given_its_whole_patience_again(desk):
    desk.scheduler.fallbacks.use(quoting().fallback, {"gen4_aleph": 1800.0})
    shut = desk.scheduler.fallbacks.shut
    desk.shop.say[Stage.SUBMIT].append(NotSubmitted(BUSY))
    desk.drop()
    desk.until(State.DELIVERED)
    desk.turn(1800.0)
    assert not shut(desk.scheduler.brake, desk.clock.now)


def test_a_model_is_tried_again_two_hours_after_its_last_refusal(desk):
    fallbacks, now = desk.scheduler.fallbacks, desk.clock.now
    fallbacks.use(quoting().fallback, {"gen4_aleph": 0.0})
    desk.drop()
    desk.turn()
    fallbacks.on_change(desk.job(), NotCharged("for load"), now)
    assert list(fallbacks.shut(desk.scheduler.brake, now + 7199)) == ["gen4_aleph"]
    assert not fallbacks.shut(desk.scheduler.brake, now + 7200)
    fallbacks.use(quoting().fallback, {"gen4_aleph": 60.0})
    fallbacks.on_change(desk.job(), NotCharged("for load"), now + 7200)
    assert not fallbacks.shut(desk.scheduler.brake, now + 7201)


def test_a_model_that_was_not_offered_is_asked_for_again_after_the_pause(desk):
    desk.shop.say[Stage.SUBMIT].append(NotSubmitted(GONE))
    desk.drop()
    desk.until(State.DELIVERED)
    desk.turn(7200.0)
    desk.drop("clip2")
    assert desk.until(State.DELIVERED, "clip2").request.model == "gen4_aleph"
    assert not desk.scheduler.brake.models


@pytest.mark.parametrize(
    ("request_", "media", "model"),
    [
        (a_request(), MEDIA, "aleph2"),
        (a_request(ratio="1104:832"), MEDIA, "aleph2"),
        (a_request(), {**MEDIA, "seconds": 40.0}, None),
        (a_request(content_moderation={"public_figure_threshold": "low"}), MEDIA, "aleph2"),
        (a_request(extra={"model": "x"}), MEDIA, None),
        (a_request(model="aleph2"), MEDIA, None),
    ],
)
def test_a_fallback_takes_a_request_only_as_it_is(request_, media, model):
    found = quoting().fallback(request_, media, ["gen4_aleph"])
    assert (found.model if found else None) == model


def test_a_fallback_that_is_not_offered_either_is_passed_over():
    assert quoting().fallback(a_request(), MEDIA, ["gen4_aleph", "aleph2"]) is None
