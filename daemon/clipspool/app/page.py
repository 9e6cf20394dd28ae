"""Serves the page where it is configured; where its port is in use, work goes on and it is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from io import FileIO
from typing import TYPE_CHECKING, Any

import structlog

from clipspool.app.build import rules_of
from clipspool.app.commands import Answers
from clipspool.app.monitoring import Monitoring
from clipspool.app.quoting import Quoter
from clipspool.app.settings import Settings
from clipspool.intake.types import Rules
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.messages import Listener
from clipspool.jobs.quote import Quote
from clipspool.scheduler.loop import Scheduler
from clipspool.scheduler.mailbox import Command
from clipspool.spool.watchfolder import Folders
from clipspool.stages.runner import StageRunner
from clipspool.system.atomic import Rel
from clipspool.web.context import AccessRules, ClipDoors, DaemonHandle, Right, Token
from clipspool.web.listen import CannotListen, PageSocket

if TYPE_CHECKING:
    from clipspool.web.server import PageServer

log = structlog.get_logger()

_AGAIN_SECONDS = 10.0

DaemonView = tuple[Mapping[str, Any], Conditions]


def clip_doors(
    stages: Callable[[], StageRunner],
    folders_of: Callable[[], Mapping[str, Folders]],
    settings: Callable[[], Settings],
    node: str = "",
) -> ClipDoors:
    """Return what taking clips needs; each part is looked up at each call, as a reload replaces it."""
    quoter = Quoter(lambda: stages().tools.quoting, lambda file: stages().inspect(file))

    def rules() -> Mapping[str, Rules]:
        folders = folders_of()
        known = [one for one in settings().inbox if one.name in folders]
        return {one.name: rules_of(settings(), one, folders[one.name].journal) for one in known}

    def quote(
        inbox: str,
        path: Rel,
        sidecar: bytes,
        file: FileIO | None,
        images: Sequence[str],
        at: Rel,
    ) -> Quote:
        root = folders_of()[inbox].watched
        return quoter.quote(root, rules()[inbox], path, sidecar, file, images, sidecar_name=at)

    def models() -> Sequence[Mapping[str, Any]]:
        return [
            {"name": name, **model.model_dump(mode="json")}
            for name, model in stages().tools.catalog.models.items()
        ]

    return ClipDoors(rules, quote, models, node)


class PageHost:
    """Starts and stops the page, if one is configured; for the scheduler's thread only."""

    def __init__(self, settings: Settings) -> None:
        """Bind nothing before `open`."""
        self._settings = settings
        self._make: Callable[[PageSocket], PageServer] | None = None
        self._page: PageServer | None = None
        self._tried_at = 0.0
        self._why = ""

    @property
    def troubles(self) -> list[str]:
        """Why the page is not served; empty when it is, or none is configured."""
        return [self._why] if self._why else []

    def open(
        self,
        scheduler: Scheduler,
        answers: Answers,
        stages: StageRunner,
        settings: Callable[[], Settings],
        monitoring: Monitoring,
    ) -> None:
        """Start the page, subscribed to the scheduler's news; `settings` returns those of the last reload."""
        if self._settings.web.listen is None:
            return

        def state() -> Future[DaemonView]:
            reply: Future[DaemonView] = Future()
            scheduler.enqueue(Command(lambda one: (answers.status(one), answers.conditions(one)), reply))
            return reply

        metrics = monitoring.metrics
        handle = DaemonHandle(
            self._settings.journal.place,
            state,
            answers.answer,
            lambda: stages.tools.folders_of,
            scheduler.now,
            metrics=None if metrics is None else metrics.text,
            health=monitoring.health.look,
            clips=clip_doors(lambda: stages, lambda: stages.tools.folders_of, settings, scheduler.node),
            count_wrong_token=(lambda: None) if metrics is None else metrics.token_refused,
        )
        self.serve(handle, scheduler.subscribe)

    def serve(
        self, daemon: DaemonHandle, subscribe: Callable[[Listener], None] = lambda _listener: None
    ) -> None:
        """Start the page for a daemon; `subscribe` registers a listener for all news."""
        if self._settings.web.listen is None:
            return
        # Late: it takes a quarter of a second, and most daemons have none.
        from clipspool.web.server import PageServer  # noqa: PLC0415

        web = self._settings.web
        rights = {name: frozenset(map(Right, one.rights)) for name, one in web.tokens.items()}
        tokens = tuple(
            Token(secret.get_secret_value(), name, rights.get(name, frozenset(Right)))
            for name, secret in web.secrets.items()
        )
        access = AccessRules(tokens, is_near=web.is_near, must_log_in=web.must_log_in, hosts=web.hosts)

        def make(server_socket: PageSocket) -> PageServer:
            page = PageServer(server_socket, daemon, access)
            subscribe(page.listener)
            return page

        self._make = make
        self._try()

    def retry_if_due(self) -> None:
        """Try again from time to time where the page is not served."""
        if self._why and time.monotonic() - self._tried_at >= _AGAIN_SECONDS:
            self._try()

    def _try(self) -> None:
        listen = self._settings.web.listen
        if listen is None or self._make is None:
            return
        self._tried_at = time.monotonic()
        try:
            server_socket = PageSocket(listen)
        except CannotListen as error:
            if str(error) != self._why:
                log.warning("page_not_served", why=str(error), tried_again_every_seconds=_AGAIN_SECONDS)
            self._why = str(error)
            return
        self._why = ""
        self._page = self._make(server_socket)
        self._page.start()

    def close(self) -> None:
        """Stop the page."""
        self._make = None
        if self._page is not None:
            self._page.stop()
