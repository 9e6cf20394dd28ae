"""A job's story, told by the command and by the daemon's own log."""

import json


def test_a_job_that_failed_and_was_retried_has_its_story_with_and_without_a_daemon(bay):
    bay.box.misbehave("task:failure:times=1")
    bay.start()
    bay.drop("shot.mp4")
    bay.until_retired()
    job = bay.job()["id"]
    assert bay.call("retry", job, "--yes").returncode == 0
    bay.until_states("delivered")
    bay.until_retired()
    told = {}
    for is_running in (True, False):
        done = bay.call("logs", job, "--json")
        assert done.returncode == 0, done.stderr
        told[is_running] = [json.loads(line) for line in done.stdout.splitlines()]
        text = bay.call("logs", job)
        assert text.returncode == 0, text.stderr
        for word in ("shot.mp4 in bay", "failed (", "started a retry", "delivered as shot.mp4", "in total:"):
            assert word in " ".join(text.stdout.split()), text.stdout
        if is_running:
            assert bay.stop() == 0
    assert told[True] == told[False]
    events = [one["event"] for one in told[True]]
    assert events[0] == "accepted"
    assert events.count("connected") == 2
    (retried,) = (one for one in told[True] if one["event"] == "retried")
    assert retried["by"] not in {"clipspool", "provider"}
    assert all(one["seconds"] >= 0 for one in told[True][1:])

    ends = [{key: one[key] for key in ("outcome", "attempts")} for one in bay.events("job_ended")]
    assert ends == [{"outcome": "failed", "attempts": 1}, {"outcome": "delivered", "attempts": 2}]
    ended = bay.events("job_ended")[1]
    assert ended["bytes_out"] == (bay.outbox / "shot.mp4").stat().st_size
    assert ended["bytes_in"] == (bay.inbox / "_done/shot.mp4").stat().st_size


def test_a_job_that_there_is_not_ends_with_a_sentence(bay):
    bay.drop("shot.mp4")
    bay.run_until_idle()
    done = bay.call("logs", "nope")
    assert done.returncode == 1
    assert done.stderr.startswith("There is no job nope")
