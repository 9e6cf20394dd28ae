"""Builds the answers of the API: tasks, bare and wrapped, and its many sorts of error."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from runway_sandbox.misbehave import Misbehaviour
from runway_sandbox.options import UrlPlace
from runway_sandbox.tasks import Status, Task
from runway_sandbox.validation import Issue
from runway_sandbox.wire import Answer

HTML = (
    b"<!doctype html><html><head><title>Just a moment...</title></head>"
    b"<body><h1>502 Bad gateway</h1><p>cloudflare</p></body></html>"
)
NOT_EXIST = "task_not_exist"

# Words of gateways for Runway's states, with their coarse progress [PROVIDER 1.3].
_GATEWAY_WORDS = {
    Status.PENDING: ("QUEUED", "10%"),
    Status.THROTTLED: ("QUEUED", "5%"),
    Status.SUCCEEDED: ("SUCCESS", "100%"),
    Status.FAILED: ("FAILURE", "100%"),
    Status.CANCELLED: ("FAILURE", "100%"),
}


def bare_task(
    task: Task, shown: Status, progress: float, urls: Sequence[str], *, has_costs: bool
) -> dict[str, Any]:
    """Return a task as Runway does [PROVIDER 1.4, 2.6]; costs are the official API's own."""
    created = datetime.fromtimestamp(task.created_at, UTC)
    body: dict[str, Any] = {
        "id": task.id,
        "status": str(shown),
        "createdAt": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    match shown:
        case Status.RUNNING:
            body["progress"] = progress
        case Status.SUCCEEDED:
            body["output"] = list(urls)
        case Status.FAILED if task.failure is not None:
            body["failure"] = task.failure.message
            if task.failure.code is not None:
                body["failureCode"] = task.failure.code
        case _:
            pass
    if has_costs and shown.is_terminal:
        is_charged = shown is Status.SUCCEEDED or (task.failure is not None and task.failure.is_charged)
        body["cost"] = {"credits": task.credits if is_charged else 0}
    elif has_costs:
        body["estimatedCost"] = {"credits": task.credits}
    return body


def wrapped_task(
    task: Task, shown: Status, progress: float, urls: Sequence[str], place: UrlPlace
) -> dict[str, Any]:
    """Return a task in the gateway's envelope: seconds, "30%", and the raw object inside [PROVIDER 1.3]."""
    word, percent = _GATEWAY_WORDS.get(shown, ("IN_PROGRESS", f"{round(progress * 100)}%"))
    inner = bare_task(task, shown, progress, urls, has_costs=False)
    created = datetime.fromtimestamp(task.created_at, timezone(timedelta(hours=8)))
    inner["createdAt"] = created.isoformat("T", "seconds")
    reason = "task cancelled" if shown is Status.CANCELLED else ""
    if shown is Status.FAILED and task.failure is not None:
        reason = task.failure.message
    body = {
        "task_id": task.id,
        "action": "VIDEO_TO_VIDEO",
        "status": word,
        "fail_reason": reason,
        "submit_time": int(task.created_at),
        "start_time": int(task.started_at),
        "finish_time": int(task.ended_at),
        "progress": percent,
        "data": inner,
    }
    if place is UrlPlace.RESULT_URL:
        # The mirror trap: for a failure this field repeats the reason.
        body["result_url"] = urls[0] if urls else reason
    elif place is UrlPlace.FAIL_REASON and urls:
        body["fail_reason"] = urls[0]
    if place is not UrlPlace.INNER:
        inner.pop("output", None)
    return {"code": "success", "message": "", "data": body}


def error(
    shape: str,
    status: int,
    code: str,
    message: str,
    issues: Iterable[Issue] = (),
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """Return an error answer of one of `misbehave.SHAPES` [PROVIDER 1.6, 2.7]."""
    listed = [issue.as_json() for issue in issues]
    runway: dict[str, Any] = {"error": message} | ({"issues": listed} if listed or shape == "issues" else {})
    body = runway
    match shape:
        case "html":
            return Answer(status, HTML, headers, "text/html; charset=UTF-8")
        case "empty":
            return Answer(status, b"", headers)
        case "comet":
            message = f"{message} (request id: {secrets.token_hex(10)})"
            body = {"error": {"message": message, "type": "comet_api_error", "param": "", "code": code}}
        case "gateway":
            body = {"code": code, "message": message, "data": None}
        case "nested":
            body = {"code": "fail_to_fetch_task", "message": json.dumps(runway), "data": None}
        case "compat":
            body = {"code": status, "msg": message, "message": "", "data": None}
        case _:
            pass
    return replace(Answer.of_json(status, body), headers=headers)


def programmed_error(fault: Misbehaviour, default_shape: str) -> Answer:
    """Return the error answer of a misbehaviour such as `503-after`."""
    status = fault.error_status or 500
    message = fault.message or _phrase(status)
    code = fault.code or {500: "do_request_failed", 403: "quota_not_enough"}.get(status, "invalid_request")
    after = fault.retry_after
    headers = () if after is None else (("Retry-After", _retry_after(after)),)
    return error(fault.shape or default_shape, status, code, message, (), headers)


def _retry_after(text: str) -> str:
    if not text.startswith("date"):
        return text
    ahead = text.removeprefix("date").removeprefix("+")
    return format_datetime(datetime.now(UTC) + timedelta(seconds=float(ahead or 2)), usegmt=True)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return {520: "Web server returned an unknown error", 524: "A timeout occurred"}.get(status, "Error")


def odd_answer(fault: Misbehaviour, location: str) -> Answer | None:
    """Return an answer with HTTP 200, or a redirect, that is no valid answer; None for any other fault."""
    match fault.what.removesuffix("-after"):
        case "html":
            return Answer(200, HTML, (), "text/html; charset=UTF-8")
        case "garbage":
            return Answer(200, b'{"id": "0b9c, \xff\xfe')
        case "nothing":
            return Answer(200)
        case "no-id":
            return Answer.of_json(200, {})
        case "huge":
            size = 100_000_000 if fault.bytes is None else fault.bytes
            return Answer(200, b'{"id": "' + b"x" * max(0, size - 10) + b'"}')
        case "deep":
            return Answer(200, b'{"a":' * fault.depth + b"1" + b"}" * fault.depth)
        case "redirect":
            return Answer(fault.status, b"", (("Location", location),))
        case _:
            return None


def spoil_task(body: dict[str, Any], fault: Misbehaviour, rng: random.Random) -> dict[str, Any]:
    """Change a good task object, bare or wrapped, as a `poll` misbehaviour asks."""
    outer = body["data"] if isinstance(body.get("data"), dict) else body
    inner = outer["data"] if isinstance(outer.get("data"), dict) else outer
    match fault.what:
        case "status":
            outer["status"] = inner["status"] = fault.word
        case "wrong-id":
            wrong = f"{rng.getrandbits(128):032x}"
            inner["id"] = wrong
            outer["task_id" if "task_id" in outer else "id"] = wrong
        case "progress":
            outer["progress"] = fault.value
            with suppress(ValueError):
                outer["progress"] = float(fault.value)
        case "no-url":
            for one in (outer, inner):
                one.pop("output", None)
                one.pop("result_url", None)
        case "inner-disagrees":
            inner["status"] = "RUNNING"
        case _:
            pass
    return body
