"""Copies files to a folder that a web server serves, under names that nobody can guess."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from clipspool.jobs.faults import Fault
from clipspool.provider.transport.way import STRAY_SECONDS, Parcel, SecretNames, Way
from clipspool.spool.root import Root
from clipspool.system.atomic import copy_bytes, is_temporary, temporary_name

MARK = "clipspool-"
"""Begins every name of ours there; no other file in that folder is ever touched."""
_FILE_MODE = 0o644  # the web server is another user


@dataclass(frozen=True)
class ServedFolder(Way):
    """The folder, its web address, and how much the provider fetches."""

    root: Root
    prefix: str
    """Without a slash at the end."""
    bytes_max: int
    names: SecretNames
    name: str = "public_url"

    @classmethod
    def at(cls, root: Root, prefix: str, bytes_max: int, names: SecretNames) -> ServedFolder:
        """Make one with files that the web server can read."""
        return cls(Root(root.path, file_mode=_FILE_MODE), prefix.rstrip("/"), bytes_max, names)

    def room(self, content_type: str) -> int:  # noqa: ARG002 - the same for all
        """Return the largest size that the provider fetches from an address."""
        return self.bytes_max

    def put(self, parcel: Parcel) -> Fault | None:
        """Copy the file there; it gets its final name when it is whole. Raises OSError."""
        part = f".{MARK}{temporary_name()}"
        # What another attempt put there is replaced: the provider may be reading it.
        with (
            parcel.open() as source,
            self.root.filling(self._name(parcel), part=part, is_last=False) as target,
        ):
            copy_bytes(source, target)
        return None

    def address(self, parcel: Parcel) -> str | None:
        """Return its address; None when it is not there."""
        name = self._name(parcel)
        return f"{self.prefix}/{quote(name)}" if self.root.exists(name) else None

    def remove(self, clip_id: str) -> Fault | None:
        """Remove every file of a clip. Raises OSError."""
        self._remove(lambda name, _age: name.startswith(f"{MARK}{clip_id}-"), 0.0)
        return None

    def tidy(self, now: float) -> Fault | None:
        """Remove files of ours that are too old. Raises OSError."""

        def is_stray(name: str, age: float) -> bool:
            is_ours = is_temporary(name.removeprefix(f".{MARK}")) or self.names.are_like(name)
            return is_ours and name.lstrip(".").startswith(MARK) and age > STRAY_SECONDS

        self._remove(is_stray, now)
        return None

    def _name(self, parcel: Parcel) -> str:
        return f"{MARK}{parcel.clip_id}-{self.names.of(parcel)}"

    def _remove(self, is_due: Callable[[str, float], bool], now: float) -> None:
        for name in self.root.names():
            if MARK not in name:
                continue
            with suppress(FileNotFoundError):
                if is_due(name, now - self.root.stat(name).st_mtime):
                    self.root.remove(name)
