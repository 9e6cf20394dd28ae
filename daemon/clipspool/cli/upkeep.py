"""`prune` removes what `[retention]` does not keep; `backup` and `restore` copy the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipspool.cli.group import Context, asks_nothing, command, json_option, yes_option
from clipspool.cli.output import consent, fail, print_json, say

if TYPE_CHECKING:
    from clipspool.app.settings import Settings


@command()
@click.option("--dry-run", is_flag=True, help="Only count what would be removed.")
@json_option
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
        if as_json:
            print_json({"dry_run": dry_run, "inboxes": []})
            return
        say("[retention] keeps everything: set done_days, failed_days, journal_days or posters_days first.")
        return
    with OperatorCommands(settings) as operator:
        if not dry_run:
            found = operator.do("prune", dry_run=True)
            if not any(map(_is_any, found["inboxes"])):
                _show(found, as_json=as_json)
                return
            if not (yes or as_json):
                _show(found, as_json=False)
            consent("Remove all this for good?", yes=yes)
        _show(operator.do("prune", dry_run=dry_run), as_json=as_json)


def _is_any(inbox: Mapping[str, Any]) -> bool:
    return bool(
        inbox["histories"]
        or inbox["remembered"]
        or any(inbox[kind]["files"] for kind in ("done", "failed", "posters"))
    )


def _show(report: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    from clipspool.system.redaction import readable

    verb = "would be removed" if report["dry_run"] else "removed"
    for inbox in report["inboxes"]:
        parts = list(_parts(inbox))
        say(f"{inbox['name']}: {', '.join(parts)} {verb}." if parts else f"{inbox['name']}: nothing is due.")
        for left in inbox["left"]:
            say(f"  left: {readable(left)} is not the file that was put there")
        if inbox["trouble"]:
            say(f"  not looked through: {inbox['trouble']}")


def _parts(inbox: Mapping[str, Any]) -> Iterator[str]:
    from clipspool.reporting.history import size_in_words

    for kind, where in (("done", "in _done"), ("failed", "in _failed"), ("posters", "")):
        if files := inbox[kind]["files"]:
            what = f"poster{'s' * (files != 1)}" if kind == "posters" else f"file{'s' * (files != 1)} {where}"
            yield f"{files:,} {what} ({size_in_words(inbox[kind]['bytes'])})"
    if histories := inbox["histories"]:
        yield f"the history of {histories:,} clip{'s' * (histories != 1)}"
    if remembered := inbox["remembered"]:
        yield f"the memory of {remembered:,} clip{'s' * (remembered != 1)} that left the inbox"


@command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@asks_nothing
def backup(context: Context, file: Path) -> None:
    """Copy the journal into FILE as it is at this moment, also while the daemon runs.

    FILE.sha256 gets its checksum. Neither may be there yet.
    """
    settings = context.settings("read")
    _refuse_postgres(settings, "back it up with `pg_dump`")
    from clipspool.journal.backup import back_up
    from clipspool.reporting.history import size_in_words

    _refuse_inboxes(settings, file)
    try:
        copied = back_up(settings.journal.path, file)
    except FileExistsError as error:
        fail(f"{error} is there already, and no backup is overwritten: choose another name.")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror or error}")
    say(f"{file}: {size_in_words(copied.bytes)}, checked; its checksum is in {file.name}.sha256.")


@command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@yes_option
def restore(context: Context, file: Path, *, yes: bool) -> None:
    """Put a backup of the journal back; the daemon has to be stopped.

    The present journal is kept beside it. What happened since the backup is not known to it, so nothing is
    sent before `clipspool resume --accept-restored`.
    """
    settings = context.settings("find")
    _refuse_postgres(settings, "restore it with `pg_restore`")
    from clipspool.journal import backup

    journal = settings.journal.path
    try:
        backup.examine(file)
        consent(f"Replace the journal {journal} by {file}? The present one is kept beside it.", yes=yes)
        aside = backup.restore(file, journal)
        is_held = backup.is_held(journal)
    except OSError as error:
        fail(f"{error.filename or journal}: {error.strerror or error}")
    say(f"{journal} is now {file}." + (f" The former one is {aside}." if aside is not None else ""))
    if is_held:
        say(
            "It may lack what was sent since: nothing is submitted before `clipspool resume "
            "--accept-restored`, and what was queued in it only when you approve it."
        )


def _refuse_postgres(settings: Settings, how: str) -> None:
    if settings.journal.url is not None:
        fail(f"The journal is in PostgreSQL ({settings.journal.place}): {how}.")


def _refuse_inboxes(settings: Settings, file: Path) -> None:
    """Refuse a place where the copy would be taken for a clip's neighbour or a result."""
    folder = file.absolute().parent.resolve()
    for inbox in settings.inbox:
        for place in (inbox.path, inbox.outbox):
            if folder.is_relative_to(place):
                fail(f"{file} would lie in {place}, which is an inbox or outbox: choose another folder.")
