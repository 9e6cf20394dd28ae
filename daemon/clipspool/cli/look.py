"""The commands that only read: status, jobs, show."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipspool.cli.group import BROKEN, Context, command, json_option
from clipspool.cli.output import WIDE, ask_daemon, console, print_json, say
from clipspool.cli.suggestions import commands_for, program

if TYPE_CHECKING:
    from rich.console import RenderableType

    from clipspool.app.settings import Settings
    from clipspool.cli.which_journal import Need

_PAGE_JOBS = 500
_STATES = (
    "queued",
    "submitting",
    "in_doubt",
    "running",
    "rendered",
    "fetched",
    "delivered",
    "failed",
    "cancelled",
)


@command()
@json_option
@click.option("--watch", is_flag=True, help="Refresh every second, until Ctrl-C.")
def status(context: Context, *, as_json: bool, watch: bool) -> None:
    """Show what clipspool is doing, what waits, and why."""
    if watch and (not sys.stdout.isatty() or os.environ.get("TERM") in {"dumb", "unknown"}):
        raise click.UsageError("--watch needs a terminal that can be drawn on; in scripts use --json")
    # With --watch the first look may come before the daemon has ever run.
    need: Need = "find" if watch else "read"
    from clipspool.cli.which_journal import served_journal, why_broken

    served = served_journal(context.config)
    if served is not None and (why := why_broken(context.config)):
        say(BROKEN.format(why), err=True)
    if as_json:
        print_json(_status(lambda: context.settings(need), served))
        return
    from clipspool.cli.watch import Looker, keep_drawing, print_once

    looker = Looker(
        lambda: context.settings(need),
        served=served,
        program=program(context.config),
        expects_journal=not watch,
    )
    (keep_drawing if watch else print_once)(looker)


def _status(settings: Callable[[], Settings], served: Path | None) -> Mapping[str, Any]:
    """Ask the daemon; where none answers, read the journal and the folders. Loads nothing that draws."""
    from clipspool.app.control import CommandFailed

    troubles = []
    try:
        if (answer := ask_daemon(served or settings().journal.path, "status")) is not None:
            return dict(answer[0])
    except CommandFailed as error:
        if isinstance(error.__cause__, PermissionError):
            raise  # nothing is known of a daemon that may not be asked
        troubles.append(str(error))
    from clipspool.cli.offline import without_daemon

    found = without_daemon(settings())
    daemon = found["daemon"]
    is_silent = bool(troubles) and daemon["pid"] is not None
    return {**found, "daemon": {**daemon, "running": is_silent, "troubles": [*troubles, *daemon["troubles"]]}}


@command()
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Only jobs in this state.")
@click.option("--inbox", help="Only jobs of this inbox.")
@click.option("--limit", type=click.IntRange(min=1), help="Show at most N jobs, newest first.", metavar="N")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def jobs(
    context: Context, *, states: tuple[str, ...], inbox: str | None, limit: int | None, as_json: bool
) -> None:
    """List jobs, newest first, with the reason why each waits."""
    settings = context.settings("read")
    from clipspool.cli.offline import expect_inbox, open_to_read, working_now
    from clipspool.jobs.model import State
    from clipspool.reporting.looking import conditions_in
    from clipspool.reporting.status import job_json

    with open_to_read(settings) as journal:
        expect_inbox(settings, journal, inbox)
        conditions = conditions_in(journal, settings.limits, time.time(), working_now(settings))
        wanted = {State(s) for s in states}
        # A part has a line of its own only where a person may have to decide about it.
        with_parts = bool(wanted) and wanted <= {State.FAILED, State.IN_DOUBT}
        ids = journal.ids(states=wanted, inbox=inbox, most=limit, parts=with_parts)
        rows = []
        for begin in range(0, len(ids), _PAGE_JOBS):
            page = ids[begin : begin + _PAGE_JOBS]
            found = journal.load(page)
            parts = {job_id: journal.parts_of(job) for job_id, job in found.items()}
            # The reader of our output may stop midway: the journal's log would grow while a read is open.
            journal.rest()
            shown = [job_json(found[one], conditions, parts[one]) for one in page if one in found]
            if as_json:
                for one in shown:
                    print_json(one)
            else:
                rows += shown
        if as_json:
            return
    out = console()
    out.print(_jobs(rows, out.width) if rows else "No jobs.")


@command()
@click.argument("job")
@json_option
def show(context: Context, job: str, *, as_json: bool) -> None:
    """Show everything about one job, its history included."""
    settings = context.settings("read")
    from clipspool.cli.offline import job_in, open_to_read, working_now
    from clipspool.reporting.looking import conditions_in
    from clipspool.reporting.status import about_json

    with open_to_read(settings) as journal:
        found = job_in(journal, job)
        history = journal.history(found)
        conditions = conditions_in(journal, settings.limits, time.time(), working_now(settings))
        clip, parts = journal.clip(found.clip_id), journal.parts_of(found)
        shown = about_json(found, clip, history, conditions, parts)
    if as_json:
        print_json(shown)
        return
    from clipspool.reporting.history import story_json

    out = console()
    typed = commands_for(shown, program(context.config))
    out.print(_job(shown, list(story_json(history)), out.width, typed))


def _jobs(rows: list[dict[str, Any]], width: int) -> RenderableType:
    """Lay out a line for each job; where the terminal is narrow its reason stands below it."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from clipspool.cli.names import cut_apart
    from clipspool.cli.screen import STYLES
    from clipspool.system.redaction import readable

    is_wide = width >= WIDE
    shares = {"inbox": width // 8, "clip": width * 3 // 10}
    names = {key: cut_apart((readable(row[key]) for row in rows), share) for key, share in shares.items()}
    heads = ("job", "inbox", "clip", "state", "held", "why")[: 6 if is_wide else 5]
    table = Table(*heads, box=None, pad_edge=False, header_style="dim")
    for column in table.columns[:5]:
        column.no_wrap = True
    lines: list[RenderableType] = []
    for row in rows:
        is_shown = row["progress"] is not None and (row["doing"] or row["state"] == "running")
        state = row["state"] + (f" {row['progress']:.0%}" if is_shown else "")
        cells = [row["id"], *(names[key][readable(row[key])] for key in shares), state, row["held"] or ""]
        styled = [Text(cell, STYLES.get(row["state"], "") if cell is state else "") for cell in cells]
        why = Text(readable(_why(row)), overflow="fold")
        if is_wide:
            table.add_row(*styled, why)
            continue
        lines.append(Text("  ").join(cell for cell in styled if cell.plain))
        lines += [Padding(why, (0, 0, 0, 4))] if why.plain else []
    return table if is_wide else Group(*lines)


def _why(row: Mapping[str, Any]) -> str:
    """Return why a job waits or failed, or what it delivered."""
    if row["state"] == "delivered":
        names = ", ".join(result["name"] for result in row["results"])
        return names + (f" (but {row['reason']})" if row["missing"] else "")
    return str(row["error"]["message"] if row["error"] else row["reason"])


def _job(
    shown: dict[str, Any], history: list[dict[str, Any]], width: int, typed: Sequence[str]
) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from clipspool.cli.logs import story
    from clipspool.system.redaction import readable

    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(shown):
        facts.add_row(Text(name, "bold" if name in _LOUD else "dim"), Text(readable(value)))
    for number, one in enumerate(one for one in typed if " show " not in one):
        facts.add_row(Text("" if number else "what you can do", "dim"), Text(one))
    return Group(facts, Text(), story(history, width))


_LOUD = frozenset({"what is known", "missing output"})


def _facts(shown: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is known of a job, each fact under a name in words."""
    from clipspool.reporting.status import evidence_lines, film_in_words

    error, request, media = shown["error"] or {}, dict(shown["request"]), shown["media"]
    number = f"; the provider's task is attempt {shown['attempts']}" if shown["attempts"] > 1 else ""
    progress = "" if shown["progress"] is None else f", {shown['progress']:.0%}"
    rows: list[tuple[str, Any]] = [
        ("job", shown["id"]),
        ("inbox", shown["inbox"]),
        ("clip", shown["clip"]),
        ("variant", shown["variant"]),
        ("part", f"{shown['part']} of job {shown['part_of']}" if shown["part"] else ""),
        ("version", f"{shown['version']}{', chosen' * shown['chosen']}"),
        ("state", f"{shown['state'].replace('_', ' ')}{progress}"),
        ("held for", (shown["held"] or "").replace("_", " ")),
        ("reason", shown["reason"]),
        ("error", f"{error['code']}: {error['message']}" if error else ""),
        ("what to do", error.get("what_to_do")),
        ("task", f"{shown['task_id']}{number}" if shown["task_id"] else ""),
        ("perhaps its task", ", ".join(shown["maybe_task_ids"])),
        ("prompt", request.pop("prompt")),
        ("preset", shown["preset"]),
        *((name.replace("_", " "), _words(value)) for name, value in request.items()),
        ("price", _price(shown)),
        ("paid", shown["paid"]),
        ("reused from job", shown["reused_from"]),
        ("film", "; ".join(filter(None, (film_in_words(media), media.get("noticed"))))),
        ("accepted", _moment(shown["created_at"])),
        ("sent", _moment(shown["submitted_at"])),
        ("last change", _moment(shown["updated_at"])),
    ]
    lines = evidence_lines(shown["submitted_at"], shown["evidence"], shown["id"])
    rows += [("what is known", line) for line in lines]
    for part in shown["parts"]:
        rows.append((f"part {part['number']}", _part(part)))
    for result in shown["results"]:
        length = f", {result['seconds']:g} s" if "seconds" in result else ""
        rows.append(("result", f"{result['name']} ({result['size']:,} bytes{length})"))
    rows += [("missing output", f"{one['output']}: {one['why']}") for one in shown["missing"]]
    yield from ((name, str(value)) for name, value in rows if value not in (None, "", [], {}))


def _part(part: Mapping[str, Any]) -> str:
    """Return how a part stands, in one line."""
    error = part["error"] or {}
    is_running = part["state"] == "running" and part["progress"] is not None
    words = [part["state"].replace("_", " ") + (f" {part['progress']:.0%}" if is_running else "")]
    words += [f"task {part['task_id']}"] if part["task_id"] else []
    words += [f"{part['credits']:,.10g} credits"] if part["credits"] is not None else []
    words += [one for one in (error.get("message") or part["reason"],) if one]
    last = part["first_frame"] + part["frames"] - 1
    return f"{part['id']}, frames {part['first_frame']} to {last}: {', '.join(words)}"


def _words(value: Any) -> str:
    match value:
        case list():
            return ", ".join(map(_words, value))
        case dict():
            return ", ".join(f"{key} = {_words(inner)}" for key, inner in value.items())
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _price(shown: Mapping[str, Any]) -> str:
    if shown["credits"] is not None:
        return f"{shown['credits']:,.10g} credits"
    known = shown["credits_estimated"]
    return "" if known is None else f"about {known:,.10g} credits"


def _moment(at: str | None) -> str:
    return "" if at is None else f"{at.replace('T', ' ').removesuffix('Z')} UTC"
