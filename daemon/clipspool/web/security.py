"""Stands before every address: foreign hosts, pages of others, strangers and large bodies get no further.

What each rule is against: the Host list against DNS rebinding; Origin, Sec-Fetch-Site and SameSite=Strict
against pages of others that post or embed; the content policy against script in a name or a prompt; the
token against everybody else. GET changes nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipspool.web.context import Entrance
from clipspool.web.sessions import Sessions

BODY_BYTES_MAX = 16_384
_OPEN_TO_ALL = ("/login", "/static/", "/healthz")
"""Addresses that tell strangers nothing but that it lives; `/metrics` takes the token as a header."""
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


class Porter:
    """ASGI middleware: lets a request pass, with `scope["clipspool_is_known"]` set, or answers it."""

    def __init__(self, app: ASGIApp, entrance: Entrance, sessions: Sessions) -> None:
        """Guard `app`."""
        self._app = app
        self._entrance = entrance
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
                message["headers"] = headers.raw
            await send(message)

        refusal = self._refusal(scope)
        app: ASGIApp = self._app if refusal is None else refusal
        await app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self.is_our_host(headers.get("host", "")):
            return _said(
                421, "This is not a name the page is known under: add it to `hosts` of [web] if it is yours."
            )
        if "transfer-encoding" in headers:
            # A proxy may see its end elsewhere than we do: what follows would count as another's request.
            return _said(411, "A form says its length here.", {"Connection": "close"})
        method = scope["method"]
        if method not in {"GET", "HEAD", "POST"}:
            return _said(405, "Only GET and POST are known here.")
        bearer = self._bearer(headers, caller_of(scope))
        if bearer is False:
            return too_many_tries() if self._sessions.is_guessed_at else _said(401, "That is not the token.")
        is_known = bearer is True or self._sessions.is_known(session_of(headers, self._sessions.cookie))
        scope["clipspool_is_known"] = is_known
        path: str = scope["path"]
        if method == "POST":
            return self._refusal_of_post(headers, path, is_known=is_known, has_header=bearer is True)
        if not _is_from_us(headers):
            return _said(403, "This can only be fetched by the page itself.")
        if self._entrance.must_log_in and not is_known and not path.startswith(_OPEN_TO_ALL):
            wants_page = "text/html" in headers.get("accept", "")
            there = quote(path, safe="/")
            return RedirectResponse(f"/login?to={there}", 303) if wants_page else _said(401, "Log in first.")
        return None

    def _refusal_of_post(
        self, headers: Headers, path: str, *, is_known: bool, has_header: bool
    ) -> Response | None:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            return _said(415, "A form is expected here.")
        length = headers.get("content-length", "")
        if not length.isascii() or not length.isdigit() or int(length) > BODY_BYTES_MAX:
            return _said(413, f"A form of at most {BODY_BYTES_MAX} bytes is expected here.")
        if not has_header and not _is_our_form(headers):
            return _said(403, "This was not sent by a form of this page.")
        if not self._sessions.is_possible:
            return _said(
                403, "Nothing can be changed from here: no token is set (`clipspool check` says how)."
            )
        if not is_known and path != "/login":
            return _said(401, "Log in first, or send the token as `Authorization: Bearer`.")
        return None

    def _bearer(self, headers: Headers, caller: str) -> bool | None:
        """Whether a bearer token is right; None when there is none.

        Any other scheme is somebody else's: a web server in front with a log-in of its own passes `Basic` on.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        return self._sessions.is_token(token.strip(), caller)

    def is_our_host(self, host: str) -> bool:
        """Whether a Host header names us: a name in the list, `localhost`, or an address."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name == "localhost" or name in self._entrance.hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address cannot be rebound; beyond loopback any of ours may be used.
        return address.is_loopback if self._entrance.is_near else True


def _is_from_us(headers: Headers) -> bool:
    """Whether a GET comes from our own page, from no page, or is a plain visit by a link."""
    if headers.get("sec-fetch-site") in _SAFE_SITES:
        return True
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _is_our_form(headers: Headers) -> bool:
    """Whether a POST was sent by a form of ours: a browser says so in at least one of two headers."""
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
    """Give the session that a request's cookie names; empty when there is none."""
    # Starlette's parser passes over odd cookies of other programs on the host; `http.cookies` stops there.
    return cookie_parser(headers.get("cookie", "")).get(cookie, "")


def caller_of(scope: Scope) -> str:
    """Name who asks, for the log: an address, or the Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client and client[0] else "unix socket"


def is_known(request: Request) -> bool:
    """Whether the one who asks has shown the token."""
    return bool(request.scope.get("clipspool_is_known"))


def too_many_tries() -> Response:
    """Answer a wrong token after many others; the right one is let in all the same."""
    return PlainTextResponse("Too many wrong tokens; wait a minute.\n", 429, {"Retry-After": "60"})


def _said(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers)
