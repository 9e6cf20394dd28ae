"""The kill bench: one clip's life, ended by kill -9 at the n-th call, finished by a second run, judged."""

import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from faults.oracle import ENDED, Oracle
from faults.watcher import Watcher
from journeys.bay import Bay, TooLateError
from patience import patient
from runway_sandbox import Options, Render, serve

LIVES = ("plain", "across", "failed", "variants", "deleted")
"""A clip delivered; to another file system; whose render fails; with two variants; whose source goes."""
TRACE = Path(__file__).with_name("trace.py")


@dataclass
class Verdict:
    """What came of one point; `at` holds numbers of calls, or `12=EIO` for one that failed."""

    at: tuple
    labels: tuple
    violations: list
    in_doubt: int = 0
    false_alarms: int = 0
    left_over: list = field(default_factory=list)


class Bench:
    """Runs points one after another against one stand-in; each point has a bay and clips of its own."""

    def __init__(self, home, template, box, ledger, elsewhere):
        self.home, self.template, self.box, self.ledger = home, template, box, ledger
        self.elsewhere = elsewhere
        self.life = "plain"
        self._numbers = itertools.count()

    def new_bay(self):
        bay = Bay(self.home / f"bay{next(self._numbers):04}", self.box, self.template, self.ledger)
        bay.is_alone = False
        keys = ""
        if self.life == "across":
            bay.outbox = self.elsewhere / bay.home.name
            bay.outbox.mkdir()
        if self.life == "deleted":
            keys, bay.deletes_sources = 'source = "delete"', True
        bay.configure(keys=keys)
        return bay

    def drop(self, bay):
        name = bay.home.name
        sidecar = f'prompt = "{name} {self.life}"\nseed = 1\n'
        if self.life == "variants":
            sidecar += "[[variant]]\nseed = 2\n[[variant]]\nseed = 3\n"
        bay.drop(f"in/{name}.mp4", sidecar)

    def traced(self, bay, at):
        """Run the daemon until idle, or until the n-th call."""
        report = bay.home / "report.json"
        bay.start("--until-idle", wait=False, before=[sys.executable, str(TRACE), str(at), str(report)])
        bay.daemon.wait(patient(90))
        bay.daemon = None
        return json.loads(report.read_text())

    def record(self):
        """Return the labels of the calls in one undisturbed life, and the files opened for writing."""
        bay = self.new_bay()
        self.drop(bay)
        told = self.traced(bay, 0)
        found = Oracle(bay).violations()
        assert told["code"] == 0 and not found, (told["code"], found, bay.lately())  # noqa: PT018
        shutil.rmtree(bay.home)
        return told["labels"], [
            p for p in told["written"] if not p.startswith((str(bay.home), "/dev/", str(self.elsewhere)))
        ]

    def point(self, *at):
        """Kill at each of these calls in turn, or let them fail, let it finish, and judge."""
        bay = self.new_bay()
        watcher = Watcher(bay.outbox).start()
        try:
            verdict = self._point(bay, *at)
        finally:
            found = watcher.stop()
        verdict.violations += found
        if not verdict.violations:
            shutil.rmtree(bay.home)
        return verdict

    def _point(self, bay, *at):
        self.drop(bay)
        oracle = Oracle(bay)
        labels, violations = [], []
        for number in at:
            told = self.traced(bay, number)
            labels.append(told["killed_at"] or "-")
            violations += [f"just after: {v}" for v in oracle.violations(at_rest=False)]
        verdict = Verdict(at, tuple(labels), violations)
        self.finish(bay, verdict)
        found = oracle.violations()
        verdict.left_over = [v for v in found if v.startswith("I10")]
        violations += [v for v in found if v not in verdict.left_over]
        return verdict

    def finish(self, bay, verdict):
        """Let a second run end what the first left; the operator looks the doubtful ones up."""
        for _ in range(3):
            code = bay.run_until_idle(60)
            if code != 0:
                verdict.violations.append(f"I7: the next run ended with {code}: {bay.lately()[-1500:]}")
                return
            jobs = bay.query("SELECT * FROM jobs")
            doubtful = [j for j in jobs if j["held"] == "in_doubt"]
            if any(j["held"] in {"result", "outbox", "disk"} for j in jobs):
                self.try_again(bay)
            if not doubtful:
                break
            for job in doubtful:
                verdict.in_doubt += 1
                seed = json.loads(job["request"])["seed"]
                found = [c["task_id"] for c in Oracle(bay).ledger() if c["seed"] == seed]
                if found:
                    done = bay.call("attach", job["id"], found[-1], "--yes")
                else:
                    verdict.false_alarms += 1
                    done = bay.call("retry", job["id"], "--yes")
                if done.returncode != 0:
                    verdict.violations.append(f"I7: {done.stderr}")
        if set(bay.jobs().values()) != {"failed" if self.life == "failed" else "delivered"}:
            verdict.violations.append(f"I7: the clip ended as {bay.jobs()}; {bay.lying()}")

    def try_again(self, bay):
        """Let a daemon that stays try again what failed once; one that ends when idle leaves it."""
        bay.start()
        with suppress(TooLateError):
            bay.until(lambda: set(bay.jobs().values()) <= {*ENDED, "in_doubt"}, 30)
        bay.stop()


@contextmanager
def open_bench(home, template):
    home.mkdir(parents=True, exist_ok=True)
    ledger = home / "ledger.jsonl"
    options = Options(render=Render.CANNED, render_seconds=0.0, ledger=ledger)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        serve(options) as box,
        tempfile.TemporaryDirectory(prefix="clipspool-kill-", dir=memory) as elsewhere,
    ):
        box.misbehave("task:failure:prompt=failed")
        yield Bench(home, template, box, ledger, Path(elsewhere))


def is_traceable():
    """Return whether this machine lets us trace, and is one whose calls we know."""
    if platform.machine() != "x86_64":
        return False
    with tempfile.NamedTemporaryFile() as report:
        done = subprocess.run(
            [sys.executable, str(TRACE), "0", report.name, "/bin/true"], check=False, capture_output=True
        )
        return done.returncode == 0
