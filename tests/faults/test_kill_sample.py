"""Kill -9 at sampled calls of a clip's life; `points.py` does all, as time allows. The seed can be set."""

import os
import random
import sys

import pytest

from faults.kill import LIVES, is_traceable, open_bench

POINTS = {"plain": 2, "across": 2, "failed": 2, "variants": 3, "deleted": 2}
QUICK = ("plain",)
SEED = int(os.environ.get("CLIPSPOOL_TEST_SEED") or random.Random().randrange(1 << 30))


@pytest.fixture(scope="module")
def bench(tmp_path_factory, template):
    if not is_traceable():
        pytest.skip("this machine does not let us trace, or its calls are not known to the tracer")
    with open_bench(tmp_path_factory.mktemp("kill"), template) as one:
        yield one


@pytest.mark.parametrize(
    "life", [life if life in QUICK else pytest.param(life, marks=pytest.mark.heavy) for life in LIVES]
)
def test_a_clip_is_whole_and_paid_once_wherever_kill_9_strikes(bench, life):
    sys.stdout.write(f"CLIPSPOOL_TEST_SEED={SEED}\n")
    bench.life = life
    labels, written = bench.record()
    assert written == []
    chance = random.Random(SEED)
    telling = [number for number, label in enumerate(labels, 1) if label != "pwrite64"]
    for at in chance.sample(telling[len(telling) // 4 :], POINTS[life]):
        verdict = bench.point(at)
        assert verdict.violations == [], f"{verdict}, CLIPSPOOL_TEST_SEED={SEED}"
