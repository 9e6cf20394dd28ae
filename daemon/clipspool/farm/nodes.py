"""The nodes of a farm as the database knows them: their state, what each sees and does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from clipspool.farm.lease import ask
from clipspool.jobs.text import iso, span

_AWAY = frozenset({"silent", "stopped"})


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node enters about itself."""

    name: str
    instance: str
    """One a process: of two with one name the older finds the younger's here."""
    place: str
    """Boot and lock file: whoever holds that lock knows that a former holder's process has ended."""
    host: str
    pid: int
    version: str
    stages: tuple[str, ...] = ()
    has_page: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One node."""

    name: str
    state: str
    """`leads`, `follows`, `drained`, `stopped`, or `silent`: it gives no sign of life."""
    host: str
    pid: int
    version: str
    epoch: int
    """The epoch of the node that leads now."""
    seen_at: float
    """Unix seconds, by the database's clock."""
    silent_seconds: float
    begun_at: float
    doing: str
    sees: frozenset[str]
    """The inboxes that it can reach."""
    stages: tuple[str, ...]
    has_page: bool
    lease_seconds: float
    """This node's own. All should have the same; after a change they may differ for a while."""

    @property
    def is_live(self) -> bool:
        """Whether it runs and takes part."""
        return self.state in {"leads", "follows"}


def members(connection: psycopg.Connection[Any]) -> list[Member]:
    """Read all nodes, by name."""
    return [_member(row) for row in ask(connection, "nodes")]


_PLAIN = ("name", "host", "pid", "version", "epoch", "silent_seconds", "has_page", "lease_seconds")


def _member(row: Mapping[str, Any]) -> Member:
    state = _state(row)
    return Member(
        **{name: row[name] for name in _PLAIN},
        state=state,
        seen_at=row["seen_at_unix"],
        begun_at=row["begun_at_unix"],
        doing="" if state in _AWAY else row["doing"],  # what one did that died is no news of now
        sees=frozenset(row["sees"]),
        stages=tuple(row["stages"]),
    )


def _state(row: Mapping[str, Any]) -> str:
    if row["stopped_at"] is not None:
        return "stopped"
    if row["silent_seconds"] > row["lease_seconds"]:
        return "silent"
    if row["leads"]:
        return "leads"
    return "drained" if row["is_drained"] else "follows"


def leader_of(found: Sequence[Member]) -> Member | None:
    """Return the node that leads, None where none does."""
    return next((one for one in found if one.state == "leads"), None)


def sees_more(found: Sequence[Member], name: str, sees: Collection[str]) -> str:
    """Return the node that sees all inboxes that `name` sees and more, the most first; empty for none."""
    others = [one for one in found if one.is_live and one.name != name and one.sees > frozenset(sees)]
    return max(others, key=lambda one: (len(one.sees), one.name)).name if others else ""


def node_json(one: Member) -> dict[str, Any]:
    """Return a node as `farm --json` and `status --json` have it."""
    return {
        "name": one.name,
        "state": one.state,
        "seen_at": iso(one.seen_at),
        "doing": one.doing,
        "host": one.host,
        "pid": one.pid,
        "version": one.version,
        "since": iso(one.begun_at),
        "sees": sorted(one.sees),
        "stages": list(one.stages),
        "epoch": one.epoch if one.state == "leads" else None,
    }


def last_seen(one: Member) -> str:
    """Return when a node was last seen, in words."""
    return f"{span(max(one.silent_seconds, 1.0))} ago" if one.state in _AWAY else "now"
