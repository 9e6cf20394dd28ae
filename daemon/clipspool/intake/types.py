"""What an inbox is told, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from clipspool.jobs.path_map import AS_THEY_ARE, Places
from clipspool.system.atomic import Rel

Detect = Literal["auto", "events", "rescan"]
EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv"})


@dataclass(frozen=True, slots=True)
class Rules:
    """An inbox's part of the configuration, as far as intake goes."""

    name: str
    extensions: frozenset[str] = EXTENSIONS
    ignore: tuple[str, ...] = ()
    """Globs of names, or of paths where they hold a `/`."""
    sidecar_required: bool = True
    settle_seconds: float = 3.0
    rescan_seconds: float = 30.0
    detect: Detect = "auto"
    priority: int = 0
    hold_seconds: float = 0.0
    """How long a whole clip waits in the inbox before it is accepted: removing it takes it back."""
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the configuration says of all clips, by where in it, in words; later ones win."""
    journal: str = ""
    """The identity of the journal that takes on what is accepted."""
    sidecar_wait_seconds: float = 60.0
    """How long a file may wait for another, or to become whole, before its editor gets a note."""
    unsure_seconds: float = 300.0
    """How long a clip has to stand still of which nothing says where it ends."""
    optional_wait_seconds: float = 10.0
    """How long a clip waits for a sidecar that is optional."""
    places: Places = AS_THEY_ARE
    """What the editors call our folders."""
    deaths_file: Path | None = None
    """Where it stands what was being judged, should the process die over it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that lies in an inbox and is not accepted, or not yet."""

    path: Rel
    reason: str
    since: float
    """Unix seconds: when it was first seen waiting."""
    problem: bool
    """Whether its editor has to do something; there is a note beside it then."""


@dataclass(frozen=True, slots=True)
class InboxPaused:
    """An editor put `_pause` into an inbox, or removed it."""

    name: str
    file: str
    """What lies there; empty when it is gone."""
