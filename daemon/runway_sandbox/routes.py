"""From a path to an answer: find the endpoint, let a misbehaviour step in, log the request."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from runway_sandbox import admin, answers, api, results, uploads
from runway_sandbox.ledger import RequestRecord
from runway_sandbox.wire import Answer, BodyTooLongError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runway_sandbox.api import Api
    from runway_sandbox.misbehave import Misbehaviour
    from runway_sandbox.wire import Exchange

    Act = Callable[[bytes, Misbehaviour | None], Awaitable[Answer]]

COMET_PREFIX: Final = "/runwayml/v1/"
OFFICIAL_PREFIX: Final = "/v1/"
_WELCOME: Final = b"<!doctype html><title>clipspool sandbox</title><p>A local stand-in of the provider's API."


@dataclass(slots=True)
class Routes:
    """Handles one request after the other."""

    api: Api
    _number: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def next_connection(self) -> int:
        """Return the number of a new connection."""
        return next(self._number)

    async def handle(self, exchange: Exchange, connection: int) -> None:
        """Answer a request and write it into the log, whatever became of it."""
        started, at = time.perf_counter(), time.time()
        try:
            await self._route(exchange)
        except BodyTooLongError:
            is_official = exchange.request.path.startswith(OFFICIAL_PREFIX)
            await exchange.send(api.too_long(is_official=is_official))
        finally:
            request = exchange.request
            if not request.path.startswith(admin.PREFIX):
                record = RequestRecord(
                    at=at,
                    method=request.method,
                    path=request.path,
                    status=exchange.status,
                    bytes_in=exchange.bytes_in,
                    bytes_out=exchange.bytes_out,
                    seconds=time.perf_counter() - started,
                    misbehaviour=exchange.misbehaviour,
                    has_key="authorization" in request.headers,
                    at_results=exchange.at_results,
                    connection=connection,
                )
                self.api.ledger.record_request(record)

    async def _route(self, exchange: Exchange) -> None:
        path = exchange.request.path
        if path.startswith(results.PREFIX):
            await self._download(exchange)
        elif exchange.at_results:
            await exchange.send(results.denied())
        elif path.startswith(admin.PREFIX):
            await exchange.send(await admin.answer(exchange, self.api))
        elif path.startswith(uploads.PREFIX):
            await self._store(exchange)
        elif path == "/user/quota":
            await self._perform(exchange, "quota", self._quota(exchange))
        elif path.startswith((COMET_PREFIX, OFFICIAL_PREFIX)):
            is_official = path.startswith(OFFICIAL_PREFIX)
            rest = path.removeprefix(OFFICIAL_PREFIX if is_official else COMET_PREFIX)
            await self._endpoint(exchange, rest, is_official=is_official)
        elif path == "/":
            await exchange.send(Answer(200, _WELCOME, (), "text/html; charset=UTF-8"))
        else:
            # A wrong path is no JSON 404 at the gateway [PROVIDER 1.6, shape 5].
            await exchange.send(Answer(301, answers.HTML, (("Location", "/"),), "text/html; charset=UTF-8"))

    async def _endpoint(self, exchange: Exchange, rest: str, *, is_official: bool) -> None:
        head, _, task_id = rest.partition("/")
        match exchange.request.method, head, bool(task_id):
            case "POST", "video_to_video", False:
                await self._create(exchange, is_official=is_official)
            case "GET" | "DELETE", "tasks", True:
                await self._task(exchange, api.task_id_in(task_id), is_official=is_official)
            case "GET", "organization", False:
                await self._with_account(exchange, "organization", is_official=is_official)
            case "POST", "uploads", False:
                await self._with_account(exchange, "upload", is_official=is_official)
            case (_, "video_to_video" | "organization" | "uploads", False) | (_, "tasks", True):
                shape = "runway" if is_official else "comet"
                await exchange.send(answers.error(shape, 405, "invalid_request", "Method Not Allowed"))
            case _ if is_official:
                await exchange.send(answers.error("runway", 404, "", "Not found"))
            case _:
                html = Answer(301, answers.HTML, (("Location", "/"),), "text/html; charset=UTF-8")
                await exchange.send(html)

    async def _create(self, exchange: Exchange, *, is_official: bool) -> None:
        async def act(body: bytes, fault: Misbehaviour | None) -> Answer:
            made = await self.api.create(exchange, body, is_official=is_official)
            if fault is not None and fault.what == "compat-answer" and made.status == 200:  # noqa: PLR2004
                return api.as_compat(made)
            return made

        await self._perform(exchange, "create", act, is_official=is_official)

    async def _task(self, exchange: Exchange, task_id: str, *, is_official: bool) -> None:
        request = exchange.request
        account = self.api.accounts.admit(request, is_official=is_official, needs_version=False)
        if isinstance(account, Answer):
            await exchange.send(account)
            return
        is_poll = request.method == "GET"
        owner = account
        task = self.api.find(task_id, owner)

        async def act(_body: bytes, fault: Misbehaviour | None) -> Answer:
            return self.api.poll(exchange, owner, task, fault) if is_poll else self.api.cancel(owner, task)

        prompt = task.prompt if task is not None else None
        await self._perform(exchange, "poll" if is_poll else "cancel", act, prompt, is_official=is_official)

    async def _with_account(self, exchange: Exchange, on: str, *, is_official: bool) -> None:
        account = self.api.accounts.admit(exchange.request, is_official=is_official, needs_version=False)
        if isinstance(account, Answer):
            await exchange.send(account)
            return
        owner = account

        async def act(body: bytes, _fault: Misbehaviour | None) -> Answer:
            if on == "upload":
                return self.api.place_upload(exchange.request, body, owner)
            return self.api.accounts.organization(owner)

        await self._perform(exchange, on, act, is_official=is_official)

    def _quota(self, exchange: Exchange) -> Act:
        async def act(_body: bytes, _fault: Misbehaviour | None) -> Answer:
            return self.api.accounts.quota(exchange.request)

        return act

    async def _store(self, exchange: Exchange) -> None:
        upload_id = exchange.request.path.removeprefix(uploads.PREFIX)
        fault = self._draw(exchange, "storage", None)
        if fault is not None:
            await self._misbehave(
                exchange, fault, lambda _body, _fault: self._stored(exchange, upload_id), "runway"
            )
        else:
            await exchange.send(await self.api.uploads.store(exchange, upload_id))

    async def _stored(self, exchange: Exchange, upload_id: str) -> Answer:
        return await self.api.uploads.store(exchange, upload_id)

    async def _perform(
        self, exchange: Exchange, on: str, act: Act, prompt: str | None = None, *, is_official: bool = False
    ) -> None:
        fault = self._draw(exchange, on, prompt)
        body: bytes | None = None
        if fault is None and on == "create" and self.api.deck.is_filtered("create"):
            body = await self.api.read_for(exchange)
            fault = self._draw(exchange, on, api.prompt_of(body))
        if fault is None:
            if body is None:
                body = await self.api.read_for(exchange)
            await exchange.send(await act(body, None))
            return
        await self._misbehave(exchange, fault, act, "runway" if is_official else "comet", body)

    def _draw(self, exchange: Exchange, on: str, prompt: str | None) -> Misbehaviour | None:
        deck = self.api.deck
        fault = deck.draw(on)
        if fault is None and prompt is not None:
            fault = deck.draw(on, prompt)
        if fault is not None:
            exchange.misbehaviour = f"{fault.on}:{fault.what}"
        return fault

    async def _misbehave(
        self, exchange: Exchange, fault: Misbehaviour, act: Act, shape: str, body: bytes | None = None
    ) -> None:
        if fault.what in ("drop-before-body", "drop-in-body"):
            await _drop_early(exchange, fault)
        if body is None:
            body = b"" if fault.on == "storage" else await self.api.read_for(exchange)
        if fault.what == "drop":
            exchange.drop(fault.how)
        wrong = self._wrong_answer(exchange, fault, shape)
        if wrong is not None and not fault.is_after:
            await exchange.send(wrong)
            return
        good = await act(body, fault)
        match fault.what:
            case "drop-after":
                exchange.drop(fault.how)
            case "drop-in-answer":
                await exchange.send_part(good, len(good.body) // 2 if fault.bytes is None else fault.bytes)
                exchange.drop(fault.how)
            case "slow":
                await asyncio.sleep(fault.seconds)
            case _:
                pass
        await exchange.send(wrong or good)

    def _wrong_answer(self, exchange: Exchange, fault: Misbehaviour, shape: str) -> Answer | None:
        if fault.error_status is not None:
            return answers.programmed_error(fault, shape)
        return answers.odd_answer(fault, results.location(fault, exchange.request, time.time()))

    async def _download(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method not in ("GET", "HEAD"):
            await exchange.send(Answer(405, b"", (("Allow", "GET, HEAD"),)))
            return
        task_id, _, rest = request.path.removeprefix(results.PREFIX).partition("/")
        place = rest.partition("/")[0]
        task = self.api.studio.table.get(api.task_id_in(task_id))
        outputs = task.outputs if task is not None else None
        is_known = outputs is not None and place.isdecimal() and int(place) < len(outputs)
        if task is None or outputs is None or not is_known:
            await exchange.send(results.denied())
            return
        output = outputs[int(place)]
        if not self.api.signer.is_valid(task.id, int(place), request.query, time.time()):
            await exchange.send(results.denied())
            return
        fault = self._draw(exchange, "download", task.prompt)
        if fault is None or fault.what in _FILE_FAULTS:
            await results.send(exchange, output, fault)
        elif fault.what == "slow":
            await asyncio.sleep(fault.seconds)
            await results.send(exchange, output, None)
        elif fault.error_status == 403 and fault.shape is None:  # noqa: PLR2004  # what a CDN says of an old address
            await exchange.send(results.denied())
        else:
            await self._misbehave(
                exchange, fault, lambda _body, _fault: _whole(output.path.read_bytes()), "empty"
            )


async def _whole(data: bytes) -> Answer:
    return Answer(200, data, (), "video/mp4")


async def _drop_early(exchange: Exchange, fault: Misbehaviour) -> None:
    if fault.what == "drop-in-body":
        announced = exchange.request.headers.get("content-length", "0")
        most = fault.bytes if fault.bytes is not None else int(announced) // 2
        async for _ in exchange.chunks():
            if exchange.bytes_in >= most:
                break
    exchange.drop(fault.how)


_FILE_FAULTS: Final = frozenset(
    {
        "cut", "cut-close", "no-length", "wrong-length", "drip", "stall", "html", "nothing", "etag-changed",
        "weak-etag", "wrong-offset", "ignore-range", "gzip-bomb", "oversize",
    }
)  # fmt: skip
