"""Defines what the sandbox does wrong, and to which request: values, their text form, and the draw; pure."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from threading import Lock
from typing import Any, Final
from urllib.parse import unquote

_STATUS = re.compile(r"([45]\d\d)(-after)?")
_ERROR_PARAMS: Final = frozenset({"shape", "code", "message", "retry_after"})
SHAPES: Final = ("runway", "issues", "comet", "gateway", "nested", "compat", "html", "empty")
"""The error shapes of PROVIDER 1.6 and 2.7."""


def _whats(table: str) -> dict[str, frozenset[str]]:
    """Read `what(parameter,parameter) what ...`."""
    entries = (entry.rstrip(")").partition("(") for entry in table.split())
    return {what: frozenset(filter(None, params.split(","))) for what, _, params in entries}


_ANYWHERE: Final = _whats(
    "drop-before-body(how) drop-in-body(how,bytes) drop(how) drop-after(how) drop-in-answer(how,bytes) "
    "slow(seconds)"
)
_ODD: Final = _whats("html garbage nothing huge(bytes) deep(depth) no-id redirect(to,status)")
_JSON_ANSWERS: Final = _ANYWHERE | _ODD | {f"{what}-after": params for what, params in _ODD.items()}
_LASTING: Final = _whats("failure(code,message) cancelled")
WHATS: Final[dict[str, dict[str, frozenset[str]]]] = {
    "create": _JSON_ANSWERS | _whats("compat-answer"),
    "poll": _JSON_ANSWERS
    | _LASTING
    | _whats("not-exist status(word) wrong-id progress(value) no-url inner-disagrees"),
    "task": _LASTING | _whats("stuck invisible outputs(count) same-twice content(kind)"),
    "download": _ANYWHERE
    | _whats(
        """cut(bytes,how) cut-close(bytes) no-length wrong-length(delta) drip(rate) stall(bytes,seconds)
        html nothing etag-changed weak-etag wrong-offset(delta) ignore-range gzip-bomb(bytes)
        oversize(factor) redirect(to,status)"""
    ),
    "storage": _ANYWHERE,
    **dict.fromkeys(("cancel", "upload", "organization", "quota"), _JSON_ANSWERS),
}
"""For each operation what may go wrong, with its parameters. Besides, every operation but `task` takes a
status: `500` before anything is done, `500-after` when it was done and the answer is lost. `poll:failure` and
`poll:cancelled` end an open task for good; `task:failure` is decided when the task is made and shows when its
rendering time is over."""


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """One mistake in the handling of some requests of one operation; valid once built.

    `create:500-after:times=2` is the text form of `Misbehaviour("create", "500-after", times=2)`.
    Raises ValueError with a sentence that names the wrong part.
    """

    on: str
    what: str
    times: int | None = None
    """How often in all; None for no limit."""
    every: int | None = None
    """Only every n-th matching request."""
    skip: int = 0
    """Number of matching requests that are handled well first."""
    probability: float | None = None
    prompt: str | None = None
    """Only tasks whose prompt contains this."""

    shape: str | None = None
    code: str | None = None
    message: str | None = None
    retry_after: str | None = None
    """The header as it is sent; `date+30` is the HTTP date 30 seconds ahead."""
    how: str = "reset"
    """How a connection is dropped: `reset` (RST) or `close` (FIN)."""
    bytes: int | None = None
    seconds: float = 5.0
    depth: int = 10_000
    word: str = "REHEARSING"
    value: str = "0.01"
    to: str = "self"
    """`self`, `loop`, `private`, or an address."""
    status: int = 307
    count: int = 2
    kind: str = "mov"
    rate: int = 1_000
    """Bytes a second."""
    factor: int = 10
    delta: int = 7

    def __post_init__(self) -> None:
        whats = WHATS.get(self.on)
        if whats is None:
            raise ValueError(f"unknown operation {self.on!r}; {_choice(self.on, WHATS)}")
        if self.what not in whats and (self.on == "task" or self.error_status is None):
            raise ValueError(f"{self.on} knows no {self.what!r}; {_choice(self.what, whats)}")
        allowed = whats.get(self.what, _ERROR_PARAMS) | _WHEN
        for part in fields(self)[2:]:
            given = getattr(self, part.name)
            if given != part.default and part.name not in allowed:
                raise ValueError(f"{self.on}:{self.what} takes no {part.name}; {_choice(part.name, allowed)}")
        self._check_ranges()

    def _check_ranges(self) -> None:
        for name, low in _LOWEST.items():
            given = getattr(self, name)
            if given is not None and given < low:
                raise ValueError(f"{name} must be at least {low}, not {given}")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be 0 to 1, not {self.probability}")
        for name, choices in _CHOICES.items():
            given = getattr(self, name)
            if given is not None and given not in choices:
                raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, not {given}")

    @property
    def error_status(self) -> int | None:
        """HTTP status of an error answer, None for anything else."""
        match = _STATUS.fullmatch(self.what)
        return int(match[1]) if match else None

    @property
    def is_after(self) -> bool:
        """Whether the operation is carried out before the answer goes wrong."""
        return self.what.endswith("-after") or self.what in ("drop-in-answer", "slow", "compat-answer")


_WHEN: Final = frozenset({"times", "every", "skip", "probability", "prompt"})
_LOWEST: Final = dict.fromkeys(("times", "every", "depth", "rate", "factor"), 1) | dict.fromkeys(
    ("skip", "bytes", "seconds", "count"), 0
)
_CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "shape": SHAPES,
    "how": ("reset", "close"),
    "kind": ("mov", "webm", "zip"),
    "status": (301, 302, 303, 307, 308),
}


def parse(text: str) -> Misbehaviour:
    """Read `operation:what[:name=value]...`; a value may hold %-escapes (`%3A` for a colon).

    Raises ValueError with one sentence that names the wrong part.
    """
    on, _, rest = text.strip().partition(":")
    what, *pairs = rest.split(":")
    if not what:
        raise ValueError(f"{text!r} is not of the form operation:what[:name=value]...")
    values: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or name not in _READERS:
            raise ValueError(f"{pair!r} in {text!r} is no name=value; {_choice(name, _READERS)}")
        try:
            values[name] = _READERS[name](unquote(value))
        except ValueError:
            raise ValueError(f"{value!r} is no good value for {name} in {text!r}") from None
    return Misbehaviour(on, what, **values)


def from_json(value: object) -> Misbehaviour:
    """Read a text form, or an object with the fields' names. Raises ValueError or TypeError."""
    if isinstance(value, str):
        return parse(value)
    if not isinstance(value, dict):
        raise TypeError("a misbehaviour is a string or an object")
    return Misbehaviour(**value)


_TYPES: Final[dict[str, Any]] = {"int": int, "float": float, "str": str}
_READERS: Final = {part.name: _TYPES[str(part.type).split(" ", 1)[0]] for part in fields(Misbehaviour)[2:]}


def _choice(given: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(given, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"


@dataclass(slots=True)
class _Entry:
    misbehaviour: Misbehaviour
    seen: int = 0
    done: int = 0


@dataclass(slots=True)
class Deck:
    """The misbehaviours in force; the first that matches a request and is due is drawn.

    Safe to use from any thread. The same seed and the same requests draw the same.
    """

    seed: int = 0
    _entries: list[_Entry] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  # repeatable on purpose

    def add(self, *misbehaviours: Misbehaviour) -> None:
        """Append misbehaviours to those in force."""
        with self._lock:
            self._entries.extend(_Entry(replace(one)) for one in misbehaviours)

    def clear(self) -> None:
        """Remove all of them."""
        with self._lock:
            self._entries.clear()

    def listing(self) -> list[dict[str, Any]]:
        """Return each with the number of requests that matched and of those that it changed."""
        with self._lock:
            every = [(entry, entry.misbehaviour) for entry in self._entries]
            return [{"on": m.on, "what": m.what, "seen": e.seen, "done": e.done} for e, m in every]

    def is_filtered(self, on: str) -> bool:
        """Return whether any misbehaviour of an operation depends on the prompt."""
        with self._lock:
            every = (entry.misbehaviour for entry in self._entries)
            return any(one.on == on and one.prompt is not None for one in every)

    def draw(self, on: str, prompt: str | None = None) -> Misbehaviour | None:
        """Choose for one request of an operation.

        Without a prompt only those without a prompt filter are considered, with one only those with: a create
        draws twice, since its prompt is known only when the body was read.
        """
        with self._lock:
            for entry in self._entries:
                one = entry.misbehaviour
                if one.on != on or (one.prompt is None) != (prompt is None):
                    continue
                if one.prompt is not None and prompt is not None and one.prompt not in prompt:
                    continue
                if self._is_due(entry):
                    entry.done += 1
                    return one
            return None

    def _is_due(self, entry: _Entry) -> bool:
        one = entry.misbehaviour
        entry.seen += 1
        turn = entry.seen - one.skip
        if turn < 1 or (one.times is not None and entry.done >= one.times):
            return False
        if one.every is not None and turn % one.every:
            return False
        return one.probability is None or self._random.random() < one.probability
