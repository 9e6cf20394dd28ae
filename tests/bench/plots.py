"""Draws the table of figures: how clipspool compares at each number of clips, and row by row.

    python -m bench.plots docs/benchmarks.md docs/images

The table is read from a page's text, so a plot never shows another figure than the table beside it.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

OURS, THEIRS, GOOD, BAD, GRID = "#0f766e", "#9a3412", "#0f766e", "#c2410c", "#d4d4d4"
PANELS = (  # how the name of a figure ends, and how it is drawn
    ("all results are there", "all results are there", "s", "linear"),
    ("settle time, p50", "drop to POST, half of the clips", "s", "linear"),
    ("processor time", "processor time", "s", "log"),
    ("peak memory", "peak memory", "MB", "log"),
)
_CLIPS = re.compile(r"(\d+) of (.+)")
_FIGURE = re.compile(r"([\d,.]+) ?([^(]*)(?:\((.+)\))?")
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "clipspool", "font.family": "sans-serif", "font.size": 9}
"""Letters stay text, and the same table makes the same file."""
_RATIO_MAX = 16.0


@dataclass(frozen=True)
class Row:
    """A line of the table that compares two figures."""

    row: str
    what: str
    ours: float
    theirs: float
    unit: str
    whose: str

    @property
    def is_better_below(self):
        return self.what not in {"throughput", "clips a second"}

    @property
    def ratio(self):
        """Above 1 where clipspool is worse."""
        ratio = self.ours / self.theirs
        return ratio if self.is_better_below else 1 / ratio


def read(text):
    """Return the lines of the table of figures that have something to compare with."""
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 7 or not (ours := _FIGURE.fullmatch(cells[2])):
            continue
        if (theirs := _FIGURE.fullmatch(cells[3])) and theirs[3]:
            rows.append(
                Row(cells[0], cells[1], _number(ours[1]), _number(theirs[1]), ours[2].strip(), theirs[3])
            )
    return rows


def _number(text):
    return float(text.replace(",", ""))


def by_clips(rows, size="0.25 MB"):
    """Draw each figure over the number of clips, beside the best of the others."""
    figure = Figure(figsize=(8.4, 5.6), layout="constrained")
    for axes, (what, title, unit, scale) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        found = [
            (int(match[1]), one)
            for one in rows
            if one.what.endswith(what) and (match := _CLIPS.fullmatch(one.row)) and match[2] == size
        ]
        counts = [count for count, _ in found]
        axes.plot(
            counts, [one.theirs for _, one in found], "s--", color=THEIRS, label="the best of the others"
        )
        axes.plot(counts, [one.ours for _, one in found], "o-", color=OURS, label="clipspool")
        axes.set(title=title, xscale="log", xticks=counts, xlabel="clips at once", ylabel=unit)
        axes.set_xticklabels([f"{count:,}" for count in counts])
        axes.set_yscale(scale)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if scale == "linear":
            axes.set_ylim(bottom=0)
        axes.minorticks_off()
        axes.grid(color=GRID, linewidth=0.5)
    axes.legend(frameon=False)
    return figure


def by_row(rows):
    """Draw the ratio of each line, to the left of the middle where clipspool is better."""
    figure = Figure(figsize=(8.4, 0.21 * len(rows) + 0.9), layout="constrained")
    axes = figure.subplots()
    names = [f"{one.row}: {one.what.replace('`', '')} ({one.whose})" for one in rows]
    ratios = [min(max(one.ratio, 1 / _RATIO_MAX), _RATIO_MAX) for one in rows]
    places = range(len(rows), 0, -1)
    colours = [GOOD if ratio <= 1 else BAD for ratio in ratios]
    axes.barh(places, [ratio - 1 for ratio in ratios], left=1, color=colours, height=0.6)
    axes.set(xscale="log", xlim=(1 / _RATIO_MAX, _RATIO_MAX), ylim=(0.3, len(rows) + 0.7))
    axes.set_xticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8])
    axes.set_xticklabels(["8x\nbetter", "4x", "2x", "equal", "2x", "4x", "8x\nworse"])
    axes.minorticks_off()
    axes.set_yticks(list(places), names, fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="x", color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    return figure


def draw(text, folder):
    """Write the plots of a table into a folder; give their paths."""
    rows = read(text)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    if any(_CLIPS.fullmatch(one.row) for one in rows):
        drawn["bench-clips.svg"] = by_clips(rows)
    if rows:
        drawn["bench-rows.svg"] = by_row(rows)
    with mpl.rc_context(_STYLE):
        for name, figure in drawn.items():
            figure.savefig(folder / name, metadata={"Date": None})
    return [folder / name for name in drawn]


def main():
    page, folder = map(Path, sys.argv[1:])
    for path in draw(page.read_text(), folder):
        print(path)


if __name__ == "__main__":
    main()
