"""Reads and relinks an EDL (CMX 3600), line by line: what is not relinked stays byte for byte."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from clipspool.media.timeline import later_timecode
from clipspool.media.timelines.model import (
    CUTS_MAX,
    RETIMED,
    Cut,
    Link,
    NoTimeline,
    frames_of_timecode,
    mark_of,
)
from clipspool.system.redaction import readable

_TIME = r"\d\d[:;]\d\d[:;]\d\d[:;.]\d{2,3}"
_TIMES = re.compile(_TIME)
_EVENT = re.compile(
    rf"(?P<head>\s*(?P<event>\d+)\s+(?P<reel>\S+(?: \S+)*?)\s+(?P<track>\S+)\s+"
    rf"(?P<kind>[A-Z]\w*)(?:\s+[BO])?(?:\s+\d+)?\s+)"
    rf"(?P<src_in>{_TIME})(?P<gap>\s+)(?P<src_out>{_TIME})(?P<rest>\s+{_TIME}\s+{_TIME}.*)",
    re.DOTALL,
)
_NO_EVENT = re.compile(rf"\s*\d.*{_TIME}\s+{_TIME}\s+{_TIME}\s+{_TIME}")
"""What has an event's times, and cannot be read: its comments are not those of the event before it."""
_FROM = re.compile(r"(\s*\*\s*FROM CLIP NAME:\s*)(.*)", re.IGNORECASE | re.DOTALL)
_TO = re.compile(r"\s*\*\s*TO CLIP NAME:", re.IGNORECASE)
_FILE = re.compile(
    r"(\s*\*\s*(?:SOURCE FILE|FROM CLIP|FROM FILE|MEDIA FILE):\s*)(.*)", re.IGNORECASE | re.DOTALL
)
_COLOURS = (
    "RED|GREEN|BLUE|CYAN|MAGENTA|YELLOW|BLACK|WHITE|PINK|FOREST|DENIM|VIOLET|PURPLE|ORANGE|GREY|GRAY|GOLD"
)
_LOCATOR = re.compile(
    rf"\s*\*\s*(?i:LOC):\s*(?:{_TIME}(?:\s+|$))?(?:(?:{_COLOURS})(?:\s+|$))?(.*)", re.DOTALL
)
"""Its time and colour are written by programs; who writes one by hand may leave them out."""
_COMMENT = re.compile(r"\s*\*\s*COMMENT:\s*(.*)", re.IGNORECASE | re.DOTALL)
_KEY = re.compile(r"\s*\*?\s*(?:M2\s|ASC_|[A-Z][A-Z0-9 _/-]*:)")
_SPEED = re.compile(rf"\s*M2\s(?:(?:.*\s)?(\d+(?:\.\d*)?)\s+{_TIME}\s*$)?", re.IGNORECASE)
_RATES = (24, 25, 30, 48, 50, 60)
_NTSC_APART = 0.101
"""By how much programs write the speeds of NTSC below 24, 30, 48 and 60, with one decimal at least."""
_TRANSITION = "it has a transition, which cannot be relinked in an EDL"


@dataclass(slots=True)
class _Event:
    """An event of a picture track, and the numbers of its lines."""

    found: re.Match[str]
    line: int
    comments: list[tuple[int, str]] = field(default_factory=list)
    rests: dict[int, list[int]] = field(default_factory=dict)
    """The lines on which a comment goes on."""

    def add(self, at: int, line: str) -> None:
        """Take a line as a comment, or as the rest of the one before, which some programs wrap."""
        before, text = self.comments[-1] if self.comments else (at, "")
        is_known = any(pattern.match(text) for pattern in (_FROM, _FILE, _LOCATOR, _COMMENT))
        is_indented = line[0].isspace() and not line.lstrip().startswith("*")
        is_awaited = text.rstrip().endswith(":") and line.lstrip().startswith("*")
        if is_known and (is_indented or is_awaited) and not _KEY.match(line):
            self.comments[-1] = (before, f"{text.rstrip()}\n{line.strip().lstrip('*').strip()}")
            self.rests.setdefault(before, []).append(at)
        else:
            self.comments.append((at, line))

    def texts(self, pattern: re.Pattern[str]) -> list[str]:
        matches = (pattern.match(text) for _, text in self.comments)
        return [match[match.re.groups].strip() for match in matches if match]

    def is_retimed(self, frame_max: int) -> bool:
        """Whether it is played at another speed; `frame_max` is the highest frame number in the EDL.

        An EDL does not say how many frames a second it has: a speed counts as normal where it may be that
        rate, and as many frames are taken as are shown.
        """
        speeds = [match[1] for _, text in self.comments if (match := _SPEED.match(text))]
        return not all(speed and self._is_normal(float(speed), frame_max) for speed in speeds)

    def _is_normal(self, speed: float, frame_max: int) -> bool:
        apart = {rate: 0 if rate % 25 == 0 else _NTSC_APART for rate in _RATES}
        rate = next((rate for rate in _RATES if rate - apart[rate] <= speed <= rate), 0)
        if not (0 if rate <= 30 else rate // 2) <= frame_max < rate:  # noqa: PLR2004  as 60, when half is 30
            return False
        times = [frames_of_timecode(time, Fraction(rate)) for time in _TIMES.findall(self.found[0])]
        came_in, came_out, shown_in, shown_out = (-1 if time is None else time for time in times)
        return came_out - came_in == shown_out - shown_in

    def has(self, pattern: re.Pattern[str]) -> bool:
        return any(pattern.match(text) for _, text in self.comments)


def read(data: bytes) -> list[Cut]:
    """Return the cuts of the picture tracks. Raises NoTimeline."""
    events = _events(_lines(data))
    times = [time for event in events for time in _TIMES.findall(event.found[0])]
    frame_max = max((int(re.split("[:;.]", time)[-1]) for time in times), default=0)
    cuts: list[Cut] = []
    for number, event in enumerate(events, 1):
        is_cut = event.found["kind"] == "C"
        names = (*event.texts(_FILE), *event.texts(_FROM), event.found["reel"])
        # A name that is wrapped may be so between two words, or within one.
        names = tuple(name.replace("\n", between) for between in ("", " ") for name in names)
        refusal = (
            _TRANSITION if not is_cut or event.has(_TO) else RETIMED if event.is_retimed(frame_max) else ""
        )
        if not is_cut and cuts:
            cuts[-1] = replace(cuts[-1], refusal=cuts[-1].refusal or _TRANSITION)
        cuts.append(
            Cut(
                number=number,
                name=next(iter(event.texts(_FROM)), event.found["reel"]).replace("\n", " "),
                media=tuple(dict.fromkeys(name for name in names if name)),
                timecodes=(event.found["src_in"], event.found["src_out"]),
                mark=mark_of([*event.texts(_LOCATOR), *event.texts(_COMMENT)]),
                refusal=refusal,
            )
        )
    if not cuts:
        raise NoTimeline("it has no event of a picture track; export it as CMX 3600")
    return cuts


def relink(data: bytes, links: Mapping[int, Link]) -> bytes:
    """Write the results' names in place of the media's; times are moved only where media had no timecode."""
    lines = _lines(data)
    for number, event in enumerate(_events(lines), 1):
        if (link := links.get(number)) is None:
            continue
        end = _end_of(lines[event.line])
        found = event.found
        if not link.has_timecode:
            back = -round(link.start * link.fps)
            times = [later_timecode(found[name], back, link.fps) for name in ("src_in", "src_out")]
            lines[event.line] = f"{found['head']}{times[0]}{found['gap']}{times[1]}{found['rest']}"
        named = False
        for at, text in event.comments:
            for pattern in (_FROM, _FILE):
                if match := pattern.match(text):
                    key = match[1].rstrip("\r\n")
                    lines[at] = f"{key}{' ' * key.endswith(':')}{link.name}{_end_of(lines[at])}"
                    for rest in event.rests.get(at, ()):
                        lines[rest] = ""
                    named |= pattern is _FROM
        if not named:
            lines[event.line] += f"* FROM CLIP NAME: {link.name}{end or chr(10)}"
    encoding = _encoding(data)
    return "".join(lines).encode(encoding, "surrogatepass" if encoding == "utf-16" else "surrogateescape")


def _encoding(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else "utf-8"


def _lines(data: bytes) -> list[str]:
    encoding = _encoding(data)
    text = data.decode(encoding, "replace" if encoding == "utf-16" else "surrogateescape")
    return text.splitlines(keepends=True)


def _end_of(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]


def _events(lines: list[str]) -> list[_Event]:
    events: list[_Event] = []
    event: _Event | None = None
    count = 0
    for at, line in enumerate(lines):
        if found := _EVENT.match(line):
            count += 1
            if count > CUTS_MAX:
                raise NoTimeline(f"it has more than {CUTS_MAX:,} events")
            # `V`, `V2`, `B` (both) and `AA/V` hold pictures, `A`, `A2` and `NONE` none. Black has no media.
            has_pictures = found["track"].upper().endswith("V") or found["track"].upper()[0] in "VB"
            is_shown = found["src_in"] != found["src_out"] and found["reel"].upper() not in {"BL", "BLACK"}
            event = _Event(found, at) if has_pictures and is_shown else None
            events += [event] if event else []
        elif _NO_EVENT.match(line):
            raise NoTimeline(
                f"line {at + 1} is an event that cannot be read: `{readable(line.strip()[:80])}`"
            )
        elif event is not None and line.strip():
            event.add(at, line)
    return events
