"""The page's thread: an asyncio loop with uvicorn in it, begun and ended by the composition root."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from pathlib import Path

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from clipspool.jobs.messages import Listener, News
from clipspool.journal import Lookup
from clipspool.web.actions import Acts
from clipspool.web.connections import BACKLOG, Caller
from clipspool.web.context import Entrance, House
from clipspool.web.event_stream import STREAMS_MAX, Pulse
from clipspool.web.listen import Door
from clipspool.web.media import Films
from clipspool.web.security import Porter, is_known
from clipspool.web.sessions import Sessions
from clipspool.web.snapshot import Waiting
from clipspool.web.views import Views

log = structlog.get_logger()

_STOP_SECONDS = 3.0
_HEAD_BYTES_MAX = 32_768
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Page:
    """Serves the page in a thread of its own."""

    def __init__(self, door: Door, house: House, entrance: Entrance) -> None:
        """Take the open door; nothing is answered before `start`."""
        self._door = door
        self._waiting = Waiting()
        self._lookup = Lookup(house.journal)
        self._views = Views(house, entrance, self._lookup, self._waiting, lambda: self.pulse.version)
        self.pulse = Pulse(self._views.fingerprint)
        sessions = Sessions(entrance.token, house.now, str(house.journal), house.count_wrong_token)
        app = self._app(house, entrance, sessions)
        config = uvicorn.Config(
            Porter(app, entrance, sessions),
            loop="asyncio",
            http=Caller,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # its warnings tell what any stranger may send, a line for each
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

    def _app(self, house: House, entrance: Entrance, sessions: Sessions) -> ASGIApp:
        views, films = self._views, Films(house, self._lookup)
        acts = Acts(views, sessions)
        routes = [
            Route("/", views.overview),
            Route("/jobs", views.jobs),
            Route("/jobs/{job}", views.job),
            Route("/jobs/{job}/compare/{number:int}", views.compare),
            Route("/jobs/{job}/poster/{number:int}", films.poster),
            Route("/jobs/{job}/source", films.source),
            Route("/jobs/{job}/result/{number:int}", films.result),
            Route("/jobs/{job}/{act}", acts.do, methods=["POST"]),
            Route("/jobs/{job}/{act}", acts.confirm),
            Route("/all/{act}", acts.do_all, methods=["POST"]),
            Route("/all/{act}", acts.confirm_all),
            Route("/inboxes/{inbox}/{act}", acts.do_inbox, methods=["POST"]),
            Route("/inboxes/{inbox}/{act}", acts.confirm_inbox),
            Route("/login", acts.log_in, methods=["POST"]),
            Route("/login", acts.login),
            Route("/logout", acts.log_out, methods=["POST"]),
            Route("/events", self._events),
            Mount("/static", StaticFiles(directory=Path(__file__).with_name("static"))),
        ]
        if (metrics := house.metrics) is not None:

            def tell_metrics(_request: Request) -> Response:
                return Response(metrics(), headers={"Content-Type": _PROMETHEUS})

            routes.append(Route("/metrics", tell_metrics))
        if (health := house.health) is not None:

            def tell_health(request: Request) -> Response:
                is_well, facts = health()
                if entrance.must_log_in and not is_known(request):
                    facts = {}  # names of inboxes and folders are nobody's business
                body = json.dumps({**facts, "ok": is_well}, default=str)
                return Response(body, 200 if is_well else 503, media_type="application/json")

            routes.append(Route("/healthz", tell_health))
        handlers = {404: self._missing, TimeoutError: _too_late, Exception: _broken}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def _events(self, _request: Request) -> Response:
        if self.pulse.streams >= STREAMS_MAX:
            return PlainTextResponse("Too many pages are open.\n", 503)
        return StreamingResponse(self.pulse.stream(), media_type="text/event-stream")

    def _missing(self, request: Request, _error: Exception) -> Response:
        return self._views.missing(request)

    # --- running --------------------------------------------------------------------------------------

    @property
    def listener(self) -> Listener:
        """What the scheduler tells its news; quick, in its thread."""

        def hear(news: News) -> None:
            self._waiting.note(news)
            self.pulse.note(news)

        return hear

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        log.info("page_served", at=self._door.address)

    def stop(self) -> None:
        """End: streams first, then what is being answered, within some seconds."""
        self._server.should_exit = True
        self._views.snapshot.end()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self.pulse.end)
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._door.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:
            log.exception("bug", of="the page")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        beating = asyncio.create_task(self.pulse.run())
        try:
            await self._server.serve(sockets=[self._door.socket])
        finally:
            self.pulse.end()
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating


def _too_late(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("The daemon is busy and did not answer in time; try again.\n", 503)


def _broken(_request: Request, _error: Exception) -> Response:
    # The server logs it, with its trace.
    return PlainTextResponse("Something is wrong with the page; the daemon's log says what.\n", 500)
