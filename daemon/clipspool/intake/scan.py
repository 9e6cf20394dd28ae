"""Looks into one folder of an inbox: which files are there, and what is known of them from look to look."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from clipspool.intake.groups import LOOSE, Groups
from clipspool.intake.kinds import CARD_FOLDERS
from clipspool.intake.names import Kind, Names
from clipspool.intake.near import is_pause, meant_as_settings
from clipspool.intake.pair import Entry
from clipspool.intake.settle import SIZE, Settling, Stamp, stamp_of
from clipspool.spool.layout import SUFFIXES
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel, is_claimed_name, is_temporary, join

_STAMPED = frozenset({Kind.CLIP, Kind.SIDECAR, Kind.DEFAULTS, Kind.FOLDER_PROMPT, Kind.IMAGE})
_SETTINGS = frozenset({Kind.DEFAULTS, Kind.FOLDER_PROMPT, Kind.NEAR_SETTINGS})
_NOT_REGULAR: Stamp = (1, 0, 0, 0, 0)
"""Stands for a link, FIFO, socket or device: no file of ours has inode 0."""
_TARGETED_LOOKS_MAX = 256
_ENTRIES_TRIED_MAX = 500


class Folder:
    """One folder of an inbox, as last seen."""

    def __init__(self, rel: Rel, names: Names, settle_seconds: float) -> None:
        self.rel = rel
        self.below: set[str] = set()
        """The names of the folders in it that are looked into."""
        self.passed_by: set[str] = set()
        """The names of those that are not, for their first letter alone."""
        self.notes: set[str] = set()
        """The names of problem notes in it."""
        self.temporaries: set[str] = set()
        """The names in it under which we write before a file gets its own."""
        self.claimed: set[str] = set()
        """The hidden names in it of files that are claimed."""
        self.defaults_changed = False
        """Whether its settings or `_pause` came, changed, settled or went; the caller sets it to False."""
        self.images_changed = False
        """The same of an image in it."""
        self.loose: dict[str, float] = {}
        """Files that are neither clips nor sidecars, and since when, in monotonic seconds, they are known."""
        self.loose_changed = False
        """Whether something in `loose`, a bundle or an image came or went; the caller sets it to False."""
        self.bundles: set[str] = set()
        """Folders that some program takes for one file; they are not looked into."""
        self.images: set[str] = set()
        self.pauses: set[str] = set()
        """Files and folders named `_pause`, or nearly so, in it."""
        self._fresh_notes: set[str] = set()
        self._names = names
        self._kinds: dict[str, Kind] = {}
        self._settling = Settling(settle_seconds)
        self.groups = Groups(names)
        """Which names belong together."""
        self._cards: set[str] = set()
        """Folders in it that a camera made."""
        self._settings: set[str] = set()
        """Names that are, or were meant to be, `_defaults.toml` or `_prompt.txt`."""

    # --- looking ----------------------------------------------------------------------------------------

    def scan(self, root: Root, now: float) -> set[str]:
        """Look at everything; give the base names of which a file came, changed, went or settled.

        Raises OSError where nothing can be looked at.
        """
        kinds, known = self._kinds, self._settling.stamps
        stamps: dict[str, Stamp] = {}
        others: set[str] = set()
        below: set[str] = set()
        fresh: set[str] = set()
        denied: PermissionError | None = None
        with root.folder(self.rel) as fd, os.scandir(fd) as entries:
            for entry in entries:  # a tight loop: it runs for each of 100,000 files every `rescan_seconds`
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    below.add(name)
                    continue
                kind = kinds.get(name)
                if kind is None:
                    kinds[name] = kind = self._names.kind(name, self.rel)
                    fresh.add(name)
                if kind not in _STAMPED and (kind is not Kind.PROMPT or name not in self.groups.prompts):
                    others.add(name)
                elif entry.is_file(follow_symlinks=False):
                    try:
                        s = entry.stat(follow_symlinks=False)
                    except OSError as error:  # it went, or it alone is broken: there is nothing to take
                        denied = error if isinstance(error, PermissionError) else denied
                        continue
                    stamp = (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev)
                    before = known.get(name)
                    stamps[name] = before if before == stamp else stamp  # the same object compares at once
                else:
                    stamps[name] = _NOT_REGULAR
        if denied is not None and not stamps:  # names can be read here, and nothing else
            for name in fresh:
                del kinds[name]
            raise denied
        self._see_folders(below)
        affected = self._settling.see_all(stamps, now)
        to_read = self.groups.prompts.copy()
        affected |= self._enroll(fresh, now)
        if len(stamps) + len(others) != len(kinds):
            affected |= self._drop(kinds.keys() - stamps.keys() - others)
        affected |= self._look_at_prompts(root, self.groups.prompts - to_read, now)
        return self._bases(affected)

    def _is_new_folder(self, name: str) -> bool:
        if name in self.below | self.bundles | self.pauses:
            return False
        matters = self._names.enters(name, self.rel) or self._names.is_bundle(name, self.rel)
        return matters or is_pause(name)

    def _see_folders(self, below: set[str]) -> None:
        self.below = {name for name in below if self._names.enters(name, self.rel)}
        self.passed_by = {name for name in below - self.below if self._names.passes_by(name, self.rel)}
        bundles = {name for name in below - self.below if self._names.is_bundle(name, self.rel)}
        cards = self.below & CARD_FOLDERS
        if bundles != self.bundles or cards != self._cards:
            self.bundles, self._cards, self.loose_changed = bundles, cards, True
        files = {name for name in self.pauses if name in self._kinds}
        pauses = files | {name for name in below if is_pause(name)}
        self.defaults_changed |= pauses != self.pauses
        self.pauses = pauses

    def _look_at_prompts(self, root: Root, names: set[str], now: float) -> set[str]:
        """Look at `.txt` files that have become prompts; give those that are there."""
        if not names:
            return set()
        with root.folder(self.rel) as fd:
            for name in names:
                try:
                    seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except OSError:
                    self._drop({name} & self._kinds.keys())
                    continue
                self._settling.see(name, stamp_of(seen) if stat.S_ISREG(seen.st_mode) else _NOT_REGULAR, now)
        return names

    def peek(self, root: Root, names: Iterable[str], now: float) -> set[str]:
        """Look at some files only; as `scan`, and by it where that is cheaper or one is a folder."""
        names = set(names)
        if len(names) > _TARGETED_LOOKS_MAX and 4 * len(names) > len(self._kinds):
            return self.scan(root, now)
        affected: set[str] = set()
        to_read = self.groups.prompts.copy()
        with root.folder(self.rel) as fd:
            for name in names:
                try:
                    seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except OSError:
                    if name in self.below or name in self.bundles or name in self.pauses:
                        break
                    if self._settling.see(name, None, now):
                        affected.add(name)
                    affected |= self._drop({name} & self._kinds.keys())
                    continue
                if stat.S_ISDIR(seen.st_mode):
                    if self._is_new_folder(name):
                        break
                    continue
                if name not in self._kinds:
                    self._kinds[name] = self._names.kind(name, self.rel)
                    affected |= self._enroll({name}, now)
                if self._kinds[name] in _STAMPED or name in self.groups.prompts:
                    stamp = stamp_of(seen) if stat.S_ISREG(seen.st_mode) else _NOT_REGULAR
                    if self._settling.see(name, stamp, now):
                        affected.add(name)
            else:
                affected |= self._look_at_prompts(root, self.groups.prompts - to_read, now)
                return self._bases(affected)
        return self._bases(affected) | self.scan(root, now)

    def _enroll(self, fresh: Iterable[str], now: float) -> set[str]:
        """Put new names in their groups; give those that matter to others though they have no stamp."""
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
                self.defaults_changed = True
            else:
                self._enroll_file(name, kind, now, matter)
        return matter

    def _enroll_file(self, name: str, kind: Kind, now: float, matter: set[str]) -> None:
        if kind in LOOSE or kind is Kind.NEAR_SETTINGS:
            self.loose[name] = now
        elif kind is Kind.IMAGE:
            self.images.add(name)
        self.loose_changed |= kind in LOOSE or kind in {Kind.NEAR_SETTINGS, Kind.IMAGE}
        if meant_as_settings(name) is not None:
            self._settings.add(name)
            matter.add(name)
        if kind is Kind.TEMPORARY or kind in LOOSE or (kind in _STAMPED and kind not in _SETTINGS):
            is_judged = self.groups.add(name, kind)
            if is_judged and kind not in _STAMPED:
                matter.add(name)

    def _drop(self, names: set[str]) -> set[str]:
        for name in names:
            kind = self._kinds.pop(name, None)
            self.notes.discard(name)
            self.temporaries.discard(name)
            self.claimed.discard(name)
            self.images.discard(name)
            self.defaults_changed |= kind is Kind.PAUSE
            self.pauses.discard(name)
            self._settings.discard(name)
            self.loose_changed |= self.loose.pop(name, None) is not None or kind is Kind.IMAGE
            self.loose_changed |= self.groups.drop(name)  # what lay beside a clip is told of now
        return names

    def _bases(self, names: set[str]) -> set[str]:
        if any(name.lower().endswith(SUFFIXES) for name in names):
            self.images_changed = True
        if any(name[:1] in "_dDpP" and meant_as_settings(name) is not None for name in names):
            self.defaults_changed = True
        return {self._names.base(name) for name in names}

    # --- what is known ----------------------------------------------------------------------------------

    def entries(self, base: str) -> list[Entry]:
        """Describe the files of one base name."""
        return [self._entry(name) for name in self.groups.names(base)]

    def _entry(self, name: str) -> Entry:
        kind = self._kinds[name]
        if kind is Kind.TEMPORARY:
            return Entry(name, kind, awaits=self._names.awaited(name))
        if name not in self._settling.stamps:
            return Entry(name, kind, since=self.loose.get(name, 0.0))
        stamp = self._settling.stamps[name]
        return Entry(
            name,
            kind,
            since=self._settling.since(name),
            is_settled=self._settling.settled(name) is not None,
            size=stamp[SIZE],
            is_regular=stamp != _NOT_REGULAR,
        )

    def controls(self, clip: str) -> list[str]:
        """Name the control files that would say that a clip is not whole."""
        return self._names.controls(clip, self.rel)

    def settings(self) -> list[tuple[str, Kind]]:
        """Name what is, or was meant to be, the `_defaults.toml` and `_prompt.txt` of this folder."""
        names = [name for name in self._settings if name in self._kinds]
        return [
            (name, self._kinds[name] if self._kinds[name] in _SETTINGS else Kind.NEAR_SETTINGS)
            for name in sorted(names)
            if self._kinds[name] in _SETTINGS or not self.groups.has_clip(name)
        ]

    def kind_of(self, name: str) -> Kind | None:
        """Say what a name in it stands for, None where it is not there."""
        return self._kinds.get(name)

    def has(self, name: str) -> bool:
        """Say whether a file or folder that may have a note is in it."""
        return name in self._kinds or name in self.below or name in self.bundles

    def bases(self) -> list[str]:
        """Every base name there is."""
        return self.groups.bases()

    def settled(self, name: str) -> Stamp | None:
        """Give the stamp of a file that has settled, else None."""
        return self._settling.settled(name)

    def known_since(self, name: str) -> float:
        """Since when, in monotonic seconds, a file is known that is neither clip nor sidecar."""
        return self.loose[name] if name in self.loose else self._settling.since(name)

    def since(self, name: str) -> float:
        """Since when, in monotonic seconds, a known file stands still."""
        return self._settling.since(name)

    def pause(self, name: str) -> float:
        """How many seconds a growing file has stood still at most before it grew on."""
        return self._settling.pause(name)

    def waiting_names(self) -> list[str]:
        """Name the files that may have a note: clips and sidecars."""
        return self.groups.judged()

    def take_fresh_notes(self) -> set[str]:
        """Name the notes that were found since the last call and are there still."""
        fresh, self._fresh_notes = self._fresh_notes & self.notes, set()
        return fresh

    def forget(self, name: str) -> None:
        """Strike out a file that we took or that went, so that a new one of that name starts anew."""
        self._settling.see(name, None, 0.0)
        self._drop({name} & self._kinds.keys())

    def candidates(self) -> list[str]:
        """Name the files that may settle soon."""
        return self._settling.candidates()

    def next_look(self, now: float) -> float:
        """Say when, in monotonic seconds, to look at the candidates again."""
        return self._settling.next_look(now)

    def entry(self, name: str) -> Entry | None:
        """Describe one clip, sidecar, image, or file of settings, if it is there."""
        return self._entry(name) if name in self._settling.stamps else None


def holds_clip(root: Root, rel: Rel, names: Names) -> bool:
    """Say whether a clip lies in a folder or below it, looking at a few hundred entries. Raises OSError."""
    left, open_ends = _ENTRIES_TRIED_MAX, [rel]
    while open_ends:
        rel = open_ends.pop()
        with root.folder(rel) as fd, os.scandir(fd) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    return False
                if entry.is_dir(follow_symlinks=False):
                    open_ends += [join(rel, entry.name)] if names.enters(entry.name, rel) else []
                elif names.kind(entry.name, rel) is Kind.CLIP:
                    return True
    return False
