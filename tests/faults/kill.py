"""The kill bench: one clip's life, ended by kill -9 at the n-th call, finished by a second run, and judged."""

import itertools
import json
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faults.oracle import Oracle
from journeys.bay import Bay

from clipspool.sandbox import Options, Render, serve

TRACE = Path(__file__).with_name("trace.py")


@dataclass
class Verdict:
    """What came of one point."""

    at: tuple
    labels: tuple
    violations: list
    in_doubt: int = 0
    false_alarms: int = 0


class Bench:
    """Runs points one after another against one stand-in; each point has a bay and clips of its own."""

    def __init__(self, home, template, box, ledger):
        self.home, self.template, self.box, self.ledger = home, template, box, ledger
        self._numbers = itertools.count()

    def new_bay(self):
        bay = Bay(self.home / f"bay{next(self._numbers):04}", self.box, self.template, self.ledger)
        bay.is_alone = False
        return bay

    def drop(self, bay):
        name = bay.home.name
        bay.drop(f"in/{name}.mp4", f'prompt = "{name}"\nseed = 1\n')

    def traced(self, bay, at):
        """Run the daemon until idle, or until the n-th call."""
        report = bay.home / "report.json"
        bay.start("--until-idle", wait=False, before=[sys.executable, str(TRACE), str(at), str(report)])
        bay.daemon.wait(90)
        bay.daemon = None
        return json.loads(report.read_text())

    def record(self):
        """Give the labels of the calls in one undisturbed life, and the files opened for writing."""
        bay = self.new_bay()
        self.drop(bay)
        told = self.traced(bay, 0)
        found = Oracle(bay).violations()
        assert told["code"] == 0 and not found, (told["code"], found, bay.lately())  # noqa: PT018
        shutil.rmtree(bay.home)
        return told["labels"], [p for p in told["written"] if not p.startswith((str(bay.home), "/dev/"))]

    def point(self, *at):
        """Kill at each of these calls in turn, let it finish, and judge."""
        bay = self.new_bay()
        self.drop(bay)
        oracle = Oracle(bay)
        labels, violations = [], []
        for number in at:
            told = self.traced(bay, number)
            labels.append(told["killed_at"] or "-")
            violations += [f"just after: {v}" for v in oracle.violations(at_rest=False)]
        verdict = Verdict(at, tuple(labels), violations)
        self.finish(bay, verdict)
        violations += oracle.violations()
        if not violations:
            shutil.rmtree(bay.home)
        return verdict

    def finish(self, bay, verdict):
        """Let a second run end what the first left; the operator looks the doubtful ones up."""
        for _ in range(3):
            code = bay.run_until_idle(60)
            if code != 0:
                verdict.violations.append(f"I7: the next run ended with {code}: {bay.lately()[-1500:]}")
                return
            doubtful = [j for j in bay.query("SELECT * FROM jobs") if j["held"] == "in_doubt"]
            if not doubtful:
                break
            for job in doubtful:
                verdict.in_doubt += 1
                sha256 = bay.query("SELECT sha256 FROM clips WHERE id = ?", job["clip_id"])[0]["sha256"]
                found = [c["task_id"] for c in Oracle(bay).ledger() if c["sha256"] == sha256]
                if found:
                    done = bay.call("attach", job["id"], found[-1], "--yes")
                else:
                    verdict.false_alarms += 1
                    done = bay.call("retry", job["id"], "--yes")
                if done.returncode != 0:
                    verdict.violations.append(f"I7: {done.stderr}")
        if sorted(bay.jobs().values()) != ["delivered"]:
            verdict.violations.append(f"I7: the clip ended as {bay.jobs()}; {bay.lying()}")


@contextmanager
def open_bench(home, template):
    home.mkdir(parents=True, exist_ok=True)
    ledger = home / "ledger.jsonl"
    with serve(Options(render=Render.CANNED, render_seconds=0.0, ledger=ledger)) as box:
        yield Bench(home, template, box, ledger)


def is_traceable():
    """Say whether this machine lets us trace, and is one whose calls we know."""
    import platform  # noqa: PLC0415
    import subprocess  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    if platform.machine() != "x86_64":
        return False
    with tempfile.NamedTemporaryFile() as report:
        done = subprocess.run(
            [sys.executable, str(TRACE), "0", report.name, "/bin/true"], check=False, capture_output=True
        )
        return done.returncode == 0


def spread(labels, count, random):
    """Choose points so that each kind of call comes up, and the rest evenly at random."""
    kinds = sorted(set(labels))
    first = [random.choice([n for n, k in enumerate(labels, 1) if k == kind]) for kind in kinds]
    random.shuffle(first)
    others = [n for n in range(1, len(labels) + 1) if n not in first]
    return (first + random.sample(others, min(len(others), max(count - len(first), 0))))[:count]


def seconds_since(begun):
    return time.monotonic() - begun
