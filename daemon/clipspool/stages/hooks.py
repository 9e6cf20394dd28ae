"""Runs the operator's hooks: each a command with the job's JSON on its standard input."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clipspool.jobs.events import Event, JobHeld, Postponed, StageFailed, Vetted
from clipspool.jobs.model import Clip, Held, Job
from clipspool.jobs.records import HookRun
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of
from clipspool.system.atomic import join
from clipspool.system.command import Ran, run
from clipspool.system.redaction import redact

BEFORE_SUBMIT, AFTER_DELIVERY, ON_FAILURE = "before_submit", "after_delivery", "on_failure"
_VETO = 1
_WORDS_MAX = 500
_OUTPUT_MAX = 2000


@dataclass(frozen=True, slots=True)
class HookTools:
    """The hooks as they are configured."""

    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seconds_max: float = 30.0
    folder: str = "/"
    """Where they run: the configuration's folder, so that a script beside it is found."""
    describe: Callable[[Job], dict[str, Any]] = field(default=lambda job: {"id": job.id})
    """Returns a job as `show --json` has it."""


def vet(job: Job, clip: Clip, folders: Folders, tools: HookTools, stopping: Callable[[], bool]) -> Event:
    """Ask the `before_submit` hook; nothing of the paid request has begun.

    Exit 1 is a veto, and its standard error the reason. Any other trouble is the hook's, not the clip's, and
    it is run again later.
    """
    if BEFORE_SUBMIT not in tools.commands:
        return Vetted(0.0)
    ran = _run(BEFORE_SUBMIT, job, clip, folders, tools, stopping)
    if ran.was_stopped:
        return Postponed("clipspool ended while the before_submit hook ran", 0.0)
    if ran.exit_code == 0:
        return Vetted(round(ran.seconds, 3), _shown(ran.output or ran.errors, _OUTPUT_MAX))
    words = _shown(ran.errors, _WORDS_MAX)
    if ran.exit_code == _VETO:
        return JobHeld(Held.VETO, words or "the before_submit hook refused it and gave no reason")
    return StageFailed("HOOK", f"the before_submit hook failed: {_trouble(ran)}{': ' * bool(words)}{words}")


def after(
    name: str, job: Job, clip: Clip, folders: Folders, tools: HookTools, stopping: Callable[[], bool]
) -> HookRun:
    """Run a hook after a job's end; nothing depends on its outcome."""
    if name not in tools.commands:
        return HookRun(name)
    ran = _run(name, job, clip, folders, tools, stopping)
    output = _shown(f"{ran.output}\n{ran.errors}", _OUTPUT_MAX)
    trouble = "" if ran.exit_code == 0 else _trouble(ran)
    return HookRun(name, round(ran.seconds, 3), output, trouble, ran.was_stopped)


def _trouble(ran: Ran) -> str:
    if ran.exit_code is None:
        return ran.trouble
    return f"exit {ran.exit_code}" if ran.exit_code >= 0 else f"ended by signal {-ran.exit_code}"


def _run(
    name: str, job: Job, clip: Clip, folders: Folders, tools: HookTools, stopping: Callable[[], bool]
) -> Ran:
    inbox, outbox = folders.watched.path, folders.outbox.path
    source = clip.lies_at or (None if clip.retired_at else join(folder_of(clip.id), clip.source))
    if folders.origin is not None:
        source = clip.path
    facts = {
        **tools.describe(job),
        "hook": name,
        "files": {
            "source": None if source is None else str(inbox / source),
            "results": [str(outbox / one.name) for one in job.results if one.name],
        },
    }
    # ASCII: names that are not UTF-8 arrive as escapes of their bytes.
    data = json.dumps(facts, ensure_ascii=True).encode() + b"\n"
    extra = {"CLIPSPOOL_HOOK": name, "CLIPSPOOL_JOB": job.id}
    return run(
        tools.commands[name],
        data,
        seconds_max=tools.seconds_max,
        folder=tools.folder,
        extra=extra,
        stopping=stopping,
    )


def _shown(text: str, most: int) -> str:
    """Return a hook's words in one line of printable characters, without secrets."""
    words = re.sub(r"\s+", " ", "".join(c if c.isprintable() or c.isspace() else "?" for c in text)).strip()
    words = redact(words)
    return words if len(words) <= most else f"{words[: most - 1]}…"
