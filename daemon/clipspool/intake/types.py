"""Values that go into an inbox and come out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from clipspool.jobs.model import Problem, Request
from clipspool.jobs.path_map import AS_THEY_ARE, Places
from clipspool.system.atomic import Rel

Detect = Literal["auto", "events", "rescan"]
Check = Callable[[Request, dict[str, Any]], list[Problem]]
"""Compares a request and the media facts of its clip with the model, and returns what is wrong."""
Inspect = Callable[..., tuple[dict[str, Any], list[Problem]]]
"""Inspects an open clip: media facts, and why it is not a usable clip. May raise Unsure.

For a folder of pictures it gets the first one, the facts about the folder, and all its bytes.
"""

EXTENSIONS = frozenset(
    (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".mxf", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".gif")
)


@dataclass(frozen=True, slots=True)
class Rules:
    """An inbox's configuration, as far as intake needs it."""

    name: str
    extensions: frozenset[str] = EXTENSIONS
    ignore: tuple[str, ...] = ()
    """Globs of names, or of paths if they contain a `/`."""
    sidecar_required: bool = True
    settle_seconds: float = 3.0
    rescan_seconds: float = 30.0
    detect: Detect = "auto"
    priority: int = 0
    hold_seconds: float = 0.0
    """How long a complete clip waits before it is accepted; until then its editor may remove it."""
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings for all clips, by the part of the configuration (in words); later ones win."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The configuration's presets, by name."""
    journal: str = ""
    """Identity of the journal that records accepted clips."""
    sidecar_wait_seconds: float = 60.0
    """How long a file may wait for another, or be incomplete, before its editor gets a note."""
    unsure_seconds: float = 300.0
    """How long a clip must be unchanged if nothing in it shows where it ends."""
    optional_wait_seconds: float = 10.0
    """How long a clip waits for an optional sidecar."""
    places: Places = AS_THEY_ARE
    """Our folders' paths as editors see them."""
    deaths_file: Path | None = None
    """Records which clip is being examined, in case the process dies over it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file in an inbox that is not accepted, or not yet."""

    path: Rel
    reason: str
    since: float
    """Unix seconds of the first time it was seen waiting."""
    problem: bool
    """Whether its editor must act; then it has a note."""


@dataclass(frozen=True, slots=True)
class InboxPaused:
    """An editor put `_pause` into an inbox, or removed it."""

    name: str
    file: str
    """Its name; empty when it is gone."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Functions of the catalogue, the decoder and the farm that intake calls."""

    check: Check
    inspect: Inspect
    expect: Callable[[], None] = lambda: None
    """Called while files settle that are likely to be inspected soon."""
    complete: Callable[[Request, dict[str, Any]], Request] = lambda request, _: request
    """Fills in required keys that nobody wrote."""
    price: Callable[[Request, Mapping[str, Any]], float | None] = lambda _request, _facts: None
    may_claim: Callable[[], bool] = lambda: True
    """Asked right before each claim: a node that was frozen may lead its farm no more."""
