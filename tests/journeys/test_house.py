"""What an operator removes, copies and puts back, with the real command."""

import json

import pytest


@pytest.mark.parametrize("is_running", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_prune_shows_what_is_due_asks_and_removes_it_with_a_daemon_and_without(bay, is_running):
    if not is_running:
        bay.run_until_idle()
        assert bay.told("prune") == {"dry_run": False, "inboxes": []}
    bay.configure(top="[retention]\ndone_days = 0\njournal_days = 0\n")
    bay.start()
    bay.drop("day/shot.mp4")
    bay.until_retired()
    if not is_running:
        assert bay.stop() == 0
    shown = bay.call("prune", "--dry-run").stdout
    assert "bay: 2 files in _done (" in shown
    assert "the history of 1 clip would be removed." in shown
    refused = bay.call("prune")
    assert refused.returncode == 1
    assert "Remove all this for good?" in refused.stderr
    assert (bay.inbox / "_done/day/shot.mp4").exists()
    done = bay.told("prune", "--yes")
    assert done["inboxes"][0]["done"]["files"] == 2
    assert not (bay.inbox / "_done/day").exists()
    assert bay.job()["state"] == "delivered"
    assert "nothing is due" in bay.call("prune", "--dry-run").stdout
    bay.is_checked = False  # the source is gone, as it was ordered


def test_a_backup_of_a_running_journal_is_put_back_and_held_and_nothing_is_paid_twice(bay):
    bay.start()
    bay.drop("one.mp4")
    bay.until_retired()
    copy = bay.home / "copy.sqlite3"
    made = bay.call("backup", str(copy))
    assert made.returncode == 0, made.stderr
    assert "checked; its checksum is in copy.sqlite3.sha256" in made.stdout
    assert "is there already" in bay.call("backup", str(copy)).stderr
    assert "is an inbox or outbox" in bay.call("backup", str(bay.inbox / "copy")).stderr
    bay.drop("two.mp4")
    bay.until_retired(2)
    assert "stop it first" in bay.call("restore", str(copy), "--yes").stderr
    assert bay.stop() == 0
    done = bay.call("restore", str(copy), "--yes")
    assert done.returncode == 0, done.stderr
    assert "`clipspool resume --accept-restored`" in done.stdout
    bay.start()
    bay.drop("three.mp4")
    bay.until(lambda: len(bay.told("jobs")) == 2, what="the third is accepted")
    assert [job["held"] for job in bay.told("jobs") if job["state"] == "queued"] == ["restored"]
    assert bay.paid == 2
    assert bay.call("resume", "--accept-restored", "--yes").returncode == 0
    bay.until_retired(2)
    assert bay.paid == 3
    bay.is_checked = False  # the restored journal does not know the second clip


def test_what_happened_to_all_jobs_is_exported_since_a_moment(bay):
    bay.start()
    bay.drop("day/shot.mp4")
    bay.until_retired()
    lines = [json.loads(line) for line in bay.call("logs", "--since", "1h", "--json").stdout.splitlines()]
    assert {"at", "event", "from", "to", "by", "words", "facts", "job", "clip_id", "inbox", "clip"} <= set(
        lines[0]
    )
    assert lines[0]["event"] == "accepted"
    assert lines[-1]["event"] == "retired"
    assert {(line["inbox"], line["clip"]) for line in lines} == {("bay", "day/shot.mp4")}
    assert bay.call("logs", "--since", "2100-01-01", "--json").stdout == ""
    assert "day/shot.mp4" in bay.call("logs").stdout
    refused = bay.call("logs", "--since", "yesterday")
    assert refused.returncode == 2
    assert "is no date, time or age" in refused.stderr
