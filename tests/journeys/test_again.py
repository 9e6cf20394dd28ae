"""`clipspool again`: a delivered clip once more, changed, as its next version."""

import tomllib

import pytest

from journeys.bay import make_clip

WINTER = 'prompt = "deep winter"\nseed = 7\n'


def test_a_delivered_clip_runs_again_changed_and_its_old_result_is_kept(bay):
    bay.is_checked = False  # two paid tasks for one clip, as ordered
    bay.start()
    data = make_clip(bay.template, "shot.mp4")
    bay.drop("day/shot.mp4", WINTER, data)
    bay.until_retired()
    (first,) = bay.told("jobs")
    asked = bay.call("again", first["id"], "--prompt", "deep summer")
    assert asked.returncode == 1
    assert "as version 2? This may cost about 15 credits." in asked.stderr
    assert bay.paid == 1
    done = bay.call("again", first["id"], "--prompt", "deep summer", "--yes")
    assert done.stdout == f"{first['id']}-r2 is version 2 of {first['id']}, queued, about 15 credits.\n", (
        done.stderr
    )
    bay.until((bay.outbox / "day/shot_v002.mp4").exists)
    bay.until_retired()
    assert [name for name in bay.results() if name.endswith(".mp4")] == ["day/shot.mp4", "day/shot_v002.mp4"]
    provenance = tomllib.loads((bay.outbox / "day/shot_v002.mp4.toml").read_text())
    assert (provenance["prompt"], provenance["seed"]) == ("deep summer", 7)
    assert provenance["result"]["version"] == 2
    assert bay.lying() == ["_done/day/shot.mp4", "_done/day/shot.toml"]
    second, same = bay.told("jobs")
    assert (second["version"], same["version"]) == (2, 1)
    # The same film dropped again with another sidecar is the next version too; the same request is held.
    bay.drop("day/shot.mp4", WINTER.replace("winter", "autumn"), data)
    bay.until((bay.outbox / "day/shot_v003.mp4").exists)
    bay.drop("day/shot.mp4", WINTER, data)
    bay.until(lambda: bay.told("jobs")[0]["held"] == "duplicate")
    assert bay.paid == 3


@pytest.mark.slow
def test_again_without_a_daemon_takes_effect_when_one_starts(bay):
    bay.is_checked = False
    bay.drop("shot.mp4", WINTER)
    assert bay.run_until_idle() == 0
    (first,) = bay.told("jobs")
    done = bay.call("again", first["id"], "--set", "seed=8", "--set", "ratio=720:1280", "--yes")
    assert "No daemon is running: this takes effect when it starts." in done.stdout, done.stderr
    wrong = bay.call("again", first["id"], "--set", "seed=many", "--yes")
    assert wrong.returncode == 1
    assert "not done: `seed` has to be a whole number from 0 to 4294967295" in wrong.stderr
    assert bay.run_until_idle() == 0
    assert "shot_v002.mp4" in bay.results()
    request = bay.told("show", f"{first['id']}-r2")["request"]
    assert (request["seed"], request["ratio"]) == (8, "720:1280")


@pytest.mark.slow
def test_a_version_that_was_paid_for_is_followed_although_daemon_and_journal_are_lost(open_bays):
    with open_bays(render_seconds=3.0) as bay:
        bay.drop("shot.mp4", WINTER)
        assert bay.run_until_idle() == 0
        (first,) = bay.told("jobs")
        assert bay.call("again", first["id"], "--set", "seed=8", "--yes").returncode == 0
        bay.start()
        bay.until(lambda: "running" in bay.jobs().values())
        bay.daemon.kill()
        bay.daemon.wait()
        bay.daemon = None
        for file in bay.journal.parent.glob("journal.sqlite3*"):
            file.unlink()
        done = bay.call("recover", "--yes")
        assert done.returncode == 0, done.stderr
        (found,) = bay.told("jobs")
        assert (found["id"], found["version"], found["state"]) == (f"{first['id']}-r2", 2, "running")
        assert bay.run_until_idle() == 0
        assert {"shot.mp4", "shot_v002.mp4"} <= set(bay.results())
        assert bay.paid == 2
        assert bay.lying() == ["_done/shot.mp4", "_done/shot.toml"]


@pytest.mark.slow
def test_a_daemon_that_is_killed_right_after_the_order_pays_for_the_version_once(open_bays):
    with open_bays(render_seconds=1.0) as bay:
        bay.start()
        bay.drop("shot.mp4", WINTER)
        bay.until_retired()
        (first,) = bay.told("jobs")
        assert bay.call("again", first["id"], "--set", "seed=8", "--yes").returncode == 0
        bay.daemon.kill()
        bay.daemon.wait()
        bay.daemon = None
        assert bay.run_until_idle() == 0
        states = bay.jobs()
        # Killed while the request was on its way it is in doubt, and never sent again by itself. Killed right
        # before, nothing was sent: another request is.
        assert states[f"{first['id']}-r2"] in {"delivered", "in_doubt"}
        assert bay.paid <= 2
        made = "SELECT 1 FROM tasks WHERE job_id = ? AND task_id IS NOT NULL"
        assert len(bay.query(made, f"{first['id']}-r2")) <= 1
