"""What the sandbox does wrong, and to which request: values, their text form, and the draw."""

from __future__ import annotations

import difflib
import random
import re
from dataclasses import MISSING, dataclass, field, fields, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

_STATUS = re.compile(r"([45]\d\d)(-after)?")
_ERROR_PARAMS: Final = frozenset({"shape", "code", "message", "retry_after"})
SHAPES: Final = ("runway", "issues", "comet", "gateway", "nested", "compat", "html", "empty")
"""The error shapes of PROVIDER 1.6 and 2.7."""

_ANYWHERE: Final[dict[str, frozenset[str]]] = {
    "drop-before-body": frozenset({"how"}),
    "drop-in-body": frozenset({"how", "bytes"}),
    "drop": frozenset({"how"}),
    "drop-after": frozenset({"how"}),
    "drop-in-answer": frozenset({"how", "bytes"}),
    "slow": frozenset({"seconds"}),
}
_JSON_ANSWERS: Final[dict[str, frozenset[str]]] = {
    name + suffix: params
    for name, params in {
        "html": frozenset[str](),
        "garbage": frozenset[str](),
        "nothing": frozenset[str](),
        "huge": frozenset({"bytes"}),
        "deep": frozenset({"depth"}),
        "no-id": frozenset[str](),
        "redirect": frozenset({"to", "status"}),
    }.items()
    for suffix in ("", "-after")
}
_LASTING: Final[dict[str, frozenset[str]]] = {
    "failure": frozenset({"code", "message"}),
    "cancelled": frozenset(),
}
WHATS: Final[dict[str, dict[str, frozenset[str]]]] = {
    "create": _ANYWHERE | _JSON_ANSWERS | {"compat-answer": frozenset()},
    "poll": _ANYWHERE
    | _JSON_ANSWERS
    | _LASTING
    | {
        "not-exist": frozenset(),
        "status": frozenset({"word"}),
        "wrong-id": frozenset(),
        "progress": frozenset({"value"}),
        "no-url": frozenset(),
        "inner-disagrees": frozenset(),
    },
    "task": _LASTING
    | {
        "stuck": frozenset(),
        "invisible": frozenset(),
        "outputs": frozenset({"count"}),
        "same-twice": frozenset(),
        "content": frozenset({"kind"}),
    },
    "download": _ANYWHERE
    | {
        "cut": frozenset({"bytes", "how"}),
        "cut-close": frozenset({"bytes"}),
        "no-length": frozenset(),
        "wrong-length": frozenset({"delta"}),
        "drip": frozenset({"rate"}),
        "stall": frozenset({"bytes", "seconds"}),
        "html": frozenset(),
        "nothing": frozenset(),
        "etag-changed": frozenset(),
        "weak-etag": frozenset(),
        "wrong-offset": frozenset({"delta"}),
        "ignore-range": frozenset(),
        "gzip-bomb": frozenset({"bytes"}),
        "oversize": frozenset({"factor"}),
        "redirect": frozenset({"to", "status"}),
    },
    "cancel": _ANYWHERE | _JSON_ANSWERS,
    "upload": _ANYWHERE | _JSON_ANSWERS,
    "storage": _ANYWHERE,
    "organization": _ANYWHERE | _JSON_ANSWERS,
    "quota": _ANYWHERE | _JSON_ANSWERS,
}
"""For each operation what may go wrong, and which parameters each takes. Besides them every
operation but `task` takes a status: `500` before anything is done, `500-after` when it was done and
the answer is lost. `poll:failure` and `poll:cancelled` end a task that is still open, for good;
`task:failure` is settled when the task is made and shows when its rendering time is over."""


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """One thing done wrong to some requests of one operation; valid once built.

    `create:500-after:times=2` is the text form of `Misbehaviour("create", "500-after", times=2)`.
    Raises ValueError with a sentence that names the part that is wrong.
    """

    on: str
    what: str
    times: int | None = None
    """How often in all; None without end."""
    every: int | None = None
    """Each n-th request that it fits."""
    skip: int = 0
    """So many fitting requests go well first."""
    probability: float | None = None
    prompt: str | None = None
    """Only tasks whose prompt contains this."""

    shape: str | None = None
    code: str | None = None
    message: str | None = None
    retry_after: str | None = None
    """The header as it is sent; `date` or `date+30` is the HTTP date so many seconds ahead."""
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
        """The HTTP status of an error answer, None for anything else."""
        match = _STATUS.fullmatch(self.what)
        return int(match[1]) if match else None

    @property
    def is_after(self) -> bool:
        """Whether the operation is carried out before the answer goes wrong."""
        return self.what.endswith("-after") or self.what in ("drop-in-answer", "slow", "compat-answer")


_WHEN: Final = frozenset({"times", "every", "skip", "probability", "prompt"})
_LOWEST: Final = {
    "times": 1,
    "every": 1,
    "skip": 0,
    "bytes": 0,
    "seconds": 0,
    "depth": 1,
    "count": 0,
    "rate": 1,
    "factor": 1,
}
_CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "shape": SHAPES,
    "how": ("reset", "close"),
    "kind": ("mov", "webm", "zip"),
    "status": (301, 302, 303, 307, 308),
}


def parse(text: str) -> Misbehaviour:
    """Read `operation:what[:name=value]...`; a value may hold %-escapes (`%3A` for a colon).

    Raises ValueError with one sentence that names the part that is wrong.
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


def _reader(name: str) -> Any:
    if name in ("seconds", "probability"):
        return float
    numbers = {"times", "every", "skip", "bytes", "depth", "status", "count", "rate", "factor", "delta"}
    return int if name in numbers else str


_READERS: Final = {
    part.name: _reader(part.name) for part in fields(Misbehaviour) if part.default is not MISSING
}


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
    """The misbehaviours in force; the first one that fits a request and is due is drawn.

    Safe to use from any thread. The same seed and the same requests draw the same.
    """

    seed: int = 0
    _entries: list[_Entry] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  # repeatable on purpose

    def add(self, *misbehaviours: Misbehaviour) -> None:
        """Put them behind those already there."""
        with self._lock:
            self._entries.extend(_Entry(replace(one)) for one in misbehaviours)

    def clear(self) -> None:
        """Forget all of them and behave well."""
        with self._lock:
            self._entries.clear()

    def listing(self) -> list[dict[str, Any]]:
        """Tell each with how often it was looked at and done."""
        with self._lock:
            return [
                {"on": one.misbehaviour.on, "what": one.misbehaviour.what, "seen": one.seen, "done": one.done}
                for one in self._entries
            ]

    def is_filtered(self, on: str) -> bool:
        """Return whether any misbehaviour of the operation `on` wants to know the prompt."""
        with self._lock:
            return any(
                one.misbehaviour.on == on and one.misbehaviour.prompt is not None for one in self._entries
            )

    def draw(self, on: str, prompt: str | None = None) -> Misbehaviour | None:
        """Choose for one request of the operation `on`.

        Without a prompt only those without a prompt filter are looked at, with one only those with: a
        create is drawn for twice, since its prompt is known only when the body was read.
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
