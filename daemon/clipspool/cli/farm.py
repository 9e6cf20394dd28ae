"""`clipspool farm`: the nodes, who leads, what each does, and an order to one of them to finish."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipspool.cli.group import Context, asks_nothing, clipspool, command, config_option, json_option
from clipspool.cli.output import console, fail, print_json, refuse, say

if TYPE_CHECKING:
    from rich.table import Table

    from clipspool.app.settings import Settings
    from clipspool.farm.nodes import Member


@clipspool.group(invoke_without_command=True)
@config_option
@json_option
@click.pass_context
def farm(context: click.Context, *, as_json: bool) -> None:
    """Show the nodes of the farm: who leads, and what each does."""
    if context.invoked_subcommand is not None:
        return
    settings = context.obj.settings("read")
    from clipspool.farm.nodes import leader_of, members, node_json

    with _database(settings) as connection:
        found = members(connection)
    leader = leader_of(found)
    if as_json:
        print_json(
            {
                "leader": None if leader is None else leader.name,
                "epoch": found[0].epoch if found else 0,
                "nodes": [node_json(one) for one in found],
            }
        )
        return
    console().print(_table(found) if found else "No node has joined the farm yet: `clipspool run` joins it.")
    if found and leader is None:
        say("No node leads now: nothing is sent, and nothing is delivered.")


@command(group=farm)
@click.argument("node")
@click.option("--undo", is_flag=True, help="Let the node take part again.")
@asks_nothing
def drain(context: Context, *, node: str, undo: bool) -> None:
    """Have NODE finish what it does, hand over, and take nothing more until it is started again."""
    settings = context.settings("read")
    from clipspool.farm.lease import ask
    from clipspool.farm.nodes import last_seen, members

    with _database(settings) as connection:
        ask(connection, "drain", {"name": node, "is_drained": not undo})
        found = {one.name: one for one in members(connection)}
    one = found.get(node)
    if one is None:
        fail(f"There is no node {node} in this farm (known: {', '.join(found) or 'none'}).")
    if one.state == "stopped":
        say(f"{node} does not run: it has nothing to finish, and takes part when it is started.")
        return
    if one.state == "silent":
        todo = "takes part again" if undo else "finishes what it does and hands over"
        say(f"{node} gives no sign of life, last seen {last_seen(one)}: if it comes back, it {todo}.")
    elif undo:
        say(f"{node} takes part again.")
    else:
        say(f"{node} finishes what it does and hands over; `clipspool farm` shows when it is drained.")
    if not (undo or any(other.is_live for other in found.values() if other.name != node)):
        say("No other node can lead: nothing is sent and nothing is delivered until one does.")


@contextmanager
def _database(settings: Settings) -> Iterator[Any]:
    """Connect to the farm's database; ends the process with a sentence where that is not possible."""
    from clipspool.journal import Address, Journal, NoJournal
    from clipspool.journal.place import require_driver

    place = settings.journal.place
    if not isinstance(place, Address):
        refuse("There is no farm: `url` in [journal] names the PostgreSQL that its nodes share.")
    require_driver()
    from clipspool.journal.postgres import connect_beside
    from clipspool.journal.server import translated

    journal = Journal.read(place)
    if journal is None:
        fail(str(NoJournal(place)))
    journal.close()
    with translated(place), closing(connect_beside(place)) as connection:
        yield connection


def _table(found: list[Member]) -> Table:
    from rich.table import Table

    from clipspool.farm.nodes import last_seen
    from clipspool.jobs.text import text

    table = Table(
        "node", "state", "seen", "host", "sees", "does", box=None, header_style="bold", pad_edge=False
    )
    has_versions = len({one.version for one in found if one.is_live}) > 1
    for one in found:
        state = f"leads (epoch {one.epoch})" if one.state == "leads" else one.state
        state += f", version {one.version}" if has_versions else ""
        sees = ", ".join(sorted(one.sees)) or "no inbox"
        table.add_row(one.name, state, last_seen(one), text(one.host), sees, text(one.doing))
    return table


@command("import", group=farm)
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@asks_nothing
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
        fail(f"clipspool is running with the journal {path}{lock.who()}: stop it first.")
    try:
        refuse_mark(path)
        require_driver()
        from clipspool.journal.importing import import_journal

        moved = import_journal(path, place, lambda table, rows: say(f"{table}: {rows:,}"))
    finally:
        lock.release()
    say(f"The journal is in {place}. Its file is kept as {moved}; `clipspool run` goes on with it.")
