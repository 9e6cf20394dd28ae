"""Tells which status file in an inbox is ours, which is another clipspool's, and which nobody keeps."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from clipspool.jobs.text import STATUS_BEGINS, STATUS_NAME, other_status_name
from clipspool.spool.root import Root
from clipspool.system.atomic import OURS, NotRegular

_BEGIN_BYTES = 200
_LEFTOVER_SECONDS = 86_400.0
_DAEMONS = f"{OURS}/daemons"
"""Where each clipspool that serves an inbox keeps its sign of life, by its journal's identity."""
_NAMES = re.compile(r"_status(?:-[0-9A-Za-z_-]{1,64})?\.txt")
_MARK = re.compile(rf"{STATUS_BEGINS} \(([0-9A-Za-z_-]+)\)[^\n]*?(?:\[([0-9a-f]{{16}})\])?(?:\n|$)")


@dataclass(frozen=True, slots=True)
class Keeper:
    """Who writes a status file."""

    identity: str
    """The beginning of the journal's identity."""
    place: str = ""
    """Where that journal is kept, hashed; empty in files of earlier versions."""


def keeper_of(content: bytes) -> Keeper | None:
    """Read from its beginning who keeps a status file; None where it is none."""
    found = _MARK.match(content.decode("utf-8", "replace"))
    return Keeper(found[1], found[2] or "") if found else None


@dataclass(frozen=True, slots=True)
class Own:
    """The status file of one clipspool in one inbox, among those of others."""

    root: Root
    keeper: Keeper

    def place(self) -> tuple[str, bool]:
        """Give the name that the file has, and whether it is there; no name where it is somebody else's.

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
        """Remove what is out of date: our file of when another had `_status.txt`, and what nobody keeps.

        `name` is ours, written just now; gives each name that is gone, and who kept it. Whoever shares the
        inbox leaves a mark there, by which it is known whether it lives: only what nobody with a mark keeps
        is removed here, and not before it is old. Raises OSError.
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
        with self.root.open(name) as file:
            return file.read(_BEGIN_BYTES) or b""

    def _is_ours(self, other: Keeper) -> bool:
        """Tell whether a file is ours, or of a journal that had our journal's place: that one is no more.

        A journal's path is locked by whoever uses it, so that no two are ever used there at once.
        """
        own = self.keeper
        return other.identity == own.identity or bool(other.place and other.place == own.place)

    def _has_mark(self, identity: str) -> bool:
        """Tell whether a clipspool has left its sign of life in the inbox, whatever it says."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return any(name.startswith(identity) for name in self.root.names(_DAEMONS))
        return False


def place_of(journal: Path) -> str:
    """Give what is equal for all journals that were ever kept at this path of this machine, hashed."""
    machine, folder = "", (0, 0)
    with suppress(OSError):
        machine = Path("/etc/machine-id").read_text().strip()
    with suppress(OSError):  # copies of one container may share all the rest
        here = journal.parent.stat()
        folder = (here.st_dev, here.st_ino)
    where = f"{machine}:{socket.gethostname()}:{folder}:{journal.absolute()}"
    return blake2b(where.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
