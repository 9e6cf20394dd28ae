"""Runs the page in a thread: an asyncio loop with uvicorn, started and stopped by the composition root."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from clipspool.jobs.messages import Happened, Listener, News
from clipspool.jobs.model import Job
from clipspool.journal import JournalError, Lookup
from clipspool.web.actions import ActionRoutes
from clipspool.web.api.acts import Acts
from clipspool.web.api.films import Films
from clipspool.web.api.jobs import EventStream, JobAnswers
from clipspool.web.api.routes import act_operations, clip_operations, document_operation, job_operations
from clipspool.web.api.sidecars import SidecarRoutes
from clipspool.web.cache import WaitingJobs
from clipspool.web.connections import BACKLOG, PageConnection
from clipspool.web.context import AccessRules, ClipDoors, DaemonHandle, Right
from clipspool.web.event_stream import STREAMS_MAX, ChangeStream
from clipspool.web.inbox_pages import InboxPages
from clipspool.web.listen import PageSocket
from clipspool.web.media import MediaRoutes
from clipspool.web.security import (
    API,
    AccessControl,
    address_of,
    answered,
    may,
    needs,
    refused,
    too_late,
)
from clipspool.web.sessions import Sessions
from clipspool.web.threads import InboxThreads, Silent
from clipspool.web.uploads import Uploads
from clipspool.web.versions import VersionPages
from clipspool.web.views import Views

log = structlog.get_logger()

_T = TypeVar("_T")

_STOP_SECONDS = 3.0
_UNTOLD_SECONDS = 5.0
"""How old the list of what waits for a person may be on a node that is not told of changes."""
_READ_SECONDS = 1.0
"""How often such a node reads the journal for changes, while somebody follows them."""
_CHANGED_MAX = 1000
_MONITORS = 4
"""Threads for metrics and health."""
_HEAD_BYTES_MAX = 32_768
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class PageServer:
    """Serves the page in a thread of its own."""

    def __init__(self, server_socket: PageSocket, daemon: DaemonHandle, access: AccessRules) -> None:
        """`server_socket` listens already; nothing is answered before `start`."""
        self._socket = server_socket
        self._publishes_news = daemon.publishes_news
        self._waiting = WaitingJobs() if daemon.publishes_news else WaitingJobs(_UNTOLD_SECONDS)
        self._lookup = Lookup(daemon.journal)
        self._views = Views(daemon, access, self._lookup, self._waiting, lambda: self.changes.version)
        self.changes = ChangeStream(self._views.fingerprint)
        self.events = EventStream(self._begin_stream)
        self._read_up_to: int | None = None
        """The newest event that was read for the streams, on a node that is not told of changes."""
        self._threads = InboxThreads(daemon.folders)
        self._monitors: anyio.CapacityLimiter | None = None
        self._media = MediaRoutes(daemon, self._lookup, self._threads)
        self._films: Films | None = None
        if daemon.clips is not None:
            uploads = Uploads(daemon.folders, daemon.clips.rules, daemon.now, daemon.clips.node)
            self._films = Films(uploads, daemon.clips, self._threads)
        sessions = Sessions(access.tokens, daemon.now, str(daemon.journal), daemon.count_wrong_token)
        app = self._app(daemon, access, sessions)
        config = uvicorn.Config(
            AccessControl(app, access, sessions),
            loop="asyncio",
            http=PageConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # its warnings are a line for each odd request of a stranger
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=_HEAD_BYTES_MAX,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    def _app(self, daemon: DaemonHandle, access: AccessRules, sessions: Sessions) -> ASGIApp:
        views, media = self._views, self._media
        acts = ActionRoutes(views, sessions)
        look, add, decide = (partial(_route, access, right) for right in Right)
        routes: list[BaseRoute] = [
            *self._editors_pages(daemon.clips, access),
            look("/", views.overview),
            look("/jobs", views.jobs),
            look("/jobs/{job}", views.job),
            look("/jobs/{job}/compare/{number:int}", views.compare),
            look("/jobs/{job}/poster/{number:int}", media.poster),
            look("/jobs/{job}/source", media.source),
            look("/jobs/{job}/result/{number:int}", media.result),
            add("/jobs/{job}/choose", acts.choose),
            decide("/jobs/{job}/{act}", acts.do),
            look("/jobs/{job}/{act}", acts.confirm),
            decide("/all/{act}", acts.do_all),
            look("/all/{act}", acts.confirm_all),
            decide("/inboxes/{inbox}/{act}", acts.do_inbox),
            look("/inboxes/{inbox}/{act}", acts.confirm_inbox),
            Route("/login", acts.log_in, methods=["POST"]),
            Route("/login", acts.login),
            Route("/logout", acts.log_out, methods=["POST"]),
            look("/events", self._events),
            *self._api(daemon, access),
            Mount("/static", StaticFiles(directory=Path(__file__).with_name("static"))),
        ]
        if (metrics := daemon.metrics) is not None:

            async def show_metrics(_request: Request) -> Response:
                return Response(await self._aside(metrics), headers={"Content-Type": _PROMETHEUS})

            routes.append(look("/metrics", show_metrics))
        if (health := daemon.health) is not None:

            async def show_health(request: Request) -> Response:
                facts = await self._aside(health)
                if access.must_log_in and not may(request, Right.LOOK):
                    facts = {"ok": facts["ok"]}  # strangers learn no names of inboxes and folders
                body = json.dumps(facts, default=str)
                return Response(body, 200 if facts["ok"] else 503, media_type="application/json")

            routes.append(Route("/healthz", show_health))
        self.routes = routes
        handlers = {
            404: self._missing,
            405: self._not_so,
            TimeoutError: too_late,
            JournalError: _no_journal,
            Silent: _silent,
            Exception: _broken,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False  # to an `http:` address, also where a proxy ends TLS
        return app

    async def _aside(self, look: Callable[[], _T]) -> _T:
        """Look in threads of its own: monitors are answered also while all others wait for something."""
        if self._monitors is None:  # it belongs to the loop that runs
            self._monitors = anyio.CapacityLimiter(_MONITORS)
        return await anyio.to_thread.run_sync(look, limiter=self._monitors)

    def _editors_pages(self, doors: ClipDoors | None, access: AccessRules) -> list[BaseRoute]:
        if self._films is None or doors is None:
            return []
        sidecars = SidecarRoutes(self._films, self._views.snapshot)
        pages = InboxPages(self._views, doors, sidecars, self._threads)
        versions = VersionPages(self._views, doors, self._threads)
        look, add = (partial(_route, access, right) for right in (Right.LOOK, Right.ADD))
        return [
            look("/jobs/{job}/versions", versions.sheet),
            look("/jobs/{job}/versions/compare", versions.compare),
            look("/jobs/{job}/again", versions.ask_again),
            add("/jobs/{job}/again", versions.again),
            look("/add", pages.choose),
            look("/inbox/{inbox}", pages.inbox),
            look("/inbox/{inbox}/presets/{name}", self._media.preset),
            add("/inbox/{inbox}/mend", pages.mend),
        ]

    def _api(self, daemon: DaemonHandle, access: AccessRules) -> list[BaseRoute]:
        views = self._views
        jobs = JobAnswers(
            self._lookup, views.snapshot, views.balance, self._media, daemon.command, self._threads
        )
        operations = [*job_operations(jobs, self.events), *act_operations(Acts(daemon))]
        if self._films is not None:
            operations += clip_operations(self._films, self._lookup, self._views.snapshot)
        operations.append(document_operation(operations))
        return [operation.route(access) for operation in operations]

    async def _events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self.changes.streams >= STREAMS_MAX:
            return PlainTextResponse("Too many pages are open.\n", 503)
        await self._begin_stream()
        return StreamingResponse(self.changes.stream(), media_type="text/event-stream")

    def _missing(self, request: Request, _error: Exception) -> Response:
        bare = {**request.scope, "path": request.url.path.rstrip("/")}
        if request.method == "GET" and bare["path"] != request.url.path and self._is_known(bare):
            return RedirectResponse(address_of(bare))
        if request.url.path.startswith(f"{API}/"):
            return refused(404, "There is no such address; `openapi.json` lists them.")
        return self._views.missing(request)

    def _is_known(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self.routes)

    def _not_so(self, request: Request, _error: Exception) -> Response:
        # Each method of an address is a route of its own: the first alone would name its own methods.
        here = [route for route in self.routes if route.matches(request.scope)[0] is not Match.NONE]
        methods = {method for route in here if isinstance(route, Route) for method in route.methods or ()}
        allowed = {"Allow": ", ".join(sorted(methods or {"GET", "HEAD"}))}
        return answered(request, 405, "This address does not know the method.", allowed)

    # --- running --------------------------------------------------------------------------------------

    @property
    def listener(self) -> Listener:
        """Takes the scheduler's news, in its thread."""

        def on_news(news: News) -> None:
            if isinstance(news, Happened):
                self._changed(news.after)
            else:
                self.changes.note()

        return on_news

    def _changed(self, job: Job) -> None:
        self._waiting.note(job)
        self.changes.note()
        self.events.add(job)

    def start(self) -> None:
        """Start answering."""
        self._thread.start()
        log.info("page_served", at=self._socket.address)

    def stop(self) -> None:
        """Stop: streams first, then requests under way, within a few seconds."""
        self._server.should_exit = True
        self._views.snapshot.end()
        self.events.end()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self.changes.end)
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._socket.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:
            log.exception("bug", of="the page")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(self.changes.run())]
        if not self._publishes_news:
            tasks.append(asyncio.create_task(self._read_news()))
        try:
            await self._server.serve(sockets=[self._socket.socket])
        finally:
            self.changes.end()
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    @property
    def _is_followed(self) -> bool:
        return bool(self.changes.streams or self.events.streams)

    async def _begin_stream(self) -> None:
        """Note the newest event before the first stream is answered: what happens later belongs to it."""
        if self._publishes_news or self._is_followed:
            return
        with contextlib.suppress(JournalError):
            newest, _ = await anyio.to_thread.run_sync(self._changed_since, None)
            if not self._is_followed:
                if self._read_up_to not in {None, newest}:
                    self.events.forget()  # nobody read what happened since the last stream ended
                self._read_up_to = newest

    async def _read_news(self) -> None:
        """Read from the journal which jobs changed, while a page or a program follows that."""
        while True:
            await asyncio.sleep(_READ_SECONDS)
            if not self._is_followed:
                continue
            with contextlib.suppress(JournalError):
                found = await anyio.to_thread.run_sync(self._changed_since, self._read_up_to)
                self._read_up_to, jobs = found
                for job in jobs:
                    self._changed(job)

    def _changed_since(self, last: int | None) -> tuple[int, Sequence[Job]]:
        with self._lookup.look() as look:
            newest = look.last_event()
            if last is None or newest == last:
                return newest, ()
            return newest, look.jobs_changed_since(last, _CHANGED_MAX)


def _route(access: AccessRules, right: Right, path: str, endpoint: Callable[..., Any]) -> Route:
    method = "GET" if right is Right.LOOK else "POST"
    return Route(path, needs(right, access, endpoint), methods=[method])


def _no_journal(request: Request, error: Exception) -> Response:
    return answered(request, 503, f"The journal cannot be read now: {error}")


def _silent(request: Request, error: Exception) -> Response:
    return answered(request, 503, str(error))


def _broken(request: Request, _error: Exception) -> Response:
    # The server logs it, with its trace.
    return answered(request, 500, "Something is wrong with the page; the daemon's log says what.")
