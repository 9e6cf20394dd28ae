"""Finds possible task ids in an unclear answer, and contradictions within an answer; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from clipspool.jobs.text import TASK_ID_LENGTH_MAX, is_task_id
from clipspool.system.http.own_words import Own, folded, is_own
from clipspool.system.http.reply import number, read_json, text_at
from clipspool.system.redaction import redact_line

OFFERED_MAX = 3

_TASK_KEYS = frozenset({"taskid", "task", "taskuuid", "generationid", "jobid", "videoid", "predictionid"})
_ID_KEYS = frozenset({"id", "uuid", "data", "result", "output"})
_MESSAGE_KEYS = frozenset({"error", "message", "msg", "detail", "reason"})
_OF_CALL = re.compile(r"request|trace|error|log|user|account|channel|organi[sz]ation|req", re.IGNORECASE)
"""An id below such a key, or one that begins so, is that of a call or a person, not of a task."""
_FORM = re.compile(
    r"(?<![\w-])(?:[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|[Tt][Aa][Ss][Kk]_[0-9A-Za-z]{16,64})(?![\w-])"
)
_REQUEST_ID = re.compile(
    r"(?:request|trace|correlation|ray|log|user|account)[ _-]?id\W{0,4}[\w-]+", re.IGNORECASE
)
_PAIR = re.compile(r"\"(?:task_?id|id)\"\s*:\s*\"([^\"\\]{1,200})\"", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"/tasks/([^/?#\s]{1,200})")
_NODES_MAX = 2000
_DEPTH_MAX = 8

_NO_SUCCESS = re.compile(
    r"fail|error|invalid|exceed|denied|insufficient|quota|not_|_not|limit|forbidden|unauthorized|reject|timeout|unavailable"
)
_ENDED_BADLY = frozenset(
    {"FAILURE", "FAILED", "ERROR", "CANCELLED", "CANCELED", "CANCEL", "TASK_NOT_EXIST", "REJECTED"}
)
_ERROR_CODE_MIN = 300


def denial(tree: Mapping[str, Any]) -> str:
    """Return the part of an answer that means a failure despite a status of success; empty without one."""
    layer: Any = tree
    for _ in range(_DEPTH_MAX):
        if isinstance(layer, str) and layer.lstrip().startswith("{"):
            layer = read_json(layer)
        if not isinstance(layer, dict):
            return ""
        if found := _denial(layer):
            return found
        layer = layer.get("data")
    return ""


def _denial(layer: Mapping[str, Any]) -> str:
    code = layer.get("code")
    is_figure = isinstance(code, str) and code.strip().isdecimal()
    figure = number(int(code[:9]) if is_figure and isinstance(code, str) else code)
    if figure is not None and (figure >= _ERROR_CODE_MIN or figure < 0):
        return f"code {figure:g}"
    if isinstance(code, str) and _NO_SUCCESS.search(code.lower()):
        return f"code {code[:60]}"
    if layer.get("success") is False:
        return "success is false"
    for key in ("error", "errors", "failure", "failureCode"):
        if layer.get(key):
            return f"{key}"
    reason = text_at(layer, "fail_reason")
    if reason and not reason.lower().startswith("http"):
        return "fail_reason"
    status = text_at(layer, "status").strip().upper()
    return f"status {status}" if status in _ENDED_BADLY else ""


def named_tasks(tree: Mapping[str, Any] | None, own: Own) -> list[str]:
    """Return the ids under a `task_id` key at any depth, without the request's own strings."""
    ids = (value for path, value in _strings(tree or {}) if path and folded(path[-1]) == "taskid")
    return list(dict.fromkeys(one for one in ids if is_task_id(one) and not is_own(own, one)))


def offered(tree: Mapping[str, Any] | None, headers: Mapping[str, str], body: bytes, own: Own) -> list[str]:
    """Return at most three ids that may be the task's, the likeliest first, for a person to look up."""
    best: list[str] = []
    likely: list[str] = []
    loose: list[str] = []
    for path, value in _strings(tree or {}):
        if any(_OF_CALL.search(key) for key in path):
            loose += _in_text(value) if path[-1] in _MESSAGE_KEYS else ()
            continue
        key = folded(path[-1]) if path else ""
        if key in _TASK_KEYS and " " not in value:
            best.append(value)
        elif key in _ID_KEYS and not re.match(r"\s*\{|.*( |://)", value, re.DOTALL):
            likely.append(value)
        loose += _in_text(value)
    for name, value in headers.items():
        if name.lower() == "location":
            best += _IN_ADDRESS.findall(value)
        elif folded(name) in {"xtaskid", "taskid"}:
            best.append(value.strip())
    if tree is None:
        text = body[:8000].decode("utf-8", "replace")
        best += _PAIR.findall(text)
        loose += _in_text(text)
    found = dict.fromkeys([*best, *likely, *loose])
    return [one for one in found if _may_be_offered(one, own)][:OFFERED_MAX]


def _may_be_offered(value: str, own: Own) -> bool:
    is_usual = value.lower() in {"success", "ok", "null", "none", "error", "image", "video"}
    is_of_call = re.match(r"req|err|trace", value, re.IGNORECASE) is not None
    # Neither what would be redacted nor the request's own strings may be offered.
    is_plain = redact_line(value, TASK_ID_LENGTH_MAX) == value
    return is_task_id(value) and is_plain and not is_usual and not is_of_call and not is_own(own, value)


def _in_text(text: str) -> list[str]:
    return _FORM.findall(_REQUEST_ID.sub(" ", text[:8000]))


def _strings(tree: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each string and whole number with the keys above it, nested JSON included."""
    left: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    for _ in range(_NODES_MAX):
        if not left:
            return
        path, node = left.pop(0)
        if isinstance(node, str) and node.lstrip().startswith("{") and (inner := read_json(node)) is not None:
            node = inner
        if len(path) > _DEPTH_MAX:
            continue
        match node:
            case dict():
                left += [((*path, str(key)), value) for key, value in node.items()]
            case list():
                left += [(path, value) for value in node]
            case bool() | None:
                continue
            case int():
                yield path, str(node)[:TASK_ID_LENGTH_MAX]
            case str():
                yield path, node
