"""A model that is not offered any more, and what serves instead; turned by hand on a real journal."""

import pytest

from clipspool.jobs.events import AnswerLost, NotSubmitted
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import State
from clipspool.media.facts import Probe
from clipspool.provider.catalog import Catalog
from clipspool.provider.transport.way import InRequest
from clipspool.scheduler import commands as operator
from clipspool.stages.quoting import Quoting
from fakes import NO_CREDITS, Desk, a_request

GONE = Fault(FaultOf.MODEL, "MODEL.NOT_OFFERED", "gen4_aleph is not offered")
MEDIA = Probe("mp4", 1000, "h264", 1280, 720, fps="25/1", seconds=4.0).to_dict()


def quoting(**models):
    catalog = Catalog.load(models or {"gen4_aleph": {"fallback": ["nowhere", "aleph2"]}})
    return Quoting(catalog, [InRequest(5_000_000)])


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    desk.scheduler.fallbacks.use(quoting().fallback)
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
        )
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
