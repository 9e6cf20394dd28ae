"""An older copy of the journal, put back while the daemon was down."""

import shutil
import signal
import sqlite3
import tomllib

import pytest


def put_back_an_older_journal(bay):
    """Back up the journal of a daemon with a job that waits, let it go on, and put the backup back."""
    bay.start()
    bay.call("pause")
    bay.drop("one.mp4")
    bay.until_states("queued")
    go_on_and_put_back(bay)


def back_up(bay):
    with sqlite3.connect(bay.journal) as journal, sqlite3.connect(bay.home / "backup") as copy:
        journal.backup(copy)
    journal.close()
    copy.close()


def put_back(bay):
    for suffix in ("-wal", "-shm"):
        bay.journal.with_name(bay.journal.name + suffix).unlink(missing_ok=True)
    shutil.copy(bay.home / "backup", bay.journal)


def go_on_and_put_back(bay):
    back_up(bay)
    bay.call("resume")
    bay.until_retired()
    assert bay.stop() == 0
    put_back(bay)


def test_an_older_journal_submits_nothing_until_it_is_accepted(bay):
    bay.is_checked = False  # the oracle knows one journal, and this is its past
    put_back_an_older_journal(bay)
    bay.start()
    bay.call("resume")  # of the pause that the backup remembers; not of this
    bay.drop("two.mp4")
    bay.until(lambda: len(bay.jobs()) == 2)
    assert {job["held"] for job in bay.told("jobs")} == {"from_backup", "restored"}
    assert bay.told("status")["journal"]["restored"] is True
    assert "older copy" in bay.call("status").stdout
    assert bay.paid == 1
    assert bay.call("resume", "--accept-restored").returncode == 1  # asked, and nobody answered
    assert bay.call("resume", "--accept-restored", "--yes").returncode == 0
    bay.until(lambda: bay.paid == 2, what="what came since is sent")
    bay.until(lambda: "delivered" in bay.jobs().values(), what="and delivered")
    (held,) = [job for job in bay.told("jobs") if job["held"]]
    assert held["held"] == "from_backup"
    assert "may have been sent and paid for since" in held["reason"]
    assert f"approve {held['id']}" in bay.call("status").stdout
    asked = bay.call("approve", "--inbox", "bay")
    assert "older copy of the journal, and may have been paid for since" in asked.stdout + asked.stderr
    assert bay.call("approve", "--inbox", "bay", "--yes").returncode == 0
    bay.until_retired(2)
    assert bay.paid == 2
    assert sorted(bay.jobs().values()) == ["delivered", "failed"]
    assert bay.stop() == 0
    bay.start()
    assert bay.told("status")["journal"]["restored"] is False


def test_a_version_that_was_queued_in_an_older_journal_is_not_paid_for_again(bay):
    """Its source lies in `_done`, whether it was sent since or not."""
    bay.is_checked = False
    bay.start()
    bay.drop("one.mp4")
    bay.until_retired()
    bay.call("pause")
    assert bay.call("again", *bay.jobs(), "--prompt", "spring", "--yes").returncode == 0
    bay.until_states("delivered", "queued")
    go_on_and_put_back(bay)
    assert bay.paid == 2
    bay.start()
    bay.call("resume")
    assert bay.call("resume", "--accept-restored", "--yes").returncode == 0
    bay.drop("new.mp4")
    bay.until(lambda: "new.mp4" in bay.results(), what="what came since is delivered")
    assert bay.paid == 3
    assert [job["held"] for job in bay.told("jobs") if job["held"]] == ["from_backup"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_job_that_was_cancelled_paid_for_since_and_cancelled_again_is_in_doubt_when_it_is_retried(
    open_bays, count
):
    with open_bays(render_seconds=60.0) as bay:
        bay.start()
        bay.call("pause")
        bay.drop("one.mp4", 'prompt = "x"\n' + "[[variant]]\n" * count * (count > 1))
        bay.until_states(*["queued"] * count)
        job_id = max(bay.jobs())
        bay.call("cancel", *bay.jobs(), "--yes")
        bay.until_retired()
        bay.until_swept()
        back_up(bay)
        bay.call("resume")
        bay.call("retry", job_id, "--yes")
        bay.until(lambda: bay.jobs()[job_id] == "running")
        (task_id,) = [create.task_id for create in bay.box.ledger.creates]
        bay.call("cancel", job_id, "--yes")
        bay.until((bay.inbox / "_failed/one.mp4").exists)
        bay.until_swept()
        assert bay.stop() == 0
        put_back(bay)
        bay.start()
        bay.call("resume", "--accept-restored", "--yes")
        bay.call("resume")
        assert bay.call("retry", job_id, "--yes").returncode == 0
        bay.until(lambda: bay.jobs()[job_id] == "in_doubt")
        (doubt,) = [job for job in bay.told("jobs") if job["id"] == job_id]
        assert doubt["attempts"] == 1
        assert doubt["reason"] == (
            "`_failed/one.mp4.error.toml` says that it was sent since this journal was copied, and perhaps "
            f"charged; its task is {task_id}"
        )
        assert "It may have been charged already" in bay.call("retry", job_id).stderr
        assert bay.paid == 1
        assert bay.call("retry", job_id, "--yes").returncode == 0
        bay.until(lambda: bay.paid == 2, what="who was told may pay again")


def test_an_older_journal_can_be_accepted_at_the_start(bay):
    bay.is_checked = False
    put_back_an_older_journal(bay)
    bay.call("resume")
    bay.drop("two.mp4")
    assert bay.run_until_idle() == 0
    assert bay.paid == 1
    bay.start("--accept-restored")
    bay.until(lambda: "delivered" in bay.jobs().values(), what="what came since is delivered")
    (held,) = [job for job in bay.told("jobs") if job["held"]]
    assert bay.call("cancel", held["id"], "--yes").returncode == 0
    bay.until_retired(2)
    assert bay.paid == 2


@pytest.mark.slow
def test_an_older_journal_from_the_first_minute_of_a_run_is_known_though_the_daemon_was_killed(bay):
    bay.is_checked = False
    bay.start()
    bay.until(lambda: bay.told("status")["inboxes"][0]["state"] == "watching")
    back_up(bay)
    for number in range(3):
        bay.drop(f"r{number}.mp4")
    bay.until_retired(3)
    bay.stop(signal.SIGKILL)
    put_back(bay)
    bay.start()
    bay.drop("after.mp4")
    bay.until(bay.jobs)
    assert bay.told("status")["journal"]["restored"] is True
    assert {job["held"] for job in bay.told("jobs")} == {"restored"}
    assert bay.paid == 3


def test_a_task_that_an_older_journal_does_not_know_is_named_when_its_work_folder_goes(open_bays):
    with open_bays(render_seconds=60.0) as bay:
        bay.start()
        bay.drop("one.mp4")
        bay.until_states("running")
        back_up(bay)
        bay.box.misbehave("poll:failure:times=1")
        bay.until_states("failed")
        assert bay.call("retry", *bay.jobs(), "--yes").returncode == 0
        bay.until_states("running")
        first, second = [create.task_id for create in bay.box.ledger.creates]
        bay.stop(signal.SIGKILL)
        put_back(bay)
        bay.start()
        bay.until_states("failed")
        bay.until_swept()
        told = tomllib.loads((bay.inbox / "_failed/one.mp4.error.toml").read_text())
        assert (told["task_id"], told["unknown_tasks"]) == (first, [second])
