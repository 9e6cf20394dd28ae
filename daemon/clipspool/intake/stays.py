"""Keeps the files that wait in one inbox, and which of their problem notes must be written or removed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from clipspool.intake.names import PROBLEM_NOTE
from clipspool.intake.notes import Notes
from clipspool.intake.pair import Waits
from clipspool.intake.settle import CTIME_NS, Stamp
from clipspool.intake.tree import Tree
from clipspool.intake.types import Waiting
from clipspool.jobs.model import Problem
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel, join, parent

_DAY_NS = 86_400e9


@dataclass(frozen=True, slots=True)
class Stay:
    """A file that stays in the inbox for now."""

    path: Rel
    reason: str
    problems: Sequence[Problem] = ()
    """For its note; none if it only waits."""
    look_at: float = inf
    goes_on: bool = False
    """Whether it will be accepted without anybody's action."""
    is_stuck: bool = False
    """Whether it depends on files of other names too, and is judged again at each rescan."""
    is_well: bool = False
    """Whether nothing is wrong with it: a note of an earlier run beside it is out of date."""


def stay_of(path: Rel, waits: Waits, *, is_stuck: bool = False) -> Stay:
    """Convert what pairing or examination returned for a file that waits."""
    problems = (Problem("\n".join(filter(None, (waits.reason, waits.advice)))),) if waits.is_problem else ()
    return Stay(path, waits.reason, problems, waits.look_at, waits.goes_on, is_stuck or waits.is_stuck)


class Stays:
    """The files that wait in one inbox, and their notes."""

    def __init__(self, root: Root, tree: Tree, notes: Notes, now: Callable[[], float]) -> None:
        """`now` is Unix time in seconds."""
        self.waiting: dict[Rel, Waiting] = {}
        self.notes_due: OrderedDict[Rel, Sequence[Problem]] = OrderedDict()
        """Notes to write or, with no problems, to remove."""
        self._root = root
        self._tree = tree
        self._notes = notes
        self._now = now
        self._closed: set[Rel] = set()
        self._has_changed = True

    def take_waiting(self) -> tuple[Waiting, ...] | None:
        """Return what waits, None if it is the same as at the last call."""
        has_changed, self._has_changed = self._has_changed, False
        return tuple(self.waiting.values()) if has_changed else None

    def put(self, stay: Stay) -> None:
        """Record that a file waits, and have its note written if its editor must act."""
        if stay.problems and all(problem.is_harmless for problem in stay.problems):
            self.remove(stay.path)
            self.notes_due[stay.path] = stay.problems
            return
        known = self.waiting.get(stay.path)
        if stay.problems or stay.is_well or (known is not None and known.problem):
            self.notes_due[stay.path] = stay.problems
        if known is None or (known.reason, known.problem) != (stay.reason, bool(stay.problems)):
            since = self._now() if known is None else known.since
            self.waiting[stay.path] = Waiting(stay.path, stay.reason, since, bool(stay.problems))
            self._has_changed = True

    def remove(self, path: Rel) -> None:
        """Record that a file no longer waits, and have its note removed."""
        if self.waiting.pop(path, None) is not None:
            self._has_changed = True
        self.notes_due[path] = ()

    def is_fresh(self, stamp: Stamp) -> bool:
        """Return whether a file came or changed within a day."""
        return abs(self._now() * 1e9 - stamp[CTIME_NS]) < _DAY_NS

    def record_closed(self) -> None:
        """Record the folders that cannot be opened or are skipped: their clips wait."""
        closed = {**self._tree.passed_by, **self._tree.closed}
        for path in self._closed - closed.keys():
            self.remove(path)
        for path in closed.keys() - self._closed:
            self.waiting[path] = Waiting(path, closed[path], self._now(), problem=path in self._tree.closed)
            self.notes_due[path] = (Problem(closed[path]),)
        self._has_changed |= closed.keys() != self._closed
        self._closed = set(closed)

    def write_note(self) -> None:
        """Write or remove the note that has been due the longest. Raises Unavailable."""
        path, problems = self.notes_due.popitem(last=False)
        if problems:
            self._notes.put(path, problems)
        else:
            self.clear_note(path)

    def clear_note(self, path: Rel) -> None:
        """Remove the note of a file, if it has one. Raises Unavailable."""
        folder = self._tree.folders.get(parent(path))
        self._notes.clear(path, folder.notes if folder is not None else ())

    def clear_strays(self) -> None:
        """Remove notes without a file, and half-written files that a crash left. Raises Unavailable."""
        for folder in self._tree.folders.values():
            if folder.temporaries:
                self._root.clear_temporaries(folder.rel, tuple(folder.temporaries), self._now())
            if fresh := folder.take_fresh_notes():
                named = [note.removesuffix(PROBLEM_NOTE) for note in fresh]
                known = [n for n in named if folder.has(n) or join(folder.rel, n) in self._closed]
                self._notes.clear_strays(folder.rel, fresh, [*folder.judged_names(), *known])
