"""Hooks on the running program: what they get, what they decide, and that bad ones hold up nobody."""

import json
import sys
import textwrap

import pytest

CHECK = """
import json, os, sys, time
job = json.load(sys.stdin)
word = job["request"]["prompt"].split()[-1]
print("looked at", job["files"]["source"])
if word == "veto":
    sys.exit("no faces in this project, api_key=canary-4f1d-" + "never-shown")
if word == "hang":
    time.sleep(600)
if word == "die":
    os.kill(os.getpid(), 9)
if word == "fork":
    while True:
        os.fork()
if word == "flood":
    while True:
        os.write(1, b"spam " * 10000)
"""
TAG = """
import json, os, sys
job = json.load(sys.stdin)
seen = {"env": sorted(os.environ), "is_there": os.path.exists(job["files"]["source"])}
open(f"{job['hook']}-{job['id']}.json", "w").write(json.dumps({**job, **seen}))
"""


def hooked(bay, *, seconds_max):
    (bay.home / "check.py").write_text(textwrap.dedent(CHECK))
    (bay.home / "tag.py").write_text(textwrap.dedent(TAG))
    hooks = {"before_submit": "check.py", "after_delivery": "tag.py", "on_failure": "tag.py"}
    lines = [f"{name} = {json.dumps([sys.executable, script])}" for name, script in hooks.items()]
    bay.configure(top="[hooks]\n" + "\n".join([*lines, f"seconds_max = {seconds_max}", ""]))


def tagged(bay, hook):
    return [json.loads(file.read_text()) for file in bay.home.glob(f"{hook}-*.json")]


def test_a_veto_holds_its_clip_and_a_delivery_is_told_of(bay):
    hooked(bay, seconds_max=60)
    bay.start()
    bay.drop("shot.mp4")
    bay.drop("faces.mp4", 'prompt = "deep veto"\n')
    bay.until_retired()
    bay.until(lambda: tagged(bay, "after_delivery"), what="the hook wrote")
    (vetoed,) = [job for job in bay.told("jobs") if job["clip"] == "faces.mp4"]
    assert vetoed["held"] == "veto"
    assert vetoed["reason"].startswith("no faces in this project")
    assert "canary" not in vetoed["reason"]
    assert bay.paid == 1
    (told,) = tagged(bay, "after_delivery")
    assert (told["state"], told["hook"]) == ("delivered", "after_delivery")
    assert told["files"]["results"] == [str(bay.outbox / "shot.mp4")]
    assert told["is_there"], told["files"]
    assert not [name for name in told["env"] if "KEY" in name or "CREDENTIALS" in name]
    assert bay.call("approve", vetoed["id"], "--yes").returncode == 0
    bay.until_retired(2)
    story = bay.call("logs", told["id"], "--json").stdout
    assert "the before_submit hook let it pass" in story
    assert "looked at" in story
    assert "the after_delivery hook ran" in story


@pytest.mark.slow
def test_hooks_that_hang_fork_flood_and_die_hold_up_nobody_else(bay):
    hooked(bay, seconds_max=3)
    bay.start()
    for word in ("hang", "fork", "flood", "die"):
        bay.drop(f"{word}.mp4", f'prompt = "deep {word}"\n')
    bay.until(lambda: len(bay.told("jobs")) == 4, what="all are accepted")
    bay.drop("good.mp4")
    bay.until_retired(seconds=60)
    assert bay.paid == 1
    reasons = {job["clip"]: job["reason"] for job in bay.told("jobs") if job["state"] == "queued"}
    assert set(reasons) == {"hang.mp4", "fork.mp4", "flood.mp4", "die.mp4"}
    bay.until(
        lambda: all("hook failed" in one["reason"] for one in bay.told("jobs") if one["state"] == "queued"),
        seconds=30,
        what="each says what its hook did",
    )
    for job in bay.told("jobs"):
        if job["state"] == "queued":
            assert bay.call("cancel", job["id"], "--yes").returncode == 0
    bay.until_retired(5)
    bay.until(lambda: len(tagged(bay, "on_failure")) == 0, what="a cancelled job is no failure")
