"""Commands, with a running daemon and without one."""

import os
import re
import subprocess
import time
import tomllib
from datetime import UTC, datetime, timedelta

import pytest

from faults.oracle import Oracle
from journeys.bay import COMMAND

STATUS = {"daemon", "provider", "journal", "inboxes", "jobs", "spend", "lanes"}
JOB = {
    *("id", "inbox", "clip", "variant", "state", "held", "reason", "task_id", "attempts", "progress"),
    *("request", "credits_estimated", "created_at", "updated_at", "results", "error"),
}


def test_json_has_its_stable_keys_with_and_without_a_daemon(bay):
    bay.start()
    bay.drop("shot.mp4")
    bay.until_retired()
    bay.drop("waits.mp4", None)
    bay.until(lambda: bay.told("status")["inboxes"][0]["waiting"], what="the clip waits")
    for is_running in (True, False):
        status = bay.told("status")
        assert set(status) == STATUS
        assert {"running", "pid", "since"} <= set(status["daemon"])
        assert status["daemon"]["running"] is is_running
        assert {"blocked", "reason", "until"} <= set(status["provider"])
        (inbox,) = status["inboxes"]
        assert {"name", "state", "detect", "waiting"} <= set(inbox)
        assert {"path", "reason", "since"} <= set(inbox["waiting"][0])
        assert {"day", "credits", "submissions"} <= set(status["spend"])
        (job,) = bay.told("jobs")
        assert set(job) >= JOB
        assert set(bay.told("show", job["id"])) >= JOB
        assert bay.call("status").returncode == bay.call("jobs").returncode == 0
        assert bay.call("show", job["id"]).returncode == 0
        if is_running:
            assert bay.stop() == 0


def test_a_lost_answer_is_in_doubt_until_the_operator_attaches_the_task(bay):
    bay.box.misbehave("create:500-after:times=1")
    bay.start()
    bay.drop("shot.mp4")
    bay.until_states("in_doubt")
    shown = bay.told("show", bay.job()["id"])
    assert shown["held"] == "in_doubt"
    assert shown["evidence"]
    time.sleep(0.5)
    assert bay.paid == 1
    assert bay.call("attach", bay.job()["id"], bay.box.ledger.creates[0].task_id, "--yes").returncode == 0
    bay.until_retired()
    assert bay.paid == 1


@pytest.mark.parametrize("is_running", [True, False])
def test_a_typing_error_in_attach_is_refused_and_the_job_still_needs_a_person(bay, is_running):
    bay.box.misbehave("create:drop-after:times=1")
    bay.start()
    bay.drop("shot.mp4")
    bay.until_states("in_doubt")
    job_id = bay.job()["id"]
    if not is_running:
        assert bay.stop() == 0
    refused = bay.call("attach", job_id, "123", "--yes")
    assert refused.returncode == 1
    assert "does not know the task 123" in refused.stderr
    assert bay.job()["held"] == "in_doubt"
    assert bay.call("attach", job_id, "123", "--yes", "--force").returncode == 0
    assert (bay.job()["state"], bay.job()["held"]) == ("running", "lost")
    assert bay.call("attach", job_id, bay.box.ledger.creates[0].task_id, "--yes").returncode == 0
    if not is_running:
        bay.start()
    bay.until_retired()
    assert bay.paid == 1


@pytest.mark.slow
def test_a_refusal_of_load_ends_its_doubt_where_the_balance_shows_no_charge_and_only_there(bay):
    bay.box.misbehave("create:503:retry_after=1:times=1")
    bay.start()
    bay.until(lambda: bay.query("SELECT 1 FROM facts WHERE name = 'balance'"), what="a look at the balance")
    bay.drop("refused.mp4")
    bay.until_retired()
    assert bay.paid == 1
    bay.box.misbehave("create:503-after:retry_after=1:times=1")
    bay.drop("taken.mp4", 'prompt = "high summer"\n')
    bay.until_states("delivered", "in_doubt")
    time.sleep(9)  # both looks at the balance are over
    assert sorted(bay.jobs().values()) == ["delivered", "in_doubt"]
    assert bay.paid == 2


def test_a_doubt_comes_with_its_evidence_and_orders_say_who_and_why(bay):
    bay.configure(base_url=f"{bay.box.origin}/v1")
    bay.box.misbehave("create:500-after:times=1")
    bay.start()
    bay.until(lambda: bay.query("SELECT 1 FROM facts WHERE name = 'balance'"), what="a look at the balance")
    bay.drop("shot.mp4")
    bay.until_states("in_doubt")
    job = bay.job()["id"]
    bay.until(lambda: "balance_after" in bay.told("show", job)["evidence"])
    told = bay.told("show", job)
    evidence = told["evidence"]
    assert evidence["bytes_written"] == evidence["bytes_total"] > 0
    assert evidence["http_status"] == 500
    assert evidence["balance_before"]["amount"] > evidence["balance_after"]["amount"]
    page = bay.call("show", job).stdout
    assert " bytes" in page
    assert "HTTP 500" in page
    assert bay.call("cancel", job).returncode == 1  # asked, and nobody answered
    assert bay.call("cancel", job, "--yes", "--why", "wrong grade").returncode == 0
    bay.until_states("cancelled")
    last = next(e for e in reversed(bay.told("show", job)["history"]) if e["event"] == "cancelled")
    assert last["facts"]["why"] == "wrong grade"
    assert "@" in last["facts"]["by"]


def test_a_job_in_doubt_is_sent_again_only_when_the_operator_says_so(bay):
    bay.box.misbehave("create:drop-after:times=1")
    bay.start()
    bay.drop("shot.mp4")
    bay.until_states("in_doubt")
    refused = bay.call("retry", bay.job()["id"])
    assert refused.returncode != 0
    assert bay.paid == 1
    assert bay.call("retry", bay.job()["id"], "--yes").returncode == 0
    bay.until_retired()
    assert bay.paid == 2


def test_a_task_that_turns_up_after_its_job_was_cancelled_in_doubt_is_attached_and_paid_once(bay):
    bay.box.misbehave("create:drop-after:times=1")
    bay.start()
    bay.drop("shot.mp4")
    bay.until_states("in_doubt")
    (job_id,) = bay.jobs()
    assert bay.call("cancel", job_id, "--yes").returncode == 0
    bay.until_retired()
    bay.until_swept()
    note = tomllib.loads((bay.inbox / "_failed/shot.mp4.error.toml").read_text())
    assert f"`clipspool attach {job_id} TASK_ID` brings its result" in note["what_to_do"]
    task_id = bay.box.ledger.creates[0].task_id
    done = bay.call("attach", job_id, task_id, "--yes")
    assert (done.returncode, done.stdout) == (0, f"{job_id} is now running.\n")
    bay.until_states("delivered")
    bay.until(lambda: bay.lying() == ["_done/shot.mp4", "_done/shot.toml"])
    assert bay.paid == 1


@pytest.mark.parametrize("is_paused", [True, False])
def test_a_failed_clip_that_is_retried_and_cancelled_before_it_is_sent_is_kept(bay, is_paused):
    bay.box.misbehave("task:failure:times=1")
    bay.start()
    bay.drop("shot.mp4")
    bay.until_retired()
    bay.until_swept()
    before = bay.lying()
    if is_paused:
        assert bay.call("pause", "--yes").returncode == 0
    else:
        bay.stop()
    for order in ("retry", "cancel"):
        assert bay.call(order, bay.job()["id"], "--yes").returncode == 0
    if not is_paused:
        bay.start()
    bay.until_retired()
    assert bay.lying() == before
    assert bay.paid == 1


def test_failed_jobs_are_retried_without_a_daemon_and_their_source_comes_back(bay):
    bay.box.misbehave("task:failure:times=2")
    bay.drop("shot.mp4", 'prompt = "x"\n[[variant]]\n[[variant]]\n')
    assert bay.run_until_idle() == 0
    assert "_failed/shot.mp4" in bay.lying()
    asked = bay.call("retry", "--failed").stderr
    assert "Run these again? 2 jobs will be sent and charged: about 30 credits." in asked
    assert "The account has " in asked
    assert bay.call("retry", "--failed", "--yes").returncode == 0
    assert bay.run_until_idle() == 0
    assert bay.lying() == ["_done/shot.mp4", "_done/shot.toml"]
    assert bay.paid == 4


def test_cancel_ends_queued_and_running_jobs(open_bays):
    with open_bays(render_seconds=60.0) as bay:
        bay.configure(provider="running_max = 1")
        bay.start()
        bay.drop("one.mp4")
        bay.until_states("running")
        bay.drop("two.mp4")
        bay.until_states("running", "queued")
        done = bay.call("cancel", *bay.jobs(), "--yes")
        assert done.returncode == 0, done.stderr
        bay.until_states("cancelled", "cancelled", seconds=5)
        bay.until_retired(2)
        assert "_failed/one.mp4" in bay.lying()


def test_a_cancelled_task_that_the_provider_cannot_stop_is_followed_by_a_retry_and_paid_once(open_bays):
    with open_bays(render_seconds=4.0, cancel_status=405) as bay:
        bay.start()
        bay.drop("shot.mp4")
        bay.until_states("running")
        assert bay.call("cancel", *bay.jobs(), "--yes").returncode == 0
        bay.until(lambda: "_failed/shot.mp4" in bay.lying())
        note = tomllib.loads((bay.inbox / "_failed/shot.mp4.error.toml").read_text())
        assert note["code"] == "CANCELLED.NOT_AT_PROVIDER"
        assert "`clipspool retry" in note["what_to_do"]
        asked = bay.call("retry", *bay.jobs()).stderr
        assert "Its task may go on at the provider, and is followed. This costs nothing more." in asked
        assert bay.call("retry", *bay.jobs(), "--yes").returncode == 0
        bay.until_states("delivered")
        bay.until(lambda: bay.lying() == ["_done/shot.mp4", "_done/shot.toml"])
        assert bay.paid == 1
        assert Oracle(bay).violations() == []


def test_pause_stops_submitting_and_resume_goes_on_also_without_a_daemon(bay):
    assert bay.run_until_idle() == 0
    done = bay.call("pause")
    assert done.returncode == 0
    assert "takes effect when it starts" in done.stdout
    bay.start()
    bay.drop("shot.mp4")
    bay.until(bay.jobs)
    assert bay.told("jobs")[0]["held"] == "paused"
    assert bay.paid == 0
    assert bay.call("resume").returncode == 0
    bay.until_retired()


def test_naming_no_job_an_unknown_job_or_an_unknown_inbox_fails_with_a_sentence(bay):
    bay.drop("shot.mp4")
    bay.run_until_idle()
    for words in (
        ("show", "nope"),
        ("cancel", "nope"),
        ("attach", "nope", "t"),
        ("pause", "nope"),
        ("retry", "nope"),
        ("approve", bay.job()["id"]),
        ("cancel", bay.job()["id"]),
        ("attach", bay.job()["id"], "t"),
    ):
        done = bay.call(*words)
        assert done.returncode == 1, words
        assert done.stderr.strip(), words
        assert "Traceback" not in done.stderr
        assert "Aborted" not in done.stderr, "it asks about nothing that cannot be done"
    assert bay.call("retry").returncode == 2
    for order in ("approve", "retry"):
        refused = bay.call(order, bay.job()["id"]).stderr
        assert refused.startswith(f"{bay.job()['id']}: not done: it is delivered"), "there is nothing to ask"


def test_a_bad_configuration_ends_with_78_and_one_sentence(bay):
    good = bay.config.read_text()
    for bad in (
        good.replace("base_url", "base_ulr"),
        good.replace("[provider]", "[provider"),
        good.replace("poll_seconds_min = 0.05", 'poll_seconds_min = "often"'),
        good + "[models.x]\nnonsense = 1\n",
        "",
    ):
        bay.config.write_text(bad)
        done = bay.call("run")
        assert done.returncode == 78, (bad, done.stderr)
        assert "Traceback" not in done.stderr
        assert "config.toml" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_missing_key_ends_with_78(bay):
    done = bay.call("run", CLIPSPOOL_PROVIDER__API_KEY="")
    assert done.returncode == 78
    assert "Traceback" not in done.stderr


def test_an_outbox_inside_the_inbox_is_refused_links_included(bay):
    (bay.home / "link").symlink_to(bay.inbox)
    for outbox in (bay.inbox / "out", bay.home / "link" / "out", bay.inbox, bay.home):
        bay.configure(outbox=outbox)
        done = bay.call("run")
        assert done.returncode == 78, (outbox, done.stderr)


def test_init_gives_a_configuration_that_check_accepts(bay):
    folder = bay.home / "fresh"
    bay.is_checked = False
    assert bay.call("init", str(folder), config=False).returncode == 0
    again = bay.call("init", str(folder), config=False)
    assert again.returncode == 1
    bay.config = folder / "config.toml"
    done = bay.call("check", "--offline", XDG_STATE_HOME=str(bay.home / "state"), HOME=str(bay.home))
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_init_that_fails_leaves_no_half_of_a_configuration(bay, tmp_path):
    bad = os.fsencode(tmp_path) + b"/bad\xff"
    done = bay.call("init", os.fsdecode(bad), config=False)
    assert (done.returncode, "not valid UTF-8" in done.stderr) == (1, True)
    assert not os.path.exists(bad)  # noqa: PTH110 - a path of bytes
    full = tmp_path / "full"
    full.mkdir()
    words = ["prlimit", "--fsize=99", *COMMAND, "init", full]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{full / 'config.toml'} cannot be written: File too large" in done.stderr
    assert list(full.iterdir()) == []


def test_the_drop_in_leaves_the_services_journal_where_the_unit_keeps_it(bay):
    bay.config.write_text(f'[[inbox]]\npath = "{bay.inbox}"\noutbox = "{bay.outbox}"\n')
    done = bay.call("check", "--systemd", HOME="/root", XDG_STATE_HOME="")
    assert done.returncode == 0, done.stderr
    assert f'ReadWritePaths="{bay.inbox}"' in done.stdout
    assert "/root" not in done.stdout
    assert "journal" not in done.stdout


def test_a_folder_that_no_unit_can_name_is_said_in_a_sentence(bay):
    bay.config.write_text(f'[[inbox]]\npath = "{bay.inbox}\\n"\noutbox = "{bay.outbox}"\n')
    done = bay.call("check", "--systemd")
    assert done.returncode == 78
    assert "a unit file cannot hold" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demo_tells_the_whole_journey(bay):
    real = {"CLIPSPOOL_PROVIDER__BASE_URL": "https://api.example.com/v1", "CLIPSPOOL_NONSENSE__X": "1"}
    done = bay.call("demo", "--keep", str(bay.home / "demo"), "--render-seconds", "0.2", config=False, **real)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = re.findall(r"^ +\d+\.\d s +(\w+)", done.stdout, re.MULTILINE)
    assert steps == ["queued", "submitting", "running", "rendered", "fetched", "delivered"]
    assert (bay.home / "demo" / "bay-1-results" / "street.mp4").stat().st_size > 1000


def test_the_demo_keeps_away_from_folders_in_use(bay):
    """It would replace a real configuration, and drop its clip into a real inbox: it is paid for there."""
    before = bay.config.read_bytes()
    done = bay.call("demo", "--keep", str(bay.home), config=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{bay.home} is not empty" in done.stderr
    assert bay.config.read_bytes() == before
    done = bay.call("demo", "--keep", str(bay.config / "x"), config=False)
    assert (done.returncode, done.stderr) == (1, f"{bay.config / 'x'}: Not a directory.\n")
    assert bay.call("demo", "--render-seconds", "-1", config=False).returncode == 2


def test_a_command_in_a_folder_that_is_gone_says_so(bay):
    for words in (["init"], ["status", "-c", "config.toml"], ["backup", "-c", str(bay.config), "copy"]):
        (bay.home / "gone").mkdir(exist_ok=True)
        done = subprocess.run(
            ["sh", "-c", 'rmdir ../gone && exec "$@"', "sh", *COMMAND, *words],
            cwd=bay.home / "gone",
            env=bay.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, words
        assert "is gone: change into another one" in done.stderr or words[0] == "backup", words
        assert "Traceback" not in done.stderr, words


def test_the_sandbox_says_at_once_that_its_ledger_cannot_be_written(bay):
    done = bay.call("sandbox", "--port", "0", "--ledger", str(bay.home / "nowhere/ledger"), config=False)
    assert done.returncode == 1
    assert "nowhere/ledger cannot be written: No such file or directory" in done.stderr


@pytest.mark.slow
def test_an_editors_pause_holds_clips_and_queue_and_every_surface_says_what_to_remove(bay):
    bay.start()
    later = f"{datetime.now(UTC) + timedelta(seconds=8):%Y-%m-%dT%H:%M:%SZ}"
    bay.drop("queued.mp4", f'prompt = "x"\nnot_before = {later}\n')
    bay.until_states("queued")
    bay.write("_pause.txt", "")
    bay.until(lambda: bay.told("status")["inboxes"][0]["state"] == "paused")
    lying = bay.drop("lying.mp4")
    bay.until(lambda: any("`_pause.txt`" in w["reason"] for w in bay.told("status")["inboxes"][0]["waiting"]))
    assert bay.told("jobs")[0]["held"] == "paused"
    assert "it contains `_pause.txt`" in bay.told("status")["inboxes"][0]["reason"]
    assert bay.stop() == 0
    bay.start()
    time.sleep(max(datetime.fromisoformat(later).timestamp() - time.time(), 0) + 3)
    assert bay.paid == 0
    assert lying.exists()
    assert "_pause.txt" in bay.call("resume", "one", "--yes").stderr + bay.call("status").stdout
    assert "is resumed. But the inbox bay contains `_pause.txt`" in bay.call("resume").stdout
    (bay.inbox / "_pause.txt").unlink()
    bay.until_retired(2)
    assert bay.paid == 2
