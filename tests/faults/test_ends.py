"""The daemon ended at random, twice over, or by its own journal: what was dropped comes home, paid once."""

import contextlib
import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from faults.oracle import Oracle
from journeys.bay import beside, journal_id, make_clip, make_silent
from patience import patient

SEED = int(os.environ.get("CLIPSPOOL_TEST_SEED") or random.Random().randrange(1 << 30))


def settle_doubts(bay):
    """Be the operator: attach what the ledger of the stand-in knows, run the rest again, an hour later."""
    an_hour_ago = time.time() - 3700
    for root in (bay.inbox, bay.outbox):
        for path in root.rglob(".*.tmp"):  # another thread was writing; after an hour it is cleared away
            os.utime(path, (an_hour_ago, an_hour_ago))
    for _ in range(4):
        bay.run_until_idle(60)
        jobs = bay.query("SELECT * FROM jobs")
        doubtful = [j for j in jobs if j["held"] == "in_doubt"]
        # Killed again and again by us, some look as if they had killed it themselves.
        suspected = [j["id"] for j in jobs if j["held"] == "poison"]
        if not doubtful and not suspected:
            return
        if suspected:
            assert bay.call("approve", *suspected, "--yes").returncode == 0
        known = {c["part"] or c["sha256"]: c["task_id"] for c in Oracle(bay).ledger()}
        for job in doubtful:
            clips = bay.query("SELECT sha256 FROM clips WHERE id = ?", job["clip_id"])
            made = job["id"] if job["part"] else clips[0]["sha256"]
            words = ("attach", job["id"], known[made]) if made in known else ("retry", job["id"])
            assert bay.call(*words, "--yes").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.heavy)])
def test_ended_at_random_again_and_again_every_clip_is_delivered_once(open_bays, number):
    sys.stdout.write(f"CLIPSPOOL_TEST_SEED={SEED}\n")
    chance = random.Random(SEED)
    with open_bays(render_seconds=0.3, seed=SEED) as bay:
        bay.configure(provider="running_max = 4")
        bay.box.misbehave("create:429:probability=0.2:retry_after=0", "poll:500:probability=0.2")
        bay.box.misbehave("download:cut:probability=0.3")
        names = (f"n{n:02}.mp4" for n in itertools.count())
        for _ in range(5):
            for _ in range(3):
                bay.drop(next(names))
            bay.start()
            time.sleep(chance.uniform(0.1, 1.2))
            code = bay.stop(number)
            assert code == (0 if number == signal.SIGTERM else -9)
            found = Oracle(bay).violations(at_rest=False)
            assert found == [], f"{found}, CLIPSPOOL_TEST_SEED={SEED}"
        bay.box.behave()
        settle_doubts(bay)
        assert list(bay.jobs().values()) == ["delivered"] * 15, SEED
        found = [v for v in Oracle(bay).violations() if not v.startswith("I10")]
        assert found == [], f"{found}, CLIPSPOOL_TEST_SEED={SEED}"
        if number == signal.SIGTERM:
            assert bay.paid == 15


def test_two_daemons_with_journals_of_their_own_share_an_inbox_and_take_each_clip_once(open_bays):
    with open_bays() as one:
        two = beside(one)
        two.configure()
        one.start()
        two.start()
        try:
            for number in range(20):
                one.drop(f"n{number:02}.mp4")
            one.until(lambda: len(one.jobs()) + len(two.jobs()) >= 20, 20)
            one.until(lambda: {*one.jobs().values(), *two.jobs().values()} == {"delivered"}, 20)
            one.until(lambda: len([n for n in one.lying() if n.endswith(".mp4")]) == 20, 20)
        finally:
            assert two.stop() == 0
        assert one.stop() == 0
        assert one.paid == 20
        assert len([n for n in one.results() if n.endswith(".mp4")]) == 20
        assert set(one.box.ledger.creates_by_clip().values()) == {1}


def test_a_journal_that_cannot_be_written_ends_the_daemon_before_it_can_spend(open_bays):
    with open_bays() as bay:
        state = bay.journal.parent
        state.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(state)], capture_output=True, check=False
        )
        if done.returncode != 0:
            pytest.skip("mounting is not allowed here")
        try:
            bay.start()
            with (state / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            for number in range(30):
                bay.drop(f"n{number}.mp4")
            assert bay.daemon.wait(patient(30)) == 1
            bay.daemon = None
            assert bay.events("stopped_by_trouble")[0]["why"] == (
                "The journal cannot be written (database or disk is full)."
            )
            paid = bay.paid
            # The next start reads from it that no clip is to blame for this end.
            assert bay.journal.with_name(f"{bay.journal.name}.lock").read_bytes() == b""
            assert Oracle(bay).violations(at_rest=False) == []
            (state / "filler").unlink()
            subprocess.run(["mount", "-o", "remount,size=64m", str(state)], check=True)
            settle_doubts(bay)
            assert list(bay.jobs().values()) == ["delivered"] * 30
            assert bay.paid == 30, paid
            assert Oracle(bay).violations() == []
        finally:
            subprocess.run(["umount", "-l", str(state)], capture_output=True, check=False)


@pytest.mark.slow
def test_clips_that_another_daemon_takes_over_are_let_go_by_the_one_that_had_them(open_bays):
    with open_bays(render_seconds=10.0) as one:
        two = beside(one)
        for bay in (one, two):
            bay.configure(provider="running_max = 2")
        one.start()
        for number in range(8):
            one.drop(f"n{number}.mp4")
        one.until(lambda: sorted(one.jobs().values()).count("queued") == 6 and one.paid == 2, 20)
        one.until(lambda: "running" in one.jobs().values(), 20)
        two.start()
        try:
            # It lives, but is cut off from the file server for longer than its mark lasts.
            make_silent(two, journal_id(one))
            assert two.call("recover", "--yes").returncode == 0
            one.until(lambda: not {*one.jobs().values()} - {"cancelled", "delivered"}, 60)
            two.until(lambda: not {*two.jobs().values()} - {"in_doubt", "delivered"}, 60)
        finally:
            assert two.stop() == 0
        assert one.stop() == 0
        assert list(one.jobs().values()).count("cancelled") >= 6
        assert one.paid == 8
        assert set(one.box.ledger.creates_by_clip().values()) == {1}
        doubts = list(two.jobs().values()).count("in_doubt")
        assert len([n for n in one.results() if n.endswith(".mp4")]) == 8 - doubts
        whole = {hashlib.sha256(path.read_bytes()).hexdigest() for path in one.inbox.rglob("*.mp4")}
        assert set(one.dropped) <= whole
        one.is_checked = False  # half of the story is in the other journal


@pytest.mark.parametrize("suffix", ["", ".lock"])
def test_a_journal_that_is_taken_away_ends_the_daemon_before_it_can_spend(open_bays, suffix):
    with open_bays() as bay:
        bay.start()
        bay.drop("one.mp4")
        bay.until_retired()
        part = bay.journal.with_name(bay.journal.name + suffix)
        part.rename(part.with_name("aside"))
        bay.drop("two.mp4")
        assert bay.daemon.wait(patient(30)) == 1
        bay.daemon = None
        assert bay.paid == 1
        part.with_name("aside").rename(part)
        settle_doubts(bay)
        assert list(bay.jobs().values()) == ["delivered"] * 2
        assert bay.paid == 2
        assert Oracle(bay).violations() == []


def test_a_journal_that_is_lost_while_an_answer_is_awaited_leaves_no_doubt(open_bays):
    with open_bays() as bay:
        bay.box.misbehave("create:slow:seconds=4")
        bay.start()
        bay.drop("one.mp4")
        bay.until(lambda: bay.paid == 1)
        bay.journal.rename(bay.journal.with_name("aside"))
        bay.drop("two.mp4")
        assert bay.daemon.wait(patient(30)) == 1
        bay.daemon = None
        bay.journal.with_name("aside").rename(bay.journal)
        assert bay.run_until_idle(60) == 0
        assert list(bay.jobs().values()) == ["delivered"] * 2
        assert bay.paid == 2
        assert Oracle(bay).violations() == []


def damage_cut(data):
    return data[: len(data) // 2]


def damage_head(data):
    return b"\0" * 100 + data[100:]


def damage_pages(data):
    return data[:8192] + bytes(255 - b for b in data[8192:20480]) + data[20480:]


@pytest.mark.parametrize("damage", [damage_cut, damage_head, damage_pages])
def test_a_damaged_journal_is_refused_with_a_sentence_and_recovered(open_bays, damage):
    with open_bays(render_seconds=20.0) as bay:
        bay.start()
        bay.drop()
        bay.until_states("running")
        assert bay.stop() == 0
        bay.journal.write_bytes(damage(bay.journal.read_bytes()))
        done = bay.call("run", "--until-idle")
        assert done.returncode == 1, done.stderr
        assert "recover" in done.stderr
        assert "Traceback" not in done.stderr
        bay.journal.rename(bay.journal.with_suffix(".kept"))
        assert bay.call("recover", "--yes").returncode == 0
        assert list(bay.jobs().values()) == ["running"]
        assert bay.paid == 1


def test_a_clip_that_is_written_slowly_is_taken_once_it_is_whole(bay):
    data = make_clip(bay.template, "slow")
    bay.dropped[hashlib.sha256(data).hexdigest()] = "slow.mp4"
    bay.start()
    bay.write("slow.toml", 'prompt = "slow"\n')
    path = bay.inbox / "slow.mp4"
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), len(data) // 6):
            file.write(data[start : start + len(data) // 6])
            time.sleep(0.35)
    bay.until_retired()
    assert bay.paid == 1
    assert (bay.inbox / "_done" / "slow.mp4").read_bytes() == data


def test_a_clip_that_is_preallocated_and_filled_later_is_taken_once_it_is_whole(bay):
    data = make_clip(bay.template, "filled")
    bay.dropped[hashlib.sha256(data).hexdigest()] = "filled.mp4"
    bay.start()
    bay.write("filled.toml", 'prompt = "filled"\n')
    with (bay.inbox / "filled.mp4").open("wb", buffering=0) as file:
        file.truncate(len(data))
        time.sleep(0.6)
        file.write(data[:3000])
        time.sleep(0.6)
        file.write(data[3000:])
    bay.until_retired()
    assert (bay.inbox / "_done" / "filled.mp4").read_bytes() == data
    assert bay.paid == 1


@pytest.mark.heavy
def test_few_descriptors_and_little_memory_lose_nothing(open_bays):
    with open_bays() as bay:
        bay.configure(provider="running_max = 20")
        for number in range(10):
            bay.drop(f"n{number}.mp4")
        bay.start("--until-idle", wait=False, before=["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"])
        bay.daemon.wait(patient(60))
        bay.daemon = None
        assert Oracle(bay).violations(at_rest=False) == []
        settle_doubts(bay)
        assert list(bay.jobs().values()) == ["delivered"] * 10
        assert bay.paid == 10
        assert Oracle(bay).violations() == []
