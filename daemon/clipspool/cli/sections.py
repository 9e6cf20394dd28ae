"""The sections of a drawn status, and how they share the lines of a terminal; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.text import Text

BLOCKS_MAX = 20
"""Blocks shown of each section where no height is given."""


@dataclass(slots=True)
class Section:
    """A titled part of the screen, made of blocks of lines; its first blocks are shown."""

    title: str
    count: int | None
    """Stands behind the title; None where there is nothing to count."""
    blocks: list[list[Text]] = field(default_factory=list)
    style: str = "bold"
    total: int | None = None
    """Of all blocks, where that is not the count."""
    is_urgent: bool = False
    """Whether its first block is shown before any other section has one: a person has to act."""

    def left_out(self, shown: int) -> int:
        """Return how many blocks are left out where `shown` are shown."""
        return max((self.count or 0 if self.total is None else self.total) - shown, 0)

    def lines(self, shown: int) -> int:
        """Return its number of lines; of one that shows nothing only the title is left, if it has a count."""
        if not shown:
            return int(self.count is not None)
        return 2 + sum(map(len, self.blocks[:shown])) + bool(self.left_out(shown))


def fitted(sections: Sequence[Section], room: int | None) -> list[Text]:
    """Share the room among the sections, and end each with the number of blocks left out."""
    if room is None:
        shown = [min(len(section.blocks), BLOCKS_MAX) for section in sections]
    else:
        shown = _shared(sections, room)
    lines: list[Text] = []
    for section, count in zip(sections, shown, strict=True):
        if not section.lines(count):
            continue
        title = section.title if section.count is None else f"{section.title} ({section.count:,})"
        lines += [Text()] if count else []
        lines.append(Text(title, section.style))
        lines += [line for block in section.blocks[:count] for line in block]
        if count and (left_out := section.left_out(count)):
            lines.append(Text(f"  and {left_out:,} more", "dim"))
    return lines


def _shared(sections: Sequence[Section], room: int) -> list[int]:
    """Return how many blocks of each section are shown: first one of each, urgent ones before others."""
    shown = [0] * len(sections)

    def grow(place: int) -> bool:
        shown[place] += 1
        used = sum(one.lines(count) for one, count in zip(sections, shown, strict=True))
        if shown[place] <= len(sections[place].blocks) and used <= room:
            return True
        shown[place] -= 1
        return False

    for place in sorted(range(len(sections)), key=lambda place: not sections[place].is_urgent):
        grow(place)
    while sum(grow(place) for place in range(len(sections))):
        continue
    return shown
