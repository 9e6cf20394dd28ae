"""The real daemon tells people what needs them, and no receiver is in a clip's way."""

import json
import os
import signal
import time

import pytest
from standardwebhooks.webhooks import Webhook as Oracle

from patience import patient
from receiver import Receiver

SECRET = "whsec_" + "q" * 32 + "c2VjcmV0"
PATH_SECRET = "c4n4ry-in-the-path"


@pytest.fixture
def told(bay):
    """Return a way to start a bay whose webhook leads to a receiver."""

    def told(receiver, more="", **env):
        bay.configure(top=f"[notify]\n{more}\n")
        bay.env["CLIPSPOOL_NOTIFY__WEBHOOK_URL"] = f"{receiver.url}/{PATH_SECRET}"
        bay.env["CLIPSPOOL_NOTIFY__WEBHOOK_SECRET"] = SECRET
        bay.env |= env
        bay.secrets += [SECRET, PATH_SECRET]
        return bay

    return told


def types(receiver):
    return [body["type"] for body in receiver.bodies]


def test_a_failing_clip_is_told_once_and_a_finished_batch_at_the_end(told):
    with Receiver() as receiver:
        bay = told(receiver)
        bay.box.misbehave("task:failure")
        bay.drop("shot.mp4")
        assert bay.run_until_idle() == 0
        assert types(receiver) == ["failed", "batch_finished"]
        for headers, body in receiver.got:
            assert Oracle(SECRET).verify(body, headers) == json.loads(body)
        failed, batch = receiver.bodies
        assert (failed["data"]["clip"], failed["data"]["job"]) == ("shot.mp4", bay.job()["id"])
        assert failed["data"]["paid"] == "unknown"
        assert (batch["data"]["failed"], batch["data"]["delivered"]) == (1, 0)


def test_events_choose_what_is_told_and_services_get_it_too(told):
    with Receiver() as receiver, Receiver() as service:
        urls = f"json://operator:{PATH_SECRET}@{service.url.removeprefix('http://')}/x"
        bay = told(receiver, 'events = ["failed"]', CLIPSPOOL_NOTIFY__URLS=urls)
        bay.box.misbehave("task:failure")
        bay.drop("shot.mp4")
        assert bay.run_until_idle() == 0
        assert types(receiver) == ["failed"]
        assert [body["title"] for body in service.bodies] == ["clipspool: failed: shot.mp4"]


def test_a_receiver_that_hangs_slows_no_clip_and_not_the_end(told):
    with Receiver("hang") as receiver:
        bay = told(receiver)
        bay.start()
        bay.box.misbehave("task:failure:times=1")
        bay.drop("bad.mp4")
        bay.until(lambda: receiver.got, what="the receiver is asked")
        for number in range(4):
            bay.drop(f"shot{number}.mp4")
        bay.until_states("failed", *["delivered"] * 4)
        begun = time.monotonic()
        assert bay.stop() == 0
        assert time.monotonic() - begun < patient(15)
        (dropped,) = bay.events("notification_dropped")
        assert dropped["receiver"] == "webhook 127.0.0.1"


@pytest.mark.slow
def test_a_receiver_that_is_stopped_is_tried_again_and_told_later(told):
    with Receiver(500, 500, 200) as receiver:
        bay = told(receiver, 'events = ["failed"]')
        bay.start()
        bay.box.misbehave("task:failure")
        bay.drop("shot.mp4")
        bay.until(lambda: bay.events("notified"), 60, "the message is taken")
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
        assert bay.events("notified")[0]["tries"] == 3
        assert len(bay.events("notification_failed")) == 1


def test_an_inbox_that_goes_and_comes_is_told(told):
    with Receiver() as receiver:
        bay = told(receiver)
        bay.start()
        aside = bay.inbox.rename(bay.home / "aside")
        bay.until(lambda: "inbox_offline" in types(receiver), what="offline is told")
        aside.rename(bay.inbox)
        bay.until(lambda: "inbox_back" in types(receiver), what="back is told")


def test_a_reload_takes_up_another_receiver(bay):
    with Receiver() as first, Receiver() as second:
        bay.env["CLIPSPOOL_NOTIFY__WEBHOOK_SECRET"] = SECRET
        bay.configure(top=f'[notify]\nwebhook_url = "{first.url}"\n')
        bay.box.misbehave("task:failure")
        bay.start()
        bay.configure(top=f'[notify]\nwebhook_url = "{second.url}"\n')
        os.kill(bay.daemon.pid, signal.SIGHUP)
        bay.until(lambda: bay.events("reloaded"), what="it is reloaded")
        bay.drop("shot.mp4")
        bay.until(lambda: second.got, what="the second is told")
        assert first.got == []


def test_a_check_says_who_is_told_and_sends_a_test_only_when_asked(told):
    with Receiver() as receiver:
        bay = told(receiver)
        assert "webhook 127.0.0.1" in bay.call("check", "--offline").stdout
        assert receiver.got == []
        done = bay.call("check", "--offline", "--notify")
        assert "accepted a test message" in done.stdout
        assert types(receiver) == ["test"]
        assert PATH_SECRET not in done.stdout + done.stderr
