"""Looks into clips while they settle, so that what is in them is known when they have."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from clipspool.intake.settle import SIZE, Stamp, stamp_of
from clipspool.intake.tree import Tree
from clipspool.intake.types import Inspection
from clipspool.media.gaps import holes_in
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel

_WORK_SECONDS = 0.05


class Ahead:
    """The media facts of one inbox's clips that still settle, each for one stamp of its file."""

    def __init__(
        self, root: Root, tree: Tree, inspection: Inspection, monotonic: Callable[[], float]
    ) -> None:
        self._root, self._tree, self._inspection, self._monotonic = root, tree, inspection, monotonic
        self._found: dict[Rel, tuple[Stamp, dict[str, Any]]] = {}

    def work(self, now: float) -> None:
        """Look into clips for a short time, each once; `now` is monotonic seconds."""
        until = self._monotonic() + _WORK_SECONDS
        for path, stamp in self._tree.steady_clips(now, known=self._found.keys()):
            self._found[path] = (stamp, self._look(path, stamp))
            if self._monotonic() > until:
                return

    def facts(self, path: Rel, stamp: Stamp) -> dict[str, Any]:
        """Return what is in a clip that has settled with this stamp; empty where it is not known."""
        seen, facts = self._found.get(path, (None, {}))
        return facts if seen == stamp else {}

    def forget(self, path: Rel) -> None:
        """Drop what is known about a clip that is gone or accepted."""
        self._found.pop(path, None)

    def _look(self, path: Rel, stamp: Stamp) -> dict[str, Any]:
        """Return what is in a clip; nothing if anything is odd: that is told of a clip that has settled."""
        with suppress(Exception), self._root.open(path) as file:
            # On ext4 a read makes reserved space look like data: a copy that stopped there would seem whole.
            if stamp_of(os.fstat(file.fileno())) == stamp and not holes_in(file.fileno(), stamp[SIZE]):
                facts, _problems = self._inspection.inspect(file.fileno())
                return facts
        return {}
