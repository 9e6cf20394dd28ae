"""The daemon's side of one decoding process: started when needed, called, given up after its time."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from clipspool.media.facts import CALL_BYTES_MAX
from clipspool.media.pool import Scratch, scratch_folder
from clipspool.system.process import on_any_processor, start_thread

END_SECONDS = 2.0
_KILLED_SECONDS = 2.0
"""A process that can be ended at all has ended within this time."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why a call has no answer: its child ended, was killed after its time, or the decoder was closed."""

    why: Literal["ended", "late", "closed"]
    status: int = 0
    """The exit status as subprocess has it, negative for a signal."""


Answer = dict[str, Any] | NoAnswer
OnShare: TypeAlias = "Callable[[int, float], None]"
"""Takes which run over the pictures is under way, from 1, and what share of them is coded, from 0 to 1."""


class Child:
    """One decoding process and its socket; used by one thread at a time, stopped from any."""

    def __init__(self, memory_bytes_max: int, idle_seconds: float) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._scratch: Scratch | None = None
        self._is_closed = False
        self._was_used = False

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        process = self._process
        return process is not None and process.poll() is None

    def call(
        self, data: bytes, files: Sequence[int], seconds_max: float, on_share: OnShare | None = None
    ) -> Answer:
        """Send one call and wait for its answer; starts the process if there is none."""
        deadline = time.monotonic() + seconds_max
        while (ours := self.start()) is not None:
            was_used, self._was_used = self._was_used, True
            answer = self._exchange(ours, data, files, deadline, on_share)
            if not isinstance(answer, NoAnswer) or answer.why != "ended":
                return answer
            if self._is_closed:
                break
            if not was_used or answer.status > 0:
                return answer
            # It ended idle just as the call came, or an earlier file broke it. What happens in a new one is
            # this file's own.
        return NoAnswer("closed")

    def start(self) -> socket.socket | None:
        """Return the socket of the process, which is started if there is none; None when stopped."""
        with self._lock:
            if self._is_closed:
                return None
            if self._socket is not None:
                if self.is_running:
                    return self._socket
                self._socket.close()
            self._was_used = False
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._scratch = scratch_folder(self._scratch)
                folder = "" if self._scratch is None else self._scratch.name
                numbers = (theirs.fileno(), self._memory_bytes_max, self._idle_seconds)
                arguments = [*map(str, numbers), folder]
                with on_any_processor():
                    self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                        [sys.executable, "-P", "-m", "clipspool.media.child", *arguments],
                        pass_fds=[theirs.fileno()],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        env=_environment(),
                    )
            start_thread(self._process.wait, "media-reaper")
            self._socket = ours
            return ours

    def _exchange(
        self,
        ours: socket.socket,
        data: bytes,
        files: Sequence[int],
        deadline: float,
        on_share: OnShare | None,
    ) -> Answer:
        try:
            socket.send_fds(ours, [data], files)
            poll = select.poll()
            poll.register(ours, select.POLLIN)
            while True:
                if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    self.end(wait_seconds=0)
                    return NoAnswer("late")
                answer = ours.recv(CALL_BYTES_MAX)
                if not answer:
                    break
                match json.loads(answer):
                    case {"run": int(run), "share": float(share)}:
                        if on_share is not None:
                            on_share(run, share)
                    case found:
                        return dict(found)
        except OSError:
            pass
        status = self.end()
        return NoAnswer("late" if status == -signal.SIGXCPU else "ended", status)

    def end(self, wait_seconds: float = END_SECONDS) -> int:
        """End the process, if there is one, and return its status."""
        with self._lock:
            process, self._process = self._process, None
            scratch, self._scratch = self._scratch, None
            self._hang_up()
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            status = 0 if process is None else wait_for(process, wait_seconds)
            if scratch is not None:
                scratch.cleanup()
            return status

    def stop(self) -> None:
        """End the current call, from any thread, and start no process any more."""
        with self._lock:
            self._is_closed = True
            self._hang_up()

    def _hang_up(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def wait_for(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Wait for the end of a process, and kill it after `seconds`; return its status."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(seconds)
    process.kill()
    # A process that waits for a file server which hangs cannot be ended: the daemon must end all the same.
    with suppress(subprocess.TimeoutExpired):
        return process.wait(_KILLED_SECONDS)
    return -signal.SIGKILL


def _environment() -> dict[str, str]:
    """Return the variables that the interpreter needs, and no secret of the daemon."""
    needed = ("PYTHON", "LD_", "LC_", "LANG")
    return {name: value for name, value in os.environ.items() if name.startswith(needed)}
