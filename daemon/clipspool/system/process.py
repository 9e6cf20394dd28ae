"""What a process asks of its machine: threads, a processor, freed memory, the boot's id, flags, closing."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol, TypeVar

# Options of mallopt(3), from GNU's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_STAT_PROCESSOR: Final = 36
"""Which field of /proc/PID/stat behind the name is the processor it ran on last (proc(5))."""


class _Closable(Protocol):
    def close(self) -> object: ...


_T = TypeVar("_T", bound=_Closable)


@contextmanager
def closed_on_error(opened: _T) -> Iterator[_T]:
    """Close what was opened where the block raises: it cannot be used after all."""
    try:
        yield opened
    except BaseException:
        opened.close()
        raise


def start_thread(target: Callable[..., object], name: str, *args: Any) -> threading.Thread | None:
    """Start a daemon thread; None where a limit (RLIMIT_NPROC, TasksMax, memory) refuses it for now."""
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


_ALLOWED: Final = frozenset(os.sched_getaffinity(0))
"""The processors that this process was given when it began."""


def stay_on_one_processor() -> None:
    """Have this thread, and the threads that it starts, run on the processor where it runs now.

    Python's lock lets one thread run at a time. On several processors each short call to the system wakes a
    thread on another one, which finds the lock taken again: a third of the time that small clips took. Call
    it before threads start, and start other programs with `on_any_processor`.
    """
    fields = Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()
    _allow({int(fields[_STAT_PROCESSOR])})


@contextmanager
def on_any_processor() -> Iterator[None]:
    """Let what this thread starts meanwhile run on all processors that the process was given."""
    before = os.sched_getaffinity(0)
    _allow(_ALLOWED)
    try:
        yield
    finally:
        _allow(before)


def _allow(processors: Collection[int]) -> None:
    with suppress(OSError):  # forbidden in this container, or taken offline: the same is done, more slowly
        os.sched_setaffinity(0, processors)


def return_freed_memory(large_bytes: int, arenas: int) -> None:
    """Have the C library return blocks of `large_bytes` or more once they are free.

    By default GNU's malloc raises that size with the first picture that is freed, and keeps eight arenas a
    processor, so that threads do not wait for each other; each arena keeps what was freed in it. A size that
    is allocated again and again should be below `large_bytes`: each large block costs its page faults again.
    Other C libraries have no such options. Call it before threads start.
    """
    import ctypes  # noqa: PLC0415  (for the daemon alone)

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, large_bytes)
        mallopt(_M_MMAP_THRESHOLD, large_bytes)
        mallopt(_M_ARENA_MAX, arenas)


def keep_what_is_loaded() -> None:
    """Have no later collection of garbage look through what the start made: most of it stays to the end."""
    gc.collect()
    gc.freeze()


def boot_id() -> str:
    """Return the kernel's id of the current boot; empty where it is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def seconds_since_boot() -> float:
    """Return the seconds since boot, sleep included; setting the clock changes nothing."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Flag:
    """A flag that a signal handler may set while its own thread waits for it; one thread waits and clears.

    `threading.Event` may not be set there: it takes a lock that the interrupted thread may hold, and both
    wait for ever. A `SimpleQueue` may be put into (its documentation calls that reentrant).
    """

    def __init__(self) -> None:
        self._is_set = False
        self._wakes: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Set it, and end a wait; serves any thread and signal handler."""
        self._is_set = True
        self._wakes.put(None)

    def is_set(self) -> bool:
        """Whether it was set since it was cleared."""
        return self._is_set

    def clear(self) -> None:
        """Unset it."""
        self._is_set = False
        with suppress(Empty):
            for _ in range(self._wakes.qsize()):
                self._wakes.get_nowait()

    def wait(self, seconds: float) -> bool:
        """Wait until it is set, at most `seconds`; return whether it is."""
        if not self._is_set:
            with suppress(Empty):
                self._wakes.get(timeout=max(seconds, 0.0))
        return self._is_set
