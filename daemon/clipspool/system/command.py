"""Runs a command with limits: its time, its output, and everything that it starts in its group.

Never through a shell. It gets no secret of ours: of the environment only what a program needs to run.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from clipspool.system.process import on_any_processor

KEPT_BYTES = 4096
"""Bytes that are kept of each output; what comes after it is read and dropped."""
_OUTPUT_BYTES_MAX = 1 << 20
_READ_BYTES = 64 << 10
_LOOK_SECONDS = 0.05
_END_SECONDS = 5.0
"""How long the end of a killed command is waited for."""
_ENVIRONMENT = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR"})


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    exit_code: int | None
    """Negative for the signal that ended it; None where it did not end by itself, or never began."""
    seconds: float
    output: str = ""
    errors: str = ""
    """The beginning of its standard error."""
    trouble: str = ""
    """Why it was ended, or could not be started."""
    was_stopped: bool = False
    """It was ended because clipspool itself ends."""


def run(
    argv: Sequence[str],
    data: bytes,
    *,
    seconds_max: float,
    folder: str,
    extra: Mapping[str, str],
    stopping: Callable[[], bool],
    files: Sequence[int] = (),
) -> Ran:
    """Run a command in a process group of its own, with `data` on its standard input, and wait for its end.

    `extra` is added to the environment; the command keeps the descriptors `files`. What is left of the group
    at its end is killed.
    """
    begun = time.monotonic()
    environment = {
        name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith("LC_")
    }
    try:
        with on_any_processor():
            process = subprocess.Popen(  # noqa: S603 - the operator's own list of words; no shell reads it
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                cwd=folder,
                env={**environment, **extra},
                pass_fds=files,
            )
    except (OSError, ValueError) as error:
        return Ran(None, 0.0, trouble=f"it cannot be started: {getattr(error, 'strerror', None) or error}")
    talk = _Talk(process, data)
    trouble, was_stopped = "", False
    try:
        while not talk.has_ended():
            if time.monotonic() - begun > seconds_max:
                trouble = f"it took longer than {seconds_max:g} s"
            elif talk.read > _OUTPUT_BYTES_MAX:
                trouble = f"it wrote more than {_OUTPUT_BYTES_MAX >> 20} MB"
            elif stopping():
                trouble, was_stopped = "clipspool ends", True
            else:
                talk.go_on()
                continue
            break
    finally:
        # Before it is waited for: until then no other process group can have its number. Children that still
        # run, and may hold the pipes open, are in the group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # another user's, by sudo; or in a call to a dead file server
            trouble = f"{trouble}, and it cannot be ended"
        talk.close()
    code = None if trouble else process.returncode
    return Ran(code, time.monotonic() - begun, talk.output, talk.errors, trouble, was_stopped)


class _Talk:
    """Writes to a process and reads from it, without ever waiting for one of them alone."""

    def __init__(self, process: subprocess.Popen[bytes], data: bytes) -> None:
        self.read = 0
        self._process, self._data = process, memoryview(data)
        self._kept = {"output": bytearray(), "errors": bytearray()}
        self._selector = selectors.DefaultSelector()
        self._pipes: list[IO[bytes]] = []
        for name, pipe in (("output", process.stdout), ("errors", process.stderr), ("input", process.stdin)):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                event = selectors.EVENT_WRITE if name == "input" else selectors.EVENT_READ
                self._selector.register(pipe, event, name)
                self._pipes.append(pipe)

    @property
    def output(self) -> str:
        return self._kept["output"].decode("utf-8", "replace")

    @property
    def errors(self) -> str:
        return self._kept["errors"].decode("utf-8", "replace")

    def has_ended(self) -> bool:
        """Whether the process has ended; it is not waited for yet, so that its number stays its own."""
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return False
        while self._step(0.0):  # what it wrote last
            pass
        return True

    def go_on(self) -> None:
        """Pass on what there is, or wait a moment."""
        if not self._step(_LOOK_SECONDS) and not self._selector.get_map():
            time.sleep(_LOOK_SECONDS)

    def _step(self, seconds: float) -> bool:
        moved = False
        for key, _ in self._selector.select(seconds) if self._selector.get_map() else ():
            pipe = key.fileobj
            try:
                is_over = self._write(pipe) if key.data == "input" else self._read(pipe, key.data)  # type: ignore[arg-type]
            except BlockingIOError:
                continue
            except OSError:  # it closed its end
                is_over = True
            if is_over:
                self._selector.unregister(pipe)
                pipe.close()  # type: ignore[union-attr]
            moved = True
        return moved and self.read <= _OUTPUT_BYTES_MAX

    def _write(self, pipe: IO[bytes]) -> bool:
        if self._data:
            self._data = self._data[os.write(pipe.fileno(), self._data[:_READ_BYTES]) :]
        return not self._data

    def _read(self, pipe: IO[bytes], name: str) -> bool:
        piece = os.read(pipe.fileno(), _READ_BYTES)
        self.read += len(piece)
        kept = self._kept[name]
        kept += piece[: KEPT_BYTES - len(kept)]
        return not piece

    def close(self) -> None:
        """Close all pipes."""
        self._selector.close()
        for pipe in self._pipes:
            with suppress(OSError):
                pipe.close()
