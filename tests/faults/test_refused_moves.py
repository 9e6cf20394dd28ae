"""A mount that refuses renames or links, for ever or once: the clip goes on, or a note says why not."""

import os
import random
import sys

import pytest

from faults.kill import is_traceable, open_bench
from faults.oracle import Oracle

SEED = int(os.environ.get("CLIPSPOOL_TEST_SEED") or random.Random().randrange(1 << 30))
ERRORS = ("EIO", "ENOSYS", "EPERM", "EOPNOTSUPP", "EINVAL", "EXDEV", "EACCES", "ENOTTY", "EDQUOT")
MOVES = ("rename", "renameat", "renameat2", "link", "linkat")
POINTS = 4


@pytest.fixture(scope="module")
def bench(tmp_path_factory, template):
    if not is_traceable():
        pytest.skip("this machine does not let us trace, or its calls are not known to the tracer")
    with open_bench(tmp_path_factory.mktemp("refused"), template) as one:
        yield one


def sampled(*fixed):
    """Return the errors that are tried each time, and the others as heavy ones."""
    return [one if one in fixed else pytest.param(one, marks=pytest.mark.heavy) for one in ERRORS]


def ended(bay, state):
    assert list(bay.jobs().values()) == [state], bay.lately()
    assert not list(bay.inbox.rglob(".claimed-*"))
    assert Oracle(bay).violations() == []


@pytest.mark.parametrize("error", sampled("EIO"))
@pytest.mark.parametrize("calls", ["renameat2", "renameat2,linkat"])
def test_where_no_name_can_be_kept_from_being_replaced_another_way_serves(bench, calls, error):
    bench.life = "plain"
    bay = bench.new_bay()
    bench.drop(bay)
    assert bench.traced(bay, f"{calls}={error}")["code"] == 0
    ended(bay, "delivered")
    assert bay.lying()


@pytest.mark.parametrize("error", sampled("EXDEV", "EIO"))
@pytest.mark.parametrize("life", ["plain", pytest.param("failed", marks=pytest.mark.slow)])
def test_where_no_file_can_be_renamed_from_folder_to_folder_all_moves_copy(bench, life, error):
    bench.life = life
    bay = bench.new_bay()
    bench.drop(bay)
    state = "delivered" if life == "plain" else "failed"
    refused = f"renameat,renameat2,linkat!{error}"
    assert bench.traced(bay, refused)["code"] == 0
    ended(bay, state)
    home = "_done" if life == "plain" else "_failed"
    assert f"{home}/in/{bay.home.name}.mp4" in bay.lying()
    if life == "failed":
        (job_id,) = bay.jobs()
        assert bay.call("retry", job_id, "--yes").returncode == 0
        bay.consents += 1
        assert bench.traced(bay, refused)["code"] == 0
        ended(bay, state)
        assert f"{home}/in/{bay.home.name}.mp4" in bay.lying()


@pytest.mark.parametrize("error", ["EDQUOT", "ENOSPC"])
def test_a_quota_of_the_outbox_that_is_used_up_holds_the_clip_back_before_anything_is_paid(bench, error):
    """The file system's own figures show no quota: only the attempt to reserve the room does."""
    bench.life = "plain"
    bay = bench.new_bay()
    bench.drop(bay)
    paid = bay.paid
    assert bench.traced(bay, f"fallocate={error}")["code"] == 0
    assert bay.paid == paid
    assert bay.job()["held"] == "outbox"
    assert "no room for a result of" in bay.job()["reason"]
    bench.try_again(bay)
    ended(bay, "delivered")


@pytest.mark.parametrize("error", sampled("EPERM"))
def test_where_nothing_can_be_renamed_the_clip_stays_and_a_note_names_the_calls(bench, error):
    bench.life = "plain"
    bay = bench.new_bay()
    bench.drop(bay)
    assert bench.traced(bay, f"renameat={error}")["code"] == 0
    assert bay.jobs() == {}
    note = (bay.inbox / f"in/{bay.home.name}.mp4.problem.txt").read_text()
    assert "rename from in into .clipspool/work: " in note
    assert "rename within in: " in note
    assert (bay.inbox / f"in/{bay.home.name}.mp4").exists()
    assert bay.run_until_idle() == 0
    ended(bay, "delivered")


@pytest.mark.slow
@pytest.mark.parametrize("life", ["plain", pytest.param("failed", marks=pytest.mark.heavy)])
def test_a_rename_or_link_that_fails_once_or_says_so_though_it_was_done_costs_no_clip(bench, life):
    sys.stdout.write(f"CLIPSPOOL_TEST_SEED={SEED}\n")
    bench.life = life
    bay = bench.new_bay()
    bench.drop(bay)
    labels = bench.traced(bay, "999999=EIO")["labels"]
    chance = random.Random(SEED)
    moves = [number for number, label in enumerate(labels, 1) if label in MOVES]
    assert len(moves) > 6
    for number in chance.sample(moves, POINTS):
        at = f"{number}{chance.choice('=~')}{chance.choice(ERRORS)}"
        verdict = bench.point(at)
        assert verdict.violations == [], f"{at}: {verdict}, CLIPSPOOL_TEST_SEED={SEED}"
