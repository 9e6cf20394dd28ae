"""What a process asks of its machine: threads, which may be refused, freed memory returned, the boot's id."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

# Options of mallopt(3), from GNU's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2


def start_thread(target: Callable[..., object], name: str, *args: Any) -> threading.Thread | None:
    """Start a daemon thread; None where a limit (RLIMIT_NPROC, TasksMax, memory) refuses it for now."""
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def return_freed_memory(large_bytes: int) -> None:
    """Have the C library return blocks of `large_bytes` or more once they are free.

    By default GNU's malloc raises that size with the first picture that is freed, and keeps eight arenas a
    processor. A size that is allocated again and again should be below it: each large block costs its page
    faults anew. Other C libraries have no such options. Call it before threads start.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, large_bytes)
        mallopt(_M_MMAP_THRESHOLD, large_bytes)
        mallopt(_M_ARENA_MAX, _ARENAS)


def boot_id() -> str:
    """Return the kernel's id of the current boot; empty where it is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def seconds_since_boot() -> float:
    """Return the seconds since boot, sleep included; setting the clock changes nothing."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
