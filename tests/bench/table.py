"""What is printed: a line a figure, with its reference, ratio and goal, and whether the goal was met."""

import math
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Line:
    """One figure of a row."""

    row: str
    what: str
    ours: float
    unit: str
    reference: float | None = None
    whose: str = ""
    """Who the reference is."""
    goal: str = ""
    is_met: bool | None = None
    note: str = ""


def medians(repeats):
    """Return the median of each figure over the repeats: a list of {figure: value} becomes one."""
    names = {name for repeat in repeats for name in repeat}
    return {name: median([repeat[name] for repeat in repeats if name in repeat]) for name in names}


def at_most(row, what, ours, unit, reference, whose, ratio):
    """Judge a figure that is to be at most `ratio` times the reference."""
    is_met = ours <= reference * ratio
    return Line(row, what, ours, unit, reference, whose, f"≤ {ratio:g} of it", is_met)


def at_least(row, what, ours, unit, reference, whose, ratio):
    """Judge a figure that is to be at least `ratio` times the reference."""
    is_met = ours >= reference * ratio
    return Line(row, what, ours, unit, reference, whose, f"≥ {ratio:g} of it", is_met)


def below(row, what, ours, unit, limit, **more):
    """Judge a figure that is to be at most a limit."""
    return Line(row, what, ours, unit, goal=f"≤ {figure(limit)} {unit}".strip(), is_met=ours <= limit, **more)


def figure(value):
    """Write a number with three digits that count."""
    if value is None or math.isnan(value):
        return ""
    if value == 0:
        return "0"
    digits = max(2 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{digits}f}"


def markdown(lines):
    """Write all lines as one table."""
    head = "| row | figure | clipspool | instead | ratio | goal | met |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *map(_row, lines)])


def _row(line):
    instead = ratio = ""
    if line.reference is not None:
        instead = f"{figure(line.reference)} {line.unit} ({line.whose})"
        ratio = figure(line.ours / line.reference) if line.reference else ""
    met = {True: "yes", False: "**no**", None: ""}[line.is_met]
    what = f"{line.what}; {line.note}" if line.note else line.what
    cells = (line.row, what, f"{figure(line.ours)} {line.unit}".strip(), instead, ratio, line.goal, met)
    return f"| {' | '.join(cells)} |"
