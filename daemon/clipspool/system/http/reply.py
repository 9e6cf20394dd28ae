"""Reads any answer of an API into one form: a status, its words, and a tree that may be empty."""

from __future__ import annotations

import http.client
import json
import math
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any, Literal

from clipspool.system.http.own_words import Own, is_own, without
from clipspool.system.redaction import redact_line

BODY_BYTES_MAX = 1 << 20
RETRY_AFTER_SECONDS_MAX = 86_400.0
DEPTH_MAX = 64

_HTML = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*(?:<!doctype|<html|<head|<body|<\?xml|<center)", re.IGNORECASE)
_WORDS_MAX = 40
_FIELD_MAX = 100
_FIGURE = re.compile(r"\s*\+?(\d{1,12}(?:\.\d{1,9})?)\s*(?:s|sec|seconds)?\s*(?:[,;].*)?", re.IGNORECASE)
"""Seconds, with or without a unit, or sent twice and joined."""
_DEPTH_MAX = 3
"""A gateway's message around the upstream's, and one more level."""
_REQUEST_ID = re.compile(r"\(?\brequest[ _-]?id:?\s*[\w-]+\)?", re.IGNORECASE)
_PIECE_BYTES = 1 << 16


class AnswerTooLong(http.client.HTTPException):
    """An answer is longer than anything that is expected; its text is one of ours."""


def read_whole(read: Callable[[int], bytes], bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """Read an answer's body; raises AnswerTooLong when it is longer than `bytes_max`."""
    pieces: list[bytes] = []
    size = 0
    while piece := read(_PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > bytes_max:
            raise AnswerTooLong(f"the answer is longer than {bytes_max:,} bytes")
    return b"".join(pieces)


def decoded(body: bytes, encoding: str, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """Undo gzip or deflate, which we never ask for, within `bytes_max`; return anything else unchanged."""
    packed = encodings(encoding)
    if not set(packed) <= {"gzip", "deflate"}:
        return body
    for _ in packed:
        try:
            body = zlib.decompressobj(47).decompress(body, bytes_max)
        except zlib.error:
            return body
    return body


def encodings(header: str) -> list[str]:
    """Return the codings of a Content-Encoding, in order, without those that change nothing, as `identity`.

    The header is a list, in any letter case, with any space; `x-gzip` is gzip [RFC 9110 8.4].
    """
    named = (one.strip(' \t"').lower() for one in header.split(","))
    return [one.removeprefix("x-") for one in named if one not in {"", "identity", "none", "utf-8", "binary"}]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the API, parsed once."""

    status: int
    tree: dict[str, Any] | None
    """The JSON object; None when the body is no object, or cannot be trusted."""
    is_html: bool
    codes: frozenset[str]
    """The error codes it names, in lower case."""
    fields: tuple[str, ...]
    """The fields of the request that it names, as `references.0.uri`: by `issues`, `param`, or in words."""
    text: str
    """All its messages, in their letter case, without quotations of the request."""
    sentences: tuple[str, ...]
    """The same messages whole, in lower case, for comparison with the API's documented ones."""
    message: str
    """Its error message for people: redacted, at most 300 characters, may be empty."""
    body: bytes
    retry_after_seconds: float | None

    @property
    def excerpt(self) -> str:
        """The raw body, redacted, at most 500 characters."""
        return excerpt(self.body)


def read_reply(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime, own: Own | None = None
) -> Reply:
    """Parse an answer; never raises, whatever the bytes.

    JSON must be an object of at most 1 MiB and 64 levels. A key that occurs twice with two values makes the
    answer unreadable: neither value is a fact. `own` is what the request said: none of it serves as a word
    of the answer.
    """
    own = own or Own()
    tree = read_json(body)
    found: dict[_Kind, list[str]] = defaultdict(list)
    for kind, piece in _pieces(tree) if tree is not None else ():
        if piece.strip():
            found[kind].append(piece)
    messages = found["message"]
    is_html = _HTML.match(body[:1024]) is not None
    if tree is None and not is_html:
        messages = [body[:2000].decode("utf-8", "replace")]
    cut = [without(own, message) for message in messages]
    fields = [*found["field"], *("(in words)" for _, is_named in cut if is_named)]
    return Reply(
        status=status,
        tree=tree,
        is_html=is_html,
        codes=frozenset(code.strip().lower() for code in found["code"]),
        fields=tuple(dict.fromkeys(fields)),
        text=" ; ".join(text for text, _ in cut),
        sentences=tuple(_sentence(message) for message in messages if not is_own(own, message)),
        # The text of an issue is shown to people; its meaning is in its code and the field it names.
        message=redact_line("; ".join(dict.fromkeys(messages + found["issue"])), 300),
        body=body,
        retry_after_seconds=_retry_after(headers, now),
    )


def excerpt(body: bytes) -> str:
    """Return the raw body, redacted, at most 500 characters."""
    return redact_line(body[:8000].decode("utf-8", "replace"))


def read_json(body: bytes | str) -> dict[str, Any] | None:
    """Parse a JSON object within the limits of `read_reply`; None for anything else."""
    if len(body) > BODY_BYTES_MAX:
        return None
    try:
        tree = json.loads(body, object_pairs_hook=_unambiguous, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) and not _is_deeper(tree, DEPTH_MAX) else None


def text_at(layer: Mapping[str, Any], *keys: str) -> str:
    """Return the first non-empty string among `keys`, or an empty one."""
    return next((value for key in keys if isinstance(value := layer.get(key), str) and value.strip()), "")


def number(value: object) -> float | None:
    """Return a finite number, None for anything else; true and false are no numbers."""
    with suppress(OverflowError):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    layer: dict[str, Any] = {}
    for key, value in pairs:
        if key in layer and layer[key] != value:
            raise ValueError("a key occurs twice with two values")
        layer[key] = value
    return layer


def _is_deeper(tree: object, levels: int) -> bool:
    level: list[Any] = [tree]
    for _ in range(levels):
        children = chain.from_iterable(node.values() if isinstance(node, dict) else node for node in level)
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True


_Kind = Literal["code", "field", "issue", "message"]


def _pieces(tree: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[_Kind, str]]:
    """Yield each piece of an error with its kind, in any of the six shapes [PROVIDER 1.6].

    A message may hold the upstream's error as JSON; then that error's pieces count.
    """
    for key in ("code", "type", "failureCode", "failure_code"):
        if isinstance(value := tree.get(key), str):
            yield "code", value[:200]
    for key in ("param", "field"):
        if isinstance(value := tree.get(key), str):
            yield "field", value[:_FIELD_MAX]
    for key in ("error", "message", "msg", "detail", "failure", "reason"):
        match tree.get(key):
            case str(value) if depth < _DEPTH_MAX and (inner := _embedded(value)) is not None:
                around, found = inner
                yield from _pieces(found, depth + 1)
                if around:
                    yield "message", around
            case str(value):
                yield "message", value[:2000]
            case dict(value) if depth < _DEPTH_MAX:
                yield from _pieces(value, depth + 1)
    for key in ("issues", "errors", "detail", "details"):
        listed = tree.get(key)
        for issue in listed[:10] if isinstance(listed, list) else ():
            yield from _issue(issue) if isinstance(issue, dict) else ()


def _embedded(text: str) -> tuple[str, dict[str, Any]] | None:
    """Find a JSON object in a message: return the text around it, and the object."""
    start = text.find("{")
    if start < 0 or len(text) > BODY_BYTES_MAX:
        return None
    if (whole := read_json(text[start:])) is not None:
        return text[:start].strip()[:2000], whole
    end = text.rfind("}") + 1
    found = read_json(text[start:end]) if end > start else None
    if found is None or not any(
        isinstance(found.get(key), str | dict) for key in ("error", "message", "msg")
    ):
        return None
    return f"{text[:start]} {text[end:]}".strip()[:2000], found


def _issue(issue: Mapping[str, Any]) -> Iterator[tuple[_Kind, str]]:
    """Parse which field is wrong: `references.0.uri: Invalid url (unrecognized_keys: foo)`."""
    steps: list[Any] = next((issue[key] for key in ("path", "loc") if isinstance(issue.get(key), list)), [])
    path = (
        ".".join(str(step)[:40] for step in steps[:8])
        or text_at(issue, "param", "field", "path")[:_FIELD_MAX]
    )
    code = text_at(issue, "code", "type")[:200]
    message = text_at(issue, "message", "msg", "code")[:300]
    keys = issue.get("keys")
    named = [str(key)[:40] for key in keys[:_WORDS_MAX]] if isinstance(keys, list) else []
    if named:
        message += f" ({', '.join(named)})"
    if code:
        yield "code", code
    for field in (path, *named) if path or named else ("(body)",):
        if field:
            yield "field", field
    yield "issue", f"{path}: {message}" if path else message


def _sentence(message: str) -> str:
    """Normalise a message, to compare it with the API's own sentences."""
    text = _REQUEST_ID.sub("", message).strip().strip("\"'`\u201c\u201d").rstrip(".! ")
    return " ".join(text.lower().split())[:300]


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read Retry-After: seconds or a date, at most a day; None for anything unreadable or negative."""
    known = {key.lower(): value for key, value in headers.items()}
    asked = known.get("retry-after", "").strip()
    figure = _FIGURE.fullmatch(asked)
    if asked:
        seconds = float(figure[1]) if figure else _seconds_until(asked, known.get("date", ""), now)
    elif figure := _FIGURE.fullmatch(known.get("retry-after-ms", "")):  # as the SDK reads it
        seconds = float(figure[1]) / 1000
    else:
        return None
    return None if seconds is None else min(seconds, RETRY_AFTER_SECONDS_MAX)


def _seconds_until(moment: str, server_date: str, now: datetime) -> float | None:
    """Measure by the server's own Date where it sends one: our clock may differ."""
    then = _date(moment)
    return None if then is None else max((then - (_date(server_date) or now)).total_seconds(), 0.0)


def _date(header: str) -> datetime | None:
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        date = parsedate_to_datetime(header)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None
