"""Handles the signals that stop the daemon, and the one that reloads its configuration."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from clipspool.system.process import Flag

_HANGS_UP_SECONDS = 5.0
"""A shell sends the hang-up while its terminal is still open; the terminal is gone within this time."""


class Signals:
    """Ctrl-C, SIGTERM and a closed terminal stop the daemon; any other SIGHUP is a reload."""

    def __init__(self, wake: Callable[[], object]) -> None:
        """`wake` starts a turn of the scheduler; it is called in a signal handler."""
        self._wake = wake
        self.stopping = Flag()
        """Set once the daemon has to stop."""
        self._hup = Flag()
        self._had_terminal = _has_terminal()
        self._hung_up_until = 0.0
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Install the handlers, in the main thread. Under `nohup` a closed terminal changes nothing."""
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            self._had_terminal = False
        acts = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGHUP: self._hang_up}
        self._before = {number: signal.signal(number, act) for number, act in acts.items()}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, acts)

    def remove(self) -> None:
        """Put the handlers back that were there before."""
        for number, act in self._before.items():
            signal.signal(number, act)

    def wants_reload(self) -> bool:
        """Whether to read the configuration again; called each turn."""
        now = time.monotonic()
        if was_sent := self._hup.is_set():
            self._hup.clear()
            self._hung_up_until = now + _HANGS_UP_SECONDS
        if self._had_terminal and now < self._hung_up_until and not _has_terminal():
            self.stopping.set()
            return False
        return was_sent

    def _stop(self, _number: int, _frame: object) -> None:
        self.stopping.set()
        self._wake()

    def _hang_up(self, _number: int, _frame: object) -> None:
        self._hup.set()
        self._wake()


def keep_for_next() -> None:
    """Keep signals for the program that this process becomes, until its handlers are installed.

    A reload would end it, as a clean end that no unit restarts, and a stop would not let it stop by itself.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal; once that is closed it has none."""
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
        return True
    return False
