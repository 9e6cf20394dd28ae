"""Asks the PostgreSQL that a journal is in whether it keeps what it acknowledges."""

from __future__ import annotations

from collections.abc import Iterator

from clipspool.cli.check.finding import Finding
from clipspool.journal import Address, JournalError, JournalUnreachable
from clipspool.journal.migrations.postgres import HEAD
from clipspool.journal.place import require_driver

_WHAT = "journal"
_LOSES = "a paid request may be forgotten, and paid again"


def look_at_database(address: Address) -> Iterator[Finding]:
    """Check that it answers, its version, what it does before a commit is acknowledged, and its replicas."""
    try:
        require_driver()
        from clipspool.journal.server import condition_of

        found = condition_of(address)
    except JournalUnreachable as error:
        yield Finding("bad", _WHAT, str(error), "start the server, or see to the network, url and password")
        return
    except JournalError as error:
        yield Finding("bad", _WHAT, str(error))
        return
    made = "" if found.schema else " (its tables are created at the first run)"
    yield Finding("ok", _WHAT, f"{address}, PostgreSQL {found.version}{made}")
    if found.schema is not None and found.schema > HEAD:
        why = f"it belongs to a newer clipspool (schema {found.schema}, this one knows {HEAD})"
        yield Finding("bad", _WHAT, why, "install the same version on all nodes")
    if not found.may_create:
        yield Finding(
            "bad", _WHAT, "this user may not make tables in it", "make the user the owner of the database"
        )
    for name, does in (
        ("fsync", f"does not wait for its disk: after a power cut {_LOSES}, or the journal is damaged"),
        ("full_page_writes", "may be damaged by a power cut"),
    ):
        if found.settings[name] == "off":
            yield Finding("bad", _WHAT, f"{name} is off: the server {does}", f"set {name} = on")
    if found.settings["synchronous_commit"] in {"off", "local"}:
        value = found.settings["synchronous_commit"]
        yield Finding(
            "warn",
            _WHAT,
            f"synchronous_commit is {value}; clipspool sets it for its own changes only",
            "set synchronous_commit = on",
        )
    if found.replicas and not found.settings["synchronous_standby_names"]:
        yield Finding(
            "warn",
            _WHAT,
            f"{found.replicas} replica{'s' * (found.replicas != 1)} and no synchronous standby: when one "
            "takes over, the last second's changes may be lost, and nothing is sent until you accept that",
            "set synchronous_standby_names",
        )
