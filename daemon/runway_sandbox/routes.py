"""From a path to an answer: finds the endpoint, lets a misbehaviour step in, logs the request."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from runway_sandbox import answers, api, misbehave, results, uploads
from runway_sandbox.accounts import Account
from runway_sandbox.api import Api
from runway_sandbox.ledger import RequestRecord
from runway_sandbox.misbehave import Misbehaviour
from runway_sandbox.wire import Answer, BodyTooLongError, Exchange

Act = Callable[[bytes, Misbehaviour | None], Answer | Awaitable[Answer]]

COMET_PREFIX: Final = "/runwayml/v1/"
OFFICIAL_PREFIX: Final = "/v1/"
ADMIN_PREFIX: Final = "/_sandbox/"
_HTML: Final = "text/html; charset=UTF-8"
_WELCOME: Final = b"<!doctype html><title>clipspool sandbox</title><p>A local stand-in of the provider's API."
_FILE_FAULTS: Final = frozenset(
    {
        "cut", "cut-close", "no-length", "wrong-length", "drip", "stall", "html", "nothing", "etag-changed",
        "weak-etag", "wrong-offset", "ignore-range", "gzip-bomb", "oversize",
    }
)  # fmt: skip


@dataclass(slots=True)
class Routes:
    """Handles the requests."""

    api: Api
    _number: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def next_connection(self) -> int:
        """Return the number of a new connection."""
        return next(self._number)

    async def handle(self, exchange: Exchange, connection: int) -> None:
        """Answer a request and log it, whatever happened to it."""
        started, at = time.perf_counter(), time.time()
        request = exchange.request
        try:
            await self._route(exchange)
        except BodyTooLongError:
            shape = "runway" if request.path.startswith(OFFICIAL_PREFIX) else "gateway"
            await exchange.send(
                answers.error(
                    shape, 413, "read_request_body_failed", "request body too large"
                )  # PROVIDER 1.6
            )
        finally:
            if not request.path.startswith(ADMIN_PREFIX):
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
        elif path.startswith(ADMIN_PREFIX):
            await exchange.send(await self._administer(exchange))
        elif path.startswith(uploads.PREFIX):
            upload_id = path.removeprefix(uploads.PREFIX)
            await self._perform(
                exchange, "storage", lambda *_: self.api.uploads.store(exchange, upload_id), shape="runway"
            )
        elif path == "/user/quota":
            await self._perform(exchange, "quota", lambda *_: self.api.accounts.quota(exchange.request))
        elif path.startswith(OFFICIAL_PREFIX):
            await self._endpoint(exchange, path.removeprefix(OFFICIAL_PREFIX), is_official=True)
        elif path.startswith(COMET_PREFIX):
            await self._endpoint(exchange, path.removeprefix(COMET_PREFIX), is_official=False)
        elif path == "/":
            await exchange.send(Answer(200, _WELCOME, (), _HTML))
        else:
            await exchange.send(_lost())

    async def _administer(self, exchange: Exchange) -> Answer:
        """Answer `GET ledger` (`?requests=0` for only the creates), and GET, POST, DELETE of `misbehave`."""
        request, deck = exchange.request, self.api.deck
        body = await self.api.read_for(exchange)
        match request.method, request.path.removeprefix(ADMIN_PREFIX):
            case "GET", "ledger":
                with_requests = request.query.get("requests", "1") != "0"
                return Answer.of_json(200, self.api.ledger.as_json(with_requests=with_requests))
            case "GET", "misbehave":
                return Answer.of_json(200, deck.listing())
            case "POST", "misbehave":
                try:
                    given = json.loads(body)
                    deck.add(*map(misbehave.from_json, given if isinstance(given, list) else [given]))
                except (ValueError, TypeError, RecursionError) as error:
                    return Answer.of_json(400, {"error": str(error)})
            case "DELETE", "misbehave":
                deck.clear()
            case _:
                return Answer.of_json(404, {"error": "known are ledger and misbehave"})
        return Answer(204)

    async def _endpoint(self, exchange: Exchange, rest: str, *, is_official: bool) -> None:
        head, _, task_id = rest.partition("/")
        shape = "runway" if is_official else "comet"
        match exchange.request.method, head, bool(task_id):
            case "POST", "video_to_video", False:
                act: Act = lambda body, fault: self._create(exchange, body, fault, is_official=is_official)  # noqa: E731
                await self._perform(exchange, "create", act, shape=shape)
            case (
                ("GET" | "DELETE", "tasks", True)
                | ("GET", "organization", False)
                | ("POST", "uploads", False)
            ):
                admit = self.api.accounts.admit
                account = admit(exchange.request, is_official=is_official, needs_version=False)
                if isinstance(account, Answer):
                    await exchange.send(account)
                else:
                    on, act, prompt = self._act_for(exchange, account, head, unquote(task_id))
                    await self._perform(exchange, on, act, prompt, shape=shape)
            case (_, "video_to_video" | "organization" | "uploads", False) | (_, "tasks", True):
                await exchange.send(answers.error(shape, 405, "invalid_request", "Method Not Allowed"))
            case _:
                await exchange.send(answers.error("runway", 404, "", "Not found") if is_official else _lost())

    async def _create(
        self, exchange: Exchange, body: bytes, fault: Misbehaviour | None, *, is_official: bool
    ) -> Answer:
        made = await self.api.create(exchange, body, is_official=is_official)
        if fault is not None and fault.what == "compat-answer" and made.status == 200:  # noqa: PLR2004
            return api.as_compat(made)
        return made

    def _act_for(
        self, exchange: Exchange, account: Account, head: str, task_id: str
    ) -> tuple[str, Act, str | None]:
        if head == "organization":
            return head, lambda *_: self.api.accounts.organization(account), None
        if head == "uploads":
            return "upload", lambda body, _: self.api.place_upload(exchange.request, body, account), None
        task = self.api.find(task_id, account)
        prompt = task.prompt if task is not None else None
        if exchange.request.method == "GET":
            return "poll", lambda _, fault: self.api.poll(exchange, account, task, fault), prompt
        return "cancel", lambda *_: self.api.cancel(account, task), prompt

    async def _perform(
        self, exchange: Exchange, on: str, act: Act, prompt: str | None = None, *, shape: str = "comet"
    ) -> None:
        fault = self._draw(exchange, on, prompt)
        body: bytes | None = (
            b"" if on == "storage" else None
        )  # a storage request's body is read as it is stored
        if fault is None and on == "create" and self.api.deck.is_filtered("create"):
            body = await self.api.read_for(exchange)
            fault = self._draw(exchange, on, api.prompt_of(body))
        if fault is not None:
            await self._misbehave(exchange, fault, act, shape, body)
            return
        if body is None:
            body = await self.api.read_for(exchange)
        await exchange.send(await _carry_out(act, body, None))

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
            body = await self.api.read_for(exchange)
        if fault.what == "drop":
            exchange.drop(fault.how)
        if fault.error_status is not None:
            wrong: Answer | None = answers.programmed_error(fault, shape)
        else:
            wrong = answers.odd_answer(fault, results.location(fault, exchange.request, time.time()))
        if wrong is not None and not fault.is_after:
            await exchange.send(wrong)
            return
        good = await _carry_out(act, body, fault)
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

    async def _download(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method not in ("GET", "HEAD"):
            await exchange.send(Answer(405, b"", (("Allow", "GET, HEAD"),)))
            return
        task_id, _, rest = request.path.removeprefix(results.PREFIX).partition("/")
        place = rest.partition("/")[0]
        task = self.api.studio.table.get(unquote(task_id))
        outputs = (task.outputs if task is not None else None) or ()
        if (
            task is None
            or not (place.isdecimal() and int(place) < len(outputs))
            or not self.api.signer.is_valid(task.id, int(place), request.query, time.time())
        ):
            await exchange.send(results.denied())
            return
        output = outputs[int(place)]
        fault = self._draw(exchange, "download", task.prompt)
        if fault is None or fault.what in _FILE_FAULTS:
            await results.send(exchange, output, fault)
        elif fault.what == "slow":
            await asyncio.sleep(fault.seconds)
            await results.send(exchange, output, None)
        elif fault.error_status == 403 and fault.shape is None:  # noqa: PLR2004  # a CDN's answer to an old address
            await exchange.send(results.denied())
        else:
            whole = Answer(200, output.path.read_bytes(), (), "video/mp4")
            await self._misbehave(exchange, fault, lambda *_: whole, "empty")


async def _carry_out(act: Act, body: bytes, fault: Misbehaviour | None) -> Answer:
    made = act(body, fault)
    return await made if inspect.isawaitable(made) else made


def _lost() -> Answer:
    # The gateway answers a wrong path with a redirect instead of JSON [PROVIDER 1.6, shape 5].
    return Answer(301, answers.HTML, (("Location", "/"),), _HTML)


async def _drop_early(exchange: Exchange, fault: Misbehaviour) -> None:
    if fault.what == "drop-in-body":
        announced = exchange.request.headers.get("content-length", "0")
        most = fault.bytes if fault.bytes is not None else int(announced) // 2
        async for _ in exchange.chunks():
            if exchange.bytes_in >= most:
                break
    exchange.drop(fault.how)
