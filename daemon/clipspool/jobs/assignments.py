"""What a worker is given and what it returns, both as text too, so that any machine can do the work; pure."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from clipspool.jobs.events import Event, name_of
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Clip, Job
from clipspool.jobs.nouns import plain, read

_EVENTS: dict[str, type[Event]] = {name_of(event): event for event in get_args(Event)}


@dataclass(frozen=True, slots=True)
class Assignment:
    """One stage of one job, given to a worker once."""

    stage: Stage
    job: Job
    clip: Clip
    attempt: str
    """Lower-case hex, different each time. It is part of the names of the files that the stage makes: a
    worker that was frozen and goes on after its work was given to another writes into no file of that one."""

    def to_text(self) -> str:
        """Return it as JSON in ASCII."""
        return json.dumps(plain(self))

    @classmethod
    def from_text(cls, text: str) -> Assignment:
        """Read what `to_text` returned; raises KeyError, TypeError or ValueError for anything else."""
        return read(cls, json.loads(text))


def new_attempt() -> str:
    """Return the name of a new attempt.

    It is random, not counted: a restored database would repeat a number that a frozen worker still uses.
    """
    return secrets.token_hex(5)


def event_to_text(event: Event) -> str:
    """Return an event as JSON in ASCII."""
    return json.dumps({"event": name_of(type(event)), **plain(event)})


def event_from_text(text: str) -> Event:
    """Read what `event_to_text` returned; raises KeyError, TypeError or ValueError for anything else."""
    body = json.loads(text)
    kind: Callable[..., Event] = _EVENTS[body.pop("event")]
    return read(kind, body)
