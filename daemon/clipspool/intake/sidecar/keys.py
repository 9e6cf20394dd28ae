"""Lists the keys of a sidecar and checks their values; strict, so that a typing error is never paid for."""

from __future__ import annotations

import difflib
import html
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Any, get_args

from clipspool.intake.sidecar.references import trouble_with
from clipspool.jobs.model import KEYFRAME_WORDS, Finish, FinishSize, FinishTiming, LongClips, has_date
from clipspool.jobs.sequence import RATE_MAX, RATE_MIN
from clipspool.system.redaction import is_redacted

PROMPT_UNITS_MAX = 1000
SEED_MAX = 2**32 - 1
PRIORITY_MAX = 100
REFERENCES_MAX = 10
START_SECONDS_MAX = 86_400
HANDLE_FRAMES_MAX = 240
OVERLAP_FRAMES_MAX = 120
VARIANTS_MAX = 100
_TEXT_MAX = 200
_DEPTH_MAX = 16
_INTEGER_MAX = 2**63 - 1
ENTITY = re.compile(r"&(?:amp|quot|lt|gt|nbsp|apos|#\d{1,6}|#x[0-9A-Fa-f]{1,6});")
"""Codes of web pages for some signs: text copied from a page is full of them, and no prompt means them."""
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters that show nothing: a prompt of these and of invisible characters only is empty."""
_HALVES = re.compile("[\ud800-\udfff]")
"""Halves of pairs, of which no text in UTF-8 can be made; Python also keeps bytes that are no UTF-8 so."""
_RATIO = re.compile(r"[1-9][0-9]{0,4}:[1-9][0-9]{0,4}")

SYNONYMS = {
    **dict.fromkeys(("text", "description", "prompt_text", "prompttext", "instruction"), "prompt"),
    **dict.fromkeys(("ref", "refs", "image", "images", "picture", "pictures"), "references"),
    **dict.fromkeys(("aspect", "aspect_ratio", "resolution"), "ratio"),
    **dict.fromkeys(("start", "start_time", "in", "from"), "start_seconds"),
    **dict.fromkeys(("duration", "length", "seconds", "duration_seconds"), "length_seconds"),
    **dict.fromkeys(("fps", "rate", "frame_rate", "framerate"), "frames_per_second"),
    "codec": "finish_codec",
    **dict.fromkeys(("start_at", "send_after"), "not_before"),
}
"""Other names of some keys; only for advice, none of them is accepted."""

_NO_CHAINS = (
    "unknown key `then`: the one further step known of the provider, upscale_v1, was withdrawn by its vendor "
    "on 2026-01-17. Delete the line, and upscale the result yourself"
)
Trouble = str | None
"""What is wrong and what would be right, or None."""
KeyProblem = tuple[str, str]
"""A dotted key and what is wrong with it."""


def problems_in(body: Mapping[str, Any], *, prefix: str = "") -> Iterator[KeyProblem]:
    """Check every key of a table."""
    for key, value in body.items():
        check = KEYS.get(key)
        if check is None:
            yield prefix + key, _unknown_table(key) if isinstance(value, dict) else unknown(key, _NAMES)
        elif isinstance(check, _Table):
            for below, message in check(value):
                yield f"{prefix}{key}{'.' if below else ''}{below}", message
        elif trouble := check(value):
            yield prefix + key, trouble


def unknown(key: str, known: Mapping[str, Any]) -> str:
    """Return that a key is unknown, and which one may be meant."""
    if key == "then":
        return _NO_CHAINS
    close = difflib.get_close_matches(key.lower()[:_TEXT_MAX], known, n=1)
    if (meant := SYNONYMS.get(key.lower().replace("-", "_"))) in known:
        close = [meant]
    hint = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(f'`{k}`' for k in known)}"
    return f"unknown key `{shown(key)}`, {hint}"


def _unknown_table(key: str) -> str:
    if difflib.get_close_matches(key.lower()[:_TEXT_MAX], _NAMES, n=1):
        return unknown(key, _NAMES)
    return f"is not a known table: delete the line `[{shown(key)}]`, keys need no table"


def shown(text: str) -> str:
    """Shorten text for a message and escape what would break its line."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:61])
    return plain if len(text) <= 60 else plain[:60] + "…"  # noqa: PLR2004 - as much as fits a line


def kind_of(value: object) -> str:
    """Describe a TOML value's type as an editor would, without its contents."""
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f'the text "{shown(value)}"' if len(value) < 30 else "a text"  # noqa: PLR2004 - fits a line
        case int():
            return f"the number {value}" if abs(value) <= _INTEGER_MAX else "a number with very many digits"
        case float():
            return f"the number {value}"
        case list():
            return "a list" if value else "an empty list"
        case dict():
            return "a table"
        case datetime() | date() | time():
            return "a date or time"
        case _:
            return "something else"


def _in_range(what: str, types: set[type], low: float, high: float) -> Callable[[Any], Trouble]:
    right = f"{what} from {low} to {high}, without quotes"

    def check(value: Any) -> Trouble:
        if type(value) not in types:
            return f"has to be {right}; it is {kind_of(value)}"
        return None if low <= value <= high else f"has to be {right}; it is out of that range"

    return check


def _checked(right: str, is_right: Callable[[Any], object]) -> Callable[[Any], Trouble]:
    return lambda value: None if is_right(value) else f"has to be {right}; it is {kind_of(value)}"


def _one_of(*words: str) -> Callable[[Any], Trouble]:
    return _checked(" or ".join(f'"{word}"' for word in words), lambda value: value in words)


def _prompt(value: Any) -> Trouble:
    if not isinstance(value, str):
        return f"has to be a text in quotes; it is {kind_of(value)}"
    if damaged := _damaged(value):
        return damaged
    if not any(unicodedata.category(c)[0] not in "CZ" and c not in _BLANK for c in value):
        return "is empty: describe the change you want"
    units = len(value.encode("utf-16-le")) // 2
    if units > PROMPT_UNITS_MAX:
        return f"is too long: {units:,} characters, at most {PROMPT_UNITS_MAX:,}"
    strange = next((c for c in value if c not in "\n\t" and unicodedata.category(c) == "Cc"), None)
    if strange is not None:
        return f"contains the control character U+{ord(strange):04X}; only line breaks and tabs are allowed"
    if code := ENTITY.search(value):
        sign = html.unescape(code[0])
        return f"contains `{code[0]}`, as web pages write `{sign}`; write the sign itself"
    return None


def _damaged(text: str) -> Trouble:
    """Return what is wrong with a text that is no Unicode, as an EDL, an argument or JSON may hold it."""
    if _HALVES.search(text) is None:
        return None
    shown_as = shown(_HALVES.sub("\ufffd", text))
    return f"has a letter that is not UTF-8 (shown as \ufffd): `{shown_as}`; write it again, saved as UTF-8"


def _name(value: Any) -> Trouble:
    if not isinstance(value, str):
        return f"has to be a text in quotes; it is {kind_of(value)}"
    if not value or len(value) > _TEXT_MAX or not value.isprintable():
        return f"has to be a text of 1 to {_TEXT_MAX} visible characters"
    return None


def _preset(value: Any) -> Trouble:
    if not isinstance(value, str):
        return f"has to be a name in quotes; it is {kind_of(value)}"
    if len(value) > _TEXT_MAX or not value.isprintable() or "/" in value or value.startswith((".", "_", "~")):
        return 'has to be the name of a preset, as in "winter", without folder and suffix'
    return None


def _references(value: Any) -> Trouble:
    if not isinstance(value, list):
        return f'has to be a list, as in ["winter.png"]; it is {kind_of(value)}'
    if len(value) > REFERENCES_MAX:
        return f"names {len(value)} images; {REFERENCES_MAX} is the most"
    for entry in value:
        if not isinstance(entry, str):
            return f"has to list texts in quotes; one entry is {kind_of(entry)}"
        if trouble := trouble_with(entry):
            return trouble
    return None


def _keyframes(value: Any) -> Trouble:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return f"has to be tables, each headed `[[keyframe]]` with double brackets; it is {kind_of(value)}"
    if len(value) > REFERENCES_MAX:
        return f"there are {len(value)} keyframes; {REFERENCES_MAX} is the most"
    for one in value:
        if odd := next((key for key in one if key not in _KEYFRAME_KEYS), None):
            return unknown(odd, _KEYFRAME_KEYS)
        if missing := next((key for key in _KEYFRAME_KEYS if key not in one), None):
            return f'has no `{missing}`: write at = "first" (or seconds) and image = "look.png"'
        at, image = one["at"], one["image"]
        is_time = type(at) in {int, float} and 0 <= at <= START_SECONDS_MAX
        if not is_time and at not in KEYFRAME_WORDS:
            return f'has `at`, which has to be "first", "last" or seconds; it is {kind_of(at)}'
        if not isinstance(image, str):
            return f"has `image`, which has to be a text in quotes; it is {kind_of(image)}"
        if trouble := trouble_with(image):
            return f"has an image that {trouble}"
    return None


_KEYFRAME_KEYS = {"at": None, "image": None}


def _not_before(value: Any) -> Trouble:
    right = "a date and time with its zone and without quotes, as in 2026-12-01T22:00:00Z or …T22:00:00+01:00"
    if not isinstance(value, datetime):
        return f"has to be {right}; it is {'only a date' if isinstance(value, date) else kind_of(value)}"
    if value.tzinfo is None:
        return f"has to be {right}; its zone is missing"
    if not has_date(value.timestamp()):
        return f"has to be {right}; its year is beyond the calendar"
    return None


class _Table:
    """A check of a table, which also names the key in it."""

    def __init__(self, check: Callable[[Mapping[str, Any]], Iterator[KeyProblem]]) -> None:
        self._check = check

    def __call__(self, value: Any) -> Iterator[KeyProblem]:
        if isinstance(value, dict):
            yield from self._check(value)
        else:
            yield "", f"has to be a table; it is {kind_of(value)}"


def _content_moderation(table: Mapping[str, Any]) -> Iterator[KeyProblem]:
    for key, value in table.items():
        check = SUB_KEYS.get(key)
        if trouble := unknown(key, SUB_KEYS) if check is None else check(value):
            yield key, trouble


def _extra(table: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """Accept what JSON can hold, to a depth; without recursion, since the depth is the editor's choice."""
    pending: list[tuple[str, Any, int]] = [(key, value, 1) for key, value in table.items()]
    while pending:
        path, value, depth = pending.pop()
        if damaged := _damaged(path) or (_damaged(value) if isinstance(value, str) else None):
            yield shown(path), damaged
            continue
        if depth > _DEPTH_MAX:
            yield path, f"is nested more than {_DEPTH_MAX} deep"
        elif isinstance(value, dict):
            pending += [(f"{path}.{key}", below, depth + 1) for key, below in value.items()]
        elif isinstance(value, list):
            pending += [(path, below, depth + 1) for below in value]
        elif isinstance(value, str) and is_redacted(value):
            yield path, "contained a secret or a signed address that was removed; write it again"
        elif isinstance(value, float) and not math.isfinite(value):
            yield path, "is not a finite number, which the API's JSON does not have"
        elif isinstance(value, int) and abs(value) > _INTEGER_MAX:
            yield path, "is a number with too many digits"
        elif isinstance(value, datetime | date | time):
            yield path, "is a date or time, which the API's JSON does not have; write it in quotes"


_TRUTH = _checked("true or false, without quotes", lambda value: isinstance(value, bool))
SUB_KEYS = {"public_figure_threshold": _one_of("auto", "low")}
"""Keys in known tables, with their checks."""

KEYS: dict[str, Callable[[Any], Trouble] | _Table] = {
    "prompt": _prompt,
    "preset": _preset,
    "model": _name,
    "seed": _in_range("a whole number", {int}, 0, SEED_MAX),
    "ratio": _checked(
        'two numbers in quotes, as in "1280:720"', lambda v: isinstance(v, str) and _RATIO.fullmatch(v)
    ),
    "references": _references,
    "keyframe": _keyframes,
    "target_aspect": _checked(
        'two numbers in quotes, as in "16:9"', lambda v: isinstance(v, str) and _RATIO.fullmatch(v)
    ),
    "output_format": _name,
    "priority": _in_range("a whole number", {int}, -PRIORITY_MAX, PRIORITY_MAX),
    "not_before": _not_before,
    "long_clips": _one_of(*get_args(LongClips)),
    "start_seconds": _in_range("a number", {int, float}, 0, START_SECONDS_MAX),
    "length_seconds": _in_range("a number", {int, float}, 0, START_SECONDS_MAX),
    "handle_frames": _in_range("a whole number", {int}, 0, HANDLE_FRAMES_MAX),
    "frames_per_second": _in_range("a number", {int, float}, RATE_MIN, RATE_MAX),
    "overlap_frames": _in_range("a whole number", {int}, 0, OVERLAP_FRAMES_MAX),
    "keep_parts": _TRUTH,
    "finish": _one_of(*get_args(Finish)),
    "finish_size": _one_of(*get_args(FinishSize)),
    "finish_codec": _one_of("prores", "dnxhr"),
    "finish_timing": _one_of(*get_args(FinishTiming)),
    "keep_untouched": _TRUTH,
    "again": _TRUTH,
    "content_moderation": _Table(_content_moderation),
    "extra": _Table(_extra),
}
"""Each key with its check. A new key needs a line here and a field in `Request`."""
_NAMES = dict.fromkeys((*KEYS, "variant", "matrix"))


def problems_in_matrix(table: Any) -> Iterator[KeyProblem]:
    """Check a `[matrix]`: for each key a list of values, every one of which the key accepts."""
    if not isinstance(table, dict):
        yield "", f"has to be a table, headed `[matrix]`; it is {kind_of(table)}"
        return
    for key, values in table.items():
        if key not in KEYS or isinstance(KEYS[key], _Table):
            one_valued = {name: None for name, check in KEYS.items() if not isinstance(check, _Table)}
            yield key, unknown(key, one_valued)
        elif not isinstance(values, list) or not values:
            yield key, f"has to be a list of values, as in [1, 2, 3]; it is {kind_of(values)}"
        else:
            for value in values:
                yield from problems_in({key: value})


def accepts(key: str, value: Any) -> bool:
    """Return whether a key, of a sidecar or of one of its tables, accepts a value."""
    check = KEYS.get(key) or SUB_KEYS.get(key)
    if isinstance(check, _Table):
        return next(check(value), None) is None
    return check is not None and check(value) is None
