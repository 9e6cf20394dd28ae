"""Ties each address of the JSON interface to its right, its function and its part of the OpenAPI document."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clipspool import __version__
from clipspool.spool.guard import Unavailable
from clipspool.web.api.schemas import Schema
from clipspool.web.context import AccessRules, Right
from clipspool.web.form_stream import BadForm
from clipspool.web.security import API, as_json, called, needs, refused, too_late
from clipspool.web.threads import Silent
from clipspool.web.upload_rules import NotTaken

log = structlog.get_logger()

Endpoint = Callable[[Request], Any] | Callable[[Request], Awaitable[Any]]
_BODY_BYTES_MAX = 131_072
_KEY = re.compile(r"[ -~]{1,200}")
_REASONS = {
    200: "Done.",
    201: "Made.",
    204: "Gone.",
    400: "The request cannot be read.",
    401: "No token, or a wrong one.",
    403: "The token does not have the right.",
    404: "There is no such thing.",
    409: "It cannot be done as things stand; the message says why.",
    411: "A Content-Length is required.",
    413: "Too large.",
    415: "Not of a kind that is taken.",
    416: "It has no such part.",
    422: "Something in it is wrong; the message says what.",
    429: "Too many: uploads that are not finished, or wrong tokens; wait.",
    503: "The daemon, or a folder, does not answer now; try again.",
    507: "The disk has no room.",
}
_ALWAYS = (401, 403, 429, 503)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the path or the query."""

    name: str
    says: str
    schema: Schema = field(default_factory=lambda: {"type": "string"})
    place: str = "query"
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address."""

    method: str
    path: str
    """Below `/api/v1`, with its parameters in braces."""
    right: Right
    name: str
    """Its `operationId`."""
    says: str
    run: Endpoint
    """Returns what the answer's JSON is made of, or a whole Response."""
    answer: str | None = None
    """The schema of the answer; None where there is none."""
    status: int = 200
    parameters: Sequence[Parameter] = ()
    body: Mapping[str, Schema] = field(default_factory=dict)
    """By content type."""
    refusals: Sequence[int] = ()
    """The statuses of refusals besides those of every operation."""
    more: str = ""
    """What else a program has to know, in sentences."""
    kind: str = "application/json"
    """The content type of its answer; of several, apart by commas, each is any bytes."""
    is_body_required: bool = True

    def route(self, access: AccessRules) -> Route:
        """Return its route, which checks the right first and answers each refusal as JSON."""
        run, status = self.run, self.status

        async def endpoint(request: Request) -> Response:
            try:
                made = await called(run, request)
            except NotTaken as error:
                return refused(error.status, str(error), code=error.code, facts=error.facts)
            except BadForm as error:
                return refused(400, str(error), code="REQUEST.FORM", headers={"Connection": "close"})
            except TimeoutError as error:
                return too_late(request, error)
            except OSError as error:
                if isinstance(error, Unavailable):
                    return refused(503, "The inbox's folder is not there now.", code="INBOX.OFFLINE")
                if isinstance(error, Silent):
                    return refused(503, str(error), code="INBOX.SILENT")
                log.warning("api_fault", path=request.url.path, why=error.strerror)
                why = f"The inbox's folder: {(error.strerror or 'unknown error').lower()}."
                is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
                return refused(507 if is_full else 503, why, code="INBOX.FAULT")
            return made if isinstance(made, Response) else answer(made, status)

        path = API + self.path.replace("{path}", "{path:path}")
        return Route(path, needs(self.right, access, endpoint), methods=[self.method])


def answer(made: Any, status: int = 200) -> Response:
    """Return a JSON answer."""
    body = b"" if status == 204 else as_json(made)  # noqa: PLR2004
    return Response(body, status, media_type="application/json")


def key_of(request: Request) -> str | None:
    """Return the request's Idempotency-Key; None without one. Raises NotTaken."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise NotTaken(422, "REQUEST.KEY", "An Idempotency-Key has 1 to 200 printable ASCII characters.")
    return key


async def read_json(request: Request, known: str) -> dict[str, Any]:
    """Read a small JSON object with no fields but these, apart by spaces; raises NotTaken.

    A field with a typing error must not be passed over: what it should have changed would be paid for
    unchanged.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_BYTES_MAX:
            raise NotTaken(413, "REQUEST.SIZE", f"The body is larger than {_BODY_BYTES_MAX} bytes.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise NotTaken(415, "REQUEST.KIND", "A body of the type application/json is expected.")
    try:
        made = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise NotTaken(400, "REQUEST.JSON", "The body is not JSON.") from None
    if not isinstance(made, dict):
        raise NotTaken(422, "REQUEST.JSON", "The body must be a JSON object.")
    try:
        json.dumps(made, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotTaken(400, "REQUEST.JSON", "A text in the body is no Unicode: half of a pair.") from None
    if odd := next((name for name in made if name not in known.split()), None):
        names = ", ".join(known.split())
        raise NotTaken(422, "REQUEST.FIELD", f"There is no field {odd[:60]!a} (known: {names}).")
    return made


def document(operations: Sequence[Operation], schemas: Mapping[str, Schema]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the operations."""
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(API + one.path, {})[one.method.lower()] = _described(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clipspool",
            "version": __version__,
            "description": "Takes clips, shows jobs and carries out what an operator decides. "
            "Fields are added to what is answered, never renamed. Each operation needs a right of the token: "
            "look, add or decide. A clip is sent whole (`POST clips`), or in pieces: `POST uploads`, "
            "`PUT uploads/ID` until all is there, a quote, and `POST clips` with `upload`. It then lies in "
            "its inbox and becomes one or more jobs, which `GET clips/ID` names. Nothing is paid for before "
            "that.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(schemas),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(one: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.says,
        "description": f"Needs the right `{one.right}`. {one.more}".strip(),
        "responses": {str(one.status): _answered(one)},
    }
    made["parameters"] = [
        {
            "name": parameter.name,
            "in": parameter.place,
            "required": parameter.is_required or parameter.place == "path",
            "description": parameter.says,
            "schema": parameter.schema,
        }
        for parameter in one.parameters
    ]
    refusals = {*_ALWAYS, *one.refusals, *((400, 411, 413, 415, 422) if one.body else ())}
    for status in sorted(refusals):
        made["responses"][str(status)] = {
            "description": _REASONS[status],
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
        }
    if one.body:
        content = {kind: {"schema": schema} for kind, schema in one.body.items()}
        made["requestBody"] = {"required": one.is_body_required, "content": content}
    return made


def _answered(one: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"description": _REASONS[one.status]}
    if one.answer is not None:
        schema = {"$ref": f"#/components/schemas/{one.answer}"}
        described["content"] = {one.kind: {"schema": schema}}
    elif "," in one.kind:
        described["content"] = {kind: {} for kind in one.kind.split(", ")}  # any bytes
    elif one.kind != "application/json":
        described["content"] = {one.kind: {"schema": {"type": "string"}}}
    return described
