"""What the page is given of the daemon: a few callables and the way to the journal, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipspool.jobs.conditions import Conditions
from clipspool.spool.watchfolder import Folders


@dataclass(frozen=True, slots=True)
class House:
    """The daemon, as the page sees it; every callable serves any thread."""

    journal: Path
    """Read through connections of the page's own."""
    state: Callable[[], Future[tuple[Mapping[str, Any], Conditions]]]
    """What `status --json` prints, and what holds jobs back, once the scheduler comes to it."""
    command: Callable[[str, Mapping[str, Any]], Any]
    """Carries out an operator's command, as the command line does; raises what it raises."""
    bays: Callable[[], Mapping[str, Folders]]
    """The folders of each inbox, by name."""
    now: Callable[[], float]
    """Unix seconds."""
    metrics: Callable[[], bytes] | None = None
    """The text of `/metrics`; None: there is no such address."""
    health: Callable[[], tuple[bool, Mapping[str, Any]]] | None = None
    """Whether all is well, and the facts of `/healthz`; None: there is no such address."""
    count_wrong_token: Callable[[], None] = lambda: None
    """Called for each log-in or request with a wrong token."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Who may come in."""

    token: str | None = None
    """None: nothing can be changed from the page."""
    is_near: bool = True
    """Whether it listens on loopback or a Unix socket."""
    must_log_in: bool = False
    """Whether looking needs the token too."""
    hosts: tuple[str, ...] = ()
    """Host names besides `localhost` and addresses, in lower case."""
