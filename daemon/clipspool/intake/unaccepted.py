"""Writes notes for files that are neither clips nor sidecars: one each, or one for many of a kind."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf

from clipspool.intake import advice
from clipspool.intake.kinds import (
    CARD_FOLDERS,
    SNIFFED_BYTES,
    Sort,
    card_in,
    film_in,
    sort_of,
    stem,
    suffix_of,
)
from clipspool.intake.names import Kind
from clipspool.intake.near import DEFAULTS, meant_as_settings
from clipspool.intake.notes import WaitingFiles, note_name, sentence
from clipspool.intake.pair import Waits
from clipspool.intake.scan import Folder
from clipspool.intake.timeline_media import unread_in
from clipspool.intake.tree import Tree
from clipspool.intake.types import Rules
from clipspool.jobs.model import Problem
from clipspool.spool.guard import forgiving
from clipspool.spool.root import Root
from clipspool.system.atomic import NotRegular, Rel, join, name_of, parent

_EACH_MAX = 4
"""Of more files of one kind in a folder only the first gets a note, which names them all."""
_FOLDER_MAX = 40
"""With more notes than this in a folder, files share one note for each sort."""
_SNIFFED_MAX = 8
_MANY = 200
_MANY_SECONDS = 5.0
"""A folder with many such files is reviewed no more often than this, however fast they come."""
_IMAGES_PATIENCE = 2.0
"""Images often come before the clip that refers to them: they may wait longer, by this factor."""
_LIBRARY = re.compile(r"(refs?|references?|looks?|styles?|images?|keyframes?|moods?)\b", re.IGNORECASE)
"""Folders in which editors keep images for later clips."""


@dataclass(slots=True)
class _Seen:
    """What is known about one folder."""

    since: float
    due: float = inf
    not_before: float = -inf
    noted: frozenset[Rel] = frozenset()
    has_images: bool = False


class UnknownFiles:
    """Writes the notes for the files of one inbox that clipspool cannot use."""

    def __init__(
        self,
        root: Root,
        rules: Rules,
        tree: Tree,
        waiting_files: WaitingFiles,
        is_used: Callable[[Rel], bool],
        *,
        has_timelines: bool,
    ) -> None:
        """`is_used` returns whether a clip refers to an image; `has_timelines`: clips wait for timelines."""
        self._has_timelines = has_timelines
        self._root = root
        self._wait = rules.sidecar_wait_seconds
        self._accepted = tuple(sorted(rules.extensions))
        self._tree = tree
        self._waiting_files = waiting_files
        self._is_used = is_used
        self._seen: dict[Rel, _Seen] = {}
        self._films: dict[Rel, tuple[str, str]] = {}

    def next_due(self) -> float:
        """Return when, in monotonic seconds, a folder must be reviewed."""
        return min((seen.due for seen in self._seen.values()), default=inf)

    def review_images(self, now: float) -> None:
        """Review folders with images again: which of them are used depends on other files."""
        for seen in self._seen.values():
            if seen.has_images:
                seen.due = min(seen.due, now)

    def review_due(self, now: float) -> None:
        """Review the folders that are due at `now`, monotonic seconds. Raises Unavailable."""
        for rel in self._tree.take_loose():
            seen = self._seen.setdefault(rel, _Seen(now))
            seen.due = min(seen.due, max(now, seen.not_before))
        for rel in [rel for rel, seen in self._seen.items() if seen.due <= now]:
            folder = self._tree.folders.get(rel)
            if folder is None:
                self._replace(rel, self._seen.pop(rel), {})
            else:
                self._review(folder, self._seen[rel], now)

    def _review(self, folder: Folder, seen: _Seen, now: float) -> None:
        due = inf
        notes: dict[Rel, Problem] = {}
        if card_in(folder.rel) is None:  # the note on a card is written for the folder around it
            for path, problem, since in self._findings(folder, seen, now):
                if now >= since + self._wait:
                    notes[path] = problem
                else:
                    due = min(due, since + self._wait)
        is_many = len(folder.loose) + len(folder.images) > _MANY
        seen.not_before = now + _MANY_SECONDS if is_many else now
        seen.due = max(due, seen.not_before)
        self._replace(folder.rel, seen, notes)
        if now >= seen.since + self._wait:
            self._clear_old(folder, seen)
        elif self._has_note(folder.rel) or folder.notes:
            seen.due = min(seen.due, seen.since + self._wait)

    def _replace(self, rel: Rel, seen: _Seen, notes: dict[Rel, Problem]) -> None:
        for path in seen.noted - notes.keys():
            if path != rel or not self._tree.is_clip(rel):  # else its own note stands there
                self._waiting_files.remove(path)
        for path, problem in notes.items():
            self._waiting_files.put(path, Waits(path, sentence(problem), found=(problem,)))
        seen.noted = frozenset(notes)
        if not notes:
            self._films = {path: film for path, film in self._films.items() if parent(path) != rel}

    def _has_note(self, rel: Rel) -> bool:
        above = self._tree.folders.get(parent(rel)) if rel else None
        return above is not None and note_name(name_of(rel)) in above.notes

    def _clear_old(self, folder: Folder, seen: _Seen) -> None:
        """Remove notes of an earlier run from files that no longer have one of their own."""
        names = [*folder.loose, *folder.images, *folder.bundles] if folder.notes else []
        paths = [join(folder.rel, name) for name in names if note_name(name) in folder.notes]
        for path in [*paths, *([folder.rel] if self._has_note(folder.rel) else [])]:
            kept = (self._waiting_files.waiting, self._waiting_files.notes_due, seen.noted)
            if not any(path in those for those in kept):
                self._waiting_files.clear_note(path)

    # --- findings ---------------------------------------------------------------------------------------

    def _findings(self, folder: Folder, seen: _Seen, now: float) -> Iterator[tuple[Rel, Problem, float]]:
        """Yield the notes for a folder: beside which path, what to say, and since when it applies."""
        rel = folder.rel
        markers = sorted(folder.below & CARD_FOLDERS)
        if markers:
            yield rel or markers[0], Problem(advice.about_card(markers), is_its_kind=True), seen.since
            if rel:
                return
        for name in sorted(folder.bundles):
            said = self._held(folder, [name], advice.about_bundle(name))
            yield join(rel, name), Problem(said, is_its_kind=True), seen.since
        runs = [r for r in folder.picture_runs() if not any(self._is_used(join(rel, name)) for name in r)]
        if runs and not self._tree.is_clip(rel) and not _LIBRARY.match(name_of(rel)):
            since = max(folder.known_since(names[0]) for names in runs)
            yield rel or runs[0][0], Problem(advice.about_pictures(runs, name_of(rel))), since
        numbered_names = {name for names in runs for name in names}
        yield from self._images(folder, seen, numbered_names)
        for name, kind in folder.settings():
            if kind is Kind.NEAR_SETTINGS and name in folder.loose:
                right = meant_as_settings(name) or DEFAULTS
                problem = Problem(advice.near_miss(join(rel, name), right))
                yield join(rel, name), problem, folder.loose[name]
        yield from self._files(folder, numbered_names, now)

    def _images(self, folder: Folder, seen: _Seen, besides: set[str]) -> Iterator[tuple[Rel, Problem, float]]:
        names = sorted(folder.images - besides)
        seen.has_images = bool(folder.images)
        if not names or _LIBRARY.match(name_of(folder.rel)):
            return
        if any(self._is_used(join(folder.rel, name)) for name in names):
            return
        if not any(self._waiting_files.is_fresh(stamp) for name in names if (stamp := folder.settled(name))):
            return  # old images are kept for later clips
        since = max(folder.known_since(name) for name in names)
        yield (
            join(folder.rel, names[0]),
            Problem(advice.about_images(names)),
            since + self._wait * (_IMAGES_PATIENCE - 1),
        )

    def _files(self, folder: Folder, besides: set[str], now: float) -> Iterator[tuple[Rel, Problem, float]]:
        alike = defaultdict[tuple[Sort, str], list[str]](list)
        settings = {name for name, _ in folder.settings()}
        for name, since in folder.loose.items():
            if name in besides or name in settings:
                continue
            sort = _sort_in(folder, name)
            is_prompt = sort is Sort.TEXT and self._tree.is_clip(join(folder.rel, stem(name)))
            if sort is Sort.SILENT or is_prompt:
                continue
            if now < since + self._wait:
                yield join(folder.rel, name), Problem(""), since
                continue
            alike[sort, "" if sort is Sort.UNKNOWN else suffix_of(name)].append(name)
        groups = [(sort, names) for (sort, _), names in sorted(alike.items())]
        if sum(min(len(names), _EACH_MAX) for _, names in groups) > _FOLDER_MAX:
            by_sort = groupby(groups, lambda group: group[0])
            groups = [(sort, [name for _, names in some for name in names]) for sort, some in by_sort]
        for sort, names in groups:
            names.sort()
            own = [name for name in names if sort is Sort.UNKNOWN and self._is_own(folder, name, names)]
            rest = [name for name in names if name not in set(own)]
            for some in [*_shared(own), *_shared(rest)]:
                found = self._found(folder, sort, some)
                # A text without a similar clip may be somebody's notes.
                is_harmless = sort is Sort.TEXT and not found.similar
                said = self._held(folder, some, advice.about_files(found, self._accepted))
                problem = Problem(said, is_harmless=is_harmless, is_its_kind=True)
                yield join(folder.rel, some[0]), problem, folder.loose[some[0]]

    def _held(self, folder: Folder, names: Sequence[str], said: str) -> str:
        is_holding = self._has_timelines and not unread_in(folder).isdisjoint(names)
        return advice.holding_clips(said) if is_holding else said

    def _is_own(self, folder: Folder, name: str, among: Sequence[str]) -> bool:
        """Whether what is said of a file of an unknown kind holds for it alone: it is a clip, misnamed."""
        is_film = len(among) <= _SNIFFED_MAX and self._film_in(join(folder.rel, name)) != ("", "")
        return is_film or advice.is_misnamed(name, self._accepted)

    def _found(self, folder: Folder, sort: Sort, names: Sequence[str]) -> advice.Found:
        first = names[0]
        similar = folder.groups.similar_clip(first) if sort is Sort.TEXT and len(names) == 1 else ""
        film = ("", "")
        if sort is Sort.UNKNOWN and len(names) <= _SNIFFED_MAX:
            film = self._film_in(join(folder.rel, first))
        return advice.Found(sort, tuple(names), similar, film)

    def _film_in(self, path: Rel) -> tuple[str, str]:
        """Read the first bytes of a file whose name says nothing, once."""
        known = self._films.get(path)
        if known is None:
            known = ("", "")
            with forgiving(OSError):
                try:
                    known = film_in(self._root.head(path, SNIFFED_BYTES))
                except NotRegular:
                    known = advice.LINK
            self._films[path] = known
        return known


def _shared(names: Sequence[str]) -> list[Sequence[str]]:
    """Return which files share a note: many one, few none."""
    if len(names) > _EACH_MAX:
        return [names]
    return [[name] for name in names]


def _sort_in(folder: Folder, name: str) -> Sort:
    """Return what a file is; SILENT if it is on its way, or its clip's own note names it."""
    kind = folder.kind_of(name)
    if kind is Kind.COMING:
        return Sort.SILENT
    if kind is Kind.NEAR:
        return Sort.SILENT if folder.groups.has_clip(name) else Sort.SIDECAR
    sort = sort_of(name)
    if kind is Kind.PROMPT:
        return Sort.SILENT if folder.groups.has_clip(name) or sort is Sort.SILENT else Sort.TEXT
    if sort in {Sort.DOCUMENT, Sort.SETTINGS} and folder.groups.has_clip(name):
        return Sort.SILENT
    return sort
