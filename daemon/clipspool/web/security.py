"""Checks every request: foreign hosts, other sites' pages, strangers and large bodies are refused.

The Host list is against DNS rebinding; Origin, Sec-Fetch-Site and SameSite=Strict are against other sites
that post or embed; the content policy is against scripts in a name or a prompt; a token is against all
others, and `needs` says at each route which of its rights are asked for. GET changes nothing.
"""

from __future__ import annotations

import inspect
import ipaddress
import json
from asyncio import CancelledError
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipspool.web.context import AccessRules, Right, Token
from clipspool.web.sessions import Sessions

API = "/api/v1"
BODY_BYTES_MAX = 16_384
LARGE_FORM_BYTES_MAX = 262_144
"""A sidecar of 64 KiB as a form encodes it, or the ids of a batch."""
_LARGE_FORMS = ("/inbox/", "/all/")
_JSON_BYTES_MAX = 131_072
_LARGE_BODIES = (f"{API}/clips", f"{API}/uploads/")
"""Addresses that take films: each limits what it takes itself."""
_OPEN_TO_ALL = ("/login", "/static/", "/healthz")
"""Addresses that show strangers only that the daemon runs; `/metrics` takes the token as a header."""
_SAFE_SITES = {None, "same-origin", "none"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: with that, browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


class AccessControl:
    """ASGI middleware: passes a request on, with `scope["clipspool_token"]` set, or refuses it."""

    def __init__(self, app: ASGIApp, access: AccessRules, sessions: Sessions) -> None:
        self._app = app
        self._access = access
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                if (to := headers.get("location", "")).startswith("/"):
                    headers["Location"] = root_of(scope) + to
                message["headers"] = headers.raw
            await send(message)

        refusal = self._refusal(scope)
        if isinstance(refusal, PlainTextResponse) and scope["path"].startswith(f"{API}/"):
            text = bytes(refusal.body).decode().strip()
            refusal = refused(refusal.status_code, text, headers=dict(refusal.headers))
        app: ASGIApp = self._app if refusal is None else refusal
        with suppress(CancelledError):  # the daemon ends, and a share hangs: the caller has been hung up on
            await app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self.is_our_host(headers.get("host", "")):
            return _said(
                421,
                "The page does not know this host name: if it is yours, add it to `hosts` of [web].",
            )
        if "transfer-encoding" in headers:
            # A proxy may see its end elsewhere: what follows would pass for another caller's request.
            return _said(411, "A Content-Length is required.", {"Connection": "close"})
        method, path = scope["method"], scope["path"]
        is_api = path.startswith(f"{API}/")
        methods = ("GET", "HEAD", "POST", *(("PUT", "DELETE") if is_api else ()))
        if method not in methods:
            return _said(405, "This method is not supported.", {"Allow": ", ".join(methods)})
        given = _bearer(headers)
        if given is None:
            token = self._sessions.token_behind(session_of(headers, self._sessions.cookie))
        else:
            token = self._sessions.token_of(given, caller_of(scope))
            if token is None:
                return too_many_tries() if self._sessions.is_guessed_at else _said(401, "Wrong token.")
        scope["clipspool_token"] = token
        is_known = token is not None
        if method not in {"GET", "HEAD"}:
            refusal = _refusal_of_api_body(headers, path) if is_api else _refusal_of_form(headers, path)
            return refusal or self._refusal_of_change(
                headers, path, is_known=is_known, has_header=given is not None
            )
        if not _is_from_us(headers):
            return _said(403, "Only the page itself may fetch this.")
        if self._access.must_log_in and not is_known and not path.startswith(_OPEN_TO_ALL):
            wants_page = "text/html" in headers.get("accept", "")
            there = quote(address_of(scope), safe="/")
            return RedirectResponse(f"/login?to={there}", 303) if wants_page else _said(401, "Log in first.")
        return None

    def _refusal_of_change(
        self, headers: Headers, path: str, *, is_known: bool, has_header: bool
    ) -> Response | None:
        # A program that forgot its token learns that, and not what a form is: it has no session to misuse.
        is_program = path.startswith(f"{API}/") and not is_known
        if not has_header and not is_program and not _is_our_form(headers):
            return _said(403, "This was not sent by a form of this page.")
        if not self._sessions.is_possible:
            return _said(
                403, "The page is read-only: no token is set (`clipspool check` shows how to set one)."
            )
        if is_known or path in {"/login", "/logout"}:
            return None
        if is_program:
            return _said(401, "Log in first, or send the token as `Authorization: Bearer`.")
        return _said(
            401, "Not done: you are not logged in (any more). Log in in another tab, go back, and try again."
        )

    def is_our_host(self, host: str) -> bool:
        """Whether a Host header is a configured name, `localhost`, or an address."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name == "localhost" or name in self._access.hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address cannot be rebound; beyond loopback any of this machine's may be used.
        return address.is_loopback if self._access.is_near else True


def _refusal_of_form(headers: Headers, path: str) -> Response | None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return _said(415, "A form is expected.")
    length = headers.get("content-length", "")
    most = LARGE_FORM_BYTES_MAX if path.startswith(_LARGE_FORMS) else BODY_BYTES_MAX
    if not length.isascii() or not length.isdigit() or int(length) > most:
        return _said(413, f"A form of at most {most} bytes is expected.")
    return None


def _refusal_of_api_body(headers: Headers, path: str) -> Response | None:
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit():
        return _said(400, "The Content-Length is no number.")
    if int(length) > _JSON_BYTES_MAX and not path.startswith(_LARGE_BODIES):
        return _said(413, f"A body of at most {_JSON_BYTES_MAX} bytes is expected.")
    return None


def _bearer(headers: Headers) -> str | None:
    """Return the bearer token; None when there is none.

    Other schemes are ignored: a proxy with a log-in of its own passes `Basic` on.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _is_from_us(headers: Headers) -> bool:
    """Whether a GET comes from this page, from no page, or from following a link."""
    if headers.get("sec-fetch-site") in _SAFE_SITES:
        return True
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _is_our_form(headers: Headers) -> bool:
    """Whether a POST was sent by a form of this page, by the browser's headers."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is None and site is None:
        return False
    if site not in {None, "same-origin"}:
        return False
    return origin is None or _authority(origin) == _authority(f"http://{headers.get('host', '')}")


def _authority(origin: str) -> tuple[str, int | None] | None:
    try:
        url = urlsplit(origin)
        port = url.port
    except ValueError:
        return None
    if url.scheme not in {"http", "https"} or not url.hostname:
        return None
    # Behind a proxy that ends TLS our scheme is not the browser's: the default ports are alike.
    return url.hostname, None if port in {80, 443} else port


def session_of(headers: Headers, cookie: str) -> str:
    """Return the session that a request's cookie names; empty when there is none."""
    # Starlette's parser skips odd cookies of other programs on the host; `http.cookies` stops there.
    return cookie_parser(headers.get("cookie", "")).get(cookie, "")


def caller_of(scope: Scope) -> str:
    """Return the caller for the log: an address, or the Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client and client[0] else "unix socket"


def address_of(scope: Scope) -> str:
    """Return a request's path and query, to come back to after the log-in."""
    query = scope["query_string"].decode("latin-1")
    return quote(scope["path"]) + (f"?{query}" if query else "")


def root_of(scope: Scope) -> str:
    """Return where the page begins, as seen from a request's address: `.`, `..`, `../..`.

    What is sent leads there by such a way alone, never from the top of the host: a proxy may serve the page
    beneath any path of a site, which the browser alone knows.
    """
    return "/".join([".."] * (scope["raw_path"].count(b"/") - 1)) or "."


def token_of(request: Request) -> Token | None:
    """Return the token that the caller has shown."""
    token: Token | None = request.scope.get("clipspool_token")
    return token


def may(request: Request, right: Right) -> bool:
    """Whether the caller's token has a right."""
    token = token_of(request)
    return token is not None and right in token.rights


def name_of(request: Request) -> str:
    """Return who a change is recorded for: the page, and the name of the token."""
    token = token_of(request)
    return f"the page ({token.name})" if token is not None and token.name else "the page"


def needs(right: Right, access: AccessRules, endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Return an endpoint that refuses callers without a right; looking is free where no log-in is needed."""

    async def guarded(request: Request) -> Response:
        if (right is Right.LOOK and not access.must_log_in) or may(request, right):
            response: Response = await called(endpoint, request)
            return response
        status, why = 403, f"This token does not have the right `{right}`."
        if token_of(request) is None:
            status, why = 401, "Log in first, or send the token as `Authorization: Bearer`."
        return answered(request, status, why)

    guarded.right = right  # type: ignore[attr-defined]
    return guarded


async def called(endpoint: Callable[..., Any], request: Request) -> Any:
    """Call an endpoint: a coroutine in the loop, a function in a thread."""
    if inspect.iscoroutinefunction(endpoint):
        return await endpoint(request)
    return await run_in_threadpool(endpoint, request)


def answered(request: Request, status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a sentence: as JSON beneath `/api/v1`, as plain text elsewhere."""
    is_api = request.url.path.startswith(f"{API}/")
    return refused(status, why, headers=headers) if is_api else _said(status, why, headers)


def too_late(request: Request, _error: Exception) -> Response:
    """Answer that the daemon did not answer in time; what was ordered may still be carried out."""
    then = "try again"
    if request.method not in {"GET", "HEAD"}:
        then = "it may still do it, so look before you send this again"
    return answered(request, 503, f"The daemon is busy and did not answer in time; {then}.")


def too_many_tries() -> Response:
    """Answer a wrong token after many others; the right one is still accepted."""
    return _said(429, "Too many wrong tokens; wait a minute.", {"Retry-After": "60"})


def refused(
    status: int,
    message: str,
    *,
    code: str = "",
    facts: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a refusal of the JSON interface: a code for programs and a sentence for people."""
    error = {"code": code or f"HTTP.{status}", "message": message, **(facts or {})}
    kept = {name: value for name, value in (headers or {}).items() if name.lower() not in _OF_THE_BODY}
    if status == 401:  # noqa: PLR2004  (RFC 9110: it names the scheme, and some libraries give up without)
        kept["WWW-Authenticate"] = "Bearer"
    return Response(as_json({"error": error}), status, kept, "application/json")


def as_json(made: Any) -> bytes:
    """Write JSON in UTF-8; halves of surrogate pairs, which that cannot hold, become JSON's own escapes."""
    return json.dumps(made, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")


_OF_THE_BODY = frozenset({"content-length", "content-type"})


def _said(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers)
