"""Finds which status file in an inbox is ours, which is another clipspool's, and which is abandoned."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clipspool.jobs.text import STATUS_BEGINS, STATUS_NAME, other_status_name
from clipspool.spool.peers import DAEMONS
from clipspool.spool.root import Root
from clipspool.system.atomic import NotRegular

_BEGIN_BYTES = 200
_LEFTOVER_SECONDS = 86_400.0
_NAMES = re.compile(r"_status(?:-[0-9A-Za-z_-]{1,64})?\.txt")
_MARK = re.compile(rf"{STATUS_BEGINS} \(([0-9A-Za-z_-]+)\)[^\n]*?(?:\[([0-9a-f]{{16}})\])?(?:\n|$)")


@dataclass(frozen=True, slots=True)
class Keeper:
    """The clipspool that writes a status file."""

    identity: str
    """The beginning of the journal's identity."""
    place: str = ""
    """Where that journal is kept, hashed; empty in files of earlier versions."""


def keeper_of(content: bytes) -> Keeper | None:
    """Read from its first line which clipspool keeps a status file; None where it is no status file."""
    found = _MARK.match(content.decode("utf-8", "replace"))
    return Keeper(found[1], found[2] or "") if found else None


@dataclass(frozen=True, slots=True)
class OwnFile:
    """The status file of one clipspool in one inbox, among those of others."""

    root: Root
    keeper: Keeper

    def place(self) -> tuple[str, bool]:
        """Return the file's name, and whether it exists; no name where another program's file has it.

        Raises OSError.
        """
        for name in (STATUS_NAME, other_status_name(self.keeper.identity)):
            try:
                there = self._beginning(name)
            except FileNotFoundError:
                return name, False
            except NotRegular:
                return "", True
            keeper = keeper_of(there)
            if keeper is not None and self._is_ours(keeper):
                return name, True
            if not there.startswith(STATUS_BEGINS.encode()):
                return "", True
        return "", True

    def remove_leftovers(self, name: str) -> list[tuple[str, str]]:
        """Remove our file from when another clipspool had `_status.txt`, and abandoned files of others.

        `name` is ours, just written; returns each name removed, and which clipspool kept it. A file counts as
        abandoned when it is old and its keeper has no mark in the inbox. Raises OSError.
        """
        removed = []
        server_now = self.root.stat(name).st_mtime  # both dates are by the file server's clock
        for other in self.root.names():
            if other == name or _NAMES.fullmatch(other) is None:
                continue
            try:
                keeper = keeper_of(self._beginning(other))
                age = server_now - self.root.stat(other).st_mtime
            except (FileNotFoundError, NotRegular):
                continue
            if keeper is None:
                continue
            if self._is_ours(keeper) or (age > _LEFTOVER_SECONDS and not self._has_mark(keeper.identity)):
                self.root.remove(other)
                removed.append((other, keeper.identity))
        return removed

    def _beginning(self, name: str) -> bytes:
        return self.root.head(name, _BEGIN_BYTES)

    def _is_ours(self, other: Keeper) -> bool:
        """Whether a file is ours, or of a journal that had our journal's path before: that one is gone.

        A journal's path is locked while it is used, so that two are never used there at once.
        """
        own = self.keeper
        return other.identity == own.identity or bool(other.place and other.place == own.place)

    def _has_mark(self, identity: str) -> bool:
        """Whether a clipspool has a mark in the inbox, living or not."""
        return any(name.startswith(identity) for name in self.root.names_if_there(DAEMONS))
