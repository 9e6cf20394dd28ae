"""Tells runs of the machine apart, and how much time passed in one, whatever is done to its clock."""

from __future__ import annotations

import time
from pathlib import Path


def boot_id() -> str:
    """Name this run of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def seconds_passed() -> float:
    """Count seconds since the machine began, its sleep included; setting the clock changes nothing."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
