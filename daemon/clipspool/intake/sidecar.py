"""Reads a sidecar or a `_defaults.toml`: bytes in, keys or problems out, whatever the bytes are."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from clipspool.files import Rel, parent
from clipspool.intake.decoding import decode
from clipspool.intake.keys import VARIANTS_MAX, kind_of, problems_in
from clipspool.intake.lines import line_of
from clipspool.job import Problem

BYTES_MAX = 64 << 10
_DOTS_MAX = 64
_DEEP_KEY = re.compile(
    r"""(?<![A-Za-z0-9_"'-])(?:(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){64}"""
)
_AT_LINE = re.compile(r"^(.*) \(at (?:line (\d+), column \d+|end of document)\)$", re.DOTALL)
_CURLY_QUOTES = frozenset("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a")
_PROBLEMS_MAX = 20


@dataclass(frozen=True, slots=True)
class Layer:
    """What one file, or one part of the configuration, says about the clips it is for."""

    file: Rel = ""
    """The file's path relative to the inbox, or the configuration's part in words."""
    folder: Rel = ""
    """Where its reference paths start."""
    keys: dict[str, Any] = field(default_factory=dict)
    variants: tuple[dict[str, Any], ...] = ()
    problems: tuple[Problem, ...] = ()
    text: str = field(default="", repr=False)
    """What it was read from, to find a key's line in."""


def too_large(file: Rel) -> Layer:
    """Give the layer of a file that is larger than `BYTES_MAX`."""
    return Layer(file, problems=(Problem(f"is larger than {BYTES_MAX >> 10} KiB", file=file),))


def parse(data: bytes, file: Rel, *, is_own: bool = True) -> Layer:
    """Read a file; never raises. `is_own` says that it is a clip's own sidecar, which may hold variants."""
    if len(data) > BYTES_MAX:
        return too_large(file)
    text = decode(data)
    if isinstance(text, Problem):
        return Layer(file, problems=(replace(text, file=file),))
    try:
        body = _load(text)
    except _Unreadable as trouble:
        return Layer(file, problems=(Problem(trouble.message, line=trouble.line, file=file),))
    return layer_of(body, file, is_own=is_own, text=text)


def layer_of(
    body: Mapping[str, Any],
    file: Rel,
    *,
    is_own: bool = False,
    text: str = "",
) -> Layer:
    """Check a table that was read already: a file's, or the configuration's `[defaults]`."""
    keys = {key: value for key, value in body.items() if key not in {"result", "variant"}}
    variants = body.get("variant", [])
    found = list(problems_in(keys))
    if "result" in body and not isinstance(body["result"], dict):
        found.append(("result", f"has to be a table; it is {kind_of(body['result'])}"))
    if not isinstance(variants, list) or not all(isinstance(table, dict) for table in variants):
        found.append(("variant", "has to be tables, each headed `[[variant]]` with double brackets"))
        variants = []
    elif variants and not is_own:
        found.append(("variant", "belongs in the sidecar of a clip, not in the defaults of many"))
    elif len(variants) > VARIANTS_MAX:
        found.append(("variant", f"there are {len(variants)} variants; {VARIANTS_MAX} is the most"))
    for number, table in enumerate(variants[:VARIANTS_MAX], 1):
        found += problems_in(table, prefix=f"variant.{number}.")
    problems = tuple(
        Problem(message, key=key, line=line_of(text, key), file=file)
        for key, message in found[:_PROBLEMS_MAX]
    )
    folder = parent(file) if text else ""
    return Layer(file, folder, {} if problems else keys, () if problems else tuple(variants), problems, text)


class _Unreadable(Exception):
    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


def _load(text: str) -> dict[str, Any]:
    if _DEEP_KEY.search(text):  # tomllib takes quadratic time for these: 18 s for 64 KiB
        raise _Unreadable(f"has a key with more than {_DOTS_MAX} dots")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, line = str(error), None
        if at := _AT_LINE.match(message):
            message = at[1]
            line = int(at[2]) if at[2] else text.count("\n") + (not text.endswith("\n"))
        raise _Unreadable(f"is not valid TOML: {_lower_first(message)}{_hint(text, line)}", line) from error
    except RecursionError as error:
        raise _Unreadable("is nested too deep") from error
    except ValueError as error:  # an integer of more than 4,300 digits, a month 13
        raise _Unreadable("is not valid TOML: a number or date in it cannot be") from error


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:]


def _hint(text: str, line: int | None) -> str:
    lines = text.split("\n")
    if line is None or not 1 <= line <= len(lines):
        return ""
    _, _, value = lines[line - 1].partition("=")
    value = value.strip()
    if value and value[0] in _CURLY_QUOTES:
        return '; use straight quotes (") around text'
    if value and value[0].isalpha() and value not in {"true", "false", "inf", "nan"}:
        return '; text stands in straight quotes (")'
    return ""
