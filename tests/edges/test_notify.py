"""Messages on their way to real receivers: that take them, refuse, redirect, hang or are gone."""

import itertools
import json
import re
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from standardwebhooks.webhooks import Webhook as Oracle

from clipspool import __version__
from clipspool.app.receivers import couriers_of
from clipspool.app.settings import SettingsError, load
from clipspool.cli.check.dropin import systemd_drop_in
from clipspool.cli.check.services import look_at_notify
from clipspool.jobs.events import Delivered
from clipspool.jobs.messages import Happened
from clipspool.jobs.model import State
from clipspool.jobs.records import Tally
from clipspool.reporting.metrics import Metrics
from clipspool.reporting.notify import courier as couriers
from clipspool.reporting.notify.courier import Courier, Interests, NotDelivered
from clipspool.reporting.notify.digest import NoticeMessage
from clipspool.reporting.notify.heartbeat import Heartbeat
from clipspool.reporting.notify.notes import Note
from clipspool.reporting.notify.notices import Notifications
from clipspool.reporting.notify.service import NoService, NotifyAddress
from clipspool.reporting.notify.signing import read_secret
from clipspool.reporting.notify.topics import Topic
from clipspool.reporting.notify.webhook import Webhook
from clipspool.system import logs
from clipspool.system.http.pace import TimeLimits
from fakes import NOON, Clock, a_job
from patience import patient
from receiver import Receiver
from stub import Stub, certificate, says

SECRET = "whsec_" + "q" * 32 + "c2VjcmV0"
PATH_SECRET = "c4n4ry-in-the-path"


def a_note(number=1, topic=Topic.FAILED, **changes):
    what = {"inbox": "bay", "facts": {"job": f"j{number}"}} | changes
    return Note(topic, NOON, f"shot{number}.mp4 failed", **what)


def a_message(count=1, topic=Topic.FAILED):
    return NoticeMessage(tuple(a_note(n) for n in range(count)), {topic: count})


def a_webhook(receiver, **how):
    url = f"{receiver.url}/{PATH_SECRET}"
    return Webhook(url, read_secret(SECRET), origin="render-1", **how)


def until(is_so, seconds=10):
    end = time.monotonic() + patient(seconds)
    while not is_so():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def open_courier():
    """Yield a function that opens couriers which count; they are ended with the test."""
    opened = []

    def open_courier(sender, *, digest_seconds=300.0, interests=None, pauses=(0.001, 0.002)):
        counts = Counter()
        numbers = itertools.count(1)

        def count(_receiver, outcome, number):
            counts[outcome] += number

        one = Courier(
            sender,
            interests or Interests(),
            digest_seconds,
            count=count,
            new_id=lambda: f"msg_{next(numbers)}",
            pause_seconds=pauses,
        )
        one.counts = counts
        opened.append(one)
        return one

    yield open_courier
    for one in opened:
        one.stop()
        one.join(patient(5))


# --- the webhook ------------------------------------------------------------------------------------------


def test_a_message_arrives_whole_and_signed():
    with Receiver() as receiver:
        a_webhook(receiver).send(a_message(), "msg_7")
    ((headers, body),) = receiver.got
    assert Oracle(SECRET).verify(body, headers) == json.loads(body)
    assert headers["webhook-id"] == "msg_7"
    assert headers["content-type"] == "application/json"
    assert (receiver.bodies[0]["type"], receiver.bodies[0]["data"]["job"]) == ("failed", "j0")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(status):
    with Receiver(status) as receiver, pytest.raises(NotDelivered, match=str(status)):
        a_webhook(receiver).send(a_message(), "msg_1")
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_what_is_no_success_is_none(status):
    with Receiver(status) as receiver, pytest.raises(NotDelivered, match=f"answered {status}") as caught:
        a_webhook(receiver).send(a_message(), "msg_1")
    assert not caught.value.is_final


def test_an_address_that_is_gone_for_good_is_said_to_be():
    with Receiver(410) as receiver, pytest.raises(NotDelivered) as caught:
        a_webhook(receiver).send(a_message(), "msg_1")
    assert caught.value.is_final


def test_a_receiver_that_hangs_is_given_up():
    with Receiver("hang") as receiver:
        begun = time.monotonic()
        with pytest.raises(NotDelivered, match="stopped answering"):
            a_webhook(receiver, limits=TimeLimits(silence_seconds=0.2)).send(a_message(), "msg_1")
        assert time.monotonic() - begun < patient(5)


def drip(line):
    """Answer a byte at a time, each in time, and never to the end."""
    line.read_request()
    line.send(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not line.ended.wait(0.05):
        line.send(b"x")


def test_a_receiver_that_drips_is_given_up():
    with Stub(drip) as stub:
        begun = time.monotonic()
        with pytest.raises(NotDelivered, match="altogether"):
            a_webhook(stub, limits=TimeLimits(silence_seconds=5.0, total_seconds=0.4)).send(
                a_message(), "msg_1"
            )
        assert time.monotonic() - begun < patient(4)


def test_a_private_host_with_a_studios_own_certificate_is_reached(tmp_path):
    context, path = certificate(tmp_path)
    answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
    with Stub(says(answer), tls=context) as stub, pytest.raises(NotDelivered, match="certificate"):
        a_webhook(stub).send(a_message(), "msg_1")
    with Stub(says(answer), tls=context) as stub:
        a_webhook(stub, ca_file=path).send(a_message(), "msg_1")


def test_nobody_there_is_said_without_the_address():
    with Receiver() as receiver:
        gone = a_webhook(receiver)
    with pytest.raises(NotDelivered, match="refused") as caught:
        gone.send(a_message(), "msg_1")
    assert PATH_SECRET not in str(caught.value)
    assert PATH_SECRET not in gone.name
    assert gone.name == "webhook 127.0.0.1"


def test_no_proxy_of_the_environment_is_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Receiver() as receiver:
        a_webhook(receiver).send(a_message(), "msg_1")
    assert len(receiver.got) == 1


# --- a courier --------------------------------------------------------------------------------------------


def test_the_first_goes_at_once_and_a_burst_becomes_one_digest(open_courier):
    with Receiver() as receiver:
        one = open_courier(a_webhook(receiver), digest_seconds=1.0)
        one.add(a_note(0))
        until(lambda: receiver.got)
        for number in range(1, 500):
            one.add(a_note(number))
        until(lambda: len(receiver.got) == 2)
        time.sleep(0.1)
        assert [body["type"] for body in receiver.bodies] == ["failed", "digest"]
        assert receiver.bodies[1]["data"]["counts"] == {"failed": 499}
        assert receiver.bodies[1]["data"]["left_out"] == 399
        until(lambda: one.counts == {"sent": 2, "left_out": 399})


def test_a_refused_message_is_tried_again_under_the_same_id_and_signed_anew(open_courier):
    with Receiver(500, 503, 200) as receiver:
        one = open_courier(a_webhook(receiver))
        one.add(a_note())
        until(lambda: one.counts["sent"])
        assert one.counts == {"tried_again": 2, "sent": 1}
        assert {headers["webhook-id"] for headers, _ in receiver.got} == {"msg_1"}
        for headers, body in receiver.got:
            Oracle(SECRET).verify(body, headers)


def test_what_nobody_takes_is_dropped_in_the_end_counted_and_said(open_courier, capsys):
    logs.configure(format="json")
    with Receiver(400) as receiver:
        one = open_courier(a_webhook(receiver))
        one.add(a_note())
        until(lambda: one.counts["dropped"])
        assert one.counts == {"tried_again": couriers.REFUSALS_MAX - 1, "dropped": 1}
        assert len(receiver.got) == couriers.REFUSALS_MAX
        receiver.answers = [200]
        one.add(a_note(2, Topic.HELD))
        until(lambda: one.counts["sent"])
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (dropped,) = [line for line in said if line["event"] == "notification_dropped"]
    assert (dropped["why"], dropped["notes"], dropped["receiver"]) == (
        "it answered 400",
        {"failed": 1},
        "webhook 127.0.0.1",
    )
    assert sum(line["event"] == "notification_failed" for line in said) == 1
    assert PATH_SECRET not in json.dumps(said)


def test_what_cannot_be_given_overnight_is_given_in_the_morning_and_dropped_after_a_day(
    open_courier, monkeypatch
):
    with Receiver(500) as receiver:
        one = open_courier(a_webhook(receiver), digest_seconds=0.0)
        one.add(a_note())
        until(lambda: one.counts["tried_again"] > 3 * couriers.REFUSALS_MAX)
        one.add(a_note(2))
        receiver.answers = [429]
        tried = one.counts["tried_again"]
        until(lambda: one.counts["tried_again"] > tried + couriers.REFUSALS_MAX)
        receiver.answers = [200]
        until(lambda: one.counts["sent"] == 2)
        assert not one.counts["dropped"]
        monkeypatch.setattr(couriers, "KEPT_SECONDS", 0.05)
        receiver.answers = [500]
        one.add(a_note(3))
        until(lambda: one.counts["dropped"] == 1)


def test_a_receiver_that_is_gone_for_good_is_not_asked_again(open_courier):
    with Receiver(410) as receiver:
        one = open_courier(a_webhook(receiver))
        one.add(a_note())
        until(lambda: one.counts["dropped"])
        one._thread.join(patient(5))
        one.add(a_note(2, Topic.HELD))
        time.sleep(0.05)
        assert len(receiver.got) == 1


def test_telling_takes_no_time_while_a_receiver_hangs_and_the_other_gets_all(open_courier):
    with Receiver("hang") as deaf, Receiver() as receiver:
        hung = open_courier(a_webhook(deaf, limits=TimeLimits(silence_seconds=30.0)))
        one = open_courier(a_webhook(receiver))
        hung.add(a_note())
        until(lambda: deaf.got)
        begun = time.perf_counter()
        for number in range(20_000):
            hung.add(a_note(number))
        assert time.perf_counter() - begun < patient(5.0)
        one.add(a_note())
        until(lambda: receiver.got)
        assert len(hung._digest._notes) == 100
        hung.stop()
        begun = time.perf_counter()
        hung.join(0.1)
        assert time.perf_counter() - begun < patient(2.0)


def test_at_the_end_what_waits_is_said_once(open_courier):
    with Receiver() as receiver:
        one = open_courier(a_webhook(receiver))
        one.add(a_note(1))
        until(lambda: receiver.got)
        one.add(a_note(2))
        one.add(a_note(3))
        one.stop()
        one.join(patient(5))
        assert not one._thread.is_alive()
        assert [body["type"] for body in receiver.bodies] == ["failed", "digest"]
        one.add(a_note(4))
        assert len(receiver.got) == 2


def test_stopping_does_not_wait_for_the_pause_between_two_tries(open_courier):
    with Receiver(500) as receiver:
        one = open_courier(a_webhook(receiver), pauses=(600.0, 600.0))
        one.add(a_note())
        until(lambda: one.counts["tried_again"])
        one.stop()
        one.join(patient(5))
        assert not one._thread.is_alive()
        assert one.counts["dropped"] == 1


def test_a_receiver_hears_only_what_it_chose(open_courier):
    with Receiver() as receiver:
        interests = Interests(frozenset({Topic.FAILED}), frozenset({"bay"}))
        one = open_courier(a_webhook(receiver), interests=interests)
        one.add(a_note(1, inbox="far"))
        one.add(a_note(2, Topic.HELD))
        assert one._thread is None
        one.add(a_note(3))
        until(lambda: receiver.got)
        assert receiver.bodies[0]["data"]["job"] == "j3"


def test_a_mistake_of_ours_with_one_message_does_not_silence_the_next(open_courier):
    class Odd:
        name = "odd"

        def __init__(self):
            self.got = []

        def send(self, message, _message_id):
            self.got.append(message)
            if len(self.got) == 1:
                raise ZeroDivisionError

    odd = Odd()
    one = open_courier(odd)
    one.add(a_note())
    until(lambda: one.counts["dropped"])
    one.add(a_note(2, Topic.HELD))
    until(lambda: one.counts["sent"])
    assert len(odd.got) == 2


# --- services by apprise ----------------------------------------------------------------------------------


def a_service(receiver, scheme="json", **how):
    host = receiver.url.removeprefix("http://")
    return NotifyAddress(f"{scheme}://operator:{PATH_SECRET}@{host}/hook", 1, origin="render-1", **how)


def test_a_service_gets_a_title_and_plain_text():
    with Receiver() as receiver:
        a_service(receiver).send(a_message(2), "msg_1")
    (body,) = receiver.bodies
    assert body["title"] == "clipspool: 2 failed"
    assert "shot1.mp4 failed" in body["message"]
    assert body["type"] == "warning"
    assert receiver.got[0][0]["authorization"].startswith("Basic ")


@pytest.mark.parametrize("status", [302, 403, 500])
def test_a_service_that_refuses_is_said_with_its_reason_and_no_secret(status, capfd):
    logs.configure(format="json", level="debug")
    with Receiver(status) as receiver:
        one = a_service(receiver)
        with pytest.raises(NotDelivered, match=str(status)) as caught:
            one.send(a_message(), "msg_1")
    assert len(receiver.got) == 1
    assert PATH_SECRET not in str(caught.value) + capfd.readouterr().err
    assert one.name == "json 1"


def test_nobody_there_is_a_failure_too():
    with Receiver() as receiver:
        gone = a_service(receiver)
    with pytest.raises(NotDelivered) as caught:
        gone.send(a_message(), "msg_1")
    assert PATH_SECRET not in str(caught.value)


def test_a_service_that_hangs_is_given_up():
    with Receiver("hang") as receiver:
        host = receiver.url.removeprefix("http://")
        one = NotifyAddress(f"json://{host}/hook?rto=0.3", 1, origin="render-1")
        begun = time.monotonic()
        with pytest.raises(NotDelivered):
            one.send(a_message(), "msg_1")
        assert time.monotonic() - begun < patient(10)


def test_a_service_runs_in_its_couriers_thread_alone(open_courier):
    with Receiver() as receiver:
        one = open_courier(a_service(receiver))
        one.add(a_note())
        until(lambda: one.counts["sent"])
        assert not [t for t in threading.enumerate() if "ThreadPool" in t.name]


@pytest.mark.parametrize("url", ["bogus://host/x", "slack://", "nothing at all", "mailto://"])
def test_an_address_that_no_service_takes_is_refused_without_being_repeated(url):
    with pytest.raises(NoService) as caught:
        NotifyAddress(url, 1, origin="x")
    assert url not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mailto://user:password@mail.example.com?to=ops@example.com",
        "slack://AAAAAAAAA/BBBBBBBBB/cccccccccccccccccccccccc/#ops",
        "workflows://prod-1.westeurope.logic.azure.com:443/643e69f83c8944438d68119179a10a64/some-signature",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "ntfys://ntfy.example.com/clips",
    ],
)
def test_the_services_that_we_name_are_known(url):
    NotifyAddress(url, 1, origin="x")


# --- settings ---------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path):
    def make(notify="", **env):
        text = f'[notify]\n{notify}\n[[inbox]]\npath = "bay"\noutbox = "out"\n'
        (tmp_path / "config.toml").write_text(text)
        (tmp_path / "bay").mkdir(exist_ok=True)
        (tmp_path / "out").mkdir(exist_ok=True)
        return load(tmp_path / "config.toml", {"HOME": str(tmp_path), **env})

    return make


def test_receivers_are_built_from_every_place_a_secret_may_come_from(settings, tmp_path):
    with Receiver() as receiver:
        host = receiver.url.removeprefix("http://")
        urls = f"# all of it\njson://{host}/a\n\nbay = json://{host}/b\n"
        (tmp_path / "urls").write_text(urls)
        credentials = tmp_path / "credentials"
        credentials.mkdir()
        (credentials / "notify_urls").write_text(urls)
        for more, env in (
            ("", {"CLIPSPOOL_NOTIFY__URLS": urls}),
            ('urls_file = "urls"', {}),
            ("", {"CREDENTIALS_DIRECTORY": str(credentials)}),
        ):
            found = settings(more, **env)
            names = [one.name for one in couriers_of(found, lambda *_: None)]
            assert names == ["json 1", "json 2"]
            assert found.notify.receivers[1] == (frozenset({"bay"}), f"json://{host}/b")


def test_a_webhook_is_built_with_its_secret(settings, tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n")
    found = settings('webhook_url = "http://10.0.0.7:8080/x?y=1"\nwebhook_secret_file = "secret"')
    assert [one.name for one in couriers_of(found, lambda *_: None)] == ["webhook 10.0.0.7"]
    assert SECRET not in repr(found)
    assert SECRET in found.secrets


def test_a_check_sends_nothing_unless_it_is_told_to(settings):
    with Receiver() as receiver:
        found = settings(
            f'webhook_url = "{receiver.url}/{PATH_SECRET}"',
            CLIPSPOOL_NOTIFY__WEBHOOK_SECRET=SECRET,
            CLIPSPOOL_NOTIFY__URLS=f"json://{receiver.url.removeprefix('http://')}/{PATH_SECRET}\nbogus://x/y",
        )
        findings = list(look_at_notify(found))
        assert receiver.got == []
        assert [one.level for one in findings] == ["warn", "ok", "bad", "ok"]
        sent = list(look_at_notify(found, sends=True))
        assert [one.level for one in sent] == ["warn", "ok", "bad", "ok"]
        assert len(receiver.got) == 2
        assert receiver.bodies[1]["type"] == "test"
        receiver.answers = [500]
        assert [one.level for one in look_at_notify(found, sends=True)] == ["warn", "bad", "bad", "bad"]
        assert PATH_SECRET not in repr([*findings, *sent])


def test_files_with_secrets_that_others_may_read_are_said(settings, tmp_path):
    (tmp_path / "urls").write_text("ntfys://ntfy.example.com/clips\n")
    (tmp_path / "urls").chmod(0o644)
    found = [one for one in look_at_notify(settings('urls_file = "urls"')) if one.level != "ok"]
    assert [(one.level, one.what_to_do) for one in found] == [("warn", f"chmod 600 {tmp_path / 'urls'}")]


SECRETS = {"CLIPSPOOL_NOTIFY__WEBHOOK_SECRET": SECRET}


@pytest.mark.parametrize(
    ("notify", "env", "words"),
    [
        ('webhook_url = "https://example.com/c4n4ry"', {}, "no secret; set CLIPSPOOL_NOTIFY__WEBHOOK_SECRET"),
        ('webhook_url = "ftp://example.com/c4n4ry"', SECRETS, "must be an address such as https://"),
        ('webhook_url = "https://c4n4ry:x@example.com/"', SECRETS, "must hold no user name"),
        ('webhook_url = "https:///c4n4ry"', SECRETS, "must be an address such as https://"),
        ('webhook_secret = "whsec_c4n4ry"', {}, "must not stand in the file"),
        ('urls = "ntfy://c4n4ry.example.com"', {}, "must not stand in the file"),
        ("", {"CLIPSPOOL_NOTIFY__WEBHOOK_SECRET": "whsec_c4n4ry"}, "24 to 64 bytes"),
        ("", {"CLIPSPOOL_NOTIFY__URLS": "ntfy://x/y\nc4n4ry"}, "has a line 2 that is no address"),
        (
            "",
            {"CLIPSPOOL_NOTIFY__URLS": "far = ntfy://c4n4ry/y"},
            "names the inbox `far`, which does not exist",
        ),
        ("", {"CLIPSPOOL_NOTIFY__URLS": "ntfy://c4n4ry/y\n" * 17}, "more than 16 addresses"),
        ('inboxes = ["far"]', {}, "names the inbox `far`, which does not exist"),
        ('events = ["c4n4ry"]', {}, "'failed'"),
        ('urls_file = "not-there"', {}, "names a file that cannot be read"),
        ("digest_seconds = 0", {}, "greater than 0"),
    ],
)
def test_a_wrong_setting_refuses_the_start_and_is_not_repeated(settings, notify, env, words):
    with pytest.raises(SettingsError, match=re.escape(words)) as caught:
        settings(notify, **env)
    assert "c4n4ry" not in str(caught.value)


def test_the_drop_in_hands_over_what_came_as_a_credential_and_not_what_a_file_holds(settings, tmp_path):
    (tmp_path / "urls").write_text("ntfys://ntfy.example.com/clips")
    found = systemd_drop_in(settings('urls_file = "urls"', **SECRETS))
    assert "LoadCredential=webhook_secret:/etc/clipspool/webhook_secret" in found
    assert "notify_urls" not in found


# --- from news to receivers -------------------------------------------------------------------------------


class Heard:
    def __init__(self):
        self.notes = []
        self.stopped = []

    def add(self, note):
        self.notes.append(note.topic)

    def stop(self):
        self.stopped.append(True)

    def join(self, seconds):
        assert seconds <= 3.0


def test_all_couriers_hear_and_the_end_tells_of_the_batch():
    before = a_job(state=State.FETCHED)
    delivered = Happened(before, replace(before, state=State.DELIVERED), Delivered(()))
    first, second = Heard(), Heard()
    notices = Notifications([first], [Tally("bay", State.RUNNING, None, False, False, 1)], Clock())
    notices.on_news(delivered)
    notices.tick()
    notices.replace([second])
    assert first.stopped == [True]
    notices.close(3.0)
    assert (first.notes, second.notes) == ([], [Topic.BATCH_FINISHED])


def test_messages_are_counted_in_the_metrics():
    metrics = Metrics(dict)
    metrics.noticed("webhook host", "dropped", 2)
    assert b'notifications_total{outcome="dropped",receiver="webhook host"} 2.0' in metrics.text()


# --- the heartbeat ----------------------------------------------------------------------------------------


def a_heartbeat(is_healthy=lambda: True):
    return Heartbeat(is_healthy, seconds=0.02)


def test_the_heartbeat_asks_again_and_again_while_all_is_well_and_only_then():
    is_well = threading.Event()
    is_well.set()
    with Receiver() as receiver:
        heartbeat = a_heartbeat(is_well.is_set)
        heartbeat.use(f"{receiver.url}/{PATH_SECRET}")
        until(lambda: len(receiver.got) >= 3)
        is_well.clear()
        time.sleep(0.1)
        count = len(receiver.got)
        time.sleep(0.2)
        assert len(receiver.got) == count
        is_well.set()
        until(lambda: len(receiver.got) > count)
        heartbeat.stop()
    headers, body = receiver.got[0]
    assert (headers["user-agent"], body) == (f"clipspool/{__version__}", b"")


def test_a_heartbeat_that_fails_is_logged_once_without_its_address_and_goes_on(capsys):
    with Receiver(500, 302, 200) as receiver:
        heartbeat = a_heartbeat()
        heartbeat.use(f"{receiver.url}/{PATH_SECRET}")
        until(lambda: len(receiver.got) >= 5)
        heartbeat.stop()
    said = capsys.readouterr().out
    assert said.count("heartbeat_failed") == 2
    assert "it answered 500" in said
    assert PATH_SECRET not in said


def test_a_reload_changes_the_heartbeats_address_or_ends_it():
    with Receiver() as first, Receiver() as second:
        heartbeat = a_heartbeat()
        heartbeat.use(first.url)
        until(lambda: first.got)
        heartbeat.use(second.url)
        until(lambda: second.got)
        time.sleep(0.1)
        count = len(first.got)
        heartbeat.use(None)
        time.sleep(0.1)
        assert len(first.got) == count
