"""What a worker is given and what it returns, both as text too, so that any machine can do the work; pure."""

from __future__ import annotations

import json
import secrets
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from clipspool.jobs.events import Event, name_of
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Clip, Job, plain

T = TypeVar("T")
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
        return _read(cls, json.loads(text))


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
    return _read(kind, body)


def _read(kind: Callable[..., T], body: Mapping[str, Any]) -> T:
    """Build a dataclass from its fields as JSON has them; raises KeyError, TypeError or ValueError."""
    readers = _readers(kind)
    return kind(**{name: readers[name](value) for name, value in body.items()})


@cache
def _readers(kind: Callable[..., Any]) -> dict[str, Callable[[Any], Any]]:
    return {name: _reader(hint) for name, hint in get_type_hints(kind).items()}


def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return what turns JSON's form of a field into the field's own; JSON has most of them already."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        # The only unions among these fields are `X | None`.
        (only,) = (one for one in arguments if one is not type(None))
        read = _reader(only)
        return lambda value: None if value is None else read(value)
    if origin is tuple:
        read = _reader(arguments[0])
        return lambda value: tuple(map(read, value))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if hasattr(hint, "__dataclass_fields__"):
        return lambda value: _read(hint, value)
    if origin in {None, Literal, dict, Mapping}:
        return lambda value: value
    raise TypeError(f"no reader for a field of type {hint}")
