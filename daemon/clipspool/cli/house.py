"""`clipspool prune`: removes what `[retention]` does not keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from clipspool.cli.group import Context, command, consent, print_json, say

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@command()
@click.option("--dry-run", is_flag=True, help="Only count what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@yes_option
def prune(context: Context, *, dry_run: bool, as_json: bool, yes: bool) -> None:
    """Remove sources, posters and history that are older than [retention] keeps.

    A running daemon does it once a day by itself. Only what clipspool put there itself is removed, and only
    while it is unchanged. What a job cost, and what it asked for, stays in the journal.
    """
    settings = context.settings("write" if not dry_run else "read")
    from clipspool.app.housekeeping import retention_of
    from clipspool.cli.client import OperatorCommands

    if not retention_of(settings):
        say("[retention] keeps everything: set done_days, failed_days, journal_days or posters_days first.")
        return
    with OperatorCommands(settings) as operator:
        if not dry_run:
            found = operator.prune(dry_run=True)
            if not any(map(_is_any, found["inboxes"])):
                _show(found, as_json=as_json)
                return
            if not (yes or as_json):
                _show(found, as_json=False)
            consent("Remove all this for good?", yes=yes)
        _show(operator.prune(dry_run=dry_run), as_json=as_json)


def _is_any(inbox: Mapping[str, Any]) -> bool:
    return bool(inbox["histories"] or any(inbox[kind]["files"] for kind in ("done", "failed", "posters")))


def _show(report: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    verb = "would be removed" if report["dry_run"] else "removed"
    for inbox in report["inboxes"]:
        parts = list(_parts(inbox))
        say(f"{inbox['name']}: {', '.join(parts)} {verb}." if parts else f"{inbox['name']}: nothing is due.")
        for left in inbox["left"]:
            say(f"  left: {left} is not the file that was put there")
        if inbox["trouble"]:
            say(f"  not looked through: {inbox['trouble']}")


def _parts(inbox: Mapping[str, Any]) -> Iterator[str]:
    from clipspool.reporting.history import size_in_words

    for kind, where in (("done", "in _done"), ("failed", "in _failed"), ("posters", "posters")):
        if files := inbox[kind]["files"]:
            what = where if kind == "posters" else f"files {where}"
            yield f"{files:,} {what} ({size_in_words(inbox[kind]['bytes'])})"
    if histories := inbox["histories"]:
        yield f"the history of {histories:,} clip{'s' * (histories != 1)}"
