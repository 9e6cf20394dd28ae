"""The commands that look: status, jobs, show."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from clipspool.cli.group import Context, command, fail, print_json
from clipspool.intake.names import readable

if TYPE_CHECKING:
    from rich.console import RenderableType

_WATCH_SECONDS = 1.0
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
@click.option("--watch", is_flag=True, help="Draw it again every second, until Ctrl-C.")
def status(context: Context, *, as_json: bool, watch: bool) -> None:
    """Say what it is doing, what waits, and why."""
    settings = context.settings()
    from clipspool.cli.reading import status_of

    if as_json:
        print_json(status_of(settings))
        return
    from rich.console import Console

    console = Console()
    if not watch:
        console.print(_status(status_of(settings)))
        return
    from rich.live import Live

    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        try:
            while True:
                live.update(_status(status_of(settings)), refresh=True)
                time.sleep(_WATCH_SECONDS)
        except KeyboardInterrupt:
            return


@command()
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Only jobs in this state.")
@click.option("--inbox", help="Only jobs of this inbox.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def jobs(
    context: Context, *, states: tuple[str, ...], inbox: str | None, limit: int | None, as_json: bool
) -> None:
    """List jobs, newest first, with the reason why each waits."""
    settings = context.settings()
    from clipspool.cli.reading import conditions_in, open_to_read
    from clipspool.job import State
    from clipspool.views import job_json

    with open_to_read(settings) as journal:
        conditions = conditions_in(journal, settings)
        found = journal.find(states=[State(s) for s in states], inbox=inbox, most=limit)
        if as_json:
            for job in found:
                print_json(job_json(job, conditions))
            return
        rows = [job_json(job, conditions) for job in found]
    from rich.console import Console

    Console().print(_jobs(rows) if rows else "No jobs.")


@command()
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(context: Context, job: str, *, as_json: bool) -> None:
    """Show everything about one job, its history included."""
    settings = context.settings()
    from clipspool.cli.reading import conditions_in, open_to_read
    from clipspool.views import entry_json, iso, job_json

    with open_to_read(settings) as journal:
        found = journal.job(job)
        if found is None:
            fail(f"There is no job {job}.")
        clip = journal.clip(found.clip_id)
        shown = job_json(found, conditions_in(journal, settings))
        shown["media"] = clip.media if clip else {}
        shown["submitted_at"] = iso(found.task.intent_at) if found.task else None
        shown["evidence"] = found.task.evidence if found.task else {}
        shown["history"] = [entry_json(entry) for entry in journal.history(found)]
    if as_json:
        print_json(shown)
        return
    from rich.console import Console

    Console().print(_job(shown))


def _status(status: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    daemon, provider, spend = status["daemon"], status["provider"], status["spend"]
    lines: list[RenderableType] = []
    if daemon["running"]:
        lines.append(Text(f"running since {daemon['since']} (process {daemon['pid']})", "green"))
    else:
        lines.append(Text("not running: `clipspool run`, or `systemctl start clipspool`", "yellow"))
    if provider["blocked"]:
        lines.append(
            Text(f"provider blocked: {provider['reason']} Tried again {provider['until']}.", "bold red")
        )
    if status["journal"]["restored"]:
        lines.append(Text(f"nothing is submitted: {status['journal']['reason']}", "bold red"))
    counts = ", ".join(f"{n} {state}" for state, n in status["jobs"].items() if n) or "no jobs yet"
    lines.append(Text(counts))
    lines.append(
        Text(f"today: {spend['submissions']} submissions, about {spend['credits']:g} credits", "dim")
    )
    table = Table(
        "inbox", "state", "detect", "what waits", "why", box=None, pad_edge=False, header_style="dim"
    )
    for inbox in status["inboxes"]:
        style = "red" if inbox["state"] == "offline" else ""
        waiting = inbox["waiting"]
        first = waiting[0] if waiting else {"path": "", "reason": inbox["reason"]}
        table.add_row(
            Text(inbox["name"]),
            Text(inbox["state"], style),
            inbox["detect"],
            Text(readable(first["path"])),
            Text(first["reason"]),
        )
        for one in waiting[1:20]:
            table.add_row("", "", "", Text(readable(one["path"])), Text(one["reason"]))
        if len(waiting) > 20:  # noqa: PLR2004  (a screenful)
            table.add_row("", "", "", Text(f"and {len(waiting) - 20} more"), "")
    lines.append(table)
    return Group(*lines)


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
        cells = (row["inbox"], row["clip"], state, row["held"] or "", why)
        table.add_row(
            row["id"],
            *(
                Text(readable(cell or ""), _STYLES.get(row["state"], "") if cell is state else "")
                for cell in cells
            ),
        )
    return table


def _job(shown: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from clipspool.views import evidence_lines

    told = evidence_lines(shown["submitted_at"], shown["evidence"])
    facts = Table(box=None, show_header=False, pad_edge=False)
    hidden = {"history", "request", "error", "results", "media", "evidence"}
    for name, value in shown.items():
        if name in hidden or value in (None, "", []):
            continue
        facts.add_row(Text(name, "dim"), Text(readable(str(value))))
    for line in told:
        facts.add_row(Text("evidence", "bold"), Text(readable(line)))
    for name in ("request", "error", "media"):
        for key, value in (shown[name] or {}).items():
            facts.add_row(Text(f"{name}.{key}", "dim"), Text(readable(str(value))))
    for result in shown["results"]:
        facts.add_row(Text("result", "dim"), Text(f"{readable(result['name'])} ({result['size']} bytes)"))
    history = Table(
        "at", "what happened", "from", "to", "facts", box=None, pad_edge=False, header_style="dim"
    )
    for entry in shown["history"]:
        more = ", ".join(f"{k}={v}" for k, v in entry["facts"].items() if not isinstance(v, dict | list))
        history.add_row(
            entry["at"], entry["event"], entry["from"] or "", entry["to"] or "", Text(readable(more))
        )
    return Group(facts, Text(), history)
