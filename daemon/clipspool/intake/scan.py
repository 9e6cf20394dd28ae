"""Scans one folder of an inbox, and keeps what is known of its files from scan to scan."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from clipspool.intake import near
from clipspool.intake.groups import LOOSE, Changes, Groups
from clipspool.intake.kinds import CARD_FOLDERS, UNREAD_TIMELINES, Sort, runs_of, sort_of, stem, suffix_of
from clipspool.intake.listing import NOT_REGULAR, STAMPED, listed, stamp_or_not_regular
from clipspool.intake.names import Kind, Names
from clipspool.intake.pair import Entry
from clipspool.intake.settle import SIZE, Settling
from clipspool.spool.layout import SUFFIXES
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel, is_claimed_name, is_temporary
from clipspool.system.mounts import FolderMark, FolderMarks

_SETTINGS = frozenset({Kind.DEFAULTS, Kind.FOLDER_PROMPT, Kind.NEAR_SETTINGS})
_TARGETED_LOOKS_MAX = 256
_TURNS = 8
"""Where no name in a folder changed, one of this many scans checks a settled clip without a sidecar."""


class Folder:
    """One folder of an inbox, as last seen."""

    def __init__(self, rel: Rel, names: Names, settle_seconds: float, marks: FolderMarks) -> None:
        self.rel = rel
        self.below: set[str] = set()
        """Folders in it that are searched for clips."""
        self.passed_by: set[str] = set()
        """Folders in it that are skipped only for their first letter."""
        self.notes: set[str] = set()
        """Problem notes in it."""
        self.temporaries: set[str] = set()
        """Files that we write under a temporary name."""
        self.claimed: set[str] = set()
        """Hidden names of files that are being claimed."""
        self.loose: dict[str, float] = {}
        """Files that are neither clips nor sidecars, and since when (monotonic seconds) they are known."""
        self.hidden: set[str] = set()
        """Folders in it under a temporary or a claimed name of ours."""
        self.bundles: set[str] = set()
        """Folders that some program treats as a single file; they are not searched."""
        self.images, self.timelines, self.unread_timelines = set[str](), set[str](), set[str]()
        self.pauses: set[str] = set()
        """Files and folders named `_pause`, or nearly so."""
        self.settings_folders: set[str] = set()
        """Folders that have the name of a file of settings."""
        self._bare_pauses: set[str] = set()
        """`pause.txt`: it pauses unless it is a clip's prompt."""
        self.groups = Groups(names)
        self._fresh_notes: set[str] = set()
        self._names = names
        self._kinds: dict[str, Kind] = {}
        self._settling = Settling(settle_seconds)
        self._cards: set[str] = set()
        """Folders in it that a camera made."""
        self._settings: set[str] = set()
        """`_defaults.toml`, `_prompt.txt` and near-misses of them."""
        self._changes = Changes()
        self._marks = marks
        self._mark: FolderMark | None = None
        self._turns: list[list[str]] = []
        """Files to look at in each of the next scans, while no name comes or goes."""
        # What is known of one file or of all, as `Settling` and `Groups` say it.
        settling = self._settling
        self.settled, self.since, self.pause = settling.settled, settling.since, settling.pause
        self.candidates, self.next_look = self._settling.candidates, self._settling.next_look
        self.bases, self.judged_names, self.kind_of = self.groups.bases, self.groups.judged, self._kinds.get

    # --- scanning ---------------------------------------------------------------------------------------

    def scan(self, root: Root, now: float) -> set[str]:
        """Check everything; return the base names of which a file came, changed, went or settled.

        Where no name came or went since the last scan, the names are not read again. Raises OSError if the
        folder cannot be read.
        """
        with root.folder(self.rel) as fd:
            mark = self._marks.of(fd)
            affected, is_whole = set[str](), False
            if mark is not None and mark == self._mark:
                affected, is_whole = self._look(fd, self._take_turn(), now)
            return self._bases_of(affected if is_whole else affected | self._read(fd, mark, now))

    def _read(self, fd: int, mark: FolderMark | None, now: float) -> set[str]:
        """Check every name in the open folder; return those that came, changed, went or settled."""
        self._mark, self._turns = None, []
        found = listed(
            fd,
            self._kinds,
            lambda name: self._names.kind(name, self.rel),
            self._settling.stamps,
            self.groups.prompts,
        )
        if found.denied is None:  # else all is read again
            self._mark = mark
        known_prompts = self.groups.prompts.copy()
        affected = self._update_folders(found.folders)
        affected |= self._settling.see_all(found.stamps, now)
        affected |= self._enroll(found.fresh, now)
        if len(found.stamps) + len(found.others) != len(self._kinds):
            affected |= self._drop(self._kinds.keys() - found.stamps.keys() - found.others)
        return affected | self._stat_prompts(fd, self.groups.prompts - known_prompts, now)

    def _take_turn(self) -> list[str]:
        """Return the files to look at in a scan for which no name came or went.

        A settled clip without a sidecar waits for one, which is a new name, and is looked at again before it
        is accepted: so that it was written to meanwhile may be noticed later. All others are due each time.
        """
        if not self._turns:
            resting = {name for name in self._settling.stamps if self._is_resting(name)}
            others = [name for name in self._settling.stamps if name not in resting]
            clips = sorted(resting)
            self._turns = [others + clips[turn::_TURNS] for turn in range(_TURNS)]
        return self._turns.pop()

    def _is_resting(self, name: str) -> bool:
        is_clip = self._kinds[name] is Kind.CLIP and self.settled(name) is not None
        return is_clip and self.groups.is_alone(name)

    def _is_new_folder(self, name: str) -> bool:
        if name in self.below | self.bundles | self.pauses | self.settings_folders:
            return False
        if near.is_pause(name) or name in near.SETTINGS_NAMES:
            return True
        return self._names.enters(name, self.rel) or self._names.is_bundle(name, self.rel)

    def _update_folders(self, below: set[str]) -> set[str]:
        """Record the folders in this one; return those that came or went."""
        before = self.below
        self.below = {name for name in below if self._names.enters(name, self.rel)}
        for name in self.below - before:
            self.groups.add(name, Kind.FOLDER)
        for name in before - self.below:
            self.groups.drop(name)
        self.hidden = {name for name in below if is_temporary(name) or is_claimed_name(name)}
        self.passed_by = {name for name in below - self.below if self._names.passes_by(name, self.rel)}
        bundles = {name for name in below - self.below if self._names.is_bundle(name, self.rel)}
        cards = self.below & CARD_FOLDERS
        if bundles != self.bundles or cards != self._cards:
            self.bundles, self._cards, self._changes.loose = bundles, cards, True
        pauses = self.pauses & self._kinds.keys() | {name for name in below if near.is_pause(name)}
        self._changes.settings |= pauses != self.pauses
        self.pauses = pauses
        settings_folders = below & near.SETTINGS_NAMES
        self._changes.settings |= settings_folders != self.settings_folders
        self.settings_folders = settings_folders
        return before ^ self.below

    def _stat_prompts(self, fd: int, names: set[str], now: float) -> set[str]:
        """Stamp `.txt` files that have become prompts; return their names."""
        for name in names:
            try:
                seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:
                self._mark = None
                self._drop({name} & self._kinds.keys())
            else:
                self._settling.see(name, stamp_or_not_regular(seen), now)
        return names

    def peek(self, root: Root, names: Iterable[str], now: float) -> set[str]:
        """Check some files only; falls back to `scan` if that is cheaper or one of them is a folder."""
        names = set(names)
        affected, is_whole = set[str](), False
        if len(names) <= _TARGETED_LOOKS_MAX or 4 * len(names) <= len(self._kinds):
            with root.folder(self.rel) as fd:
                affected, is_whole = self._look(fd, names, now)
        bases = self._bases_of(affected)
        if not is_whole:
            self._mark = None
            bases |= self.scan(root, now)
        return bases

    def _look(self, fd: int, names: Iterable[str], now: float) -> tuple[set[str], bool]:
        """Check some files in the open folder.

        Return those that came, changed, went or settled, and False if all has to be read, since a folder is
        among them.
        """
        affected: set[str] = set()
        known_prompts = self.groups.prompts.copy()
        for name in names:
            try:
                seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:
                if name in self.below | self.bundles | self.pauses | self.settings_folders:
                    return affected, False
                self._mark = None  # the disk may have failed only now: all names are read again
                if self._settling.see(name, None, now):
                    affected.add(name)
                affected |= self._drop({name} & self._kinds.keys())
                continue
            if stat.S_ISDIR(seen.st_mode):
                if self._is_new_folder(name):
                    return affected, False
                continue
            if name not in self._kinds:
                self._kinds[name] = self._names.kind(name, self.rel)
                affected |= self._enroll({name}, now)
            is_stamped = self._kinds[name] in STAMPED or name in self.groups.prompts
            if is_stamped and self._settling.see(name, stamp_or_not_regular(seen), now):
                affected.add(name)
        affected |= self._stat_prompts(fd, self.groups.prompts - known_prompts, now)
        if affected:
            self._turns = []
        return affected, True

    def _enroll(self, fresh: Iterable[str], now: float) -> set[str]:
        """Add new names to their groups; return those without a stamp that change how others are judged."""
        matter: set[str] = set()
        for name in fresh:
            kind = self._kinds[name]
            if kind is Kind.NOTE:
                self.notes.add(name)
                self._fresh_notes.add(name)
            elif kind is Kind.IGNORED and is_temporary(name):
                self.temporaries.add(name)
            elif kind is Kind.IGNORED and is_claimed_name(name):
                self.claimed.add(name)
            elif kind is Kind.PAUSE:
                self.pauses.add(name)
                self._changes.settings = True
            elif self._enroll_file(name, kind, now):
                matter.add(name)
        return matter

    def _enroll_file(self, name: str, kind: Kind, now: float) -> bool:
        if kind is Kind.PROMPT and near.is_bare_pause(name):
            self._bare_pauses.add(name)
        self._changes.settings |= near.is_bare_pause(stem(name))  # or a clip whose prompt it is
        if kind in LOOSE or kind is Kind.NEAR_SETTINGS:
            self.loose[name] = now
            self.unread_timelines |= {name} if suffix_of(name) in UNREAD_TIMELINES else set()
        elif kind in {Kind.IMAGE, Kind.TIMELINE}:
            (self.images if kind is Kind.IMAGE else self.timelines).add(name)
        self._changes.loose |= kind in LOOSE or kind in {Kind.NEAR_SETTINGS, Kind.IMAGE}
        matters = near.meant_as_settings(name) is not None
        if matters:
            self._settings.add(name)
        if kind is Kind.TEMPORARY or kind in LOOSE or (kind in STAMPED and kind not in _SETTINGS):
            matters |= self.groups.add(name, kind) and kind not in STAMPED
        return matters

    def _drop(self, names: set[str]) -> set[str]:
        for name in names:
            kind = self._kinds.pop(name, None)
            sets = (self.notes, self.temporaries, self.claimed, self.images, self.timelines)
            for known in (*sets, self.unread_timelines, self.pauses, self._bare_pauses, self._settings):
                known.discard(name)
            self._changes.settings |= kind is Kind.PAUSE or near.is_bare_pause(stem(name))
            self._changes.loose |= self.loose.pop(name, None) is not None or kind is Kind.IMAGE
            self._changes.loose |= self.groups.drop(name)  # files beside a clip get their own note now
        return names

    def _bases_of(self, names: set[str]) -> set[str]:
        self._changes.images |= any(name.lower().endswith(SUFFIXES) for name in names)
        self._changes.settings |= any(near.meant_as_settings(name) is not None for name in names)
        return {self._names.base(name) for name in names}

    def take_changes(self) -> Changes:
        """Return what changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def take_fresh_notes(self) -> set[str]:
        """Return the notes that were found since the last call and still exist."""
        fresh, self._fresh_notes = self._fresh_notes & self.notes, set()
        return fresh

    def forget(self, name: str) -> None:
        """Drop a file that was claimed or went, so that a new one of that name settles from the start."""
        self._settling.see(name, None, 0.0)
        self._drop({name} & self._kinds.keys())

    def forget_folder(self, name: str) -> None:
        """Drop a folder in this one that went."""
        self.below = self.below - {name}
        self.groups.drop(name)

    # --- what is known ----------------------------------------------------------------------------------

    def entries(self, base: str) -> list[Entry]:
        """Return the files of one base name."""
        return [self._entry(name) for name in self.groups.names(base)]

    def entry(self, name: str) -> Entry | None:
        """Return one clip, sidecar, image, or file of settings, if it exists."""
        return self._entry(name) if name in self._settling.stamps else None

    def _entry(self, name: str) -> Entry:
        if name in self.below:
            return Entry(name, Kind.FOLDER)
        kind = self._kinds[name]
        if kind is Kind.TEMPORARY:
            return Entry(name, kind, awaits=self._names.awaited(name))
        if name not in self._settling.stamps:
            return Entry(name, kind, since=self.loose.get(name, 0.0))
        stamp = self._settling.stamps[name]
        return Entry(
            name,
            kind,
            since=self.since(name),
            is_settled=self.settled(name) is not None,
            size=stamp[SIZE],
            is_regular=stamp != NOT_REGULAR,
        )

    def controls(self, clip: str) -> list[str]:
        """Return the control files that would mark a clip as incomplete."""
        return self._names.controls(clip, self.rel)

    def pausing(self) -> set[str]:
        """Return the files and folders that pause this folder and those below it."""
        return self.pauses | {name for name in self._bare_pauses if not self.groups.has_clip(name)}

    def settings(self) -> list[tuple[str, Kind]]:
        """Return the `_defaults.toml` and `_prompt.txt` of this folder, and near-misses of them."""
        kinds = [(name, self._kinds[name]) for name in sorted(self._settings & self._kinds.keys())]
        return [
            (name, kind if kind in _SETTINGS else Kind.NEAR_SETTINGS)
            for name, kind in kinds
            if kind in _SETTINGS or not self.groups.has_clip(name)
        ]

    def claimed_names(self) -> tuple[str, ...]:
        """Return the hidden names of files and folders that are being claimed."""
        return (*self.claimed, *(name for name in self.hidden if is_claimed_name(name)))

    def temporary_names(self) -> tuple[str, ...]:
        """Return the files and folders that we write under a temporary name."""
        return (*self.temporaries, *(name for name in self.hidden if is_temporary(name)))

    def has(self, name: str) -> bool:
        """Return whether a file or folder that may have a note exists in it."""
        return name in self._kinds or name in self.below or name in self.bundles

    def picture_runs(self) -> list[list[str]]:
        """Return the names of pictures that are numbered alike, as those of a film are."""
        return runs_of([*self.images, *(name for name in self.loose if sort_of(name) is Sort.PICTURE)])

    def known_since(self, name: str) -> float:
        """Return since when, in monotonic seconds, a file that is neither clip nor sidecar is known."""
        return self.loose[name] if name in self.loose else self.since(name)
