"""A daemon in the foreground of a terminal, and what becomes of it when the terminal or a pipe is closed."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from journeys.bay import COMMAND
from patience import patient

IN_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def in_terminal(bay):
    """Yield a way to run the daemon in a terminal of its own; gives its process and our end."""
    opened = []

    def run(*before):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", IN_A_TERMINAL, *before, *COMMAND, "run", "-c", str(bay.config)]
        bay.daemon = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=bay.env)
        os.close(theirs)
        opened.append(ours)
        told = []

        def read():
            with contextlib.suppress(OSError):
                while data := os.read(ours, 65_536):
                    told.append(data)

        threading.Thread(target=read, daemon=True).start()
        bay.until(lambda: b"watching" in b"".join(told), 20, "it watches")
        return bay.daemon, ours, lambda: b"".join(told).decode(errors="replace")

    yield run
    for one in opened:
        with contextlib.suppress(OSError):
            os.close(one)


def closed(terminal):
    """Close our end: an echo wakes the thread that reads from it, and its last close hangs it up."""
    again, null = os.dup(terminal), os.open(os.devnull, os.O_RDWR)
    os.dup2(null, terminal)
    os.close(null)
    os.write(again, b"\n")
    os.close(again)


def ended(bay, seconds=20):
    daemon, bay.daemon = bay.daemon, None
    return daemon.wait(patient(seconds))


@pytest.mark.slow
def test_a_closed_terminal_ends_the_daemon_as_ctrl_c_does(bay, in_terminal):
    daemon, terminal, _ = in_terminal()
    os.kill(daemon.pid, 0)
    bay.drop("shot.mp4")
    bay.until_retired()
    closed(terminal)
    assert ended(bay) == 0
    assert not bay.told("status")["daemon"]["running"]


def test_a_hang_up_that_an_operator_sends_is_a_reload_in_a_terminal_too(bay, in_terminal):
    daemon, _, told = in_terminal()
    bay.configure(provider="running_max = 2")
    daemon.send_signal(signal.SIGHUP)
    bay.until(lambda: "reloaded" in told(), 15, "it reads its configuration again")
    assert daemon.poll() is None
    assert bay.stop() == 0


def test_under_nohup_a_closed_terminal_changes_nothing(bay, in_terminal):
    _, terminal, _ = in_terminal("/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh")  # as nohup does
    closed(terminal)
    bay.drop("shot.mp4")
    bay.until_retired()
    assert bay.daemon.poll() is None
    assert bay.stop() == 0


@pytest.mark.parametrize("streams", [("stderr",), ("stdout", "stderr")])
def test_a_closed_pipe_neither_ends_nor_spins_the_daemon_and_its_end_is_clean(bay, streams):
    reader, writer = os.pipe()
    options = dict.fromkeys(streams, writer)
    bay.daemon = subprocess.Popen([*COMMAND, "run", "-c", str(bay.config)], env=bay.env, **options)
    os.close(writer)
    assert os.read(reader, 10)
    os.close(reader)
    bay.drop("shot.mp4")
    bay.until_retired()
    before = cpu_seconds(bay.daemon.pid)
    time.sleep(1)
    assert cpu_seconds(bay.daemon.pid) - before < 0.5
    assert bay.stop() == 0


def cpu_seconds(pid):
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    "locale",
    [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "ascii"}],
    ids=["locale", "output"],
)
def test_names_are_found_and_shown_in_any_locale(bay, locale):
    bay.outbox = bay.outbox.rename(bay.outbox.with_name("Szene é 😀"))
    bay.configure()
    bay.drop("é 😀.mp4")
    assert bay.run_until_idle(**locale) == 0
    assert (bay.outbox / "é 😀.mp4").exists()
    (job,) = bay.told("jobs")
    for command in ("jobs", "logs", "choose"):
        done = bay.call(command, *(["--", job["id"]] if command == "choose" else []), **locale)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert "\\U0001f600" in done.stdout or "😀" in done.stdout, command
    for command in ("show", "logs"):
        assert bay.call(command, job["id"], **locale).returncode == 0, command
    assert bay.call("check", "--offline", **locale).returncode == 0
