"""The values of a timeline: its cuts, and the results that replace what they show; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from clipspool.media.timeline import DROP_FRAMES_A_MINUTE

CUTS_MAX = 5000
_NAMELESS = re.compile(r"(?:marker|marke|marqueur|marcador)?[ _#-]*\d*", re.IGNORECASE)
"""What programs call a marker that nobody named."""
RETIMED = "its speed is changed"
SWITCHED_OFF = "it is switched off"
_Clip = TypeVar("_Clip")


class NoTimeline(ValueError):
    """A file cannot be read as a timeline; the message says why, and what would be right."""


class OtherXml(NoTimeline):
    """An XML that is no timeline at all, as cameras write one beside each clip: it shows no clips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One clip of a timeline: which part of which media it shows. Times are seconds."""

    number: int
    """Its place among the clips with pictures, from 1."""
    name: str
    media: tuple[str, ...]
    """Paths, addresses or names of its media as they are written, the best first."""
    start: Fraction = Fraction(0)
    """Where it begins, by the clock that the timeline counts this media's time with."""
    seconds: Fraction = Fraction(0)
    origin: Fraction | None = None
    """What that clock shows at the media's first picture; None: the media's own timecode, or 0."""
    timecodes: tuple[str, str] | None = None
    """Its begin and end in an EDL, which does not say how many frames a second has: instead of the times."""
    mark: str | None = None
    """The prompt in its marker or note; empty for one without text, None where it is not marked."""
    refusal: str = ""
    """Why it cannot be linked to a result; empty where it can."""
    before: Fraction = Fraction(0)
    after: Fraction = Fraction(0)
    """How much a transition shows of the media beyond its begin and end."""

    @property
    def in_words(self) -> str:
        """How it is called for people."""
        return f"clip {self.number} `{self.name}`"


def numbered(clips: Iterable[_Clip]) -> Iterator[tuple[int, _Clip]]:
    """Yield each clip with its number, from 1; raises NoTimeline where they are more than `CUTS_MAX`."""
    for number, clip in enumerate(clips, 1):
        if number > CUTS_MAX:
            raise NoTimeline(f"it has more than {CUTS_MAX:,} clips")
        yield number, clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The result that replaces the media of a cut."""

    name: str
    """Its file name."""
    url: str
    """Where editors find it: `file:///…`."""
    start: Fraction
    """What the timeline's clock for the media shows at the result's first picture."""
    seconds: Fraction
    fps: Fraction
    width: int
    height: int
    timecode: str | None = None
    """The result's own timecode at its first picture."""
    has_timecode: bool = False
    """Whether the media had one, so that an EDL's times stay as they are."""


def mark_of(texts: Iterable[str | None]) -> str | None:
    """Return the first text of a clip's markers or notes; empty for none, None without any marker.

    A name that a program gives to a new marker is no text.
    """
    found = [" ".join((text or "").split()) for text in texts]
    return next((text for text in found if not _NAMELESS.fullmatch(text)), "" if found else None)


def frames_of_timecode(timecode: str, fps: Fraction, *, is_drop: bool | None = None) -> int | None:
    """Return how many frames after 00:00:00:00 a timecode is; None if unreadable.

    One with `;` is in drop-frame, unless `is_drop` says how frames are counted where it is from.
    """
    parts = re.split(r"[:;.]", timecode.strip())
    nominal = round(fps)
    if len(parts) != 4 or not all(part.isdecimal() and len(part) <= 3 for part in parts) or not nominal:  # noqa: PLR2004
        return None
    hours, minutes, seconds, frame = map(int, parts)
    if frame >= nominal:
        return None
    is_drop = ";" in timecode if is_drop is None else is_drop
    dropped = DROP_FRAMES_A_MINUTE.get(nominal, 0) if is_drop else 0
    all_minutes = hours * 60 + minutes
    count = (all_minutes * 60 + seconds) * nominal + frame
    return count - dropped * (all_minutes - all_minutes // 10)


def rate_of(timebase: str | None, *, is_ntsc: bool) -> Fraction | None:
    """Return frames a second from an XML's whole number and its NTSC flag."""
    if timebase is None or not timebase.strip().isdecimal() or not 0 < int(timebase) <= 1000:  # noqa: PLR2004
        return None
    return Fraction(int(timebase) * 1000, 1001) if is_ntsc else Fraction(int(timebase))
