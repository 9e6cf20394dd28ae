"""Clips over whose examination the process itself died: told by a file that each death leaves behind.

It lies beside the journal, on a local disk, and is never synced: it has to outlive the process, not the
machine, and so costs a clip nothing. It names the clip only while this process handles its bytes, which takes
a moment: who is ended by others again and again is hardly ever ended then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clipspool.system.atomic import Rel
from clipspool.system.boot import boot_id

DEATHS_MAX = 3
_BYTES_MAX = 1 << 20
WHY = (
    f"clipspool itself died {DEATHS_MAX} times when it looked at this clip. Export it again or mend its "
    "sidecar; `clipspool resume` has it looked at once more as it is"
)


class Deaths:
    """What is being examined in one inbox, and what was when the process died. For one thread."""

    def __init__(self, path: Path | None, boot: Callable[[], str] = boot_id) -> None:
        """Take the file, None to remember nothing; `boot` names the machine's run."""
        self._boot = boot()
        self._file: int | None = None
        self._counts: dict[Rel, tuple[str, int]] = {}
        """By clip, what it and its sidecar looked like, and how often the process died over it."""
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
        self._counts = {str(clip): (str(look), int(count)) for clip, look, count in left["counts"]}
        if left["now"]:
            clip, look = left["now"]
            before, count = self._counts.get(clip, ("", 0))
            self._counts[clip] = (look, count + 1 if before == look else 1)

    def is_set_aside(self, clip: Rel, look: str) -> bool:
        """Say whether a clip is not to be examined as long as it looks like this."""
        before, count = self._counts.get(clip, ("", 0))
        return count >= DEATHS_MAX and before == look

    @contextmanager
    def over(self, clip: Rel, look: str) -> Iterator[None]:
        """Name a clip that is examined in the block; should the process die there, it counts."""
        self._note((clip, look))
        try:
            yield
        finally:
            self._note(None)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Name none in the block: nothing is done there that a clip could harm this process by."""
        clip = self._now
        self._note(None)
        try:
            yield
        finally:
            self._note(clip)

    def survive(self, clip: Rel) -> None:
        """Clear a clip: it was examined, and the process lives."""
        if self._counts.pop(clip, None) is not None:
            self._write()

    def forgive(self) -> None:
        """Forget all deaths: the operator says that it is to be tried again."""
        self._counts = {}
        self._write()

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _note(self, now: tuple[Rel, str] | None) -> None:
        self._now = now
        self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        counts = [[clip, *counted] for clip, counted in self._counts.items()]
        told = {"boot": self._boot, "counts": counts, "now": self._now}
        data = json.dumps(told).encode() if counts or self._now else b""
        with suppress(OSError):
            os.pwrite(self._file, data, 0)
            os.ftruncate(self._file, len(data))
