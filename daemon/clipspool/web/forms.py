"""Reads the small forms of the page, of the type application/x-www-form-urlencoded."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

from clipspool.web.security import BODY_BYTES_MAX

_FIELDS_MAX = 20


async def read_form(request: Request, bytes_max: int = BODY_BYTES_MAX) -> dict[str, str]:
    """Read a form; of a repeated field the first counts. Empty for one that is too large or malformed."""
    body = await _body(request, bytes_max)
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=_FIELDS_MAX)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


async def read_lists(request: Request, bytes_max: int = BODY_BYTES_MAX) -> dict[str, list[str]]:
    """Read a form with fields that are there several times, such as check boxes."""
    body = await _body(request, bytes_max)
    try:
        return parse_qs(body.decode("ascii"), max_num_fields=_FIELDS_MAX + _BOXES_MAX)
    except ValueError:
        return {}


_BOXES_MAX = 200


async def _body(request: Request, bytes_max: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > bytes_max:
                return b""
    except ClientDisconnect:
        return b""
    return bytes(body)
