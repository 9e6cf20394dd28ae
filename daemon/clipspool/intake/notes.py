"""Keeps what waits in an inbox, and writes problem notes beside files that are not accepted."""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import structlog

from clipspool.intake.names import PROBLEM_NOTE
from clipspool.intake.pair import Waits
from clipspool.intake.scan import Folder
from clipspool.intake.settle import CTIME_NS, Stamp
from clipspool.intake.tree import Tree
from clipspool.intake.types import Waiting
from clipspool.jobs.model import Problem
from clipspool.jobs.naming import marked
from clipspool.jobs.path_map import AS_THEY_ARE, Places
from clipspool.spool.guard import Unavailable, forgiving
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel, join, name_of, parent, write_all
from clipspool.system.redaction import readable, redact

_DAY_NS = 86_400e9
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOTE_BYTES_MAX = 256 << 10
_REFUSED, _UNUSED = "clipspool cannot take {} yet:", "clipspool does not use {}:"
_BEGINNINGS = tuple(text.partition("{")[0] for text in (_REFUSED, _UNUSED))
_DEPTH_MAX = 64
_PROBLEMS_MAX = 10
_SHOWN_MAX = 5
"""For at most this many problems the line is shown as written and as it should be."""

log = structlog.get_logger()


def note_name(name: str) -> str:
    """Return the name of a file's note; a name that is too long is shortened and made unique by a hash."""
    return marked(name, PROBLEM_NOTE)


def text_of(name: str, problems: Sequence[Problem]) -> str:
    """Return the note's text: what is wrong, where, and what to do."""
    is_harmless = all(problem.is_harmless for problem in problems)
    lines = [(_UNUSED if is_harmless else _REFUSED).format(readable(name)), ""]
    for number, problem in enumerate(problems[:_PROBLEMS_MAX]):
        lines += [f"  - {_described(problem)}".replace("\n", "\n    ")]
        lines += _shown(problem) if number < _SHOWN_MAX else ()
    lines += ["  - and more"] * (len(problems) > _PROBLEMS_MAX)
    fix = "Fix this and save; it is checked again automatically, and this note goes."
    keep = "If it is only kept here, nothing has to be done: this note goes when the file goes."
    gone = f"This note goes when {readable(name)} is renamed, moved or removed."
    soon = "Nothing has to be done while that is so: it is checked again automatically, and this note goes."
    end = gone if problems[0].is_its_kind else soon if problems[0].is_passing else fix
    lines += ["", keep if is_harmless else end]
    return "\n".join(lines) + "\n"


def _shown(problem: Problem) -> list[str]:
    """Return the line as written, and as it should be."""
    wrote = [f"      you wrote:  {readable(problem.text)}"] if problem.text else []
    right = [readable(line) for line in problem.right.splitlines()]
    begin = ("      write:      ", " " * 18)
    return wrote + [begin[n > 0] + line for n, line in enumerate(right)]


def sentence(problem: Problem) -> str:
    """Describe a problem in one line: where, what, and the right text where that is one line."""
    described = _described(problem).partition("\n")[
        0
    ]  # further lines are advice, which the note has room for
    if not problem.right or "\n" in problem.right:
        return described
    return f"{described}{'' if described[-1] in '?.' else ';'} write: {readable(problem.right)}"


def _described(problem: Problem) -> str:
    where = [readable(problem.file)] if problem.file else []
    if problem.line is not None:
        where.append(f"line {problem.line}")
    message = redact(problem.message)
    if problem.key and not message.startswith("unknown key"):
        message = f"`{readable(problem.key)}` {message}"
    elif problem.file and not problem.key and problem.line is None:
        return f"{where[0]} {message}"
    return f"{', '.join(where)}: {message}" if where else message


class Notes:
    """Keeps the notes of one inbox: written when their text changes, removed when the problem is gone."""

    def __init__(self, root: Root, inbox: str, places: Places = AS_THEY_ARE) -> None:
        self._root = root
        self._inbox = inbox
        self._written: dict[Rel, int] = {}
        """Hash of each note's text."""
        self._is_writable = True
        self.use_places(places)

    def use_places(self, places: Places) -> None:
        """Show the folders' paths as editors see them, in notes from now on."""
        self._places = places

    def put(self, path: Rel, problems: Sequence[Problem]) -> None:
        """Write a file's note, never over a file that is none.

        Raises Unavailable; any other error is logged once.
        """
        note = join(parent(path), note_name(name_of(path)))
        shown = [replace(problem, message=self._places.text(problem.message)) for problem in problems]
        text = text_of(name_of(path), shown)
        if self._written.get(note) == hash(text):
            return
        try:
            there = self._text(note)
            if not (there or "").startswith(_BEGINNINGS) and self._root.exists(note):
                raise FileExistsError(errno.EEXIST, "another file has its name")
            if there != text:
                self._write(note, text.encode(errors="replace"))
                log.info(
                    "problem_noted", inbox=self._inbox, clip=readable(path), problem=sentence(problems[0])
                )
        except Unavailable:
            raise
        except OSError as error:
            self._complain(note, error)
            if error.errno in _FULL:
                self._written.pop(note, None)
                return
        else:
            self._is_writable = True
        self._written[note] = hash(text)

    def is_missing(self, path: Rel, present: Collection[str]) -> bool:
        """Return whether a note must be put again: the disk was full, or somebody removed it.

        `present` are names of notes that are known to be there. Raises Unavailable.
        """
        name = note_name(name_of(path))
        note = join(parent(path), name)
        is_there = note in self._written and (name in present or self._text(note) is not None)
        if not is_there:
            self._written.pop(note, None)
        return not is_there

    def _write(self, note: Rel, text: bytes) -> None:
        try:
            self._root.replace(note, text)
        except Unavailable:
            raise
        except OSError as error:
            if error.errno in _FULL:
                raise  # a note that is there already stays
            # Where no rename works a note must say so: it is written under its final name.
            self._root.remove(note)
            with self._root.folder(parent(note)) as folder:
                try:
                    with self._root.create_in(name_of(note), folder) as file:
                        write_all(file, text)
                except OSError as trouble:
                    if not isinstance(trouble, FileExistsError):
                        self._root.remove(note)  # cut short it is not known as ours, and would stay for ever
                    raise

    def clear(self, path: Rel, present: Collection[str]) -> None:
        """Remove a file's note, if this run wrote one or its name is in `present`. Raises Unavailable."""
        name = note_name(name_of(path))
        note = join(parent(path), name)
        if note in self._written or name in present:
            self._remove(note)

    def clear_strays(self, folder: Rel, found: Iterable[str], waiting: Iterable[str]) -> None:
        """Remove notes in a folder whose files are gone. Raises Unavailable.

        `found` are names of notes, `waiting` names of files that may have a note, or get one.
        """
        for name in set(found) - {note_name(name) for name in waiting}:
            self._remove(join(folder, name))

    def _text(self, note: Rel) -> str | None:
        with forgiving(OSError, ValueError):
            return self._root.read(note, _NOTE_BYTES_MAX).decode(errors="replace")
        return None

    def _remove(self, note: Rel) -> None:
        """Remove a note; another file of that name stays."""
        self._written.pop(note, None)
        if not (self._text(note) or "").startswith(_BEGINNINGS):
            return
        try:
            self._root.remove(note)
        except Unavailable:
            raise
        except OSError as error:
            self._complain(note, error)
        else:
            log.info("problem_gone", inbox=self._inbox, note=readable(note))

    def _complain(self, note: Rel, error: OSError) -> None:
        if self._is_writable:
            log.warning("note_not_written", inbox=self._inbox, note=readable(note), reason=error.strerror)
        self._is_writable = False


class WaitingFiles:
    """The files that wait in one inbox, and their notes."""

    def __init__(
        self,
        root: Root,
        tree: Tree,
        notes: Notes,
        now: Callable[[], float],
        elsewhere: Root | None = None,
    ) -> None:
        """`elsewhere` is where notes lie that are not beside their files; `now` is Unix time in seconds."""
        self.waiting: dict[Rel, Waiting] = {}
        self.notes_due: OrderedDict[Rel, Sequence[Problem]] = OrderedDict()
        """Notes to write or, with no problems, to remove."""
        self._noted: dict[Rel, Sequence[Problem]] = {}
        """What each note says that should be there."""
        self._root = root
        self._tree = tree
        self._notes = notes
        self._now = now
        self._closed: set[Rel] = set()
        self._has_changed = True
        self._elsewhere = elsewhere
        self._left: dict[Rel, set[str]] | None = None
        """The notes elsewhere that an earlier run left, by folder; None until they were looked for."""

    def take_waiting(self) -> tuple[Waiting, ...] | None:
        """Return what waits, None if it is the same as at the last call."""
        has_changed, self._has_changed = self._has_changed, False
        return tuple(self.waiting.values()) if has_changed else None

    def put(self, path: Rel, waits: Waits) -> None:
        """Record that a file waits, and have its note written if its editor must act."""
        known, problems = self.waiting.get(path), waits.problems
        if problems and all(problem.is_harmless for problem in problems):
            self.remove(path)
            self.notes_due[path] = problems
            return
        if problems or waits.is_well or (known is not None and known.problem):
            self.notes_due[path] = problems
        if known is None or (known.reason, known.problem) != (waits.reason, bool(problems)):
            since = self._now() if known is None else known.since
            self.waiting[path] = Waiting(path, waits.reason, since, bool(problems))
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
            self._noted[path] = problems
            self._notes.put(path, problems)
        else:
            self.clear_note(path)

    def clear_note(self, path: Rel) -> None:
        """Remove the note of a file, if it has one. Raises Unavailable."""
        self._noted.pop(path, None)
        folder = self._tree.folders.get(parent(path))
        present = folder.notes if folder is not None and self._elsewhere is None else ()
        self._notes.clear(path, (self._left or {}).get(parent(path), present))

    def renew(self) -> None:
        """Have notes written again that are missing: a tool that mirrors folders removes them, for one.

        Raises Unavailable.
        """
        for path, problems in self._noted.items():
            folder = self._tree.folders.get(parent(path))
            present = folder.notes if folder is not None and self._elsewhere is None else ()
            # Without its folder a note would make it anew.
            if folder is not None and self._notes.is_missing(path, present):
                self.notes_due.setdefault(path, problems)

    def clear_strays(self) -> None:
        """Remove notes without a file, and half-written files that a crash left. Raises Unavailable."""
        if self._elsewhere is not None:
            self._clear_strays_elsewhere(self._elsewhere)
            return
        for folder in self._tree.folders.values():
            if temporaries := folder.temporary_names():
                self._root.clear_temporaries(folder.rel, temporaries, self._now())
            if fresh := folder.take_fresh_notes():
                self._clear_strays_in(folder, fresh)

    def _clear_strays_in(self, folder: Folder, found: Collection[str]) -> None:
        named = [note.removesuffix(PROBLEM_NOTE) for note in found]
        known = [n for n in named if folder.has(n) or join(folder.rel, n) in self._closed]
        self._notes.clear_strays(folder.rel, found, [*folder.judged_names(), *known])

    def _clear_strays_elsewhere(self, root: Root) -> None:
        """Look once for the notes of an earlier run, and remove those whose files are gone."""
        if self._left is not None:
            return
        self._left = _notes_in(root)
        for rel, found in self._left.items():
            folder = self._tree.folders.get(rel)
            if folder is None:
                self._notes.clear_strays(rel, found, ())
            else:
                self._clear_strays_in(folder, found)


def _notes_in(root: Root) -> dict[Rel, set[str]]:
    """Find the notes beneath a folder, as far as it can be read. Raises Unavailable."""
    found: dict[Rel, set[str]] = {}
    pending: list[Rel] = [""]
    while pending:
        rel = pending.pop()
        names: list[tuple[str, bool]] = []
        with forgiving(OSError), root.folder(rel) as fd, os.scandir(fd) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        if notes := {name for name, is_folder in names if not is_folder and name.endswith(PROBLEM_NOTE)}:
            found[rel] = notes
        if rel.count("/") < _DEPTH_MAX:
            pending += [join(rel, name) for name, is_folder in names if is_folder and name[0] not in "._"]
    return found
