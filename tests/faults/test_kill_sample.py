"""Kill -9 at sampled calls of a clip's life; `kill_all.py` does every one. The seed is printed and can be set."""

import os
import random

import pytest
from faults.kill import is_traceable, open_bench, spread

POINTS = 12
SEED = int(os.environ.get("CLIPSPOOL_TEST_SEED") or random.Random().randrange(1 << 30))


@pytest.fixture(scope="module")
def bench(tmp_path_factory, template):
    if not is_traceable():
        pytest.skip("this machine does not let us trace, or its calls are not known to the tracer")
    with open_bench(tmp_path_factory.mktemp("kill"), template) as one:
        yield one


@pytest.mark.parametrize("part", range(2))
def test_a_clip_is_whole_and_paid_once_wherever_kill_9_strikes(bench, part):
    seed = SEED + part
    print(f"CLIPSPOOL_TEST_SEED={SEED}")
    labels, written = bench.record()
    assert written == []
    for at in spread(labels, POINTS // 2, random.Random(seed)):
        verdict = bench.point(at)
        assert verdict.violations == [], f"{verdict}, CLIPSPOOL_TEST_SEED={SEED}"
