"""Signals, restarts, and the daemon as systemd sees it."""

import json
import signal
import socket
import threading
import time

import pytest

from faults.oracle import Oracle
from journeys.bay import make_clip
from patience import patient


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0_and_the_next_run_follows_the_open_task(open_bays, number):
    with open_bays(render_seconds=2.0) as bay:
        bay.start()
        bay.drop("shot.mp4")
        bay.until_states("running")
        assert bay.stop(number) == 0
        assert bay.jobs() == {bay.job()["id"]: "running"}
        assert bay.run_until_idle() == 0
        assert list(bay.jobs().values()) == ["delivered"]
        assert bay.paid == 1


def test_a_signal_while_the_answer_is_awaited_waits_for_it(open_bays):
    with open_bays() as bay:
        bay.box.misbehave("create:slow:seconds=2")
        bay.start()
        bay.drop("shot.mp4")
        bay.until_states("submitting")
        bay.until(lambda: bay.paid == 1)
        assert bay.stop() == 0
        assert bay.job()["state"] == "running"


def test_a_second_signal_changes_nothing(open_bays):
    with open_bays() as bay:
        bay.box.misbehave("create:slow:seconds=1")
        bay.start()
        bay.drop("shot.mp4")
        bay.until(lambda: bay.paid == 1)
        bay.daemon.terminate()
        time.sleep(0.1)
        assert bay.stop(signal.SIGINT) == 0
        assert bay.job()["state"] == "running"


def test_a_killed_daemon_is_followed_by_one_that_finishes(open_bays):
    with open_bays(render_seconds=1.0) as bay:
        bay.start()
        bay.drop("shot.mp4")
        bay.until_states("running")
        bay.stop(signal.SIGKILL)
        assert bay.run_until_idle() == 0
        assert bay.paid == 1
        assert "shot.mp4" in bay.results()


def test_a_second_daemon_is_refused_with_one_sentence(bay):
    bay.start()
    done = bay.call("run")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(bay.daemon.pid) in done.stderr


def test_a_valid_reload_applies_and_an_invalid_one_changes_nothing(bay):
    bay.configure(top="[budget]\ncredits_per_job_max = 0\n")
    bay.start()
    bay.drop("shot.mp4")
    bay.until(lambda: bay.jobs() and bay.job()["held"] == "budget")
    good = bay.config.read_text()
    bads = (
        "poll_seconds_min = ",
        'poll_seconds_mim = 3\n[models.x]\nendpoint = "x"',
        'poll_seconds_min = 0.05\nca_file = "gone.pem"',
    )
    for bad in bads:
        refused = len(bay.events("reload_refused"))
        bay.config.write_text(good.replace("poll_seconds_min = 0.05", bad))
        bay.daemon.send_signal(signal.SIGHUP)
        bay.until(lambda: len(bay.events("reload_refused")) > refused, what="the reload is refused")  # noqa: B023
    bay.config.write_text(good + "\n[models.x]\nnonsense = 1\n")
    bay.daemon.send_signal(signal.SIGHUP)
    bay.until(lambda: len(bay.events("reload_refused")) > 2, what="a bad model is refused")
    bay.configure(keys='file_mode = "0640"', top="[budget]\ncredits_per_job_max = 10000\n")
    bay.daemon.send_signal(signal.SIGHUP)
    bay.until(lambda: bay.events("reloaded"), what="the reload applies")
    bay.drop("next.mp4")
    bay.until_retired(1)
    assert (bay.outbox / "next.mp4").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_named_in_a_sentence(bay, content):
    if content is not None:
        (bay.home / "own.pem").write_text(content)
    bay.configure(provider='ca_file = "own.pem"')
    done = bay.call("run")
    assert done.returncode == 78
    (said,) = done.stderr.strip().splitlines()
    assert "provider.ca_file" in said
    checked = bay.call("check")
    assert "BAD   provider.ca_file" in checked.stdout
    assert "inbox bay" in checked.stdout


def test_a_job_whose_inbox_was_renamed_says_so_and_goes_on_once_it_has_its_name_back(open_bays):
    with open_bays(render_seconds=1.0) as bay:
        bay.start()
        bay.drop()
        bay.until_states("running")
        assert bay.stop() == 0
        bay.config.write_text(bay.config.read_text().replace('name = "bay"', 'name = "hall"'))
        done = bay.call("run", "--until-idle")
        assert done.returncode == 0
        assert '"event": "inbox_not_configured", "inbox": "bay", "jobs": 1' in done.stdout + done.stderr
        shown = json.loads(bay.call("jobs", "--json").stdout)
        assert shown["held"] == "inbox"
        assert "the inbox bay is not configured any more" in shown["reason"]
        assert "the inbox bay is not" in bay.call("status").stdout
        bay.configure()
        bay.start()
        bay.until_retired()
        assert bay.paid == 1


def test_systemd_hears_that_it_is_ready_alive_and_stopping(bay):
    heard = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        address = bay.home / "notify"
        systemd.bind(str(address))

        def listen():
            while (text := systemd.recv(4096).decode()) != "END":
                heard.append(text)

        listener = threading.Thread(target=listen)
        listener.start()
        bay.start(NOTIFY_SOCKET=str(address), WATCHDOG_USEC="10000000")
        bay.until(lambda: any("WATCHDOG=1" in text for text in heard), what="it says that it is alive")
        assert bay.stop() == 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"END", str(address))
        listener.join(patient(10))
    words = ("READY=1", "WATCHDOG=1", "STATUS=", "STOPPING=1")
    first = [next((n for n, text in enumerate(heard) if word in text), None) for word in words]
    assert None not in first, heard
    assert first[0] < first[1] < first[3]


def test_a_task_is_followed_where_it_was_made_after_the_address_changed(open_bays):
    with open_bays(render_seconds=1.5) as bay, open_bays("two") as other:
        other.is_checked = False
        bay.start()
        bay.drop("shot.mp4")
        bay.until_states("running")
        assert bay.stop() == 0
        bay.configure(base_url=other.base_url)
        assert bay.run_until_idle() == 0
        assert list(bay.jobs().values()) == ["delivered"]
        assert (bay.paid, other.paid) == (1, 0)


def journal_files(bay):
    names = (bay.journal.name + tail for tail in ("", "-wal", "-shm"))
    return [path for path in map(bay.journal.with_name, names) if path.exists()]


def forget_journal(bay):
    for path in journal_files(bay):
        path.unlink()


def test_a_lost_journal_is_recovered_and_nothing_is_paid_again(open_bays):
    with open_bays(render_seconds=1.0) as bay:
        bay.box.misbehave("create:500-after:prompt=doubt")
        bay.configure(provider="running_max = 2")
        bay.start()
        bay.drop("running.mp4")
        bay.drop("doubt.mp4", 'prompt = "doubt"\n')
        bay.until_states("running", "in_doubt")
        bay.stop(signal.SIGKILL)
        forget_journal(bay)
        bay.start()
        bay.until(lambda: bay.events("foreign_work_found"), what="it says that there is work")
        assert bay.jobs() == {}
        done = bay.call("recover", "--yes")
        assert done.returncode == 0, done.stderr
        bay.until_states("delivered", "in_doubt")
        assert bay.paid == 2
        # and once more by hand, without a daemon
        assert bay.stop() == 0
        forget_journal(bay)
        assert bay.call("recover", "--yes").returncode == 0
        assert list(bay.jobs().values()) == ["in_doubt"]


@pytest.mark.parametrize("is_running", [True, False])
def test_what_was_cancelled_or_held_as_a_duplicate_is_not_paid_for_after_the_journal_was_lost(
    bay, is_running
):
    bay.is_checked = False  # the same bytes lie there twice
    bay.start()
    data = make_clip(bay.template, "one.mp4")
    bay.drop("one.mp4", data=data)
    bay.until_retired()
    bay.drop("two.mp4", data=data)
    bay.until(lambda: any(job["held"] == "duplicate" for job in bay.told("jobs")))
    assert bay.call("pause").returncode == 0
    bay.drop("both.mp4", 'prompt = "x"\n[[variant]]\n[[variant]]\n')
    bay.until(lambda: len(bay.jobs()) == 4)
    (second,) = [job_id for job_id in bay.jobs() if job_id.endswith("-v2")]
    if not is_running:
        assert bay.stop() == 0
    assert bay.call("cancel", second, "--yes").returncode == 0
    if is_running:
        works = bay.inbox / ".clipspool/work"
        bay.until(lambda: any('"cancelled"' in one.read_text() for one in works.glob("*/ledger.jsonl")))
        bay.stop(signal.SIGKILL)
    forget_journal(bay)
    done = bay.call("recover", "--yes")
    assert done.returncode == 0, done.stderr
    bay.start()
    bay.until_states("delivered", "cancelled", "queued")
    bay.until(lambda: "_failed/both.mp4" in bay.lying())
    assert [job["held"] for job in bay.told("jobs") if job["clip"] == "two.mp4"] == ["duplicate"]
    assert bay.paid == 2


def test_a_key_that_is_refused_blocks_the_provider_and_the_next_key_goes_on(open_bays):
    with open_bays(api_keys=("the-good-key-2",)) as bay:
        bay.secrets.append("the-good-key-2")
        key = bay.home / "key"
        key.write_text("a-bad-key-1\n")
        bay.secrets.append("a-bad-key-1")
        bay.may_tell.add(key)
        del bay.env["CLIPSPOOL_PROVIDER__API_KEY"]
        bay.configure(provider=f'api_key_file = "{key}"')
        bay.start()
        bay.drop("one.mp4")
        bay.drop("two.mp4")
        bay.until(lambda: bay.events("provider_blocked"), what="the provider is blocked")
        status = bay.told("status")
        assert status["provider"]["blocked"]
        assert status["provider"]["reason"]
        assert sorted(bay.jobs().values()) == ["queued", "queued"]
        key.write_text("the-good-key-2\n")
        bay.daemon.send_signal(signal.SIGHUP)
        bay.until_retired(2)
        assert bay.paid == 2
        assert not bay.told("status")["provider"]["blocked"]


def put_back_an_older_journal(bay):
    """Let a job be refused twice, keep that journal, let it be paid for, and put the old journal back."""
    bay.box.misbehave("create:429:times=2:retry_after=0")
    bay.start()
    bay.drop("shot.mp4")
    bay.until(lambda: bay.jobs() and bay.job()["task_number"] == 2 and bay.job()["state"] == "queued", 20)
    bay.stop(signal.SIGKILL)
    old = {path: path.read_bytes() for path in journal_files(bay)}
    bay.start()
    bay.until_states("running", seconds=20)
    bay.stop(signal.SIGKILL)
    forget_journal(bay)
    for path, data in old.items():
        path.write_bytes(data)
    bay.start()
    bay.until(lambda: bay.told("status")["journal"]["restored"] or bay.paid > 1, 20, "the mark tells")
    # Whoever lets it submit all the same: the work folder still knows of the request.
    assert bay.call("resume", "--accept-restored", "--yes").returncode == 0
    assert bay.call("approve", *bay.jobs(), "--yes").returncode == 0
    bay.until(lambda: bay.job()["held"] == "in_doubt" or bay.paid > 1, 20, "it is in doubt")


def test_an_older_journal_that_is_put_back_pays_nothing_again(open_bays):
    with open_bays(render_seconds=30.0) as bay:
        put_back_an_older_journal(bay)
        assert bay.paid == 1
        assert Oracle(bay).violations() == []


def test_a_person_can_go_on_after_an_older_journal_was_put_back(open_bays):
    with open_bays(render_seconds=1.0) as bay:
        put_back_an_older_journal(bay)
        done = bay.call("attach", bay.job()["id"], bay.box.ledger.creates[0].task_id, "--yes")
        assert done.returncode == 0, done.stderr
        bay.until_retired()
