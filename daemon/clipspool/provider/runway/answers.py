"""Decides whether an API's answer means a task, a refusal or doubt; pure.

An answer to a paid POST that is not a sure refusal is `Unclear`, and an answer to a look that is not a sure
end leaves the task open. So nothing is paid twice and no paid task is forgotten; the cost is that a person
has to check some answers that were harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.text import is_task_id
from clipspool.provider.protocol import Created, Refused, TaskLook, TaskStatus, Unclear
from clipspool.provider.runway.failures import code_in, explained, failure_fault, words_of
from clipspool.provider.runway.ids import OFFERED_MAX, denial, named_tasks, offered
from clipspool.provider.runway.refusals import account_fault, create_fault, is_after_the_fact
from clipspool.system.http.guard import URL_LENGTH_MAX
from clipspool.system.http.own_words import Own, is_own
from clipspool.system.http.reply import Reply, number, read_json, read_reply, text_at
from clipspool.system.redaction import redact_line

OUTPUTS_MAX = 100
CREDITS_MAX = 1e9
"""More than a task can cost; larger figures would make the budget's and the page's sums infinite."""

_STATUS_OF_WORD = {
    word: status
    for status, words in {
        TaskStatus.QUEUED: "NOT_START SUBMITTED QUEUED PENDING THROTTLED",
        TaskStatus.RUNNING: "IN_PROGRESS RUNNING PROCESSING",
        TaskStatus.SUCCEEDED: "SUCCESS SUCCEEDED SUCCEED COMPLETED",
        TaskStatus.FAILED: "FAILURE FAILED ERROR",
        TaskStatus.CANCELLED: "CANCELLED CANCELED CANCEL",
        TaskStatus.MISSING: "TASK_NOT_EXIST",
    }.items()
    for word in words.split()
}
SUCCESS = range(200, 300)
_SHED = frozenset({502, 503})
_ENDED = (TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELLED)
_ID_KEYS = ("task_id", "taskId", "id")
_NOT_EXIST = "task_not_exist"
_LAYERS_MAX = 4
_CODE_KEYS = ("failureCode", "failure_code")
_REASON_KEYS = ("message", "msg", "reason", "detail", "error")
_FIGURE = re.compile(r"\s*([0-9]{1,6}(?:\.[0-9]{1,9})?)\s*(%?)\s*")


def read_create(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime | None = None, own: Own | None = None
) -> Created | Refused | Unclear:
    """Decide what the answer to a paid POST means. `body` must be whole; never raises.

    - 2xx with a task id and no sign of a failure: `Created`. The id is searched in `task_id`, `taskId`, `id`,
      the same in `data`, then `data` itself as a string [PROVIDER 1.2]. Without a usable id, or where a code,
      an error or a status beside it denies the success, it is `Unclear`: neither half is a fact.
    - Any other status whose body names a task is `Unclear`: refused tasks have no id.
    - Everything else: see `refusals.create_fault`; where that finds no clear refusal, `Unclear`.

    `own` is what the request said, which does not count as the answer's words. `now` is for a Retry-After
    that is a date, unless the answer has a Date of its own.
    """
    own = own or Own()
    reply = read_reply(status, headers, body, now or datetime.now(UTC), own)
    tree = reply.tree or {}
    task_id, denied = (_created_id(tree), denial(tree)) if status in SUCCESS else ("", "")
    if task_id and not denied:
        return Created(task_id, _credits(list(_layers(tree)), is_ended=False))
    evidence: dict[str, Any] = {"http_status": status, "answer": reply.excerpt}
    if reply.retry_after_seconds is not None:
        evidence["retry_after_seconds"] = reply.retry_after_seconds
    if found := offered(reply.tree, headers, body, own):
        evidence["maybe_task_ids"] = found
    if status in SUCCESS:
        if task_id:
            evidence["maybe_task_ids"] = list(dict.fromkeys([task_id, *found]))[:OFFERED_MAX]
            denied = f"HTTP {status} with a task id, yet the answer tells of a failure ({denied})"
            return Unclear(denied, evidence)
        return Unclear(f"HTTP {status} without a usable task id", evidence)
    # A task that is named may be rendering, whatever the status says: a second request would be paid twice.
    if _refused_id(tree, own) or named_tasks(reply.tree, own):
        return Unclear(f"HTTP {status}, yet the answer names a task", evidence)
    fault = create_fault(reply)
    if fault is not None:
        return Refused(fault)
    if _is_shedding(reply, evidence):
        evidence["is_shedding"] = True
    is_redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    note = " (a redirect, which is never followed: check base_url)" if is_redirect else ""
    return Unclear(f"HTTP {status}{words_of(reply)}{note}", evidence)


def read_task(
    status: int, headers: Mapping[str, str], body: bytes, task_id: str, now: datetime | None = None
) -> TaskLook | Fault:
    """Decide what the answer to a look at `task_id` means; never raises.

    Both shapes and their mixes are read [PROVIDER 1.3, 1.4]: an envelope's own status is no task's, the
    outer task wins over the raw one inside it, unknown words leave it open. `task_not_exist` counts at any
    HTTP status, a plain 404 too; but a web page or a refused path is a Fault, which says nothing about the
    task, and so is an answer about another task. An answer that names no task ends none as failed or
    cancelled: it may be an error of the call.
    """
    reply = read_reply(status, headers, body, now or datetime.now(UTC))
    if is_missing(reply):
        return TaskLook(TaskStatus.MISSING, _NOT_EXIST)
    if status not in SUCCESS:
        return account_fault(reply) or busy_fault(reply)
    if reply.tree is None:
        return Fault(FaultOf.MOMENT, "PROVIDER.UNREADABLE", f"HTTP {status}, but no readable JSON")
    layers = list(_layers(reply.tree))
    named = [layer.get(key) for layer in layers for key in _ID_KEYS]
    ids = {_folded_id(value) for value in named if isinstance(value, str) and value}
    # A cache or a mix-up: to end this task by another one's answer would lose what was paid for.
    if ids and _folded_id(task_id) not in ids:
        return Fault(FaultOf.MOMENT, "PROVIDER.OTHER_TASK", "The answer is about another task")
    if not any(layer.get("status") for layer in layers) and not ids and not _is_empty_success(reply.tree):
        why = explained(reply.message) or "an answer without a task"
        return Fault(FaultOf.MOMENT, "PROVIDER.UNREADABLE", f"HTTP {status}: {why}")
    look = _look(layers)
    is_named = bool(ids) or task_id in map(str, named)
    if not is_named and look.status in {TaskStatus.FAILED, TaskStatus.CANCELLED}:
        why = explained(reply.message) or f"{look.word}, and not of which task"
        return Fault(FaultOf.MOMENT, "PROVIDER.NAMELESS", f"HTTP {status}: {why}")
    return look


def is_missing(reply: Reply) -> bool:
    """Whether the answer says that the provider does not know the task (yet)."""
    named = {text_at(layer, "status").strip().lower() for layer in _layers(reply.tree or {})}
    if _NOT_EXIST in reply.codes | named or _NOT_EXIST in reply.text.lower():
        return True
    return reply.status == HTTPStatus.NOT_FOUND and account_fault(reply) is None


def _is_shedding(reply: Reply, evidence: Mapping[str, Any]) -> bool:
    """Whether an answer looks like the API's own refusal of load: 502 or 503, a pause, JSON, no id at all.

    That alone does not end a doubt. The vendor documents these as refused [PROVIDER 2.7], but a gateway that
    tries several channels answers so after one of them accepted the task, in the same words: sent again, it
    would be paid twice. It only means that the account's balance is worth a check: see `scheduler/balance`.
    """
    is_shed = reply.status in _SHED and reply.retry_after_seconds is not None and reply.tree is not None
    return is_shed and "maybe_task_ids" not in evidence and not is_after_the_fact(reply)


def _created_id(tree: Mapping[str, Any]) -> str:
    data = tree.get("data")
    for layer in (tree, data if isinstance(data, dict) else {}):
        for key in _ID_KEYS:
            if is_task_id(layer.get(key)):
                return str(layer[key])
    is_good = tree.get("code") in ("success", 200, 0)  # no set: the code may be a list
    return str(data) if is_good and is_task_id(data) else ""


def _refused_id(tree: Mapping[str, Any], own: Own) -> str:
    """Return the id beside a status that is no success, unless it names the call itself."""
    found = _created_id(tree)
    is_of_call = found.lower().startswith(("req", "err", "trace")) or is_own(own, found)
    return "" if is_of_call else found


def _folded_id(value: str) -> str:
    """Return an id as it is compared: no two tasks differ in letter case or spaces alone."""
    return value.strip().casefold()


def _layers(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the task from the outside in, without the envelope around it.

    The outermost object is an envelope when it has no id of its own and a `data` object: its `status` or
    `code` are those of the call, not of the task.
    """
    is_first = True
    for _ in range(_LAYERS_MAX):
        data = tree.get("data")
        if isinstance(data, str) and data.lstrip().startswith("{"):
            data = read_json(data)
        is_envelope = is_first and isinstance(data, dict) and not text_at(tree, *_ID_KEYS)
        if not is_envelope:
            yield tree
        if not isinstance(data, dict):
            return
        tree, is_first = data, False


def _look(layers: list[dict[str, Any]]) -> TaskLook:
    words = [word for layer in layers if (word := text_at(layer, "status"))]
    known = [(_STATUS_OF_WORD.get(word.strip().upper(), TaskStatus.UNKNOWN), word) for word in words]
    progress = (_fraction(layer.get("progress")) for layer in reversed(layers))
    # The outer word wins; only if it is unknown ("UNKNOWN", a new word) the raw one inside counts.
    status, word = next(
        (pair for pair in known if pair[0] is not TaskStatus.UNKNOWN),
        (TaskStatus.UNKNOWN, words[0] if words else ""),
    )
    return TaskLook(
        status=status,
        word=redact_line(word, 60),
        progress=next((known for known in progress if known is not None), None),
        outputs=_outputs(layers) if status is TaskStatus.SUCCEEDED else (),
        credits=_credits(layers, is_ended=status in _ENDED),
        charged=_charged(layers) if status in _ENDED else None,
        failure=_failure(layers) if status is TaskStatus.FAILED else None,
    )


def _fraction(value: object) -> float | None:
    """Read progress as a fraction from 0 to 1: "30%", 0.3 or 45; None for anything else [PROVIDER trap 7]."""
    found = _FIGURE.fullmatch(value) if isinstance(value, str) else None
    known = float(found[1]) if found else number(value)
    if known is None:
        return None
    is_percent = bool(found and found[2]) or known > 1
    return min(max(known / 100 if is_percent else known, 0.0), 1.0)


def _outputs(layers: list[dict[str, Any]]) -> tuple[str, ...]:
    """Find the result addresses, in the order of PROVIDER 1.3: the raw task's `output` first.

    Only http(s) counts: a gateway puts failure texts into `result_url`, and addresses into `fail_reason`.
    """
    places = [layer.get("output") for layer in reversed(layers)]
    places += [
        layer.get(key) for key in ("result_url", "fail_reason", "video_url", "url") for layer in layers
    ]
    return next(filter(None, map(_urls, places)), ())


def _urls(value: object) -> tuple[str, ...]:
    good = (url.strip() for url in _strings_in(value))
    return tuple(dict.fromkeys(url for url in good if _is_address(url)))[:OUTPUTS_MAX]


def _strings_in(value: object, depth: int = _LAYERS_MAX) -> Iterator[str]:
    """Yield the strings in which an address may be: by itself, in lists, under `url` or other names."""
    match value:
        case str():
            yield value
        case list() if depth:
            for one in value:
                yield from _strings_in(one, depth - 1)
        case dict() if depth:
            if named := text_at(value, "url", "uri"):
                yield named
                return
            # The film comes first: a thumbnail beside it must not get the clip's own name.
            for key in sorted(value, key=lambda key: "video" not in key.lower()):
                yield from _strings_in(value[key], depth - 1)


def _is_address(url: str) -> bool:
    is_whole = len(url) <= URL_LENGTH_MAX and url.isprintable() and " " not in url
    return is_whole and url.lower().startswith(("http://", "https://"))


def _credits(layers: list[dict[str, Any]], *, is_ended: bool) -> float | None:
    """Read `cost.credits` of an ended task, of others `estimatedCost.credits` [PROVIDER 2.6].

    An estimate is the most that may be charged; it does not show what was charged.
    """
    for key in ("cost",) if is_ended else ("estimatedCost", "cost"):
        for layer in reversed(layers):
            cost = layer.get(key)
            known = number(cost.get("credits")) if isinstance(cost, dict) else None
            if known is not None and 0 <= known <= CREDITS_MAX:
                return known
    return None


def _charged(layers: list[dict[str, Any]]) -> float | None:
    """Read the cost of an ended task, or what a gateway charged and refunded for it [PROVIDER 1.8]."""
    if (cost := _credits(layers, is_ended=True)) is not None:
        return cost
    for layer in reversed(layers):
        charged, refunded = _amount(layer.get("point")), _amount(layer.get("refund"))
        if charged is not None and refunded is not None:
            return max(charged - refunded, 0.0)
    return None


def _amount(value: object) -> float | None:
    if isinstance(value, str):
        found = _FIGURE.fullmatch(value)
        return float(found[1]) if found and not found[2] else None
    return number(value)


def _failure(layers: list[dict[str, Any]]) -> Fault:
    """Read why a task failed; the raw task inside has more than the gateway around it [PROVIDER 2.9].

    The reason may be an object with a code and a message of its own, or a list of such [PROVIDER 1.6].
    """
    inward = layers[::-1]
    keys = ("failure", "fail_reason", "error", "message")
    causes = [one for layer in inward for key in keys for one in _each(layer.get(key))]
    named = [one for layer in inward for key in _CODE_KEYS for one in _each(layer.get(key))]
    named += [one.get(key) for one in causes if isinstance(one, dict) for key in _CODE_KEYS]
    reasons = [text_at(one, *_REASON_KEYS) if isinstance(one, dict) else one for one in causes]
    words = [one for one in reasons if isinstance(one, str) and one.strip()]
    reason = redact_line("; ".join(dict.fromkeys(words)), 300)
    code = next((one for one in named if isinstance(one, str) and one.strip()), "") or code_in(reason)
    # What the code of an error says is less than a failure code that its words name.
    loose = (text_at(one, "code", "type") for one in causes if isinstance(one, dict))
    return failure_fault(code or next(filter(None, loose), ""), reason)


def _each(value: object) -> list[Any]:
    return value[:10] if isinstance(value, list) else [value]


def _is_empty_success(tree: Mapping[str, Any]) -> bool:
    """Whether the gateway has no state of the task, which it answers as success with null [PROVIDER 1.3]."""
    return tree.get("code") == "success" and "data" in tree and not tree["data"]


def busy_fault(reply: Reply) -> Fault:
    """Return a passing fault: an error of a look never ends a job."""
    is_busy = reply.status == HTTPStatus.TOO_MANY_REQUESTS
    code = "PROVIDER.BUSY" if is_busy else f"HTTP.{reply.status}"
    message = f"HTTP {reply.status}{words_of(reply)}"
    return Fault(FaultOf.MOMENT, code, message, "", reply.retry_after_seconds)
