"""Which commands are suggested for a job, written so that they can be typed as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BY_HOLD: Mapping[str, tuple[str, ...]] = {
    "in_doubt": ("attach {id} {task}", "retry {id}", "cancel {id}"),
    "lost": ("attach {id} {task}", "retry {id}", "cancel {id}"),
    "result": ("retry {id}", "cancel {id}"),
    "budget": ("approve {id}", "cancel {id}"),
    "duplicate": ("approve {id}", "cancel {id}"),
    "poison": ("approve {id}", "cancel {id}"),
    "refused": ("approve {id}", "cancel {id}"),
    "parts": ("show {id}", "retry {id}", "cancel {id}"),
    "veto": ("approve {id}", "cancel {id}"),
    "from_backup": ("show {id}", "approve {id}", "cancel {id}"),
    "overdue": ("show {id}", "cancel {id}"),
    "outbox": ("check --offline", "show {id}"),
    "disk": ("check --offline", "show {id}"),
}
_BY_STATE: Mapping[str, tuple[str, ...]] = {
    "failed": ("show {id}", "retry {id}"),
    "delivered": ("again {id}", "choose {id}"),
}


def program(config: Path | None) -> str:
    """Return how the command begins: with the configuration file where the caller named one."""
    return "clipspool" if config is None else f"clipspool -c {shlex.quote(str(config))}"


def commands_for(job: Mapping[str, Any], begins: str = "clipspool") -> tuple[str, ...]:
    """Return the commands for a job, as in `jobs --json`; empty where none is of use."""
    task_id = next(iter(job.get("maybe_task_ids", ())), "TASK_ID")
    if job["held"] == "result" and job["state"] == "fetched":
        typed: tuple[str, ...] = ("approve {id}", "retry {id}", "cancel {id}")
    else:
        typed = _BY_STATE.get(job["state"], ()) or _BY_HOLD.get(job["held"] or "", ())
    if job.get("chosen"):
        typed = tuple(one for one in typed if not one.startswith("choose "))
    return tuple(f"{begins} {one.format(id=job['id'], task=shlex.quote(task_id))}" for one in typed)
