"""Which address can be reached, over real sockets, and the change from one to another on a real journal."""

import socket

import pytest

from clipspool.app.gateway import Gateway
from clipspool.app.settings import Settings
from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.events import AnswerLost, NotSubmitted
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import State
from clipspool.provider.addresses import Reach
from clipspool.provider.runway import Patience, Runway
from clipspool.stages.runner import Tools
from clipspool.system.http.proxy import Proxy
from fakes import NO_CREDITS, PROFILE, Desk
from patience import patient
from stub import Stub, always, answer, certificate

QUICK = Patience(connect_seconds=patient(0.5))
OTHER = "https://other.test/v1#5eed"


def reach(url, **options):
    one = Runway(f"{url}/v1", lambda: "key", patience=QUICK, **options)
    try:
        return one.reach()
    finally:
        one.close()


@pytest.fixture
def nowhere():
    """Return an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_an_address_is_in_reach_where_something_listens_and_nothing_is_sent_to_find_out():
    with Stub(always(answer(503, {}))) as stub:
        assert reach(stub.url) is Reach.YES
        assert stub.asked == []


def test_an_address_is_out_of_reach_where_nothing_listens_or_its_name_leads_nowhere(nowhere):
    assert reach(nowhere) is Reach.NO
    assert reach("https://nowhere.invalid") is Reach.NO


def test_a_server_that_accepts_nobody_is_out_of_reach():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        for _ in range(3):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(("127.0.0.1", port))
        assert reach(f"http://127.0.0.1:{port}") is Reach.NO
        for one in waiting:
            one.close()


def test_tls_that_fails_says_nothing_of_whether_an_address_is_in_reach(tmp_path):
    context, _ = certificate(tmp_path)
    with Stub(always(answer(200, {})), tls=context) as stub:
        assert reach(stub.url) is Reach.UNSURE


def test_a_proxy_that_refuses_says_nothing_of_whether_an_address_is_in_reach():
    with Stub(always(answer(403, {}))) as proxy:
        assert reach("https://localhost:9", proxy=Proxy.at(proxy.url)) is Reach.UNSURE


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def at_gate(desk):
    """Turn until a submission has its connection, and waits for the record of its intent."""
    desk.drop()
    desk.turns(2)
    assert desk._at_gate
    assert desk.state() is State.QUEUED


def test_what_is_connected_to_the_former_address_sends_nothing_and_is_sent_once_to_the_new(desk):
    at_gate(desk)
    desk.scheduler.profile = OTHER
    desk.scheduler.withdraw_connecting()
    desk.turn()
    assert desk.shop.paid == []
    job = desk.until(State.DELIVERED)
    assert desk.shop.paid == ["clip1"]
    assert job.task.profile == OTHER
    assert job.task.number == 1


def test_what_was_recorded_before_the_change_keeps_its_address_and_its_answer(desk):
    held = desk.shop.hold(Stage.SUBMIT)
    at_gate(desk)
    desk.turn()
    assert desk.state() is State.SUBMITTING
    desk.scheduler.profile = OTHER
    desk.scheduler.withdraw_connecting()
    desk.release(held)
    desk.turn()
    assert desk.state() is State.RUNNING
    assert desk.job().task.profile == PROFILE
    assert desk.shop.paid == ["clip1"]


def test_a_lost_answer_stays_in_doubt_over_the_change(desk):
    desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("no answer came", {}))
    desk.drop()
    desk.until(State.IN_DOUBT)
    desk.scheduler.profile = OTHER
    desk.scheduler.withdraw_connecting()
    desk.turns(5, 60.0)
    assert desk.state() is State.IN_DOUBT
    assert desk.shop.paid == ["clip1"]


AWAY = Fault(FaultOf.MOMENT, "NETWORK.REFUSED", "refused")


@pytest.mark.parametrize(("fault", "goes_on"), [(AWAY, True), (NO_CREDITS, False)])
def test_the_change_ends_the_pause_of_an_address_and_not_that_of_the_account(desk, fault, goes_on):
    desk.shop.say[Stage.SUBMIT].append(NotSubmitted(fault))
    desk.drop()
    desk.turns(3)
    assert desk.scheduler.brake.is_on
    desk.order(lambda scheduler: scheduler.braking.reached())
    assert (desk.scheduler.brake == Brake()) == goes_on


class Stages:
    """What runs stages, as far as its tools are replaced."""

    def __init__(self):
        self.tools = Tools({}, None, None, None, None)

    def equip(self, tools):
        self.tools = tools


FIRST, SECOND = "https://one.test/v1", "https://two.test/v1"


@pytest.fixture
def gateway():
    provider = {"base_url": FIRST, "other_urls": [SECOND], "api_key": "some-key"}
    journal, inbox = {"path": "/nowhere/journal"}, {"path": "/nowhere/in", "outbox": "/nowhere/out"}
    settings = Settings(provider=provider, journal=journal, inbox=[inbox])
    one = Gateway(settings, lambda provider: provider)
    yield one
    one.close()


def test_a_change_gives_the_scheduler_and_the_stages_one_address_at_one_moment(desk, gateway):
    stages = Stages()
    gateway.change(desk.scheduler, stages)
    assert stages.tools.provider is None, "there is nothing to change"
    at_gate(desk)
    desk.scheduler.braking.set(desk.scheduler.brake.pressed(AWAY, desk.clock.now, lambda: 0.5))
    gateway._chooser.current = SECOND
    gateway.change(desk.scheduler, stages)
    profile = stages.tools.provider.profile
    assert profile.startswith(f"{SECOND}#")
    assert gateway.troubles == [f"{FIRST} cannot be reached: {SECOND} is used instead"]
    desk.turn()
    assert desk.shop.paid == []
    assert not desk.scheduler.brake.is_on
    assert desk.until(State.DELIVERED).task.profile == profile
    assert desk.shop.paid == ["clip1"]


def test_other_settings_keep_the_address_in_use_only_where_they_name_it(gateway, desk):
    gateway._chooser.current = SECOND
    gateway.change(desk.scheduler, Stages())
    settings = gateway._settings
    at_gate(desk)
    desk.scheduler.braking.set(desk.scheduler.brake.pressed(NO_CREDITS, desk.clock.now, lambda: 0.5))
    gateway.use(settings, desk.scheduler)
    assert gateway.address == SECOND
    assert not any(one.is_stale for one in desk.scheduler.in_flight.values())
    alone = settings.model_copy(update={"provider": settings.provider.model_copy(update={"other_urls": ()})})
    gateway.use(alone, desk.scheduler)
    assert gateway.address == FIRST
    assert gateway.provider.profile.startswith(f"{FIRST}#")
    assert gateway.troubles == []
    desk.turn()
    assert desk.shop.paid == [], "what is connected by the former settings sends nothing"
    assert not desk.scheduler.brake.is_on
