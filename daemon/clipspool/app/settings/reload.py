"""Compares two readings of the settings: which keys changed, and which of those need a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from clipspool.app.settings.keys import Settings

NEEDS_RESTART = frozenset(
    {
        "journal.path",
        "journal.url",
        "journal.password",
        "farm.node",
        "farm.lease_seconds",
        "farm.stages",
        "web.listen",
        "web.token",
        "web.token_file",
        "web.tokens",
        "web.hosts",
    }
)
NEEDS_RESTART_OF_INBOX = frozenset({"path", "outbox"})


@dataclass(frozen=True, slots=True)
class ChangedKeys:
    """Dotted names of changes: `logs.level`, `inbox.bay-1.priority`, `inbox.bay-2` (added or removed)."""

    live: tuple[str, ...] = ()
    """What a running daemon can apply."""
    restart: tuple[str, ...] = ()
    """What it cannot: then nothing is applied, and the operator gets a message."""

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.live or self.restart)

    def touches(self, prefix: str) -> bool:
        """Whether something at or below a dotted name changed."""
        return any(f"{name}.".startswith(f"{prefix}.") for name in (*self.live, *self.restart))


def changes(old: Settings, new: Settings) -> ChangedKeys:
    """Compare two readings. Names only, never a value: one of them is the API key."""
    found = list(_differences(old, new))
    return ChangedKeys(
        live=tuple(name for name, needs_restart in found if not needs_restart),
        restart=tuple(name for name, needs_restart in found if needs_restart),
    )


def _differences(old: Settings, new: Settings) -> Iterator[tuple[str, bool]]:
    for section in (name for name in Settings.model_fields if name != "inbox"):
        one, other = getattr(old, section), getattr(new, section)
        if isinstance(one, BaseModel):
            for key in _unequal(one, other):
                yield f"{section}.{key}", f"{section}.{key}" in NEEDS_RESTART
        elif one != other:
            yield section, False
    before = {inbox.name: inbox for inbox in old.inbox}
    after = {inbox.name: inbox for inbox in new.inbox}
    for name in before | after:
        if name in before and name in after:
            for key in _unequal(before[name], after[name]):
                is_moved = key == "source" and before[name].home != after[name].home
                yield f"inbox.{name}.{key}", is_moved or key in NEEDS_RESTART_OF_INBOX
        else:
            yield f"inbox.{name}", False


def _unequal(one: BaseModel, other: BaseModel) -> Iterator[str]:
    for key in type(one).model_fields:
        if getattr(one, key) != getattr(other, key):
            yield key
