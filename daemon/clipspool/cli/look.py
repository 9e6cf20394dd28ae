"""The commands that only read: status, jobs, show."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipspool.cli.act import commands_for
from clipspool.cli.group import BROKEN, Context, command, fail, print_json, say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from clipspool.app.settings import Settings
    from clipspool.cli.finding import Need

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
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--watch", is_flag=True, help="Refresh every second, until Ctrl-C.")
def status(context: Context, *, as_json: bool, watch: bool) -> None:
    """Show what clipspool is doing, what waits, and why."""
    if watch and not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal; in scripts use --json")
    # With --watch the first look may come before the daemon has ever run.
    need: Need = "find" if watch else "read"
    from clipspool.cli.finding import served_journal, why_broken

    served = served_journal(context.config)
    if served is not None and (why := why_broken(context.config)):
        say(BROKEN.format(why), err=True)
    if as_json:
        print_json(_status(lambda: context.settings(need), served))
        return
    from clipspool.cli.watch import CannotLook, Looker, keep_drawing, print_once

    looker = Looker(lambda: context.settings(need), served=served)
    try:
        (keep_drawing if watch else print_once)(looker)
    except CannotLook as error:
        fail(str(error))


def _status(settings: Callable[[], Settings], served: Path | None) -> Mapping[str, Any]:
    """Ask the daemon; where none runs, read the journal and the folders. Loads nothing that draws."""
    from clipspool.app import control

    try:
        return dict(control.ask(served or settings().journal.path, "status"))
    except control.NoDaemon:
        pass
    except control.Failed as error:
        fail(str(error))
    from clipspool.cli.offline import without_daemon
    from clipspool.journal import JournalError

    try:
        return without_daemon(settings())
    except JournalError as error:
        fail(str(error))


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
    from clipspool.cli.offline import open_to_read
    from clipspool.jobs.model import State
    from clipspool.reporting.looking import conditions_in
    from clipspool.reporting.status import job_json

    with open_to_read(settings) as journal:
        conditions = conditions_in(journal, settings.limits, time.time())
        ids = journal.ids(states=[State(s) for s in states], inbox=inbox, most=limit)
        rows = []
        for begin in range(0, len(ids), _PAGE_JOBS):
            page = ids[begin : begin + _PAGE_JOBS]
            found = journal.load(page)
            # The reader of our output may stop midway: the journal's log would grow while a read is open.
            journal.rest()
            shown = [job_json(found[job_id], conditions) for job_id in page if job_id in found]
            if as_json:
                for one in shown:
                    print_json(one)
            else:
                rows += shown
        if as_json:
            return
    from rich.console import Console

    Console().print(_jobs(rows) if rows else "No jobs.")


@command()
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(context: Context, job: str, *, as_json: bool) -> None:
    """Show everything about one job, its history included."""
    settings = context.settings("read")
    from clipspool.cli.offline import job_in, open_to_read
    from clipspool.reporting.looking import conditions_in
    from clipspool.reporting.status import about_json

    with open_to_read(settings) as journal:
        found = job_in(journal, job)
        history = journal.history(found)
        conditions = conditions_in(journal, settings.limits, time.time())
        shown = about_json(found, journal.clip(found.clip_id), history, conditions)
    if as_json:
        print_json(shown)
        return
    from rich.console import Console

    from clipspool.reporting.history import story_json

    Console().print(_job(shown, list(story_json(history))))


_STYLES = {
    "delivered": "green",
    "failed": "red",
    "in_doubt": "bold red",
    "running": "cyan",
    "cancelled": "dim",
}


def _jobs(rows: list[dict[str, Any]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    from clipspool.intake.names import readable

    table = Table(
        "job", "inbox", "clip", "state", "held", "why", box=None, pad_edge=False, header_style="dim"
    )
    table.columns[0].no_wrap = True
    table.columns[5].ratio = 1
    for row in rows:
        state = row["state"]
        if state == "running" and row["progress"] is not None:
            state = f"{state} {row['progress']:.0%}"
        why = row["error"]["message"] if row["error"] else row["reason"]
        if row["state"] == "delivered":
            why = ", ".join(result["name"] for result in row["results"])
            why += f" (but {row['reason']})" if row["missing"] else ""
        cells = (row["inbox"], row["clip"], state, row["held"] or "", why)
        table.add_row(
            row["id"],
            *(
                Text(readable(cell or ""), _STYLES.get(row["state"], "") if cell is state else "")
                for cell in cells
            ),
        )
    return table


def _job(shown: dict[str, Any], history: list[dict[str, Any]]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from clipspool.cli.logs import story
    from clipspool.intake.names import readable
    from clipspool.reporting.status import evidence_lines

    facts = Table(box=None, show_header=False, pad_edge=False)
    hidden = {"history", "request", "error", "results", "missing", "media", "evidence"}
    for name, value in shown.items():
        if name in hidden or value in (None, "", []):
            continue
        facts.add_row(Text(name, "dim"), Text(readable(str(value))))
    for line in evidence_lines(shown["submitted_at"], shown["evidence"], shown["id"]):
        facts.add_row(Text("evidence", "bold"), Text(readable(line)))
    for name in ("request", "error", "media"):
        for key, value in (shown[name] or {}).items():
            facts.add_row(Text(f"{name}.{key}", "dim"), Text(readable(str(value))))
    for result in shown["results"]:
        length = f", {result['seconds']:g} s" if "seconds" in result else ""
        said = f"{readable(result['name'])} ({result['size']:,} bytes{length})"
        facts.add_row(Text("result", "dim"), Text(said))
    for one in shown["missing"]:
        facts.add_row(Text("missing", "bold"), Text(readable(f"output {one['output']}: {one['why']}")))
    for number, typed in enumerate(one for one in commands_for(shown) if " show " not in one):
        facts.add_row(Text("" if number else "what you can do", "dim"), Text(typed))
    return Group(facts, Text(), story(history))
