"""Counts how often the process died while it examined a clip, and sets the clip aside.

The record is a file beside the journal, on a local disk. It must survive the process but not the machine,
so it is never synced and costs a clip nothing. It names a clip only while this process handles its bytes,
for a moment: a process that is killed for other reasons is rarely killed just then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from clipspool.jobs.faults import CRASHES_MAX, CrashCounter
from clipspool.system.atomic import Rel
from clipspool.system.process import boot_id

_BYTES_MAX = 1 << 20
WHY = (
    f"clipspool itself died {CRASHES_MAX} times when it looked at this clip. Export it again or fix its "
    "sidecar; `clipspool resume` has it looked at once more as it is"
)


class Deaths:
    """Records which clip of an inbox is being examined, and how often the process died. For one thread."""

    def __init__(self, path: Path | None, boot: Callable[[], str] = boot_id) -> None:
        """`path` is the record's file, None for no record; `boot` returns the id of the machine's boot."""
        self._boot = boot()
        self._file: int | None = None
        self._crashes = CrashCounter()
        """By clip, over the fingerprint of it and its sidecar."""
        self._now: tuple[Rel, str] | None = None
        if path is not None:
            with suppress(OSError):
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                with suppress(ValueError, KeyError, TypeError, RecursionError):
                    self._count(json.loads(os.pread(self._file, _BYTES_MAX, 0)))
                self._write()

    def _count(self, left: Mapping[str, Any]) -> None:
        if left["boot"] != self._boot:
            return
        self._crashes = CrashCounter(left["counts"])
        if left["now"]:
            self._crashes.add(*left["now"])

    def is_set_aside(self, clip: Rel, look: str) -> bool:
        """Return whether a clip must not be examined while its fingerprint is `look`."""
        return self._crashes.count(clip, look) >= CRASHES_MAX

    def examining(self, clip: Rel, look: str) -> AbstractContextManager[None]:
        """Record that a clip is examined in the block; if the process dies there, it counts."""
        return self._recorded((clip, look))

    def paused(self) -> AbstractContextManager[None]:
        """Record no clip in the block: another process does the work, so a crash here has other causes."""
        return self._recorded(None)

    @contextmanager
    def _recorded(self, now: tuple[Rel, str] | None) -> Iterator[None]:
        before = self._now
        self._record(now)
        try:
            yield
        finally:
            self._record(before)

    def survive(self, clip: Rel) -> None:
        """Clear a clip: it was examined, and the process lives."""
        if self._crashes.clear(clip):
            self._write()

    def forgive(self) -> None:
        """Forget all deaths, on an order of the operator."""
        self._crashes = CrashCounter()
        self._write()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _record(self, now: tuple[Rel, str] | None) -> None:
        self._now = now
        self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        counts = list(self._crashes)
        record = {"boot": self._boot, "counts": counts, "now": self._now}
        data = json.dumps(record).encode() if counts or self._now else b""
        with suppress(OSError):
            os.pwrite(self._file, data, 0)
            os.ftruncate(self._file, len(data))
