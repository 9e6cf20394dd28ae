"""Explains a key and its value that are not TOML: `prompt = Make it winter`, `seed = 42s`; pure."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clipspool.intake.sidecar.examples import EXAMPLES, QUOTES, bare, known_key, meant_key, right_line
from clipspool.intake.sidecar.keys import ENTITY, KEYS, SUB_KEYS
from clipspool.intake.sidecar.lines import Statement
from clipspool.intake.sidecar.quote_marks import straighten

_WORDS_OF_TRUTH = frozenset({"true", "false", "yes", "no", "on", "off", "ja", "nein", "y", "n"})
_NOTHING = frozenset({"none", "null", "nil", "undefined", "default", "-", "n/a"})
_TABLES = frozenset({"content_moderation", "extra"})
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)\s*$")
_BACKSLASH = 'a backslash inside " " begins a special sign; write / in a path'
_LIST = "write a list in square brackets, each entry in quotes, with commas between"
_TIME = "a time is written with seconds and its zone: Z for UTC, or the hours ahead of it, as in +01:00"
_PLUS = re.compile(r"[\"']\s*\+\s*[\"']")
_PREFIX = re.compile(r"[a-zA-Z]{1,2}([\"']).*\1$")
_ESCAPE = re.compile(r'(?<!\\)(?:\\\\)*\\(?![btnfr"\\]|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})')
_PAIR = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
"""How JSON writes an emoji, and TOML does not."""
_EQUALS = re.compile(r"\s*(.*?)\s*=\s*(.*?)\s*$", re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*|\"[^\"]*\"|'[^']*'")
_SEVERAL = re.compile(rf"(?<![\s,;|&])[\s,;|&]++(?=(?:{'|'.join((*KEYS, *SUB_KEYS))})[ \t]*=)")
COLON = re.compile(
    r"""\s*[{,]?\s*(["']?)([A-Za-z][\w -]{0,40}?)\1\s*(?::=?|=>|->|==)\s*(.*?)\s*$""", re.DOTALL
)
COMMENT = re.compile(r"\s*(?://|;|--|/\*|<!--|%|'\s|(?:REM|rem)\b)\s*(.*?)(?:\*/|-->)?\s*$")


@dataclass(frozen=True, slots=True)
class Slip:
    """A mistake: what is wrong in a sentence, and what to write."""

    message: str
    right: str
    lines: int = 1
    """Number of statements that this mistake covers."""


def is_fine(text: str) -> bool:
    """Return whether a piece of text is TOML by itself."""
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def assignment(text: str, rest: list[Statement]) -> Slip | None:
    """Explain a line with `=`; None if the text before it is not a key."""
    equals = _EQUALS.match(text)
    if equals is None:
        return None
    name, value = equals[1], equals[2]
    if not name:
        return Slip("the key in front of the = is missing", right_line("prompt", value))
    if _PLAIN_KEY.fullmatch(name) is None:
        colon = COLON.match(text)
        if colon and known_key(colon[2]) and (":" in name or ">" in text[: colon.start(3)]):
            return None
        return _wrong_key(name, value)
    key = meant_key(name.rpartition(".")[2]) or name.strip("\"' ").rpartition(".")[2].strip()
    if value[:1] in {"=", ">"} and value[1:].strip():
        return Slip("one = is enough", right_line(key, value[1:]))
    return _several(text) or (_valued(key, value, rest) if value else _no_value(key, rest))


def _valued(key: str, value: str, rest: list[Statement]) -> Slip:
    if key in _TABLES:
        return _table(key, value)
    if value[0] in "\"'\u201c\u201d\u201e\u2018\u00ab`" and (broken := _broken_over_lines(key, value, rest)):
        return broken
    if key == "prompt" and value[0] not in QUOTES and following(rest):
        return with_following("put quotes around the text, on one line", key, value, rest)
    return _value(key, value)


def _table(key: str, value: str) -> Slip:
    flat = f"{key} = {' '.join(value.split())}"
    if value[0] == "{" and is_fine(flat):
        return Slip("write a table in { } on one line", flat)
    return Slip(
        f"`{key}` is a table: write its name in square brackets, its keys on the lines below",
        right_line(key, value),
    )


def _wrong_key(name: str, value: str) -> Slip | None:
    key = known_key(name) or known_key(re.split(r"[\s.]", name.strip())[-1])
    if key is None:
        return None
    return Slip(f"the key is `{key}`, and nothing else belongs before the =", right_line(key, value))


def _several(text: str) -> Slip | None:
    """Recognise several keys on one line, outside of any quotes."""
    parts = [part for part in _SEVERAL.split(text) if part.strip()]
    if len(parts) < 2 or "\n" in text or not is_fine(straighten(parts[0].strip().rstrip(",;"))):  # noqa: PLR2004 - several
        return None
    right = []
    for part in parts:
        key, _, value = part.partition("=")
        right.append(right_line(meant_key(key) or key.strip(), value.strip().rstrip(",;")))
    return Slip("each key needs a line of its own", "\n".join(filter(None, right)))


def _no_value(key: str, rest: list[Statement]) -> Slip:
    on_same_line = f"the value of `{key}` belongs on the same line"
    return with_following(on_same_line if following(rest) else f"`{key}` has no value", key, "", rest)


def _broken_over_lines(key: str, value: str, rest: list[Statement]) -> Slip | None:
    """Recognise a text in quotes that goes on in the next lines, or whose end quote is missing."""
    if value[:3] in {'"""', "'''"}:
        if value.count(value[:3]) > 1:
            return None
        return Slip(f"the closing {value[:3]} is missing", right_line(key, value.split("\n", maxsplit=1)[0]))
    if _is_closed(value):
        return None
    below = following(rest)
    if not below:
        quote = '"' if value[0] not in "'\u2018" else "'"
        return Slip(f"the closing {quote} is missing", right_line(key, value))
    last = (n for n, one in enumerate(below, 1) if one.text.rstrip(" \t,;")[-1:] in "\"'\u201d\u2019\u201c")
    end = next(last, len(below))
    return with_following("a text in quotes must be on one line", key, value, rest[: 1 + end])


def _is_closed(value: str) -> bool:
    """Return whether the text that a value begins with ends on the same line."""
    if value[0] == '"':
        return re.match(r'"(?:[^"\\]|\\.)*"', value) is not None or value.rstrip(" \t,;").endswith('\\"')
    if value[0] == "'":
        return value.count("'") > 1
    return len(value) > 1 and value.rstrip(" \t,;")[-1] in "\"'\u201d\u201c\u2019\u00bb\u2018`"


def following(rest: list[Statement]) -> list[Statement]:
    """Return the lines after the first that have no key of their own, up to the first gap."""
    end = rest[0].line + 1
    found: list[Statement] = []
    for one in rest[1:]:
        colon = COLON.match(one.text)
        is_key = re.match(r"\s*[\w-]+\s*=", one.text) or one.text.lstrip().startswith("[")
        if one.line != end or is_key or (colon and known_key(colon[2])) or COMMENT.match(one.text):
            break
        end += 1 + one.text.count("\n")
        found.append(one)
    return found


def with_following(message: str, key: str, first: str, rest: list[Statement]) -> Slip:
    """Explain a value that goes on in the following lines, which belong to the same mistake."""
    below = following(rest)
    whole = " ".join(filter(None, (first, *(one.text.strip() for one in below))))
    return Slip(message, right_line(key, whole), 1 + len(below))


# --- the value alone -------------------------------------------------------------------------------------


def _value(key: str, value: str) -> Slip:
    """Explain in one short sentence what to do about a value; `value` is as written, not empty."""
    right = right_line(key, value)
    if ENTITY.search(value):
        return Slip('this has codes of web pages, such as &quot; for "; write the signs themselves', right)
    if bare(value).lower() in _NOTHING:
        return Slip(f"there is no such value; to leave `{key}` open, delete the line", "")
    if value[0] in "\"'":
        return _quoted(key, value, right)
    if _PREFIX.match(value):
        right = right_line(key, value[value.index(value[-1]) :])
        return Slip("nothing belongs before the opening quote", right)
    if value[0] in QUOTES:
        return Slip('put straight quotes (") around the text', right)
    return Slip(_unquoted(key, value), right)


def _quoted(key: str, value: str, right: str) -> Slip:
    quote = value[0]
    if quote == '"' and _PAIR.search(value):
        whole = _PAIR.sub(lambda pair: bytes.fromhex(pair[1] + pair[2]).decode("utf-16-be"), value)
        return Slip(
            "two codes that begin with \\u cannot stand for one sign here: write the sign itself",
            right_line(key, whole),
        )
    closed = re.match(r'"(?:[^"\\]|\\.)*"' if quote == '"' else r"'[^']*'", value)
    if closed is None or (quote == '"' and _ESCAPE.search(closed[0])):
        return Slip(_BACKSLASH, right)
    behind = value[closed.end() :].strip()
    if behind and behind in {";", ",", ".", "\\"}:
        return Slip(f"nothing belongs after the value: remove the `{behind}`", right_line(key, closed[0]))
    if behind.startswith(("//", ";", "--", "/*", "(", ", //")):
        remark = behind.strip("/;-*(), \t")
        return Slip("a comment begins with #", f"{right_line(key, closed[0])}  # {remark}")
    if behind.startswith(",") and behind[1:].strip()[:1] in QUOTES:
        is_list = EXAMPLES.get(key, "").startswith("[")
        return Slip("write a list in square brackets" if is_list else "only one value is allowed here", right)
    if behind.startswith("+"):
        return Slip("write the text in one piece, without +", right_line(key, _PLUS.sub("", value)))
    if value.rstrip(" \t,;")[-1] == quote or quote in behind:
        better = "double" if quote == "'" else "single" if "'" not in value else ""
        if better:
            return Slip(f"a {quote} inside the text ends it; put {better} quotes around the text", right)
        return Slip('a " inside the text ends it; write \\" inside the text', right)
    return Slip("there is text after the closing quote; put all of the text inside the quotes", right)


def _unquoted(key: str, value: str) -> str:
    example = EXAMPLES.get(key)
    kind: Any = "" if example is None else tomllib.loads(f"x = {example}")["x"]
    if isinstance(kind, bool):
        return "write true or false, in small letters and without quotes"
    if isinstance(kind, int | float):
        if re.fullmatch(r"[-+]?\d{20,}", value):
            return "the number is too large"
        if re.match(r"[-+]?\d", value) and value.rstrip()[-1] in ";,":
            return f"nothing belongs after the value: remove the `{value.rstrip()[-1]}`"
        return "write a number as digits only, without a unit, spaces or marks between thousands"
    if isinstance(kind, list):
        is_escape = value[0] == "[" and _ESCAPE.search(value)
        return _BACKSLASH if is_escape else _LIST
    if isinstance(kind, datetime):
        return "there is no such date or time" if _MOMENT.match(value) else _TIME
    if key == "ratio":
        return "put quotes around the ratio"
    if example is None and re.fullmatch(r"[-+]?\d+,\d+", value):
        return "write a number with a point, not a comma"
    if example is None and value.lower() in _WORDS_OF_TRUTH:
        return "write true or false in small letters"
    return "put quotes around the text" + (", in the place of the brackets" if value[0] in "[{" else "")
