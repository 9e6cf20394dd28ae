"""`clipspool farm import`: copies a journal of SQLite into PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import click

from clipspool.cli.farm import farm
from clipspool.cli.group import Context, command
from clipspool.cli.output import fail, refuse, say


@command("import", group=farm)
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def import_(context: Context, *, file: Path | None) -> None:
    """Copy the journal FILE of a stopped clipspool into the empty PostgreSQL of `journal.url`.

    FILE is the one of `journal.path` unless it is named. It is kept, as FILE.imported. Where something goes
    wrong nothing is changed.
    """
    settings = context.settings("none")
    from clipspool.journal import Address, Lock
    from clipspool.journal.files import refuse_mark
    from clipspool.journal.place import require_driver

    path, place = file or settings.journal.path, settings.journal.place
    if not isinstance(place, Address):
        refuse("`journal.url` names no PostgreSQL to copy the journal into.")
    if not path.is_file():
        fail(f"There is no journal at {path}.")
    lock = Lock(path)
    if not lock.take():
        fail(f"clipspool is running with the journal {path} (process {lock.holder()}): stop it first.")
    try:
        refuse_mark(path)
        require_driver()
        from clipspool.journal.importing import import_journal

        moved = import_journal(path, place, lambda table, rows: say(f"{table}: {rows:,}"))
    finally:
        lock.release()
    say(f"The journal is in {place}. Its file is kept as {moved}; `clipspool run` goes on with it.")
