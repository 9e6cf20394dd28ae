"""Commands that hang, fork, flood and die: each ends in time and leaves nothing behind."""

import os
import signal
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest

from clipspool.system import command
from clipspool.system.command import KEPT_BYTES, run
from patience import patient

LIMIT = 0.4


@pytest.fixture
def script(tmp_path):
    def script(body, data=b"", *, seconds_max=10.0, stopping=lambda: False, **extra):
        file = tmp_path / "hook.py"
        file.write_text("import os, sys, time, signal, subprocess\n" + textwrap.dedent(body))
        return run(
            [sys.executable, "hook.py"],
            data,
            seconds_max=seconds_max if seconds_max < 1 else patient(seconds_max),
            folder=str(tmp_path),
            extra=extra,
            stopping=stopping,
        )

    return script


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until_dead(pid):
    end = time.monotonic() + patient(5)
    while is_alive(pid):
        assert time.monotonic() < end, f"process {pid} still runs"
        time.sleep(0.02)


def test_it_gets_its_data_and_its_words_are_kept(script):
    ran = script("print(len(sys.stdin.read())); print('why', file=sys.stderr); sys.exit(3)", b"x" * 300_000)
    assert (ran.exit_code, ran.output, ran.errors, ran.trouble) == (3, "300000\n", "why\n", "")


def test_a_command_that_reads_nothing_ends_as_it_likes(script):
    assert script("sys.exit(0)", b"x" * 300_000).exit_code == 0


def test_one_that_hangs_is_ended_after_its_time(script):
    ran = script("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", seconds_max=LIMIT)
    assert (ran.exit_code, ran.trouble, ran.was_stopped) == (None, "it took longer than 0.4 s", False)
    assert ran.seconds < patient(5)


def test_what_a_command_started_is_killed_with_it(script, tmp_path):
    written = tmp_path / "child"
    ran = script(
        """
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open("part", "w").write(str(child.pid))
        os.rename("part", "child")
        time.sleep(600)
        """,
        stopping=written.exists,
    )
    assert ran.was_stopped
    until_dead(int(written.read_text()))


def test_one_that_ends_and_leaves_a_child_with_its_pipes_keeps_nobody_waiting(script, tmp_path):
    ran = script(
        """
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open("child", "w").write(str(child.pid))
        print("done")
        """
    )
    assert (ran.exit_code, ran.output) == (0, "done\n")
    until_dead(int((tmp_path / "child").read_text()))


def test_a_child_that_left_the_group_and_floods_the_pipes_keeps_nobody_waiting(script, tmp_path):
    ran = script(
        """
        waits = ["sh", "-c", "read go; exec yes"]
        child = subprocess.Popen(waits, stdin=subprocess.PIPE, start_new_session=True)
        with open("child", "w") as file:
            file.write(str(child.pid))
        child.stdin.write(b"go\\n")
        child.stdin.flush()
        time.sleep(0.05)
        """
    )
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    # Which of the two is seen first: its end, or the flood.
    assert ran.exit_code == 0 or "it wrote more than" in ran.trouble
    assert len(ran.output) <= KEPT_BYTES


@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
def test_one_that_cannot_be_killed_keeps_nobody_waiting(script, tmp_path, monkeypatch):
    """It runs as another user, or hangs in the kernel."""

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(command, "_END_SECONDS", 0.1)
    with monkeypatch.context() as powerless:
        powerless.setattr(os, "killpg", refuse)
        ran = script(
            """
            open("part", "w").write(str(os.getpid()))
            os.rename("part", "pid")
            time.sleep(600)
            """,
            stopping=(tmp_path / "pid").exists,
        )
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert (ran.exit_code, ran.trouble) == (None, "clipspool ends, and it cannot be ended")


def test_one_that_forks_without_end_is_stopped(script, tmp_path):
    ran = script(
        """
        for _ in range(6):
            os.fork()
        while True:
            if os.fork() == 0:
                os._exit(0)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                pass
        """,
        seconds_max=LIMIT,
    )
    assert ran.exit_code is None
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == tmp_path:
                until_dead(int(process.name))


def test_one_that_floods_is_ended_and_little_of_it_is_kept(script):
    ran = script("while True: os.write(1, b'spam ' * 10_000)")
    assert ran.exit_code is None
    assert ran.trouble == "it wrote more than 1 MB"
    assert len(ran.output) == KEPT_BYTES


def test_one_that_dies_says_by_which_signal(script):
    assert script("os.kill(os.getpid(), signal.SIGSEGV)").exit_code == -signal.SIGSEGV


def test_one_that_closes_its_pipes_is_waited_for(script):
    assert script("os.close(0); os.close(1); os.close(2); time.sleep(0.2); os._exit(7)").exit_code == 7


def test_one_that_is_missing_or_no_program_is_told(tmp_path):
    for words in (["/nowhere/hook"], [str(tmp_path)]):
        ran = run(words, b"", seconds_max=1, folder="/", extra={}, stopping=lambda: False)
        assert ran.exit_code is None
        assert ran.trouble.startswith("it cannot be started: ")


def test_it_sees_no_secret_of_ours(script, monkeypatch):
    monkeypatch.setenv("CLIPSPOOL_PROVIDER__API_KEY", "canary")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    ran = script("print(sorted(os.environ))", CLIPSPOOL_HOOK="on_failure")
    assert "CLIPSPOOL_HOOK" in ran.output
    assert "PATH" in ran.output
    for name in ("API_KEY", "CREDENTIALS", "AWS"):
        assert name not in ran.output


def test_when_clipspool_ends_it_ends_too(script):
    begun = time.monotonic()
    ran = script("time.sleep(600)", stopping=lambda: time.monotonic() - begun > 0.3)
    assert ran.was_stopped
    assert ran.seconds < patient(5)
