"""A clip that is longer than its model takes is sent in parts, each paid once, and comes back as one film."""

import shutil
import signal
import tomllib

import pytest

from faults.oracle import Oracle
from journeys.nodes import begin, move_to_postgres, node
from media_clips import ffprobe
from runway_sandbox import Render
from runway_sandbox.render import sample

SPLIT = 'prompt = "deep winter"\nlong_clips = "split"\n'
SHORT = "[models.gen4_aleph]\nseconds_max = 1.0\n"
"""Parts of a second make a journey of seconds."""
PRICE = 15.0
"""Of a part of up to a second."""


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    """2.5 s, which make three parts."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    sample(path, seconds=2.5, width=160, height=90)
    return path.read_bytes()


@pytest.fixture
def bay(open_bays):
    """Yield a bay whose stand-in renders what it gets; at its end the oracle finds no violation."""
    with open_bays(render=Render.REAL) as one:
        one.configure(top=SHORT)
        yield one
        if one.daemon is not None and one.daemon.poll() is None:
            assert one.stop() == 0, one.lately()
        if one.is_checked:
            assert Oracle(one).violations() == []


def states(bay):
    """Return the state of each job and part, in the order of their ids."""
    return list(bay.jobs().values())


def whole_of(bay):
    (job,) = bay.told("jobs")
    return job


def ordered(bay, *words):
    done = bay.call(words[0], "--yes", *words[1:])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_long_clip_is_priced_as_one_and_comes_back_as_one_film_with_its_frames(bay, long_clip):
    bay.configure(top=SHORT + "[budget]\ncredits_per_clip_max = 20\n")
    bay.drop("long.mp4", SPLIT + "keep_parts = true\n", long_clip)
    assert bay.run_until_idle(60) == 0
    held = whole_of(bay)
    assert (held["held"], held["credits_estimated"], held["parts"], bay.paid) == ("budget", 3 * PRICE, [], 0)
    bay.start()
    assert "is now queued" in ordered(bay, "approve", held["id"])
    bay.until_states(*["delivered"] * 4, seconds=60)
    bay.until_retired()
    job = whole_of(bay)
    assert (job["state"], len(job["parts"]), bay.paid) == ("delivered", 3, 3)
    assert [(one["first_frame"], one["frames"], one["overlap_frames"]) for one in job["parts"]] == [
        (0, 24, 0),
        (18, 24, 6),
        (36, 24, 6),
    ]
    creates = bay.box.ledger.creates
    assert len({(one.seed, one.prompt) for one in creates}) == 1
    assert len({one.sha256 for one in creates}) == 3
    assert ffprobe(bay.outbox / "long.mp4", "stream=nb_frames") == {"nb_frames": "60"}
    films = [name for name in bay.results() if not name.endswith(".toml")]
    assert films == ["long.mp4", "long_part001.mp4", "long_part002.mp4", "long_part003.mp4"]
    told = tomllib.loads((bay.outbox / "long.mp4.toml").read_text())
    assert told["long_clips"] == "split"
    assert [one["task"] for one in told["result"]["part_task"]] == [one["task_id"] for one in job["parts"]]
    assert [one["sent_sha256"] for one in told["result"]["part_task"]] == [
        next(create.sha256 for create in creates if create.task_id == one["task_id"]) for one in job["parts"]
    ]
    assert all(one["sent_size"] > 1000 for one in told["result"]["part_task"])
    assert bay.lying() == ["_done/long.mp4", "_done/long.toml"]
    shown = bay.call("show", job["id"]).stdout
    assert all(one["task_id"] in "".join(shown.split()) for one in job["parts"])


@pytest.mark.slow
def test_parts_that_fail_or_are_in_doubt_wait_alone_and_are_decided_alone(bay, long_clip):
    bay.configure(top=SHORT, provider="running_max = 1", keys="status_file = true")
    bay.box.misbehave("create:500-after:times=1")
    bay.box.misbehave("task:failure:skip=1:times=1")
    bay.drop("long.mp4", SPLIT, long_clip)
    bay.start()
    bay.until_states("running", "in_doubt", "failed", "fetched", seconds=60)
    job = whole_of(bay)
    doubtful, failed = (
        next(one for one in job["parts"] if one["state"] == state) for state in ("in_doubt", "failed")
    )
    assert (job["state"], job["held"], job["progress"]) == ("running", "parts", 0.3333)
    assert f"`clipspool retry {failed['id']}` pays for it alone" in job["reason"]
    assert [one["id"] for one in bay.told("jobs", "--state", "failed")] == [failed["id"]]
    noted = (bay.inbox / "_status.txt").read_text
    bay.until(lambda: "A part of it waits for the operator" in noted(), what="the status file says so")
    assert "pays for it alone" not in noted()
    refused = bay.call("attach", "--yes", job["id"], "x")
    assert "name the part that is in doubt" in refused.stderr
    asked = bay.call("retry", failed["id"])
    assert f"about {PRICE:g} credits" in asked.stdout + asked.stderr
    assert bay.paid == 3
    ordered(bay, "attach", doubtful["id"], bay.box.ledger.creates[0].task_id)
    ordered(bay, "retry", failed["id"])
    bay.until_states(*["delivered"] * 4, seconds=60)
    bay.until_retired()
    assert bay.paid == 4
    assert {one["id"]: one["attempts"] for one in whole_of(bay)["parts"]}[failed["id"]] == 2


@pytest.mark.slow
def test_a_job_that_is_cancelled_half_way_keeps_what_is_there_and_pays_for_the_rest_alone(bay, long_clip):
    bay.configure(top=SHORT, provider="running_max = 1")
    bay.drop("long.mp4", SPLIT, long_clip)
    bay.box.misbehave("create:slow:skip=1:seconds=2")
    bay.start()
    bay.until(lambda: "fetched" in states(bay), 60, "a part is fetched")
    job = whole_of(bay)
    ordered(bay, "cancel", job["id"])
    bay.until_states(*["cancelled"] * 4, seconds=60)
    bay.until_retired()
    there = next(one for one in job["parts"] if one["state"] == "fetched")
    assert f"_failed/long.part{there['number']:03}.result.mp4" in bay.lying()
    paid = bay.paid
    assert paid < 3
    alone = bay.call("retry", "--yes", next(one["id"] for one in job["parts"] if one is not there))
    assert f"`clipspool retry {job['id']}` runs it again" in alone.stderr
    ordered(bay, "retry", job["id"])
    bay.until_states(*["delivered"] * 4, seconds=60)
    bay.until_retired()
    again = next(one for one in whole_of(bay)["parts"] if one["id"] == there["id"])
    assert again["attempts"] == 1, "its result was paid for and is there"
    assert bay.paid <= paid + 2


def test_a_journal_that_is_lost_half_way_costs_no_part_a_second_time(bay, long_clip):
    bay.configure(top=SHORT, provider="running_max = 1")
    bay.drop("long.mp4", SPLIT, long_clip)
    bay.is_checked = False  # which bytes were sent for which part was in the journal that is lost
    bay.start()
    bay.until(lambda: "fetched" in states(bay), 60, "a part is fetched")
    bay.stop(signal.SIGKILL)
    shutil.rmtree(bay.journal.parent)
    shutil.rmtree(bay.inbox / ".clipspool/daemons", ignore_errors=True)
    recovered = bay.call("recover", "--yes")
    assert recovered.returncode == 0, recovered.stderr
    assert bay.run_until_idle(60) == 0
    parts = whole_of(bay)["parts"]
    for one in parts:
        if one["state"] == "in_doubt":
            known = {part["task_id"] for part in parts}
            (create,) = [made for made in bay.box.ledger.creates if made.task_id not in known]
            ordered(bay, "attach", one["id"], create.task_id)
            assert bay.run_until_idle(60) == 0
    assert (states(bay), bay.paid) == (["delivered"] * 4, 3), whole_of(bay)["reason"]


def test_variants_and_a_duplicate_and_a_second_version_of_a_long_clip(bay, long_clip):
    bay.is_checked = False  # one clip under two names is a lost or doubled one to the oracle
    bay.drop("long.mp4", SPLIT + "seed = 1\n[[variant]]\n[[variant]]\nseed = 2\n", long_clip)
    bay.start()
    bay.until_states(*["delivered"] * 8, seconds=60)
    bay.until_retired()
    films = [name for name in bay.results() if not name.endswith(".toml")]
    assert (films, bay.paid) == (["long_v1.mp4", "long_v2.mp4"], 6)
    bay.drop("twin.mp4", SPLIT + "seed = 1\n", long_clip)
    bay.until(lambda: any(one["held"] == "duplicate" for one in bay.told("jobs")), 30, "it is a duplicate")
    twin = next(one for one in bay.told("jobs") if one["held"] == "duplicate")
    ordered(bay, "cancel", twin["id"])
    first = next(one for one in bay.told("jobs") if one["variant"] == "v1")
    ordered(bay, "again", first["id"], "--prompt", "early spring")
    bay.until(lambda: "long_v1_v002.mp4" in bay.results(), 60, "the second version")
    bay.until_retired(2)
    assert bay.paid == 9


@pytest.mark.slow
def test_on_a_farm_whose_leader_is_killed_another_node_follows_the_parts_and_joins_them(open_bays, long_clip):
    with open_bays(render=Render.REAL, render_seconds=5.0) as bay:
        bay.is_checked = False  # it is checked from a node's side
        move_to_postgres(bay)
        one, two = (node(bay, name, top=SHORT) for name in ("one", "two"))
        begin(one, "started")
        begin(two, "follows")
        try:
            bay.drop("long.mp4", SPLIT, long_clip)
            one.until(lambda: states(bay) == ["running"] * 4, 60, "all parts are paid")
            one.daemon.kill()
            two.until(lambda: two.events("started"), 30, "it leads")
            two.until_retired(seconds=60)
            two.until_swept()
            assert (states(bay), bay.paid) == (["delivered"] * 4, 3)
            assert ffprobe(bay.outbox / "long.mp4", "stream=nb_frames") == {"nb_frames": "60"}
            assert Oracle(two).violations() == []
        finally:
            for each in (one, two):
                each.daemon.kill()
                each.daemon.wait()
