"""Folders of numbered pictures that are one clip: which pictures, whether one is missing, the rate; pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

PICTURES = "pictures"
"""The key of a clip's media facts that describes its folder; only such a clip has it."""
KINDS = {
    **dict.fromkeys((".jpg", ".jpeg"), "jpeg"),
    **dict.fromkeys((".tif", ".tiff"), "tiff"),
    **{f".{kind}": kind for kind in ("png", "exr", "dpx")},
}
"""What a picture is, by its suffix in lower case."""
DEFAULT_RATE = 24.0
"""Pictures a second unless a sidecar or the defaults name a rate."""
RATE_MIN, RATE_MAX = 1, 240
PICTURES_MIN = 3
"""Fewer are reference images, and no clip."""
PICTURES_MAX = 50_000
_NUMBERED = re.compile(r"(.*?)(\d+)(\.\w+)", re.DOTALL)
_NAMED_MAX = 6
_DAY_SECONDS = 86_400
_NTSC = tuple(Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120))
_NTSC_NEAR = Fraction(5, 1000)


@dataclass(frozen=True, slots=True)
class Sequence:
    """The numbered pictures of a folder, all named alike."""

    names: tuple[str, ...]
    """Sorted by number."""
    numbers: tuple[int, ...]
    kind: str

    @property
    def missing(self) -> list[int]:
        """Return the numbers between the first and the last for which there is no picture."""
        there = set(self.numbers)
        return [number for number in range(self.numbers[0], self.numbers[-1] + 1) if number not in there]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is remembered of a clip's folder of pictures, beside its media facts."""

    kind: str
    count: int
    first: str
    """Name of the first picture."""
    last: str
    start: int
    """Number of the first picture."""
    notes: tuple[str, ...] = ()
    """Remarks for people on how they are shown."""
    is_default_rate: bool = False
    """Whether the rate is our default, as nobody named one."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self) | {"notes": list(self.notes)}

    @classmethod
    def of(cls, media: Mapping[str, Any]) -> Facts | None:
        """Read it from a clip's media facts; None for a film."""
        body = media.get(PICTURES)
        if not isinstance(body, Mapping):
            return None
        known = {name: body[name] for name in cls.__dataclass_fields__ if name in body}
        return cls(**{**known, "notes": tuple(known.get("notes", ()))})


def number_of(name: str) -> int | None:
    """Return the number of a picture that can be one of a film; None for any other file."""
    found = _NUMBERED.fullmatch(name)
    return int(found[2]) if found and found[3].lower() in KINDS and len(found[2]) <= 12 else None  # noqa: PLR2004


def pictures_of(names: Collection[str]) -> list[str]:
    """Return a folder's numbered pictures, by number; hidden files are none."""
    numbered = ((number_of(name), name) for name in names if not name.startswith((".", "_", "~")))
    return [name for _, name in sorted((number, name) for number, name in numbered if number is not None)]


def sequence_of(names: Collection[str]) -> Sequence | str:
    """Return the pictures of a folder as one film, or in words why they are none."""
    named = defaultdict[tuple[str, str], list[tuple[int, str]]](list)
    for name in names:
        found = _NUMBERED.fullmatch(name)
        if found is None:
            return f"`{name}` in it has no number"
        named[found[1], found[3].lower()].append((int(found[2]), name))
    if len(named) > 1:
        few = [f"`{min(some)[1]}` ({len(some):,})" for some in sorted(named.values())[:_NAMED_MAX]]
        return (
            f"it holds pictures of more than one kind or name: {', '.join(few)}; put each into its own folder"
        )
    ((_, suffix), pictures), *_ = named.items()
    pictures.sort()
    sequence = Sequence(tuple(n for _, n in pictures), tuple(n for n, _ in pictures), KINDS.get(suffix, ""))
    if twice := next((n for n, other in pairwise(pictures) if n[0] == other[0]), None):
        return f"it holds two pictures numbered {twice[0]}"
    if missing := sequence.missing if sequence.numbers[-1] - sequence.numbers[0] < 10 * PICTURES_MAX else [0]:
        return f"{_missing_in_words(missing)}; `{pictures[0][1]}` to `{pictures[-1][1]}` are there"
    return sequence


def _missing_in_words(missing: list[int]) -> str:
    runs: list[tuple[int, int]] = []
    for number in missing:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    shown = [f"{first} to {last}" if last > first else f"{first}" for first, last in runs[:_NAMED_MAX]]
    more = f" and {len(runs) - _NAMED_MAX} more gaps" if len(runs) > _NAMED_MAX else ""
    what = "picture" if len(missing) == 1 else "pictures"
    return f"{what} {', '.join(shown)}{more} {'is' if len(missing) == 1 else 'are'} missing"


def exact_rate(frames_per_second: float) -> Fraction:
    """Return the exact rate: 23.976 is 24000/1001; 0 the default."""
    wanted = Fraction(str(frames_per_second or DEFAULT_RATE))
    near = (rate for rate in _NTSC if abs(rate - wanted) < _NTSC_NEAR)
    return next(near, wanted.limit_denominator(1001))


def at_rate(media: Mapping[str, Any], frames_per_second: float) -> Mapping[str, Any]:
    """Return a clip's media facts where its pictures are shown at a rate; a film's are as they were."""
    facts = Facts.of(media)
    if facts is None:
        return media
    rate = exact_rate(frames_per_second)
    fps = f"{rate.numerator}/{rate.denominator}"
    return {**media, "fps": fps, "frames": facts.count, "seconds": float(facts.count / rate)}


def timecode_of(start: int, rate: Fraction) -> str:
    """Return the timecode of the first picture: its number counted from midnight; empty where there is none.

    Pictures that are counted from 0 or 1, or beyond a day, have no place in time.
    """
    base = round(rate)
    seconds, frame = divmod(start, base)
    if start <= 1 or seconds >= _DAY_SECONDS:
        return ""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frame:02}"


def in_words(facts: Facts, rate: Fraction) -> tuple[str, ...]:
    """Return what is made of a folder's pictures before anything else."""
    shown = f"{float(rate):.3f}".rstrip("0").rstrip(".")
    default = ", since no `frames_per_second` was given" if facts.is_default_rate else ""
    kind = facts.kind.upper()
    one = f"made of {facts.count:,} numbered pictures ({kind}), `{facts.first}` to `{facts.last}`"
    return (f"{one}, at {shown} frames a second{default}", *facts.notes)
