"""Which answers surely refuse a request, and whose trouble each of them is; pure."""

from __future__ import annotations

import re
from http import HTTPStatus

from clipspool.provider import Fault, FaultOf
from clipspool.runway.failures import code_in, explained, failure_fault
from clipspool.runway.reply import Reply

WRONG_ADDRESS = "PROVIDER.WRONG_ADDRESS"

_QUOTA_CODES = frozenset(
    {"quota_not_enough", "insufficient_user_quota", "insufficient_quota", "pre_consume_token_quota_failed"}
)
_NO_CREDITS = re.compile(
    r"not (?:have )?enough (?:credits?|quota|balance)"
    r"|insufficient[_ ](?:\w+[_ ]){0,2}(?:quota|credits?|balance|funds)"
    r"|quota_not_enough|pre_consume_token_quota_failed|out of (?:credits?|quota)"
    r"|quota (?:is )?(?:exceeded|exhausted)|余额不足|额度不足|额度已用尽"
)
_DAILY = re.compile(r"\bdaily\b|\bper day\b|\b24[ -]?h(?:ours?)?\b|generation (?:limit|quota)")
_MODEL_GONE = re.compile(r"\bmodel\b.{0,120}\bnot (?:available|found)\b")
_NOT_ROUTED = re.compile(r"no available channel|\(distributor\)|无可用渠道")
_MODERATED = re.compile(r"\bsafety\b|moderat|content policy|content_policy")
_WRONG_PATH = re.compile(r"invalid url \(|no route|page not found|cannot (?:get|post|delete) /")
# Codes that the gateway gives after the upstream may have taken the task [PROVIDER 1.5, 1.6].
_AFTER_THE_FACT = frozenset({"insert_task_failed", "do_request_failed"})
_ELSEWHERE = frozenset({301, 302, 307, 308})
_INVALID = frozenset({400, 403, 413, 422})
_NO_SUCH_PATH = frozenset({404, 405, 410})
# A server that takes no request of this form says so and does nothing of it [RFC 9110 15.5, RFC 6585].
_NOT_TAKEN = frozenset({411, 414, 415, 417, 421, 426, 428, 431})
_UNDECIDED = frozenset({408, 409})


def create_fault(reply: Reply) -> Fault | None:
    """Return the fault of a paid POST's clear refusal, or None where a task may have been made.

    Clear: 400, 401, 402, 403, 404, 405, 410, 413, 422, 429, and those that refuse the form of a request (411,
    414, 415, 417, 421, 426, 428, 431); 500 with code `invalid_request`; and at any status a quota code or a
    missing route to the model, for the gateway decides those before it calls anyone.

    None: `insert_task_failed` and its like at any status; 408, 409, every redirect (what stands before the
    API may have let the request through) and every status not named; any other
    5xx, 502 and 503 too. The vendor says those may be sent again, but a gateway that tries several channels
    by itself answers with the last one's trouble while an earlier one may be rendering [PROVIDER 1.6, 2.9].
    At 5xx only codes count, no words: an error may quote the prompt.
    """
    if reply.status in _ELSEWHERE or any(code in reply.text for code in _AFTER_THE_FACT):
        return None
    if (fault := account_fault(reply)) is not None:
        return fault
    if reply.status in _NO_SUCH_PATH:
        return _wrong_address(reply)
    if reply.status in _NOT_TAKEN:
        todo = "Check base_url, and whatever stands between clipspool and the API: a proxy, a firewall."
        return _fault(FaultOf.ACCOUNT, "PROVIDER.NOT_TAKEN", "No request of this form is taken", reply, todo)
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _fault(FaultOf.MOMENT, "PROVIDER.BUSY", "Too many requests", reply)
    is_invalid = reply.status == HTTPStatus.INTERNAL_SERVER_ERROR and "invalid_request" in reply.codes
    return _request_fault(reply) if reply.status in _INVALID or is_invalid else None


def account_fault(reply: Reply) -> Fault | None:
    """Return the fault of an answer that is about the key, the credits or the address; None for others.

    - A missing model is the clip's on 403 ("Model variant X is not available": clips with other models must
      go on) and the account's where the gateway has no channel for it (503): its operator set that up, and
      it may pass.
    - 429 is the account's when its words tell of a daily quota or of credits: seconds cannot cure it.
    - A web page as 403 is the account's: a firewall blocks us, not the clip.
    """
    if reply.status in _ELSEWHERE or (reply.status in _NO_SUCH_PATH and _is_wrong_path(reply)):
        return _wrong_address(reply)
    if reply.status < HTTPStatus.BAD_REQUEST:
        return None
    if reply.status == HTTPStatus.UNAUTHORIZED:
        todo = "Check the API key and where it comes from."
        return _fault(FaultOf.ACCOUNT, "ACCOUNT.KEY_REFUSED", "The key was refused", reply, todo)
    if _is_out_of_credits(reply):
        todo = "Buy credits, or raise the key's own quota."
        return _fault(FaultOf.ACCOUNT, "ACCOUNT.NO_CREDITS", "Not enough credits", reply, todo)
    if _is_not_routed(reply):
        todo = "Choose another model, or ask the provider whether this one is retired."
        return _fault(
            FaultOf.ACCOUNT, "MODEL.NOT_ROUTED", "The provider has no route to this model", reply, todo
        )
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS and _DAILY.search(reply.text):
        todo = "Wait until tomorrow, or raise the account's tier."
        return _fault(FaultOf.ACCOUNT, "ACCOUNT.DAILY_QUOTA", "The daily quota is used up", reply, todo)
    if reply.status == HTTPStatus.FORBIDDEN and not _is_about_request(reply):
        todo = "Check the key's rights, its quota and the account's standing."
        return _fault(FaultOf.ACCOUNT, "ACCOUNT.FORBIDDEN", "The account may not do this", reply, todo)
    return None


def _request_fault(reply: Reply) -> Fault:
    """Say what the clip's request did wrong, with the provider's own words and keys."""
    code = code_in(reply.message)
    if "SAFETY" in code or _MODERATED.search(reply.text):
        fault = failure_fault(code if "SAFETY" in code else "SAFETY.INPUT", "")
        return _fault(FaultOf.CLIP, fault.code, "The request was moderated", reply, fault.what_to_do)
    if reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        todo = "Shorten the clip or lower its bit rate, or use a transport that sends a link instead."
        return _fault(FaultOf.CLIP, "REQUEST.TOO_LARGE", "The request is too large", reply, todo)
    if _MODEL_GONE.search(reply.text):
        todo = "Choose another model in the sidecar: the provider does not offer this one."
        return _fault(FaultOf.CLIP, "MODEL.NOT_AVAILABLE", "The model is not available", reply, todo)
    todo = "Change what the message names in the sidecar, or the clip itself."
    return _fault(FaultOf.CLIP, "REQUEST.INVALID", "The provider refused the request", reply, todo)


def _wrong_address(reply: Reply) -> Fault:
    todo = "Check base_url: it is the prefix up to and including /v1, without redirects."
    return _fault(FaultOf.ACCOUNT, WRONG_ADDRESS, "The API is not at this address", reply, todo)


def _fault(of: FaultOf, code: str, summary: str, reply: Reply, what_to_do: str = "") -> Fault:
    said = f": {explained(reply.message)}" if reply.message and not reply.is_html else ""
    return Fault(of, code, f"{summary} (HTTP {reply.status}){said}", what_to_do, reply.retry_after_seconds)


def _may_say_so(reply: Reply) -> bool:
    """Whether this status is a no by itself, so that its words only tell which."""
    is_refusal = HTTPStatus.BAD_REQUEST <= reply.status < HTTPStatus.INTERNAL_SERVER_ERROR
    return is_refusal and reply.status not in _UNDECIDED


def _is_out_of_credits(reply: Reply) -> bool:
    if reply.status == HTTPStatus.PAYMENT_REQUIRED or reply.codes & _QUOTA_CODES:
        return True
    return _may_say_so(reply) and _NO_CREDITS.search(reply.text) is not None


def _is_not_routed(reply: Reply) -> bool:
    has_words = _NOT_ROUTED.search(reply.text) is not None
    is_told = _may_say_so(reply) or reply.status == HTTPStatus.SERVICE_UNAVAILABLE
    return "model_not_found" in reply.codes or (has_words and is_told)


def _is_wrong_path(reply: Reply) -> bool:
    return reply.is_html or _WRONG_PATH.search(reply.text) is not None


def _is_about_request(reply: Reply) -> bool:
    is_named = _MODEL_GONE.search(reply.text) or _MODERATED.search(reply.text) or code_in(reply.message)
    return bool(is_named)
