"""The daemon's side of the decoding processes: timed calls, faults as values, a new process after a crash."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from clipspool.media.facts import (
    CALL_BYTES_MAX,
    Conformed,
    Finished,
    MediaFault,
    Picture,
    Probe,
    Sample,
    Value,
)
from clipspool.media.pool import Crew, Scratch, scratch_folder
from clipspool.system.process import start_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipspool.media.plan import Conform
    from clipspool.media.timeline import FinishPlan

__all__ = ["Conformed", "Decoder", "Finished", "MediaFault", "Picture", "Probe", "Sample"]

END_SECONDS = 2.0
_SHORT = frozenset({"probe", "verify", "image_facts"})
"""Calls that only read, and that a job waits for; the others write something."""

V = TypeVar("V", bound=Value)


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    """Why a call has no answer: its child ended, was killed after its time, or the decoder was closed."""

    why: Literal["ended", "late", "closed"]
    status: int = 0
    """The exit status as subprocess has it, negative for a signal."""


_Answer = dict[str, Any] | _NoAnswer


class Decoder:
    """Runs all work with PyAV in up to `children` processes of at most `memory_bytes_max` address space each.

    The first call starts a child, a call that has waited for a while another; a child ends by itself after
    `idle_seconds` without a call, and never outlives the daemon. Calls may come from any thread; one that
    finds all children busy waits, which does not count as its time. Of several children, long calls leave
    one to short calls.
    """

    def __init__(
        self, *, memory_bytes_max: int = 2 << 30, idle_seconds: float = 60, children: int = 1
    ) -> None:
        self._children = [_Child(memory_bytes_max, idle_seconds) for _ in range(children)]
        self._crew = Crew(self._children)

    def warm(self) -> None:
        """Start a child if none is running and a call is likely soon, without waiting: it takes 0.1 s."""
        child = self._crew.borrow_first()
        if child is not None:
            try:
                with suppress(OSError):  # the next call reports it
                    child.start()
            finally:
                self._crew.give_back(child)

    def probe(self, file: int, *, seconds_max: float = 30) -> Probe | MediaFault:
        """Read a clip's facts from an open, readable descriptor; of a ZIP only its kind."""
        return self._call(Probe, "probe", [_reopened(file)], {}, seconds_max)

    def verify(self, file: int, *, seconds_max: float = 60) -> Probe | MediaFault:
        """Check that a clip is whole, its first picture decodes and its last packet can be read.

        A ZIP is unpacked without keeping anything, and its checksums compared.
        """
        return self._call(Probe, "verify", [_reopened(file)], {}, seconds_max)

    def sample(
        self,
        destination: int,
        *,
        seconds: float = 3.0,
        width: int = 640,
        height: int = 360,
        fps: int = 24,
        seconds_max: float = 60,
    ) -> Sample | MediaFault:
        """Write a moving test picture (H.264 MP4, no sound) to a descriptor open for reading and writing."""
        arguments = {"seconds": seconds, "width": width, "height": height, "fps": fps}
        return self._call(Sample, "sample", [os.dup(destination)], arguments, seconds_max)

    def conform(
        self, source: int, destination: int, plan: Conform, *, seconds_max: float = 900
    ) -> Conformed | MediaFault:
        """Convert a clip as planned, never above the plan's bytes.

        `destination` is open for reading and writing; after a fault it holds nothing of use.
        """
        files = [_reopened(source), _reopened(source), os.dup(destination)]
        return self._call(Conformed, "conform", files, plan.to_dict(), seconds_max)

    def finish(
        self, result: int, source: int, destination: int, plan: FinishPlan, *, seconds_max: float = 900
    ) -> Finished | MediaFault:
        """Convert a result to replace its source in the timeline; `destination` is open to read and write."""
        files = [_reopened(result), _reopened(source), os.dup(destination)]
        return self._call(Finished, "finish", files, plan.to_dict(), seconds_max)

    def poster(
        self, source: int, result: int, destination: int, *, seconds_max: float = 60
    ) -> Picture | MediaFault:
        """Write a JPEG of 640x180 pixels: a picture of the source, and beside it one of its result."""
        files = [_reopened(source), _reopened(result), os.dup(destination)]
        return self._call(Picture, "poster", files, {}, seconds_max)

    def image_facts(self, file: int, *, seconds_max: float = 30) -> Picture | MediaFault:
        """Read the size at which a JPEG, PNG or WebP image is shown, to check its aspect."""
        return self._call(Picture, "image_facts", [_reopened(file)], {}, seconds_max)

    def scale_image(
        self,
        source: int,
        destination: int,
        *,
        width_max: int,
        height_max: int,
        bytes_max: int,
        seconds_max: float = 60,
    ) -> Picture | MediaFault:
        """Write an image within the limits: PNG where it is transparent, JPEG otherwise."""
        arguments = {"width_max": width_max, "height_max": height_max, "bytes_max": bytes_max}
        files = [_reopened(source), os.dup(destination)]
        return self._call(Picture, "scale_image", files, arguments, seconds_max)

    def close(self) -> None:
        """End the children for good; current and later calls end with a fault (MEDIA.STOPPED)."""
        for child in self._children:
            child.stop()
        self._crew.wait_for_all()  # each is given back when its call has ended
        for child in self._children:
            child.end()

    def _call(
        self, kind: type[V], name: str, files: Sequence[int], arguments: dict[str, Any], seconds_max: float
    ) -> V | MediaFault:
        """Make one call in a free child and read its value; closes `files`, which are ours."""
        is_long = name not in _SHORT
        try:
            child = self._crew.borrow(is_long=is_long)
            try:
                call = {"name": name, "arguments": arguments, "seconds_max": seconds_max}
                answer = child.call(json.dumps(call).encode(), files, seconds_max)
            finally:
                self._crew.give_back(child, is_long=is_long)
        finally:
            for file in files:
                os.close(file)
        match answer:
            case {"value": value}:
                return kind.from_dict(value)
            case {"fault": fault}:
                return MediaFault.from_dict(fault)
            case dict():
                raise RuntimeError(f"the decoding process failed at {name}:\n{answer['bug']}")
            case _NoAnswer("ended", status) if status > 0:
                # It never opened the file, for want of memory, threads or descriptors; that may pass.
                raise OSError(errno.EAGAIN, f"the decoder could not begin (status {status})", name)
            case _NoAnswer():
                return _fault_of(answer, seconds_max)


def _fault_of(answer: _NoAnswer, seconds_max: float) -> MediaFault:
    if answer.why == "closed":
        todo = "Nothing: it goes on at the next start."
        return MediaFault("MEDIA.STOPPED", "clipspool is stopping", todo)
    if answer.why == "late":
        why = f"the clip could not be dealt with in {seconds_max:.0f} seconds"
        todo = "Check that the clip plays; a shorter or smaller one may do."
        return MediaFault("MEDIA.TIMEOUT", why, todo)
    todo = "Export the clip again, best as H.264 or ProRes; the file may be damaged."
    return MediaFault("MEDIA.CRASHED", "the decoder crashed on this file", todo)


class _Child:
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

    def call(self, data: bytes, files: Sequence[int], seconds_max: float) -> _Answer:
        """Send one call and wait for its answer; starts the process if there is none."""
        deadline = time.monotonic() + seconds_max
        while (ours := self.start()) is not None:
            was_used, self._was_used = self._was_used, True
            answer = self._exchange(ours, data, files, deadline)
            if not isinstance(answer, _NoAnswer) or answer.why != "ended":
                return answer
            if self._is_closed:
                break
            if not was_used or answer.status > 0:
                return answer
            # It ended idle just as the call came, or an earlier file broke it. What happens in a new one is
            # this file's own.
        return _NoAnswer("closed")

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

    def _exchange(self, ours: socket.socket, data: bytes, files: Sequence[int], deadline: float) -> _Answer:
        try:
            socket.send_fds(ours, [data], files)
            poll = select.poll()
            poll.register(ours, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                self.end(wait_seconds=0)
                return _NoAnswer("late")
            answer = ours.recv(CALL_BYTES_MAX)
        except OSError:
            answer = b""
        if answer:
            return dict(json.loads(answer))
        status = self.end()
        return _NoAnswer("late" if status == -signal.SIGXCPU else "ended", status)

    def end(self, wait_seconds: float = END_SECONDS) -> int:
        """End the process, if there is one, and return its status."""
        with self._lock:
            process, self._process = self._process, None
            scratch, self._scratch = self._scratch, None
            self._hang_up()
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            status = 0 if process is None else _wait_for(process, wait_seconds)
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


def _wait_for(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Wait for the end of a process, or end it after so many seconds; return its status."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _environment() -> dict[str, str]:
    """Return the variables that the interpreter needs, and no secret of the daemon."""
    needed = ("PYTHON", "LD_", "LC_", "LANG")
    return {name: value for name, value in os.environ.items() if name.startswith(needed)}


def _reopened(file: int) -> int:
    """Open the same file again, with a position of its own: the daemon's stays where it is."""
    try:
        return os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return os.dup(file)  # without /proc, or after a change of its mode: shares the position, and works
