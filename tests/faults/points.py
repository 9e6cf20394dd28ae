"""Runs points of a clip's life, as many as time allows: killed, failed or cut off at a call, then judged.

Usage: python tests/faults/points.py KIND [--minutes N] [--seed N] [--out FILE]; KIND is `kill` (kill -9 at a
call, also twice), `error` (a call fails once, undone or done) or `power` (the power is cut around a commit, a
rename or a request). The seed fixes their order; calls of the commonest kinds come last.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults import kill
from faults.power import PLACES, PowerBench, open_disk, telling_points

KINDS = ("kill", "error", "power")
ERRORS = ("EIO", "ENOSPC", "EACCES", "ESTALE", "ENOENT", "EMFILE", "EROFS", "ENOMEM", "EDQUOT", "EPERM")
COMMON = {"pwrite64", "newfstatat", "close", "read", "fstat"}
RARE = (
    "connect",
    "fsync",
    "fdatasync",
    "ftruncate",
    "getdents64",
    "mkdirat",
    "recvfrom",
    "renameat",
    "renameat2",
)
PAIRS = 15


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def kill_points(bench, chance):
    points = []
    for bench.life in kill.LIVES:
        labels, _ = bench.record()
        numbers = range(1, len(labels) + 1)
        # What comes before a clip is accepted is the same in every life.
        numbers = numbers if bench.life == "plain" else numbers[len(numbers) // 2 :]
        points += [(bench.life, (number,), labels[number - 1] in COMMON) for number in numbers]
        pairs = [tuple(chance.randint(1, len(labels)) for _ in "ab") for _ in range(PAIRS)]
        points += [(bench.life, pair, False) for pair in pairs]
    return points


def error_points(bench, chance):
    points = []
    for bench.life in ("plain", "across"):
        bay = bench.new_bay()
        bench.drop(bay)
        labels = bench.traced(bay, "999999=EIO")["labels"]
        for number, label in enumerate(labels, 1):
            errors = chance.sample(ERRORS, 3 if label in RARE else 1)
            spoilt = [f"{number}{chance.choice('==~')}{error}" for error in errors]
            points += [(bench.life, (at,), label in COMMON) for at in spoilt]
    return points


def power_points(bench, _chance):
    points = []
    for bench.place in PLACES:
        labels, _ = bench.record()
        points += [(bench.place, (number,), False) for number in telling_points(labels)]
    return points


def run(kind, minutes, seed):
    """Return what came of as many points as there was time for."""
    chance = random.Random(seed)
    home = Path(tempfile.mkdtemp(prefix=f"clipspool-{kind}-"))
    begun = time.monotonic()
    told = Counter()
    labels, violations, left_over = Counter(), [], 0
    with open_disk(home) as disk, kill.open_bench(home / "bench", home / "template.mp4") as plain:
        bench = plain
        if kind == "power":
            if disk is None:
                return {"kind": kind, "skipped": "this machine gives us no loop device"}
            bench = PowerBench(plain.home, plain.template, plain.box, plain.ledger, plain.elsewhere)
            bench.disk = disk
        points = {"kill": kill_points, "error": error_points, "power": power_points}[kind](bench, chance)
        chance.shuffle(points)
        points.sort(key=lambda point: point[2])
        say(f"{kind}: {len(points)} points, seed {seed}")
        for where, at, _ in points:
            if time.monotonic() - begun > minutes * 60:
                break
            if kind == "power":
                bench.place = where
            else:
                bench.life = where
            verdict = bench.point(*at)
            told += Counter(
                points=1, twice=len(at) > 1, in_doubt=verdict.in_doubt, false=verdict.false_alarms
            )
            labels.update(verdict.labels)
            left_over += len(verdict.left_over)
            if verdict.violations:
                violations.append([where, at, verdict.labels, verdict.violations])
                say(f"{kind} {where} {at} {verdict.labels}: {verdict.violations}")
    return {
        "kind": kind,
        "seed": seed,
        "seconds": round(time.monotonic() - begun),
        "all": len(points),
        **{name: told[name] for name in ("points", "twice", "in_doubt", "false")},
        "labels": dict(labels.most_common()),
        "violations": violations,
        "left_over": left_over,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--out", type=Path, help="write what came of it here, as JSON")
    given = parser.parse_args()
    os.environ.setdefault("CLIPSPOOL_TEST_SEED", str(given.seed))
    told = run(given.kind, given.minutes, given.seed)
    say(json.dumps(told))
    if given.out:
        given.out.write_text(json.dumps(told))
    return 1 if told.get("violations") else 0


if __name__ == "__main__":
    sys.exit(main())
