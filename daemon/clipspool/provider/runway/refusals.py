"""Decides which answers refuse a request for sure, and whose fault each of them is; pure."""

from __future__ import annotations

import re
from http import HTTPStatus

from clipspool.jobs.faults import Fault, FaultOf
from clipspool.provider.runway.failures import code_in, failure_fault, words_of
from clipspool.system.http.reply import Reply

WRONG_ADDRESS = "PROVIDER.WRONG_ADDRESS"

_QUOTA_CODES = frozenset(
    {"quota_not_enough", "insufficient_user_quota", "insufficient_quota", "pre_consume_token_quota_failed"}
)
_KEY_CODES = frozenset({"invalid_api_key", "incorrect_api_key", "expired_api_key"})
_MODEL_CODES = frozenset({"model_not_found", "model_not_available", "model_not_exist"})
_VALIDATION_CODE = re.compile(
    r"invalid(?!_(?:api_?key|token|organi|account|user|project|subscription|credential|signature|auth))"
    r"|validation|unrecogni[sz]ed|missing_(?:required|param|field|key$)|malformed|bad_request|unprocessable"
    r"|unsupported_(?:value|type|media|param|format|ratio|field)|too_(?:small|big|long|short|large)"
    r"|param(?:eter)?_|custom$"
)
_MODERATION_CODE = re.compile(
    r"(?:input_preprocessing\.)?safety\b|(?:content_)?moderat|content_(?:policy|filter)"
)
_DOCUMENTED = {
    # Whole sentences of the API; a quotation is never a whole sentence [PROVIDER 1.6, 2.7].
    "ACCOUNT.NO_CREDITS": re.compile(r"you do(?: not|n't) have enough credits(?: to run this task)?"),
    "ACCOUNT.DAILY_QUOTA": re.compile(r"you(?: have|'ve)? reached your daily \w+ limit"),
    "MODEL.NOT_AVAILABLE": re.compile(r"model variant \S+ is not available"),
    "MODEL.NOT_ROUTED": re.compile(
        r"no available channel for (?:group \S+ and model \S+|model \S+ under group \S+)(?: \(distributor\))?"
    ),
}
_NO_CREDITS = re.compile(
    r"not (?:have )?enough (?:credits?|quota|balance)"
    r"|insufficient[_ ](?:\w+[_ ]){0,2}(?:quota|credits?|balance|funds)"
    r"|quota_not_enough|pre_consume_token_quota_failed|out of (?:credits?|quota)"
    r"|quota (?:is )?(?:not enough|exceeded|exhausted)|余额不足|额度不足|额度已用尽",
    re.IGNORECASE,
)
_DAILY = re.compile(r"\bdaily\b|\bper day\b|\b24[ -]?h(?:ours?)?\b|generation (?:limit|quota)", re.IGNORECASE)
_MODEL_GONE = re.compile(r"\bmodel\b.{0,120}\bnot (?:available|found)\b", re.IGNORECASE)
_NOT_ROUTED = re.compile(r"no available channel|\(distributor\)|无可用渠道", re.IGNORECASE)
_MODERATED = re.compile(r"\bsafety\b|moderat|content policy|content_policy", re.IGNORECASE)
_VALIDATED = re.compile(
    r"\bvalidation\b|unrecogni[sz]ed|\bunknown (?:key|field|param)"
    r"|\binvalid (?:input|value|option|type|json)"
    r"|\bexpected\b.{0,80}\breceived\b|\bmust (?:be|have)\b",
    re.IGNORECASE,
)
_WRONG_PATH = re.compile(
    r"invalid url \(|no route|page not found|cannot (?:get|post|delete) /", re.IGNORECASE
)
# Codes of the gateway after the upstream may have accepted the task [PROVIDER 1.5, 1.6].
_AFTER_THE_FACT = frozenset({"insert_task_failed", "do_request_failed"})
_ELSEWHERE = frozenset({301, 302, 307, 308})
_INVALID = frozenset({400, 403, 413, 422})
_NO_SUCH_PATH = frozenset({404, 405, 410})
# A server that accepts no request of this form answers so and does nothing [RFC 9110 15.5, RFC 6585].
_NOT_TAKEN = frozenset({411, 414, 415, 417, 421, 426, 428, 431})
_UNDECIDED = frozenset({408, 409})


def create_fault(reply: Reply) -> Fault | None:
    """Return the fault of a paid POST's clear refusal, or None where a task may have been made.

    Clear: 400, 401, 402, 403, 404, 405, 410, 413, 422, 429, and those that refuse the form of a request (411,
    414, 415, 417, 421, 426, 428, 431); 500 with code `invalid_request`; and at any status a quota code or a
    missing route to the model, since the gateway decides those before it calls anyone.

    None: `insert_task_failed` and the like at any status; 408, 409, every redirect (a server in front of the
    API may have passed the request on) and every status not named; any other 5xx, 502 and 503 too. The vendor
    says those may be sent again, but a gateway that tries several channels answers with the last one's error
    while an earlier one may be rendering [PROVIDER 1.6, 2.9]. At 5xx only codes count, no words: an error may
    quote the prompt.
    """
    # Whoever answers so may have passed the request on: not refused for certain means not sent again.
    if reply.status in _ELSEWHERE or is_after_the_fact(reply):
        return None
    if (fault := account_fault(reply)) is not None:
        return fault
    is_field = _is_validation(reply)
    if reply.status in _NO_SUCH_PATH and not is_field:
        return _wrong_address(reply)
    if reply.status in _NOT_TAKEN and not is_field:
        todo = "Check base_url, and anything between clipspool and the API: a proxy, a firewall."
        return _fault(
            FaultOf.ACCOUNT, "PROVIDER.NOT_TAKEN", "Requests of this form are not accepted", reply, todo
        )
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _fault(FaultOf.MOMENT, "PROVIDER.BUSY", "Too many requests", reply)
    is_invalid = reply.status == HTTPStatus.INTERNAL_SERVER_ERROR and "invalid_request" in reply.codes
    is_refusal = reply.status in _INVALID | _NO_SUCH_PATH | _NOT_TAKEN
    return _request_fault(reply) if is_refusal or is_invalid else None


def is_after_the_fact(reply: Reply) -> bool:
    """Whether the gateway failed when the upstream may have had the task already."""
    text = reply.text.lower()
    return bool(reply.codes & _AFTER_THE_FACT) or any(code in text for code in _AFTER_THE_FACT)


def account_fault(reply: Reply) -> Fault | None:
    """Return the fault of an answer about the key, the credits, the address or a model; None for others.

    By status, then by code, then by the fields it names, and only then by words: an answer that names a
    field of the request, or whose code means an invalid request, is about that request and no other clip,
    whatever its words are.

    - A missing model holds the clips of that model only: "Model variant X is not available" (403) ends this
      clip, a gateway without a channel for it (503) may find one again.
    - 429 is the account's when its words name a daily quota or credits: waiting seconds does not help.
    - A web page as 403 is the account's: a firewall blocks us, not the clip.
    """
    if reply.status in _ELSEWHERE or (reply.status in _NO_SUCH_PATH and _is_wrong_path(reply)):
        return _wrong_address(reply)
    if reply.status < HTTPStatus.BAD_REQUEST:
        return None
    if reply.status == HTTPStatus.UNAUTHORIZED or (_may_say_so(reply) and reply.codes & _KEY_CODES):
        todo = "Check the API key and where it comes from."
        return _fault(FaultOf.ACCOUNT, "ACCOUNT.KEY_REFUSED", "The key was refused", reply, todo)
    if _is_out_of_credits(reply):
        todo = "Buy credits, or raise the key's own quota."
        return _fault(FaultOf.ACCOUNT, "ACCOUNT.NO_CREDITS", "Not enough credits", reply, todo)
    if _is_not_routed(reply):
        todo = "Choose another model, or ask the provider whether this one is retired."
        what = "The provider has no route to this model"
        return _fault(FaultOf.MODEL, "MODEL.NOT_ROUTED", what, reply, todo)
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS and _says(reply, "ACCOUNT.DAILY_QUOTA", _DAILY):
        todo = "Wait until tomorrow, or raise the account's tier."
        return _fault(FaultOf.ACCOUNT, "ACCOUNT.DAILY_QUOTA", "The daily quota is used up", reply, todo)
    if reply.status == HTTPStatus.FORBIDDEN and not _is_about_request(reply):
        todo = "Check the key's rights, its quota and whether the account is blocked."
        return _fault(FaultOf.ACCOUNT, "ACCOUNT.FORBIDDEN", "The account may not do this", reply, todo)
    return None


def _request_fault(reply: Reply) -> Fault:
    """Return the fault of the clip's request, with the provider's own words and keys."""
    if (code := _moderation(reply)) is not None:
        fault = failure_fault(code, "")
        return _fault(FaultOf.CLIP, fault.code, "The request was moderated", reply, fault.what_to_do)
    if reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        todo = "Shorten the clip or lower its bit rate, or use a transport that sends a link instead."
        return _fault(FaultOf.CLIP, "REQUEST.TOO_LARGE", "The request is too large", reply, todo)
    if _is_model_gone(reply):
        todo = "Choose another model in the sidecar: the provider does not offer this one."
        return _fault(FaultOf.CLIP, "MODEL.NOT_AVAILABLE", "The model is not available", reply, todo)
    todo = "Fix what the message names in the sidecar or the clip."
    if not reply.message or reply.is_html:
        todo = "No details given. Check prompt, ratio and clip."
    return _fault(FaultOf.CLIP, "REQUEST.INVALID", "The provider refused the request", reply, todo)


def _moderation(reply: Reply) -> str | None:
    """Return the failure code of a moderated request; None where only a quoted word means that.

    A code suffices. Words count only in an answer that names no field and no validation: "contentModeration
    is not a known key" is no moderation.
    """
    for code in sorted(filter(_MODERATION_CODE.match, reply.codes)):
        return code.upper() if "safety" in code else "SAFETY.INPUT"
    if _is_validation(reply) or _VALIDATED.search(reply.text):
        return None
    if "SAFETY" in (named := code_in(reply.text)).split("."):
        return named
    return "SAFETY.INPUT" if _MODERATED.search(reply.text) else None


def _wrong_address(reply: Reply) -> Fault:
    todo = "Check base_url: it is the prefix up to and including /v1, without redirects."
    return _fault(FaultOf.ACCOUNT, WRONG_ADDRESS, "The API is not at this address", reply, todo)


def _fault(of: FaultOf, code: str, summary: str, reply: Reply, what_to_do: str = "") -> Fault:
    message = f"{summary} (HTTP {reply.status}){words_of(reply)}"
    return Fault(of, code, message, what_to_do, reply.retry_after_seconds)


def _is_validation(reply: Reply) -> bool:
    """Whether an answer names a field of the request, or has a code of an invalid request."""
    return bool(reply.fields) or any(_VALIDATION_CODE.match(code) for code in reply.codes - _KEY_CODES)


def _says(reply: Reply, sentence: str, words: re.Pattern[str]) -> bool:
    """Whether an answer says something in words of its own, about no field of the request."""
    if _is_validation(reply):
        return False
    is_documented = any(_DOCUMENTED[sentence].fullmatch(one) for one in reply.sentences)
    return is_documented or words.search(reply.text) is not None


def _may_say_so(reply: Reply) -> bool:
    """Whether this status is a refusal by itself, so that its words only say which."""
    is_refusal = HTTPStatus.BAD_REQUEST <= reply.status < HTTPStatus.INTERNAL_SERVER_ERROR
    return is_refusal and reply.status not in _UNDECIDED


def _is_out_of_credits(reply: Reply) -> bool:
    if reply.status == HTTPStatus.PAYMENT_REQUIRED or reply.codes & _QUOTA_CODES:
        return True
    if not _may_say_so(reply):
        return False
    is_coded = any(_NO_CREDITS.search(code) for code in reply.codes)
    return is_coded or _says(reply, "ACCOUNT.NO_CREDITS", _NO_CREDITS)


def _is_not_routed(reply: Reply) -> bool:
    if reply.codes & _MODEL_CODES:
        return True
    may_say_so = _may_say_so(reply) or reply.status == HTTPStatus.SERVICE_UNAVAILABLE
    return may_say_so and _says(reply, "MODEL.NOT_ROUTED", _NOT_ROUTED)


def _is_model_gone(reply: Reply) -> bool:
    is_other_field = any(not field.startswith("model") for field in reply.fields)
    return not is_other_field and (
        any(_DOCUMENTED["MODEL.NOT_AVAILABLE"].fullmatch(one) for one in reply.sentences)
        or _MODEL_GONE.search(reply.text) is not None
    )


def _is_wrong_path(reply: Reply) -> bool:
    return reply.is_html or (not _is_validation(reply) and _WRONG_PATH.search(reply.text) is not None)


def _is_about_request(reply: Reply) -> bool:
    is_validated = _is_validation(reply) or _VALIDATED.search(reply.text) is not None
    return is_validated or _is_model_gone(reply) or _moderation(reply) is not None
