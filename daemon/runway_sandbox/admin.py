"""The sandbox's own paths below /_sandbox/: read the ledger, add and clear misbehaviours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from runway_sandbox import misbehave
from runway_sandbox.wire import Answer

if TYPE_CHECKING:
    from runway_sandbox.api import Api
    from runway_sandbox.wire import Exchange

PREFIX: Final = "/_sandbox/"


async def answer(exchange: Exchange, api: Api) -> Answer:
    """Answer `GET ledger` (`?requests=0` for the creates alone), and GET, POST, DELETE of `misbehave`."""
    request = exchange.request
    body = await api.read_for(exchange)
    match request.method, request.path.removeprefix(PREFIX):
        case "GET", "ledger":
            with_requests = request.query.get("requests", "1") != "0"
            return Answer.of_json(200, api.ledger.as_json(with_requests=with_requests))
        case "GET", "misbehave":
            return Answer.of_json(200, api.deck.listing())
        case "POST", "misbehave":
            return _add(body, api)
        case "DELETE", "misbehave":
            api.deck.clear()
            return Answer(204)
        case _:
            return Answer.of_json(404, {"error": "known are ledger and misbehave"})


def _add(body: bytes, api: Api) -> Answer:
    try:
        given = json.loads(body)
        ones = given if isinstance(given, list) else [given]
        parsed = [misbehave.from_json(one) for one in ones]
    except (ValueError, TypeError, RecursionError) as error:
        return Answer.of_json(400, {"error": str(error)})
    api.deck.add(*parsed)
    return Answer(204)
