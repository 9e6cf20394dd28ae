"""An inbox that is only read: its clips stay where they are, and are paid for once."""

import tomllib

from journeys.bay import beside

KEEP = 'source = "keep"\nstatus_file = true'


def looked(bay):
    """Describe all that lies in the inbox, as any write would change it."""
    paths = [bay.inbox, *bay.inbox.rglob("*")]
    return {path: (there.st_mtime_ns, there.st_ctime_ns) for path in paths if (there := path.lstat())}


def films(bay):
    return [name for name in bay.results() if name.endswith(".mp4") and not name.startswith(".")]


def test_clips_stay_are_paid_for_once_and_survive_the_loss_of_the_journal(bay):
    bay.is_checked = False  # the oracle knows no copies
    bay.configure(keys=KEEP)
    bay.drop("day/shot.mp4")
    bay.drop("wrong.mp4", sidecar="promt = 1\n")
    before = looked(bay)
    bay.start()
    bay.until_retired()
    assert films(bay) == ["day/shot.mp4"]
    bay.until((bay.outbox / "wrong.mp4.problem.txt").exists, what="its editor is told")
    status = bay.outbox / "_status.txt"
    bay.until(lambda: status.exists() and "wrong.mp4" in status.read_text(), what="and by the status")
    assert bay.stop() == 0
    (bay.inbox / "wrong.mp4").unlink()
    (bay.inbox / "wrong.toml").unlink()
    assert bay.run_until_idle() == 0
    assert bay.paid == 1
    assert bay.told("status")["inboxes"][0]["waiting"] == []
    (job_id,) = bay.jobs()
    assert bay.call("again", job_id, "--prompt", "spring", "--yes").returncode == 0
    assert bay.run_until_idle() == 0
    assert films(bay) == ["day/shot.mp4", "day/shot_v002.mp4"]
    for file in bay.journal.parent.iterdir():
        file.unlink()
    assert bay.run_until_idle() == 0
    assert bay.paid == 2
    assert bay.jobs() == {}
    assert {path: seen for path, seen in before.items() if path in looked(bay) and path != bay.inbox} == {
        path: seen for path, seen in looked(bay).items() if path != bay.inbox
    }


def test_what_failed_leaves_its_note_in_the_outbox_and_can_be_retried(bay):
    bay.is_checked = False
    bay.configure(keys=KEEP)
    bay.box.misbehave("task:failure:times=1")
    bay.start()
    source = bay.drop("shot.mp4")
    bay.until_retired()
    note = tomllib.loads((bay.outbox / "_failed/shot.mp4.error.toml").read_text())
    assert (note["code"], note["paid"]) == ("INTERNAL", "unknown")
    assert source.exists()
    bay.until(lambda: not list((bay.outbox / ".clipspool/work").iterdir()), what="its copy went")
    assert bay.call("retry", bay.job()["id"], "--yes").returncode == 0
    bay.until(lambda: films(bay) == ["shot.mp4"], what="it is delivered")
    bay.until(lambda: not (bay.outbox / "_failed/shot.mp4.error.toml").exists(), what="the note went")
    assert bay.paid == 2


def test_two_daemons_that_read_one_inbox_pay_once(bay):
    bay.is_checked = False
    two = beside(bay)
    for one in (bay, two):
        one.configure(keys=KEEP)
    for number in range(6):
        bay.drop(f"n{number}.mp4")
    bay.start()
    two.start()
    try:
        bay.until(lambda: len(films(bay)) == 6, what="all are delivered")
        bay.until(lambda: all(one.told("status")["daemon"] for one in (bay, two)), what="both run")
        assert bay.paid == 6
        assert sorted([*bay.jobs().values(), *two.jobs().values()]) == ["delivered"] * 6
    finally:
        assert two.stop() == 0


def test_source_is_not_changed_while_clips_are_under_way(bay):
    bay.is_checked = False
    bay.configure(keys=KEEP)
    bay.start()
    bay.call("pause")
    bay.drop()
    bay.until_states("queued")
    bay.configure()
    assert bay.stop() == 0
    assert bay.run_until_idle() == 1
    assert 'still has 1 clip accepted with source = "keep"' in bay.log.read_text()
    bay.configure(keys=KEEP)
    bay.call("resume")
    assert bay.run_until_idle() == 0
    bay.configure()
    assert bay.run_until_idle() == 0
    assert bay.paid == 1
