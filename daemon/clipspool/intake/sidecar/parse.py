"""Reads a sidecar or a `_defaults.toml`: any bytes in, keys or problems out."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from clipspool.intake.kinds import stem
from clipspool.intake.sidecar.decoding import decode
from clipspool.intake.sidecar.keys import KEYS, VARIANTS_MAX, kind_of, problems_in
from clipspool.intake.sidecar.mistakes import explain, placed
from clipspool.intake.sidecar.quotes import straighten
from clipspool.jobs.model import Problem
from clipspool.system.atomic import Rel, name_of, parent

BYTES_MAX = 64 << 10
_DOTS_MAX = 64
_DEEP_KEY = re.compile(
    r"""(?<![A-Za-z0-9_"'-])(?:(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){64}"""
)
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)$")
_PROBLEMS_MAX = 20
_SETTING = re.compile(rf"(?:{'|'.join(sorted(KEYS))})[ \t]*=|\[\[?(?:variant|result|extra|matrix)\]\]?")


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings in one file, or in one part of the configuration."""

    file: Rel = ""
    """The file's path relative to the inbox, or the configuration's part in words."""
    folder: Rel = ""
    """Folder that its reference paths are relative to."""
    keys: dict[str, Any] = field(default_factory=dict)
    variants: tuple[dict[str, Any], ...] = ()
    problems: tuple[Problem, ...] = ()
    text: str = field(default="", repr=False)
    """Its source, to find a key's line."""


def wrong_layer(file: Rel, *problems: Problem | str) -> Layer:
    """Return the layer of a file that cannot be used."""
    each = (Problem(problem) if isinstance(problem, str) else problem for problem in problems)
    return Layer(file, problems=tuple(replace(problem, file=file) for problem in each))


def _decoded(data: bytes) -> str | Problem:
    return Problem(f"is larger than {BYTES_MAX >> 10} KiB") if len(data) > BYTES_MAX else decode(data)


def parse(data: bytes, file: Rel, *, is_own: bool = True) -> Layer:
    """Read a file; never raises. `is_own` marks a clip's own sidecar, which may hold variants."""
    text = _decoded(data)
    if isinstance(text, Problem):
        return wrong_layer(file, text)
    try:
        body, text = _load(text.replace("\r\n", "\n"))
    except _Unreadable as trouble:
        return wrong_layer(file, *trouble.problems)
    return layer_of(body, file, is_own=is_own, text=text)


def parse_prompt(data: bytes, file: Rel) -> Layer:
    """Read a `.txt` that holds only a prompt; line breaks in it become spaces. Never raises."""
    text = _decoded(data)
    if isinstance(text, Problem):
        return wrong_layer(file, text)
    lines = [line.strip() for line in text.splitlines()]
    for number, line in enumerate(lines, 1):
        if setting := _SETTING.match(line):  # it would be sent, and paid for, as if it were the prompt
            right = stem(name_of(file)) + ".toml"
            reason = (
                f"`{setting[0].strip()} …` is a setting, and a `.txt` file holds only the prompt: rename it "
                f"to `{right}` if all of it is settings, else leave only the prompt in it"
            )
            return wrong_layer(file, Problem(reason, line=number))
    return layer_of({"prompt": " ".join(line for line in lines if line)}, file)


def layer_of(body: Mapping[str, Any], file: Rel, *, is_own: bool = False, text: str = "") -> Layer:
    """Check a table that was read from a file or is the configuration's `[defaults]`."""
    keys = {key: value for key, value in body.items() if key not in {"result", "variant"}}
    variants = body.get("variant", [])
    found = list(problems_in(keys))
    if keys.get("again") and not is_own:
        # Written once for many clips, it would pay for every clip that comes a second time.
        found.append(("again", "belongs in the sidecar of a clip, not in the defaults of many"))
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
    problems = tuple(replace(placed(text, key, message), file=file) for key, message in found[:_PROBLEMS_MAX])
    folder = parent(file) if text else ""
    return Layer(file, folder, {} if problems else keys, () if problems else tuple(variants), problems, text)


class _Unreadable(Exception):
    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


def _load(text: str) -> tuple[dict[str, Any], str]:
    """Read a text, with curly quotes as straight ones if it is not TOML otherwise; return both."""
    if _DEEP_KEY.search(text):  # tomllib takes quadratic time for these: 18 s for 64 KiB
        raise _Unreadable(Problem(f"has a key with more than {_DOTS_MAX} dots"))
    try:
        return tomllib.loads(text), text
    except RecursionError as error:
        raise _Unreadable(Problem("is nested too deep")) from error
    except ValueError as error:  # also an integer of more than 4,300 digits, a month 13
        straight = straighten(text)
        trouble = str(error)
    try:
        if straight != text:
            return tomllib.loads(straight), straight
    except (ValueError, RecursionError) as error:
        trouble = str(error)
    at = _AT_LINE.search(trouble)
    line = int(at[1]) if at else text.count("\n") + (not text.endswith("\n"))
    raise _Unreadable(*explain(straight, text, trouble, line))
