"""The daemon's handle to the process that decodes: timed calls, faults as values, begun anew when it dies."""

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
from typing import TYPE_CHECKING, Any, assert_never

from clipspool.media.facts import Conformed, Finished, MediaFault, Picture, Probe, Sample
from clipspool.media.pool import Crew
from clipspool.media.wire import CALL_BYTES_MAX
from clipspool.system.process import start_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipspool.media.plan import Conform
    from clipspool.media.timeline import FinishPlan

__all__ = ["Conformed", "Decoder", "Finished", "MediaFault", "Picture", "Probe", "Sample"]

END_SECONDS = 2.0
_SHORT = frozenset({"probe", "verify", "image_facts"})
"""Looks, for which somebody waits; the others make something of a clip."""


@dataclass(frozen=True, slots=True)
class _Gone:
    """The child ended without an answer; `status` as subprocess gives it, negative for a signal."""

    status: int


@dataclass(frozen=True, slots=True)
class _Late:
    """The child gave no answer in time and was killed."""


@dataclass(frozen=True, slots=True)
class _Stopped:
    """The decoder was closed."""


_Answer = dict[str, Any] | _Gone | _Late | _Stopped


class Decoder:
    """All work with PyAV, in up to `children` processes of at most `memory_bytes_max` of address space each.

    A child is begun with the first call, another when a call has waited for a while; it ends by itself after
    `idle_seconds` without one, and never outlives the daemon. Calls may come from any thread; one that finds
    every child busy waits for its turn, and that wait does not count as its time. What takes long leaves a
    child to what is short, if there may be several.
    """

    def __init__(
        self, *, memory_bytes_max: int = 2 << 30, idle_seconds: float = 60, children: int = 1
    ) -> None:
        self._children = [_Child(memory_bytes_max, idle_seconds) for _ in range(children)]
        self._crew = Crew(self._children)

    def warm(self) -> None:
        """Begin a child, where none lives and a call is likely soon, without waiting: it takes 0.1 s."""
        child = self._crew.take_first()
        if child is not None:
            try:
                with suppress(OSError):  # the call that comes says so
                    child.begin()
            finally:
                self._crew.give_back(child)

    def probe(self, file: int, *, seconds_max: float = 30) -> Probe | MediaFault:
        """Read what a clip holds from an open, readable descriptor; a ZIP is named and not looked into."""
        value = self._ask("probe", [_reopened(file)], {}, seconds_max)
        return value if isinstance(value, MediaFault) else Probe.from_dict(value)

    def verify(self, file: int, *, seconds_max: float = 60) -> Probe | MediaFault:
        """Make sure that a clip can be used: whole, its first picture decodes, its last packet is there.

        A ZIP is unpacked to nowhere, its checksums compared.
        """
        value = self._ask("verify", [_reopened(file)], {}, seconds_max)
        return value if isinstance(value, MediaFault) else Probe.from_dict(value)

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
        value = self._ask("sample", [os.dup(destination)], arguments, seconds_max)
        return value if isinstance(value, MediaFault) else Sample.from_dict(value)

    def conform(
        self, source: int, destination: int, plan: Conform, *, seconds_max: float = 900
    ) -> Conformed | MediaFault:
        """Make a clip fit as planned, never above the plan's bytes.

        `destination` is open for reading and writing; after a fault it holds nothing of use.
        """
        files = [_reopened(source), _reopened(source), os.dup(destination)]
        value = self._ask("conform", files, plan.to_dict(), seconds_max)
        return value if isinstance(value, MediaFault) else Conformed.from_dict(value)

    def finish(
        self, result: int, source: int, destination: int, plan: FinishPlan, *, seconds_max: float = 900
    ) -> Finished | MediaFault:
        """Make a result lie in the timeline as its source did; `destination` is open to read and write."""
        files = [_reopened(result), _reopened(source), os.dup(destination)]
        value = self._ask("finish", files, plan.to_dict(), seconds_max)
        return value if isinstance(value, MediaFault) else Finished.from_dict(value)

    def poster(
        self, source: int, result: int, destination: int, *, seconds_max: float = 60
    ) -> Picture | MediaFault:
        """Write a JPEG of 640x180 pixels: a picture of the source, and beside it one of its result."""
        files = [_reopened(source), _reopened(result), os.dup(destination)]
        value = self._ask("poster", files, {}, seconds_max)
        return value if isinstance(value, MediaFault) else Picture.from_dict(value)

    def image_facts(self, file: int, *, seconds_max: float = 30) -> Picture | MediaFault:
        """Give the size of a JPEG, PNG or WebP image as it is shown, for checks of its aspect."""
        value = self._ask("image_facts", [_reopened(file)], {}, seconds_max)
        return value if isinstance(value, MediaFault) else Picture.from_dict(value)

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
        value = self._ask("scale_image", files, arguments, seconds_max)
        return value if isinstance(value, MediaFault) else Picture.from_dict(value)

    def close(self) -> None:
        """End the children for good; a call under way or to come ends with a fault (MEDIA.STOPPED)."""
        for child in self._children:
            child.stop()
        self._crew.wait_for_all()  # each comes back when its call has ended
        for child in self._children:
            child.end()

    def _ask(
        self, name: str, files: Sequence[int], arguments: dict[str, Any], seconds_max: float
    ) -> dict[str, Any] | MediaFault:
        """Make one call in a free child; closes `files`, which are ours."""
        is_long = name not in _SHORT
        try:
            child = self._crew.take(is_long=is_long)
            try:
                call = {"name": name, "arguments": arguments, "seconds_max": seconds_max}
                answer = child.call(json.dumps(call).encode(), files, seconds_max)
            finally:
                self._crew.give_back(child, is_long=is_long)
        finally:
            for file in files:
                os.close(file)
        match answer:
            case _Stopped():
                return MediaFault(
                    "MEDIA.STOPPED", "clipspool is stopping", "Nothing: it goes on at the next start."
                )
            case _Late():
                return MediaFault(
                    "MEDIA.TIMEOUT",
                    f"the clip could not be dealt with in {seconds_max:.0f} seconds",
                    "Check that the clip plays; a shorter or smaller one may do.",
                )
            case _Gone(status=status) if status <= 0:
                return MediaFault(
                    "MEDIA.CRASHED",
                    "the decoder crashed on this file",
                    "Export the clip again, best as H.264 or ProRes; the file may be damaged.",
                )
            case _Gone(status=status):
                # It never looked at the file, for want of memory, threads or descriptors; that may pass.
                raise OSError(errno.EAGAIN, f"the decoder could not begin (status {status})", name)
            case dict():
                return _read_answer(name, answer)
            case _:
                assert_never(answer)


def _read_answer(name: str, answer: dict[str, Any]) -> dict[str, Any] | MediaFault:
    if "value" in answer:
        return dict(answer["value"])
    if "fault" in answer:
        return MediaFault.from_dict(answer["fault"])
    raise RuntimeError(f"the decoding process failed at {name}:\n{answer['bug']}")


class _Child:
    """One decoding process and its socket; used by one thread at a time, ended from any."""

    def __init__(self, memory_bytes_max: int, idle_seconds: float) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._is_closed = False
        self._was_used = False

    @property
    def lives(self) -> bool:
        """Whether a call finds its process there."""
        process = self._process
        return process is not None and process.poll() is None

    def call(self, data: bytes, files: Sequence[int], seconds_max: float) -> _Answer:
        """Send one call and wait for its answer, with a new child if there is none."""
        deadline = time.monotonic() + seconds_max
        while (ours := self.begin()) is not None:
            was_used, self._was_used = self._was_used, True
            answer = self._exchange(ours, data, files, deadline)
            if self._is_closed and isinstance(answer, _Gone):
                return _Stopped()
            if not (isinstance(answer, _Gone) and was_used and answer.status <= 0):
                return answer
            # It was idle for too long just as the call came, or fell over something earlier: what happens in
            # a new one is this file's own.
        return _Stopped()

    def begin(self) -> socket.socket | None:
        """Give the socket of a living process, begun if there is none; None when stopped."""
        with self._lock:
            if self._is_closed:
                return None
            if self._socket is not None and self._process is not None and self._process.poll() is None:
                return self._socket
            if self._socket is not None:
                self._socket.close()
            self._was_used = False
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                arguments = [str(theirs.fileno()), str(self._memory_bytes_max), str(self._idle_seconds)]
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
                return _Late()
            answer = ours.recv(CALL_BYTES_MAX)
        except OSError:
            answer = b""
        if answer:
            return dict(json.loads(answer))
        status = self.end()
        return _Late() if status == -signal.SIGXCPU else _Gone(status)

    def end(self, wait_seconds: float = END_SECONDS) -> int:
        """End the process, if there is one, and give its status."""
        with self._lock:
            process, self._process = self._process, None
            self._hang_up()
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            if process is None:
                return 0
            try:
                return process.wait(wait_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()

    def stop(self) -> None:
        """Let the call under way end, from any thread, and begin no other process."""
        with self._lock:
            self._is_closed = True
            self._hang_up()

    def _hang_up(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _environment() -> dict[str, str]:
    """Give the child what the interpreter needs, and no secret of the daemon."""
    needed = ("PYTHON", "LD_", "LC_", "LANG")
    return {name: value for name, value in os.environ.items() if name.startswith(needed)}


def _reopened(file: int) -> int:
    """Give a descriptor of the same file with a position of its own: the daemon's stays where it is."""
    try:
        return os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return os.dup(file)  # no /proc, or the mode changed since: shares its position, and works
