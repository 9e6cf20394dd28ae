"""Which run of the machine this is: what died with the machine is no clip's fault."""

from __future__ import annotations

from pathlib import Path


def boot_id() -> str:
    """Name this run of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
