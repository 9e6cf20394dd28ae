"""Clips over whose judging the process itself died: told by a file that each death leaves behind.

It lies beside the journal, on a local disk, and is never synced: it has to outlive the process, not the
machine, and so costs a clip nothing. As with jobs (`suspects.py`), at two deaths a clip is judged alone, and
at three it is set aside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clipspool.boot import boot_id
from clipspool.intake.tree import Group

ALONE = 2
DEATHS_MAX = 3
_BYTES_MAX = 1 << 20
WHY = (
    f"clipspool itself died {DEATHS_MAX} times when it looked at this clip, the last time at it alone. "
    "Export it again or mend its sidecar; `clipspool resume` has it looked at once more as it is"
)


class Deaths:
    """What is being judged in one inbox, and what was when the process died. For one thread."""

    def __init__(self, path: Path | None, boot: Callable[[], str] = boot_id) -> None:
        """Take the file, None to remember nothing; `boot` names the machine's run."""
        self._boot = boot()
        self._file: int | None = None
        self._counts: dict[Group, tuple[str, int]] = {}
        """By group, what its files looked like and how often the process died over them."""
        self._now: Mapping[Group, str] = {}
        if path is not None:
            with suppress(OSError):
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                with suppress(ValueError, KeyError, TypeError, RecursionError):
                    self._count(json.loads(os.pread(self._file, _BYTES_MAX, 0)))
                self._write()

    def _count(self, left: Mapping[str, Any]) -> None:
        if left["boot"] != self._boot:
            return
        self._counts = {(folder, base): (look, count) for folder, base, look, count in left["counts"]}
        for folder, base, look in left["now"]:
            before, count = self._counts.get((folder, base), ("", 0))
            self._counts[folder, base] = (look, count + 1 if before == look else 1)

    def is_alone(self, group: Group) -> bool:
        """Say whether a group is to be judged with no other beside it."""
        return self._counts.get(group, ("", 0))[1] >= ALONE

    def is_set_aside(self, group: Group, look: str) -> bool:
        """Say whether a group is not to be judged as long as its files look like this."""
        before, count = self._counts.get(group, ("", 0))
        return count >= DEATHS_MAX and before == look

    def enter(self, looks: Mapping[Group, str]) -> None:
        """Note what is going to be judged, and what its files look like."""
        self._now = looks
        self._write()

    def leave(self, look_of: Callable[[Group], str]) -> None:
        """Note that it was survived; what looks as before may wait to be looked into, and counts on."""
        for group, look in self._now.items():
            if look_of(group) != look:
                self._counts.pop(group, None)
        self._now = {}
        self._write()

    def forgive(self) -> None:
        """Forget all deaths: the operator says that it is to be tried again."""
        self._counts = {}
        self._write()

    def close(self) -> None:
        """End without a death."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self) -> None:
        if self._file is None:
            return
        told = {
            "boot": self._boot,
            "counts": [[*group, *counted] for group, counted in self._counts.items()],
            "now": [[*group, look] for group, look in self._now.items()],
        }
        data = json.dumps(told).encode() if self._counts or self._now else b""
        with suppress(OSError):
            os.pwrite(self._file, data, 0)
            os.ftruncate(self._file, len(data))
