"""`clipspool logs`: shows a job's history, or that of all, from the journal, with or without a daemon."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from clipspool.cli.group import Context, command
from clipspool.cli.output import WIDE, console, print_json, say

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from clipspool.app.settings import Settings
    from clipspool.jobs.model import State

_NEWEST = 50
_TROUBLE = frozenset(
    {"answer_lost", "in_doubt", "failed", "interrupted", "held", "stage_failed", "task_missing"}
)


@command()
@click.argument("job", required=False)
@click.option("--since", metavar="WHEN", help="All jobs since 2026-11-30, 2026-11-30T12:00Z, 36h or 7d.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def logs(context: Context, job: str | None, *, since: str | None, as_json: bool) -> None:
    """Show a job's history: what happened when, how long it took, and who did it.

    Without a job, what happened to all: since WHEN, else the newest.
    """
    if job is not None and since is not None:
        raise click.UsageError("--since is about all jobs: name no job, or leave it out")
    moment = None if since is None else _moment(since)
    settings = context.settings("read")
    if job is None:
        _of_all(settings, moment, as_json=as_json)
        return
    from clipspool.cli.offline import job_in, open_to_read
    from clipspool.reporting.history import seconds_by_state, story_json
    from clipspool.system.redaction import readable

    with open_to_read(settings) as journal:
        found = job_in(journal, job)
        entries = journal.history(found)
    lines = list(story_json(entries))
    if as_json:
        for line in lines:
            print_json(line)
        return
    say(f"{readable(found.path)} in {found.inbox}, job {found.id}: {found.state}")
    out = console()
    out.print(story(lines, out.width))
    say(summary(seconds_by_state(entries, time.time()), is_open=not found.state.is_terminal))


def _of_all(settings: Settings, since: float | None, *, as_json: bool) -> None:
    from clipspool.jobs.text import text
    from clipspool.journal import Lookup
    from clipspool.reporting.history import story_json
    from clipspool.system.redaction import readable

    with Lookup(settings.journal.place).look() as look:
        for entry, clip_id, inbox, path in look.story(since, _NEWEST):
            (line,) = story_json([entry])
            del line["seconds"]
            line |= {"job": entry.job_id, "clip_id": clip_id, "inbox": inbox, "clip": text(path)}
            if as_json:
                print_json(line)
                continue
            at, clip = line["at"][:19].replace("T", " "), readable(line["clip"])
            who = f"{clip}, {entry.job_id or clip_id}"
            say(f"{at} UTC  {who}: {readable(line['words'])} ({readable(line['by'])})")


def _moment(when: str) -> float:
    """Return the Unix seconds of a date, a time or an age; a time without a zone is this machine's."""
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", when):
        return time.time() - float(match[1]) * {"m": 60, "h": 3600, "d": 86_400}[match[2]]
    try:
        return datetime.fromisoformat(when).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.UsageError(
            f"--since {when} is no date, time or age: 2026-11-30, 2026-11-30T12:00Z, 36h or 7d"
        ) from None


def story(lines: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    """Lay out a history for a terminal of a width; each day's date stands above its entries."""
    dated = list(_dated(lines))
    return _table(dated) if width >= WIDE else _list(dated)


def _table(lines: Sequence[Mapping[str, Any]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table("UTC", "after", "who", "what", "now", box=None, pad_edge=False, header_style="dim")
    for column in (0, 1, 2, 4):
        table.columns[column].no_wrap = True
    table.columns[1].justify = "right"
    table.columns[3].ratio = 1
    table.columns[3].overflow = "fold"  # a task's id is to be copied whole
    for one in lines:
        if one["day"]:
            table.add_row(Text(one["day"], "bold"))
        table.add_row(*_cells(one))
    return table


def _list(lines: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Lay out each entry on lines of its own: beside four columns a task's id would be broken."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    rows: list[RenderableType] = []
    for one in lines:
        if one["day"]:
            rows.append(Text(one["day"], "bold"))
        clock, after, who, what, now = _cells(one)
        rows.append(Text("  ").join(part for part in (clock, after, who, now) if part.plain))
        what.overflow = "fold"
        rows.append(Padding(what, (0, 0, 0, 4)))
    return Group(*rows)


def _cells(one: Mapping[str, Any]) -> tuple[Text, Text, Text, Text, Text]:
    from rich.text import Text

    from clipspool.jobs.text import span
    from clipspool.system.redaction import readable

    after = "" if one["seconds"] is None else f"+{span(max(one['seconds'], 0.0))}"
    is_new = one["to"] is not None and one["to"] != one["from"]
    return (
        Text(one["clock"]),
        Text(after, "dim"),
        Text(readable(one["by"])),
        Text(readable(one["words"]), "red" if one["event"] in _TROUBLE else ""),
        Text(one["to"] if is_new else "", "cyan"),
    )


def _dated(lines: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield entries with their time of day, and with the date where a day begins."""
    day = ""
    for one in lines:
        date, _, clock = one["at"].rstrip("Z").partition("T")
        yield {**one, "clock": clock, "day": "" if date == day else date}
        day = date


def summary(spent: Mapping[State, float], *, is_open: bool) -> str:
    """Describe in one line how long a job took, and how long each state lasted."""
    from clipspool.jobs.text import span

    total = f"{span(sum(spent.values()))} {'so far' if is_open else 'in total'}"
    parts = ", ".join(f"{state} {span(seconds)}" for state, seconds in spent.items())
    return f"{total}: {parts}" if parts else total
