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
    assert done.stdout == f"{first['id']}-r2 is version 2 of {first['id']}, queued.\n", done.stderr
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
