"""`status --watch` on a terminal, beside a real daemon."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from journeys.bay import COMMAND
from patience import patient

LEAVES_SCREEN, SHOWS_CURSOR = b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """A terminal of its own with a command in it; what it draws is kept."""

    def __init__(self, bay, *words, columns=80, rows=40, **more):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        env = {name: value for name, value in bay.env.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
        env |= {"TERM": "xterm-256color"} | more
        command = [*COMMAND, *words, "-c", str(bay.config)]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
        )
        os.close(theirs)
        self.drawn = b""
        self._ours = ours
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(OSError):
            while data := os.read(self._ours, 65_536):
                self.drawn += data

    @property
    def frame(self):
        """The last whole frame as plain text."""
        frames = self.drawn.split(b"\x1b[H")
        text = (frames[-2] if len(frames) > 2 else b"").decode(errors="replace")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")

    def until(self, *words, seconds=20):
        end = time.monotonic() + patient(seconds)
        while not all(word in self.frame for word in words):
            assert time.monotonic() < end, f"{words} is not to be seen:\n{self.drawn[-3000:]!r}"
            time.sleep(0.05)
        return self.frame

    def end(self, number):
        self.process.send_signal(number)
        code = self.process.wait(patient(10))
        self._reader.join(patient(5))
        return code

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(patient(5))
        os.close(self._ours)


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Restore SIGINT for child processes: they inherit that a suite in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def terminals():
    with contextlib.ExitStack() as stack:

        def open_one(*arguments, **how):
            return stack.enter_context(contextlib.closing(Terminal(*arguments, **how)))

        yield open_one


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_shows_what_goes_on_and_ends_cleanly(open_bays, terminals, number):
    with open_bays(render_seconds=60.0) as bay:
        bay.configure(provider="running_max = 1")
        bay.start()
        bay.drop("one.mp4")
        bay.until_states("running")
        bay.drop("two.mp4")
        bay.drop("lies.mp4", 'promt = "deep winter"\n')
        terminal = terminals(bay, "status", "--watch")
        frame = terminal.until("RUNNING (1)", "one.mp4", "QUEUED (1)", "two.mp4", "unknown key `promt`")
        assert max(map(len, frame.splitlines())) <= 80
        assert terminal.end(number) == 0
        assert terminal.drawn.endswith(SHOWS_CURSOR + LEAVES_SCREEN)
        assert b"Traceback" not in terminal.drawn


def test_a_daemon_that_stops_meanwhile_is_said_and_one_that_comes_back_too(bay, terminals):
    bay.box.misbehave("create:500-after:times=1")
    bay.start()
    bay.drop("shot.mp4")
    bay.until_states("in_doubt")
    terminal = terminals(bay, "status", "--watch", columns=160)
    terminal.until("clipspool running since", "NEEDS YOU (1)", f"attach {bay.job()['id']} TASK_ID")
    assert bay.stop() == 0
    terminal.until("clipspool is not running", "NEEDS YOU (1)")
    bay.start()
    terminal.until("clipspool running since")
    assert terminal.end(signal.SIGINT) == 0


def test_it_can_be_opened_before_there_is_a_journal(bay, terminals):
    terminal = terminals(bay, "status", "--watch")
    terminal.until("clipspool is not running", "no jobs yet")
    bay.start()
    bay.drop("shot.mp4")
    terminal.until("clipspool running since", "1 delivered")
    assert terminal.end(signal.SIGINT) == 0


def test_without_a_terminal_it_says_what_scripts_take(bay):
    done = bay.call("status", "--watch")
    assert done.returncode == 2
    assert "--json" in done.stderr


def test_on_a_terminal_that_cannot_be_drawn_on_it_says_what_to_take_instead(bay, terminals):
    """Nothing at all was shown there."""
    terminal = terminals(bay, "status", "--watch", TERM="dumb")
    assert terminal.process.wait(patient(20)) == 2
    terminal._reader.join(patient(5))
    assert b"--json" in terminal.drawn


@pytest.mark.parametrize(("how", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_turns_colours_off_in_plain_lines_too(bay, terminals, how, is_coloured):
    terminal = terminals(bay, "check", "--offline", **how)
    assert terminal.process.wait(patient(20)) == 0
    terminal._reader.join(patient(5))
    assert b"settings" in terminal.drawn
    assert (b"\x1b[" in terminal.drawn) == is_coloured
