"""Limits of the system, the clock and the operator's own doings against the running daemon."""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faults.oracle import Oracle
from faults.test_ends import settle_doubts
from faults.watcher import watched
from patience import patient

pytestmark = pytest.mark.heavy


def traced(*inject):
    words = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        *(word for one in inject for word in ("-e", one)),
    ]
    if subprocess.run([*words, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("strace is not there, or may not trace")
    return words


def limited(words):
    return ["sh", "-c", f'ulimit {words}; exec "$@"', "sh"]


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EROFS"])
def test_a_journal_that_fails_to_sync_ends_the_daemon_and_nothing_is_paid_twice(open_bays, error):
    with open_bays() as bay:
        for number in range(3):
            bay.drop(f"n{number}.mp4")
        for when in (12, 20, 30):
            failing = traced("trace=fdatasync", f"inject=fdatasync:error={error}:when={when}")
            bay.start("--until-idle", wait=False, before=failing)
            assert bay.daemon.wait(patient(60)) in {0, 1}
            assert Oracle(bay).violations(at_rest=False) == []
        bay.daemon = None
        settle_doubts(bay)
        assert list(bay.jobs().values()) == ["delivered"] * 3
        assert Oracle(bay).violations() == []


def test_without_inotify_clips_are_found_all_the_same(bay):
    bay.start(before=traced("trace=inotify_add_watch", "inject=inotify_add_watch:error=ENOSPC"))
    bay.drop()
    bay.until_retired()
    assert bay.told("status")["inboxes"][0]["detect"] == "rescan"


@pytest.mark.parametrize("words", ["-f 40", "-v 1500000", "-n 30"])
def test_under_a_limit_of_the_system_nothing_is_lost_or_paid_twice(open_bays, words):
    with open_bays() as bay:
        for number in range(4):
            bay.drop(f"n{number}.mp4")
        with watched(bay):
            bay.start("--until-idle", wait=False, before=limited(words))
            with contextlib.suppress(subprocess.TimeoutExpired):
                bay.daemon.wait(patient(15))
            bay.stop(signal.SIGKILL)
            assert Oracle(bay).violations(at_rest=False) == []
        settle_doubts(bay)
        assert list(bay.jobs().values()) == ["delivered"] * 4
        assert bay.paid == 4
        assert [v for v in Oracle(bay).violations() if not v.startswith("I10")] == []


@pytest.fixture
def threads_max():
    """Yield a function that limits the threads of a process and its children, as TasksMax does."""
    if os.geteuid() != 0:
        pytest.skip("only root may set the limit")
    group = next(
        (
            at
            for at in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))
            if (at / "cgroup.procs").exists()
        ),
        None,
    )
    mine = group and group / f"clipspool-test-{os.getpid()}"
    with contextlib.suppress(OSError):
        mine.mkdir()
    if mine is None or not (mine / "pids.max").exists():
        pytest.skip("this machine gives us no limit of threads")

    def limit(pid, most):
        (mine / "cgroup.procs").write_text(str(pid))
        (mine / "pids.max").write_text(str(most))

    yield limit
    for pid in (mine / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            (group / "cgroup.procs").write_text(pid)
    with contextlib.suppress(OSError):
        mine.rmdir()


def test_where_no_more_threads_may_begin_the_daemon_lives_and_goes_on_with_those_it_has(bay, threads_max):
    bay.configure(provider="running_max = 8")
    bay.start()
    threads_max(bay.daemon.pid, len(list(Path(f"/proc/{bay.daemon.pid}/task").iterdir())) + 5)
    for number in range(8):
        bay.drop(f"n{number}.mp4")
    bay.until(lambda: bay.events("thread_refused") or bay.events("problem_noted"), 30)
    time.sleep(1.0)
    assert bay.daemon.poll() is None
    threads_max(bay.daemon.pid, 1000)
    bay.until(lambda: list(bay.jobs().values()) == ["delivered"] * 8, 120)
    bay.until_retired(8, 60)
    assert bay.paid == 8


def used(pid, what):
    if what == resource.RLIMIT_NOFILE:
        return len(list(Path(f"/proc/{pid}/fd").iterdir())) + 3
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE") + (4 << 20)


@pytest.mark.parametrize("what", [resource.RLIMIT_NOFILE, resource.RLIMIT_AS], ids=["files", "memory"])
def test_a_daemon_that_runs_out_of_something_goes_on_once_there_is_more(open_bays, what):
    with open_bays() as bay:
        bay.configure(provider="running_max = 8")
        bay.start()
        pid = bay.daemon.pid
        before = resource.prlimit(pid, what)
        resource.prlimit(pid, what, (used(pid, what), before[1]))
        for number in range(8):
            bay.drop(f"n{number}.mp4")
        time.sleep(4.0)
        if bay.daemon.poll() is None:
            resource.prlimit(pid, what, before)
        else:  # it may end, but not pay twice
            bay.daemon = None
            bay.start()
        bay.until(lambda: sorted({*bay.jobs().values()}) in (["delivered"], ["delivered", "in_doubt"]), 120)
        bay.until(lambda: len(bay.jobs()) == 8, 60)
        assert bay.stop() == 0
        settle_doubts(bay)
        assert list(bay.jobs().values()) == ["delivered"] * 8
        assert bay.paid == 8
        assert [v for v in Oracle(bay).violations() if not v.startswith("I10")] == []


@pytest.mark.parametrize("most", [12, 16, 24])
def test_under_a_limit_of_threads_from_the_start_nothing_is_lost_or_paid_twice(bay, threads_max, most):
    for number in range(4):
        bay.drop(f"n{number}.mp4")
    bay.start("--until-idle", wait=False, before=["sh", "-c", 'sleep 0.5; exec "$@"', "sh"])
    threads_max(bay.daemon.pid, most)
    with contextlib.suppress(subprocess.TimeoutExpired):
        bay.daemon.wait(patient(20))
    bay.stop(signal.SIGKILL)
    assert Oracle(bay).violations(at_rest=False) == []
    settle_doubts(bay)
    assert list(bay.jobs().values()) == ["delivered"] * 4
    assert bay.paid == 4


def test_a_storm_of_reloads_valid_and_not_changes_nothing_of_what_runs(bay):
    bay.start()
    for number in range(60):
        bay.configure(provider=f"running_max = {number % 7 + 1}" if number % 3 else 'running_max = "x"')
        bay.daemon.send_signal(signal.SIGHUP)
        if number % 10 == 0:
            bay.drop(f"n{number}.mp4")
        time.sleep(0.03)
    bay.configure()
    bay.daemon.send_signal(signal.SIGHUP)
    bay.until_retired(6, 40)
    assert bay.paid == 6


def test_a_daemon_that_is_stopped_and_continued_again_and_again_pays_once(bay):
    bay.configure(provider="answer_seconds = 1.5")
    bay.start()
    for number in range(6):
        bay.drop(f"n{number}.mp4")
    for _ in range(8):
        time.sleep(0.25)
        bay.daemon.send_signal(signal.SIGSTOP)
        time.sleep(0.6)
        bay.daemon.send_signal(signal.SIGCONT)
    bay.until(lambda: sorted({*bay.jobs().values()}) in (["delivered"], ["delivered", "in_doubt"]), 40)
    assert bay.paid == 6


def test_a_decoder_that_is_killed_again_and_again_costs_no_clip(bay):
    bay.start()
    until = time.monotonic() + 4

    def kill():
        while time.monotonic() < until:
            found = subprocess.run(
                ["pgrep", "-P", str(bay.daemon.pid)], check=False, capture_output=True, text=True
            )
            for line in found.stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line), signal.SIGKILL)
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    for number in range(3):
        bay.drop(f"n{number}.mp4")
    killer.join()
    bay.until_retired(3, 60)
    assert bay.paid == 3


def test_output_that_nobody_takes_ends_nothing(bay):
    for number in range(3):
        bay.drop(f"n{number}.mp4")
    bay.start("--until-idle", wait=False, before=["sh", "-c", 'exec "$@" >/dev/full 2>&1 <&-', "sh"])
    assert bay.daemon.wait(patient(60)) == 0
    bay.daemon = None
    assert list(bay.jobs().values()) == ["delivered"] * 3


def test_connections_that_ask_nothing_keep_no_command_from_its_answer(bay):
    bay.start()
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            idle = stack.enter_context(socket.socket(socket.AF_UNIX))
            idle.connect(f"{bay.journal}.sock")
        begun = time.monotonic()
        assert bay.told("status")["daemon"]["running"]
        assert time.monotonic() - begun < patient(20)


def test_an_older_journal_put_back_pays_nothing_again(open_bays):
    with open_bays() as bay:
        bay.start()
        soon = f"{datetime.now(UTC) + timedelta(seconds=4):%Y-%m-%dT%H:%M:%SZ}"
        bay.drop(sidecar=f'prompt = "deep winter"\nnot_before = {soon}\n')
        bay.until(lambda: len(bay.jobs()) == 1)
        assert bay.stop() == 0
        shutil.copytree(bay.journal.parent, bay.home / "backup")
        bay.start()
        bay.until_retired()
        assert bay.stop() == 0
        shutil.rmtree(bay.journal.parent)
        shutil.copytree(bay.home / "backup", bay.journal.parent)
        assert bay.run_until_idle() == 0
        assert [job["held"] for job in bay.told("jobs")] == ["from_backup"]
        bay.start("--until-idle", "--accept-restored", wait=False)
        assert bay.daemon.wait(patient(60)) == 0
        bay.daemon = None
        assert [job["held"] for job in bay.told("jobs")] == ["from_backup"]
        assert bay.call("approve", *bay.jobs(), "--yes").returncode == 0
        assert bay.run_until_idle() == 0
        assert bay.paid == 1
        (job,) = bay.query("SELECT * FROM jobs")
        assert job["state"] == "failed"
        assert "restored journal" in json.loads(job["error"])["what_to_do"]
        assert (bay.inbox / "_done" / "shot.mp4").exists()


def test_a_hundred_thousand_files_in_an_inbox_keep_no_clip_waiting(bay):
    for number in range(100_000):
        os.close(os.open(bay.inbox / f"other{number:06}.txt", os.O_CREAT | os.O_WRONLY))
    begun = time.monotonic()
    bay.start()
    assert time.monotonic() - begun < patient(10)
    bay.drop()
    bay.until_retired(1, 60)


def test_after_many_clips_descriptors_threads_and_memory_are_where_they_were(bay):
    def used():
        own = Path(f"/proc/{bay.daemon.pid}")
        status = dict(line.split(":", 1) for line in (own / "status").read_text().splitlines())
        counts = [len(list((own / name).iterdir())) for name in ("fd", "task")]
        return (*counts, int(status["VmRSS"].split()[0]))

    bay.configure(provider="running_max = 20")
    bay.start()
    for number in range(60):
        bay.drop(f"a{number}.mp4")
    bay.until_retired(60, 120)
    before = used()
    for number in range(180):
        bay.drop(f"b{number}.mp4")
    bay.until_retired(240, 240)
    after = used()
    assert after[0] <= before[0] + 5
    assert after[1] <= before[1] + 8
    assert after[2] <= before[2] * 1.15 + 4000
