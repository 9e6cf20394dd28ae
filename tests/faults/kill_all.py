"""The full kill run: kill -9 at every call of a clip's life, and again during recovery; a report card.

Usage: python tests/faults/kill_all.py [--life L] [--every N] [--pairs N] [--seed N] [--card FILE]
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults.kill import LIVES, open_bench


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="each n-th point only")
    parser.add_argument("--pairs", type=int, default=15, help="in each life, points killed twice")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--life", action="append", choices=LIVES, help="only this; may be given again")
    parser.add_argument("--card", type=Path, help="write the report card here too")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    home = Path(tempfile.mkdtemp(prefix="clipspool-kill-"))
    begun = time.monotonic()
    verdicts = []
    with open_bench(home, home / "template.mp4") as bench:
        for bench.life in given.life or LIVES:
            labels, written = bench.record()
            points = [(n,) for n in range(1, len(labels) + 1, given.every)]
            if bench.life != "plain":
                # What comes before a clip is accepted is the same in every life.
                points = points[len(points) // 2 :]
            points += [tuple(chance.randint(1, len(labels)) for _ in "ab") for _ in range(given.pairs)]
            chance.shuffle(points)
            say(f"{bench.life}: {len(labels)} calls, {len(points)} points")
            for at in points:
                verdict = bench.point(*at)
                verdicts.append(verdict)
                if verdict.violations:
                    say(f"{bench.life} {at} {verdict.labels}: {verdict.violations}")
            say(f"{bench.life} done at {time.monotonic() - begun:.0f} s")
    card = report_card(given.seed, labels, written, verdicts, time.monotonic() - begun)
    say(card)
    if given.card:
        given.card.write_text(card)
    return 1 if any(v.violations for v in verdicts) else 0


def report_card(seed, labels, written, verdicts, seconds):
    """Sum up: points, violations by invariant, doubts and false alarms."""
    by_kind = Counter(label for v in verdicts for label in v.labels)
    broken = Counter(
        said.removeprefix("just after: ").split(":")[0] for v in verdicts for said in v.violations
    )
    doubts, false = sum(v.in_doubt for v in verdicts), sum(v.false_alarms for v in verdicts)
    lines = [
        f"kill -9 report card (seed {seed}, {seconds:.0f} s)",
        f"calls in one clip's life   {len(labels)}",
        f"points killed              {len(verdicts)}, of them twice {sum(len(v.at) > 1 for v in verdicts)}",
        f"kinds                      {', '.join(f'{k} {n}' for k, n in by_kind.most_common())}",
        f"violations                 {sum(broken.values())} {dict(broken) or ''}",
        f"in doubt                   {doubts}, false alarms {false}",
        f"temporary files left       {sum(len(v.left_over) for v in verdicts)}",
        f"files written elsewhere    {written or 'none'}",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
