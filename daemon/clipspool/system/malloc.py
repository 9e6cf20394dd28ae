"""Has the C library give memory back: what one busy hour took is not kept for the quiet ones after it."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # numbers of mallopt(3), GNU's malloc.h
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2


def give_back(large_bytes: int) -> None:
    """Return blocks of `large_bytes` or more as soon as they are free; share two pools between all threads.

    Left alone, GNU's malloc raises the size that it calls large with the first picture that is freed, and
    keeps eight pools a processor. What is taken and freed again and again should be below it: each large
    block costs its page faults anew. Another C library has no such knobs and stays as it is. Call it before
    threads begin.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for option, value in (
        (_M_TRIM_THRESHOLD, large_bytes),
        (_M_MMAP_THRESHOLD, large_bytes),
        (_M_ARENA_MAX, _ARENAS),
    ):
        mallopt(option, value)
