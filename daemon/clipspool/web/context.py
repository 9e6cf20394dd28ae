"""What the page gets from the daemon: a few functions and the journal's place, nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from io import FileIO
from typing import Any

import structlog

from clipspool.intake.types import Rules
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.quote import Quote
from clipspool.journal import Place
from clipspool.spool.watchfolder import Folders
from clipspool.system.atomic import Rel

log = structlog.get_logger()

JOB_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True, slots=True)
class ClipDoors:
    """What taking clips needs of the daemon; every function may be called from any thread."""

    rules: Callable[[], Mapping[str, Rules]]
    """Intake's rules of each inbox, by name."""
    quote: Callable[[str, Rel, bytes, FileIO | None, Sequence[str], Rel], Quote]
    """Quotes a clip by inbox, path, sidecar, its open file, names of images that would lie beside it, and the
    path of the sidecar, empty for the usual one."""
    models: Callable[[], Sequence[Mapping[str, Any]]]
    """The models of the catalogue: names, fields, limits and prices."""
    node: str = ""
    """This node's name in a farm: several may take clips into one inbox."""


@dataclass(frozen=True, slots=True)
class DaemonHandle:
    """The daemon as the page uses it; every function may be called from any thread."""

    journal: Place
    """Where it is; the page reads it through connections of its own."""
    state: Callable[[], Future[tuple[Mapping[str, Any], Conditions]]]
    """Asks the scheduler for what `status --json` prints, and for what holds jobs back."""
    command: Callable[[str, Mapping[str, Any]], Any]
    """Carries out an operator's command as the command line does; raises what the command raises."""
    folders: Callable[[], Mapping[str, Folders]]
    """The folders of each inbox, by name."""
    now: Callable[[], float]
    """Unix seconds."""
    metrics: Callable[[], bytes] | None = None
    """Returns the text of `/metrics`; None: that address does not exist."""
    health: Callable[[], Mapping[str, Any]] | None = None
    """Returns the facts of `/healthz`, `ok` among them; None: that address does not exist."""
    clips: ClipDoors | None = None
    """None: no clips are taken."""
    publishes_news: bool = True
    """Whether the page is told of each change; a node that follows reads the journal for them."""
    count_wrong_token: Callable[[], None] = lambda: None
    """Called for each log-in or request with a wrong token."""

    def order(
        self, do: str, arguments: Mapping[str, Any], by: str
    ) -> tuple[Sequence[Mapping[str, Any]], str]:
        """Carry out what a person ordered, and log it; return each job's answer, and why any was refused.

        Raises TimeoutError where the daemon does not answer in time: it may still carry it out.
        """
        try:
            answer = self.command(do, arguments)
        except TimeoutError:
            raise
        except Exception as error:  # noqa: BLE001  (shown to the caller; the daemon goes on)
            return (), str(error) or type(error).__name__
        answers = answer if isinstance(answer, list) else []
        refusals = [one.get("why", "it cannot be done now") for one in answers if not one["done"]]
        if not arguments.get("dry_run") and (not answers or len(refusals) < len(answers)):
            of = arguments.get("ids") or arguments.get("job_id") or "inbox"
            log.info("command", do=do, by=by, of=of)
        return answers, "; ".join(dict.fromkeys(refusals))


class Right(StrEnum):
    """What a token allows."""

    LOOK = "look"
    """See jobs, inboxes and films, where looking needs a log-in."""
    ADD = "add"
    """Put clips into inboxes, and mend their sidecars: what an editor does."""
    DECIDE = "decide"
    """Retry, cancel, attach, approve, pause and resume: what an operator does."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and who has it."""

    secret: str
    name: str = ""
    """Empty for the one of `web.token`."""
    rights: frozenset[Right] = frozenset(Right)


@dataclass(frozen=True, slots=True)
class AccessRules:
    """Who may see the page, and who may change something."""

    tokens: tuple[Token, ...] = ()
    """Without one nothing can be changed from the page."""
    is_near: bool = True
    """Whether it listens on loopback or a Unix socket."""
    must_log_in: bool = False
    """Whether viewing needs the token too."""
    hosts: tuple[str, ...] = ()
    """Host names besides `localhost` and addresses, in lower case."""
