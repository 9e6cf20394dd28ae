"""One quick look for each promise that a planted bug of `bugs.py` breaks: a run of the real command each."""

import contextlib
import random
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from clipspool.jobs.events import StageFailed
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import State
from clipspool.jobs.pacing import Pace, PollPace
from fakes import Desk
from faults.oracle import Oracle
from faults.power import open_disk
from faults.watcher import watched
from patience import patient


def test_killed_while_the_request_is_on_its_way_it_is_in_doubt_and_never_sent_again(open_bays):
    with open_bays() as bay:
        bay.box.misbehave("create:slow:seconds=3:times=1")
        bay.start()
        bay.drop()
        bay.until(lambda: bay.paid == 1)
        bay.stop(signal.SIGKILL)
        assert bay.run_until_idle() == 0
        assert list(bay.jobs().values()) == ["in_doubt"]
        assert bay.paid == 1
        assert Oracle(bay).violations() == []
        assert Oracle(bay).doubts() == (1, 0)


def test_between_the_note_that_it_leaves_and_the_first_byte_nothing_else_is_asked_of_the_system(
    bay, tmp_path
):
    """An end in between is doubt where nothing was sent, and each call more is a place for one.

    After a power cut so is one behind the ledger's line: in between only the clip's
    owner, its ledger and the mark of a copied journal are read.
    """
    seen = tmp_path / "calls.txt"
    tracer = ["strace", "-D", "-f", "-qq", "-y", "-s", "100", "-o", str(seen), "-e", "trace=!futex"]
    if subprocess.run([*tracer, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("strace is not there, or may not trace")
    bay.start("--until-idle", wait=False, before=tracer)
    bay.drop()
    assert bay.daemon.wait(patient(90)) == 0
    bay.daemon = None
    calls = [line.split(maxsplit=1) for line in seen.read_text(errors="replace").splitlines()]
    line = next(n for n, call in enumerate(calls) if call[1].startswith("write(") and "intent" in call[1])
    after = [call for thread, call in calls[line + 1 :] if thread == calls[line][0]]
    # Memory, and the end of a call that another thread's line parts from its beginning.
    unasked = ("mprotect(", "mmap(", "munmap(", "mremap(", "brk(", "<... ")
    after = [call for call in after if not call.startswith(unasked)]
    leaves = next(n for n, call in enumerate(after) if call.startswith("pwrite64(") and ".leaving>" in call)
    assert '"l", 1,' in after[leaves]
    reads = ("openat2(", "openat(", "newfstatat(", "read(", "close(")
    assert all(call.startswith(reads) and ".clipspool/" in call for call in after[:leaves]), after[:leaves]
    after = after[leaves:]
    assert after[1].startswith("sendto("), after[:5]
    assert "POST /" in after[1]
    assert not after[2].startswith("sendto("), "a small request leaves in one call"


@pytest.mark.heavy
def test_an_answer_that_comes_too_late_is_in_doubt_and_not_asked_for_again(bay):
    bay.configure(provider="answer_seconds = 1")
    bay.box.misbehave("create:slow:seconds=4:times=1")
    bay.start()
    bay.drop()
    bay.until_states("in_doubt", seconds=20)
    assert bay.stop() == 0
    assert bay.run_until_idle() == 0
    assert bay.paid == 1


@pytest.mark.parametrize(
    "status", [307, *(pytest.param(s, marks=pytest.mark.heavy) for s in (301, 302, 303, 308))]
)
def test_a_paid_request_that_is_answered_with_a_redirect_is_not_sent_to_another_place(bay, status):
    bay.box.misbehave(f"create:redirect-after:to=self:status={status}:times=1")
    bay.start()
    bay.drop()
    bay.until(lambda: bay.jobs() and bay.job()["state"] not in {"queued", "submitting"}, 20)
    assert bay.paid == 1
    assert bay.job()["state"] == "in_doubt"


@pytest.mark.heavy
def test_a_clip_renamed_into_place_is_seen(bay):
    bay.start()
    bay.drop("first.mp4")
    bay.until_retired(1, 10)
    bay.drop("second.mp4")
    bay.until_retired(2, 10)


@pytest.mark.heavy
def test_a_result_that_ends_early_without_a_length_is_not_taken_for_whole(bay):
    bay.box.misbehave("download:cut-close:bytes=3000:times=1")
    bay.start()
    bay.drop("cut.mp4")
    bay.until_retired(1, 20)
    bay.drop("well.mp4")
    bay.until_retired(2, 20)
    cut, well = (bay.outbox / f"{name}.mp4" for name in ("cut", "well"))
    assert cut.stat().st_size == well.stat().st_size


@pytest.mark.heavy
def test_a_source_moves_only_once_the_journal_says_delivered(bay):
    """Each sync takes 0.3 s here, so that what comes too early is seen to."""
    slow = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]
    slow += ["-e", "inject=fdatasync:delay_enter=300000"]
    if subprocess.run([*slow, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("strace is not there, or may not trace")
    bay.start("--until-idle", wait=False, before=slow)
    bay.drop()
    done = bay.inbox / "_done" / "shot.mp4"
    bay.until(done.exists, 60)
    assert list(bay.jobs().values()) == ["delivered"]
    assert bay.daemon.wait(patient(60)) == 0
    bay.daemon = None


def test_an_outbox_on_another_file_system_shows_a_result_only_when_it_is_whole(open_bays):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere, open_bays() as bay:
        bay.outbox = Path(elsewhere)
        bay.configure()
        with watched(bay) as watcher:
            bay.drop()
            assert bay.run_until_idle() == 0
        assert watcher.seen == ["shot.mp4.toml", "shot.mp4"]
        assert Oracle(bay).violations() == []


@pytest.fixture
def disk(tmp_path):
    with open_disk(tmp_path) as one:
        if one is None:
            pytest.skip("this machine gives us no loop device")
        yield one


def test_what_was_delivered_is_there_after_the_power_was_cut(open_bays, disk):
    with open_bays() as bay:
        bay.inbox, bay.outbox = disk.at / "bay", disk.at / "results"
        bay.inbox.mkdir()
        bay.outbox.mkdir()
        bay.configure()
        disk.settle()
        bay.start()
        bay.drop()
        bay.until_retired()
        bay.stop(signal.SIGKILL)
        disk.cut()
        assert "shot.mp4" in bay.results()
        assert Oracle(bay).violations(at_rest=False) == []


def test_what_was_about_to_be_paid_for_is_in_the_journal_after_the_power_was_cut(open_bays, disk):
    with open_bays() as bay:
        bay.journal = disk.at / "state" / "journal.sqlite3"
        bay.configure()
        bay.box.misbehave("create:slow:seconds=5:times=1")
        bay.start()
        disk.settle()
        bay.drop()
        bay.until(lambda: bay.paid == 1)
        bay.stop(signal.SIGKILL)
        disk.cut()
        assert list(bay.jobs().values()) == ["submitting"]
        assert bay.run_until_idle() == 0
        assert list(bay.jobs().values()) == ["in_doubt"]
        assert bay.paid == 1


def test_those_that_failed_together_are_not_tried_again_in_step(tmp_path):
    pace = Pace(PollPace(5.0, 30.0, 1000.0), random=random.Random(1).random)
    desk = Desk(tmp_path, pace=pace, running_max=40)
    with contextlib.closing(desk):
        desk.shop.say[Stage.POLL].extend([StageFailed("NETWORK.BROKEN", "no answer")] * 400)
        for number in range(40):
            desk.drop(f"clip{number}")
        failed = []
        for _ in range(60):
            desk.turn(1.0)
            failed = [job for job in desk.journal.find(states=(State.RUNNING,)) if job.attempts >= 3]
            if len(failed) >= 30:
                break
        due = sorted(job.due_at for job in failed)
        assert len(due) >= 30
        assert len({round(at) for at in due}) > 12, "they come back in a few bursts"
