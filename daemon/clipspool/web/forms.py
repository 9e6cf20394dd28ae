"""Reads the small forms of the page, of the type application/x-www-form-urlencoded."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

from clipspool.web.security import BODY_BYTES_MAX

_FIELDS_MAX = 20


async def read_form(request: Request, bytes_max: int = BODY_BYTES_MAX) -> dict[str, str]:
    """Read a form; of a repeated field the first counts. Empty for one that is too large or malformed."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > bytes_max:
                return {}
        fields = parse_qs(body.decode("ascii"), max_num_fields=_FIELDS_MAX)
    except (ClientDisconnect, ValueError):
        return {}
    return {name: values[0] for name, values in fields.items()}
