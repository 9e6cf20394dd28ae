"""Translates the exceptions of an HTTP exchange into a fault or a phrase."""

from __future__ import annotations

import http.client
import ssl

import urllib3

from clipspool.jobs.faults import Fault, FaultOf
from clipspool.system.http.guard import Forbidden, Unreachable
from clipspool.system.http.pace import TooSlow
from clipspool.system.http.reply import AnswerTooLong

WireTrouble = (
    Forbidden,
    Unreachable,
    OSError,  # requests' own exceptions are OSErrors too
    http.client.HTTPException,
    urllib3.exceptions.HTTPError,
)
"""All that may be raised while bytes are sent or received; translate it right there."""


def wire_fault(error: Exception) -> Fault:
    """Translate a WireTrouble; its own text is never shown: requests puts whole signed addresses into it."""
    if isinstance(error, Forbidden):
        todo = "Check base_url, and what its name resolves to."
        return Fault(FaultOf.ACCOUNT, "PROVIDER.WRONG_ADDRESS", str(error), todo)
    if isinstance(error, Unreachable):
        return Fault(FaultOf.MOMENT, error.code, str(error))
    return Fault(FaultOf.MOMENT, "NETWORK.BROKEN", describe(error))


def describe(error: BaseException) -> str:
    """Describe what broke an exchange, from the innermost cause."""
    while inner := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = inner
    match error:
        case TooSlow() | AnswerTooLong():
            return str(error)
        case TimeoutError():
            return "the server stopped answering"
        case http.client.RemoteDisconnected():
            return "the server closed the connection without an answer"
        case http.client.IncompleteRead():
            return "the answer ended early"
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return "the server cut the connection"
        case ssl.SSLError():
            return f"TLS broke ({error.reason or 'unknown'})"
        case http.client.HTTPException():
            return f"the answer is not valid HTTP ({type(error).__name__})"
    return reason(error)


def reason(error: BaseException) -> str:
    """Return the system's or the library's own words for an error."""
    return getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
