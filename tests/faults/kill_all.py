"""The full kill run: kill -9 at every call of a clip's life, then at random again during recovery; a report card.

Usage: python tests/faults/kill_all.py [--every N] [--pairs N] [--seed N] [--card FILE]
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults.kill import open_bench


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="each n-th point only")
    parser.add_argument("--pairs", type=int, default=60, help="points killed a second time during recovery")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--card", type=Path, help="write the report card here too")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    home = Path(tempfile.mkdtemp(prefix="clipspool-kill-"))
    begun = time.monotonic()
    verdicts = []
    with open_bench(home, home / "template.mp4") as bench:
        labels, written = bench.record()
        points = [(n,) for n in range(1, len(labels) + 1, given.every)]
        chance.shuffle(points)
        points += [
            (chance.randint(1, len(labels)), chance.randint(1, len(labels))) for _ in range(given.pairs)
        ]
        for number, at in enumerate(points, 1):
            verdict = bench.point(*at)
            verdicts.append(verdict)
            if verdict.violations:
                print(f"{at} {verdict.labels}: {verdict.violations}", flush=True)
            if number % 20 == 0:
                print(f"{number} of {len(points)}, {time.monotonic() - begun:.0f} s", flush=True)
    card = report_card(given.seed, labels, written, verdicts, time.monotonic() - begun)
    print(card)
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
        f"files written elsewhere    {written or 'none'}",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
