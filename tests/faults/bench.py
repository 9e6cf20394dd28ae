"""`make faults`: the whole fault bench within a time, then the farm's state machine, and a report card.

Usage: python tests/faults/bench.py [--minutes N] [--farm-steps N] [--seed N] [--card FILE]
"""

import argparse
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults.bugs import BUGS, TREE, hunt

MACHINES = ("tests/edges/test_scheduler_machine.py", "tests/edges/test_inbox_machine.py")
BUG_SECONDS = 20
MINUTES = 55.0
FARM_MACHINE = "tests/faults/test_farm_machine.py"
FARM_STEPS = 1_000_000
FARM_STEPS_A_MINUTE = 500
"""Where `--minutes` is given."""
FARM_STEPS_MAX = 20_000
"""In one process: a step takes longer, the more there were."""
SHORT_MINUTES = 25
"""In less time the tests that take long are left out, and bugs are drawn by lot."""


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def elsewhere():
    """Name the tests in other folders that have to catch a planted bug: they have to pass without it."""
    return sorted({f"tests/{bug.caught_by}" for bug in BUGS.values() if "::" in bug.caught_by} - in_faults())


def in_faults():
    return {f"tests/{bug.caught_by}" for bug in BUGS.values() if bug.caught_by.startswith("faults/")}


def tests(minutes, seed):
    """Run every test of faults, and the state machines with more examples; gives counts by outcome."""
    is_short = minutes < SHORT_MINUTES
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "--dist",
        "worksteal",
        "-p",
        "no:cacheprovider",
    ]
    command += [
        "-m",
        "not heavy" if is_short else "heavy or not heavy",
        "tests/faults",
        f"--ignore={FARM_MACHINE}",
        *MACHINES,
        *elsewhere(),
    ]
    examples = "30" if is_short else "150"
    env = {**os.environ, "CLIPSPOOL_TEST_EXAMPLES": examples, "CLIPSPOOL_TEST_SEED": str(seed)}
    done = subprocess.run(command, cwd=TREE, env=env, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    failed = re.findall(r"^(?:FAILED|ERROR) .*", done.stdout, re.MULTILINE)
    if failed:
        say(done.stdout)
    return {"examples": int(examples), **counts, "failed": failed}


def farm(steps, seed):
    """Run the farm's state machine, two processes side by side, until it made so many steps or fails."""
    seeds, done, failed = itertools.count(seed), [], []
    at_once = str(min(FARM_STEPS_MAX, max(steps // 2, 1)))

    def run_on():
        while sum(done) < steps and not failed:
            one = next(seeds)
            command = [sys.executable, "-m", "pytest", "-q", "-s", "-m", "", "-p", "no:cacheprovider"]
            command += [f"--hypothesis-seed={one}", FARM_MACHINE]
            env = {**os.environ, "CLIPSPOOL_TEST_FARM_STEPS": at_once}
            ran = subprocess.run(command, cwd=TREE, env=env, capture_output=True, text=True, check=False)
            made = re.search(r"(\d+) steps", ran.stdout)
            done.append(int(made[1]) if made else 0)
            if ran.returncode != 0 or not done[-1]:
                failed.append(f"{FARM_MACHINE} with {at_once} steps and --hypothesis-seed={one}")
                say(ran.stdout + ran.stderr)

    with ThreadPoolExecutor(2) as pool:
        for waiting in [pool.submit(run_on) for _ in range(2)]:
            waiting.result()
    return {"steps": sum(done), "failed": failed}


def bugs(minutes, chance):
    """Plant bugs, two at a time; gives what went wrong for each, empty where it was caught."""
    names = list(BUGS)
    if minutes < SHORT_MINUTES:
        names = chance.sample(names, min(len(names), max(int(minutes * 60 * 0.4 * 2 / BUG_SECONDS), 1)))
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, (why for _, why in pool.map(hunt, names)), strict=True))


def points(minutes, seed):
    """Run points of all kinds, in two processes side by side."""
    told = []
    with tempfile.TemporaryDirectory(prefix="clipspool-card-") as folder:

        def one(kind, share):
            out = Path(folder) / f"{kind}.json"
            command = [sys.executable, str(Path(__file__).with_name("points.py")), kind]
            command += ["--minutes", f"{minutes * share:.1f}", "--seed", str(seed), "--out", str(out)]
            done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                say(done.stdout + done.stderr)
            told.append(
                json.loads(out.read_text()) if out.exists() else {"kind": kind, "broken": done.stderr}
            )

        def both():
            one("power", 0.5)
            one("error", 0.5)

        with ThreadPoolExecutor(2) as pool:
            for waiting in (pool.submit(one, "kill", 1.0), pool.submit(both)):
                waiting.result()
    return sorted(told, key=lambda one: ("kill", "power", "error").index(one["kind"]))


def card(seed, seconds, tested, planted, ran, farmed):
    """Write the report card."""
    lines = [
        f"fault bench, {time.strftime('%Y-%m-%d', time.gmtime())}, seed {seed}, {seconds / 60:.0f} min",
        "",
    ]
    passed, failed = tested.get("passed", 0), tested["failed"]
    lines.append(
        f"tests               {passed} passed, {len(failed)} failed, {tested.get('skipped', 0)} skipped; "
        f"{tested['examples']} runs of each state machine"
    )
    lines += [f"  {one}" for one in failed]
    for one in ran:
        name = {"kill": "killed (kill -9)", "power": "power cut", "error": "call failed"}[one["kind"]]
        if "points" not in one:
            lines.append(f"{name:20}{one.get('skipped') or one.get('broken', '')[-500:]}")
            continue
        broken = Counter(
            re.split(r": ", v.removeprefix("just after: "))[0] for *_, vs in one["violations"] for v in vs
        )
        lines.append(
            f"{name:20}{one['points']} of {one['all']} points, {one['twice']} of them twice; "
            f"violations {sum(broken.values())} {dict(broken) or ''}".rstrip()
        )
        lines.append(
            f"{'':20}in doubt {one['in_doubt']}, of them false alarms {one['false']}; "
            f"temporary files left {one['left_over']}"
        )
    lines.append(f"farm                {farmed['steps']:,} steps, {len(farmed['failed'])} failed")
    lines += [f"  {one}" for one in farmed["failed"]]
    caught = [name for name, why in planted.items() if not why]
    lines.append(f"planted bugs        {len(caught)} of {len(planted)} caught")
    lines += [f"  {name}: {why}" for name, why in planted.items() if why]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--farm-steps", type=int)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--card", type=Path, default=Path(__file__).with_name("CARD.txt"))
    given = parser.parse_args()
    minutes = given.minutes or MINUTES
    steps = given.farm_steps
    if steps is None:
        steps = int(given.minutes * FARM_STEPS_A_MINUTE) if given.minutes else FARM_STEPS
    begun = time.monotonic()
    say(f"seed {given.seed}, {minutes:g} minutes, then {steps:,} steps of the farm's state machine")
    tested = tests(minutes, given.seed)
    say(f"tests: {tested}")
    planted = bugs(minutes, random.Random(given.seed))
    for name in planted:
        if any(BUGS[name].caught_by in one for one in tested["failed"]):
            planted[name] = "its test fails without the bug too"
    say(f"planted bugs: {planted}")
    left = minutes - (time.monotonic() - begun) / 60
    ran = points(max(left, 1.0), given.seed)
    farmed = farm(steps, given.seed)
    text = card(given.seed, time.monotonic() - begun, tested, planted, ran, farmed)
    say(text)
    given.card.write_text(text)
    is_broken = (
        tested["failed"]
        or farmed["failed"]
        or any(planted.values())
        or any(one.get("violations") for one in ran)
    )
    return 1 if is_broken else 0


if __name__ == "__main__":
    sys.exit(main())
