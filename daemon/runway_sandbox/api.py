"""Carries out the requests of each endpoint."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import secrets
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from runway_sandbox import answers, results, uploads
from runway_sandbox.accounts import Account, Accounts
from runway_sandbox.ledger import CreateRecord, Ledger
from runway_sandbox.misbehave import Deck, Misbehaviour
from runway_sandbox.options import MODELS, Options, Render, Style
from runway_sandbox.sources import AssetError, Clip, Sources
from runway_sandbox.studio import Studio
from runway_sandbox.tasks import Failure, Status, Task
from runway_sandbox.validation import Create, Issue, check_create
from runway_sandbox.wire import Answer, Exchange, Request

_FAILURES: Final = {
    "SAFETY": "Your content was flagged by our content moderation system.",
    "INPUT_PREPROCESSING": "The input could not be checked.",
    "ASSET": "The provided asset is invalid.",
    "THIRD_PARTY": "A third party service is unavailable.",
}
_CONTENT: Final = {"prores": "mov", "png_sequence": "zip"}


@dataclass(slots=True)
class Api:
    """The endpoints. Raises BodyTooLongError and GoneError."""

    options: Options
    deck: Deck
    ledger: Ledger
    studio: Studio
    folder: Path
    accounts: Accounts = field(init=False)
    signer: results.Signer = field(init=False)
    uploads: uploads.Uploads = field(init=False)
    _sources: Sources = field(init=False)
    _reading: ThreadPoolExecutor = field(init=False)
    _random: random.Random = field(init=False)
    _counter: itertools.count[int] = field(default_factory=itertools.count)
    _results_base: str | None = None

    def __post_init__(self) -> None:
        options = self.options
        self.accounts = Accounts(options)
        self.signer = results.Signer(options.url_seconds)
        self.uploads = uploads.Uploads(self.folder)
        self._sources = Sources(self.folder, self.uploads.find)
        self._reading = ThreadPoolExecutor(1, "sandbox-read")
        self._random = random.Random(options.seed)  # noqa: S311  # repeatable on purpose

    def serve_results_from(self, base: str) -> None:
        """Put this scheme and host into the addresses of results: they have a port of their own."""
        self._results_base = base

    async def create(self, exchange: Exchange, body: bytes, *, is_official: bool) -> Answer:
        """POST video_to_video: check, charge, make the task, write the ledger, return its id."""
        account = self.accounts.admit(exchange.request, is_official=is_official, needs_version=True)
        if isinstance(account, Answer):
            return account
        task_id = f"task_{secrets.token_hex(16)}" if self.options.gateway_ids else str(uuid.uuid4())
        loop = asyncio.get_running_loop()
        read = await loop.run_in_executor(self._reading, self._read_create, body, account, task_id)
        if isinstance(read, Answer):
            return read
        create, clip = read
        price = clip.credits_for(create.model)
        if (refused := self.accounts.charge(account, price)) is not None:
            clip.path.unlink(missing_ok=True)
            return refused
        task = self._task(task_id, account, create, clip, price)
        record = CreateRecord(
            task_id=task_id,
            at=task.created_at,
            sha256=clip.sha256,
            prompt=create.prompt,
            seed=create.seed,
            model=create.model,
            key_fingerprint=account.fingerprint,
            request_bytes=len(body),
        )
        self.ledger.record_create(record)
        self.studio.add(task)
        cost = {"estimatedCost": {"credits": price}} if is_official else {}
        return Answer.of_json(200, {"id": task_id, **cost})

    def _read_create(self, body: bytes, account: Account, task_id: str) -> Answer | tuple[Create, Clip]:
        try:
            given = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return answers.error(account.shape, 400, "invalid_request", "The request body is not valid JSON.")
        if not isinstance(given, dict) or not isinstance(given.get("model"), str):
            values = ("values", list(MODELS))
            return self._invalid(account, (Issue("invalid_union", "Invalid input", ("model",), (values,)),))
        if given["model"] not in MODELS:
            return self._no_model(account, given["model"])
        by_page = self.options.strict and not account.is_official
        create = check_create(given, by_page=by_page)
        if isinstance(create, tuple):
            return self._invalid(account, create)
        try:
            clip = self._sources.take(create.source, create.model, task_id)
        except AssetError as error:
            shape = "runway" if account.is_official else "nested"
            return answers.error(shape, 400, "invalid_request", str(error))
        if self.options.render is Render.CANNED:
            self.studio.canned_for(clip.seconds_of(create.model))  # made here, where no other request waits
        return create, clip

    def _invalid(self, account: Account, issues: tuple[Issue, ...]) -> Answer:
        # The gateway passes Runway's text on inside its own message [PROVIDER 1.6, shape 3].
        is_plain = account.is_official or self.options.style is Style.BARE
        return answers.error("issues" if is_plain else "nested", 400, "", "Validation of body failed", issues)

    def _no_model(self, account: Account, model: str) -> Answer:
        if account.is_official:
            return answers.error("runway", 403, "", f"Model variant {model[:80]} is not available")
        text = f"no available channel for group default and model {model[:80]} (distributor)"
        return answers.error("comet", 503, "model_not_found", text)

    def _task(self, task_id: str, account: Account, create: Create, clip: Clip, price: int) -> Task:
        style = self.options.style
        is_wrapped = style is Style.WRAPPED or (style is Style.MIXED and next(self._counter) % 2 == 1)
        is_kept = self.options.render is not Render.CANNED
        if not is_kept:
            clip.path.unlink(missing_ok=True)
        task = Task(
            id=task_id,
            owner=account.fingerprint,
            model=create.model,
            prompt=create.prompt,
            is_wrapped=is_wrapped and not account.is_official,
            credits=price,
            created_at=time.time(),
            clip=clip.path if is_kept else None,
            seconds=clip.seconds_of(create.model),
            content=_CONTENT.get(create.output_format, "mp4"),
        )
        if fault := self.deck.draw("task") or self.deck.draw("task", create.prompt):
            _spoil(task, fault)
        return task

    def find(self, task_id: str, account: Account) -> Task | None:
        """Return a task as its owner sees it: a fresh one may be invisible at first [PROVIDER 1.5]."""
        task = self.studio.table.get(task_id)
        if task is None or task.owner != account.fingerprint or task.is_invisible:
            return None
        return task if time.time() >= task.created_at + self.options.visible_after else None

    def poll(
        self, exchange: Exchange, account: Account, task: Task | None, fault: Misbehaviour | None
    ) -> Answer:
        """GET tasks/{id}: the task in its shape, with fresh addresses."""
        self.studio.turn()
        if task is None or (fault is not None and fault.what == "not-exist"):
            return _not_exist(account)
        if fault is not None and not task.status.is_terminal:
            now = time.time()
            if fault.what == "failure":
                self.studio.table.fail(task, _failure(fault), now)
            elif fault.what == "cancelled":
                self.studio.table.cancel(task, now)
        body = self._task_body(exchange.request, account, task)
        if fault is not None:
            body = answers.spoil_task(body, fault, self._random)
        return Answer.of_json(200, body)

    def _task_body(self, request: Request, account: Account, task: Task) -> dict[str, Any]:
        now, table = time.time(), self.studio.table
        shown, progress = table.shown(task), table.progress(task, now)
        urls: list[str] = []
        if shown is Status.SUCCEEDED:
            base = self._results_base or f"http://{request.headers.get('host', 'localhost')}"
            outputs = task.outputs or ()
            urls = [self.signer.url(base, task.id, place, one.name, now) for place, one in enumerate(outputs)]
            if task.repeats_output:
                urls = urls[:1] * 2
        if task.is_wrapped:
            return answers.wrapped_task(task, shown, progress, urls, self.options.url_place)
        return answers.bare_task(task, shown, progress, urls, has_costs=account.is_official)

    def cancel(self, account: Account, task: Task | None) -> Answer:
        """DELETE tasks/{id}: stop or forget it; afterwards it cannot be fetched [PROVIDER 2.6]."""
        status = self.options.cancel_status
        if status != 204:  # noqa: PLR2004  # the one that works
            return answers.error(account.shape, status, "invalid_request", "Invalid URL or method.")
        if task is None:
            return _not_exist(account)
        if task.status is Status.PENDING:
            self.accounts.refund(account, task.credits)
        self.studio.table.remove(task.id)
        self.studio.turn()
        return Answer(204)

    def place_upload(self, request: Request, body: bytes, account: Account) -> Answer:
        """POST uploads: a placeholder for a file [PROVIDER 2.5]."""
        is_offered = account.is_official if self.options.uploads is None else self.options.uploads
        if not is_offered:
            return answers.error(account.shape, 404, "", "Not found")
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            given = None
        match given:
            case {"type": "ephemeral", "filename": name, **others} if name and not others:
                pass
            case _:
                issue = Issue("invalid_union", "Invalid input: expected filename and type ephemeral")
                return self._invalid(account, (issue,))
        return Answer.of_json(200, self.uploads.place(f"http://{request.headers.get('host', 'localhost')}"))

    async def read_for(self, exchange: Exchange) -> bytes:
        """Read a request's body up to the limit."""
        return await exchange.read_body(self.options.body_bytes_max)

    async def close(self) -> None:
        """Wait for the reading thread."""
        await asyncio.to_thread(self._reading.shutdown)


def as_compat(made: Answer) -> Answer:
    """Move the id of a create's answer to where the compatibility routes have it [PROVIDER 1.2]."""
    data = {"task_id": json.loads(made.body)["id"]}
    return Answer.of_json(200, {"code": 200, "message": "", "msg": "success", "data": data})


def prompt_of(body: bytes) -> str:
    """Return the prompt of a body, for misbehaviours that depend on it; "" if there is none."""
    try:
        prompt = json.loads(body)["promptText"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return ""
    return prompt if isinstance(prompt, str) else ""


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _not_exist(account: Account) -> Answer:
    if account.is_official:
        return answers.error("runway", 404, "", "Task not found")
    return answers.error("gateway", 400, answers.NOT_EXIST, answers.NOT_EXIST)


def _failure(fault: Misbehaviour) -> Failure:
    code = fault.code if fault.code is not None else "INTERNAL"
    default = _FAILURES.get(code.partition(".")[0], "An unexpected error occurred.")
    return Failure(code or None, fault.message or default)


def _spoil(task: Task, fault: Misbehaviour) -> None:
    match fault.what:
        case "failure":
            task.coming_failure = _failure(fault)
        case "cancelled":
            task.status = Status.CANCELLED
        case "stuck":
            task.is_stuck = True
        case "invisible":
            task.is_invisible = True
        case "outputs":
            task.outputs_count = fault.count
        case "same-twice":
            task.repeats_output = True
        case "content":
            task.content = fault.kind
        case _:
            pass
