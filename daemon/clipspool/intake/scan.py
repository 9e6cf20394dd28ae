"""Looks into one folder of an inbox: which files are there, and what is known of them from look to look."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from clipspool.files import Rel, is_claimed_name, is_temporary, join
from clipspool.intake.names import DEFAULTS, Kind, Names
from clipspool.intake.pair import Entry
from clipspool.intake.references import SUFFIXES
from clipspool.intake.settle import SIZE, Settling, Stamp, stamp_of
from clipspool.root import Root

_STAMPED = frozenset({Kind.CLIP, Kind.SIDECAR, Kind.DEFAULTS, Kind.IMAGE})
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
        """Whether its `_defaults.toml` came, changed, settled or went; the caller sets it back to False."""
        self.images_changed = False
        """The same of an image in it."""
        self._fresh_notes: set[str] = set()
        self._names = names
        self._kinds: dict[str, Kind] = {}
        self._settling = Settling(settle_seconds)
        self._groups: dict[str, set[str]] = {}

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
                if kind not in _STAMPED:
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
        self.below = {name for name in below if self._names.enters(name, self.rel)}
        self.passed_by = {name for name in below - self.below if self._names.passes_by(name, self.rel)}
        affected = self._settling.see_all(stamps, now)
        affected |= self._enroll(fresh)
        if len(stamps) + len(others) != len(kinds):
            affected |= self._drop(kinds.keys() - stamps.keys() - others)
        return self._bases(affected)

    def peek(self, root: Root, names: Iterable[str], now: float) -> set[str]:
        """Look at some files only; as `scan`, and by it where that is cheaper or one is a folder."""
        names = set(names)
        if len(names) > _TARGETED_LOOKS_MAX and 4 * len(names) > len(self._kinds):
            return self.scan(root, now)
        affected: set[str] = set()
        with root.folder(self.rel) as fd:
            for name in names:
                try:
                    seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except OSError:
                    if name in self.below:
                        break
                    if self._settling.see(name, None, now):
                        affected.add(name)
                    affected |= self._drop({name} & self._kinds.keys())
                    continue
                if stat.S_ISDIR(seen.st_mode):
                    if name in self.below or not self._names.enters(name, self.rel):
                        continue
                    break
                if name not in self._kinds:
                    self._kinds[name] = self._names.kind(name, self.rel)
                    affected |= self._enroll({name})
                if self._kinds[name] in _STAMPED:
                    stamp = stamp_of(seen) if stat.S_ISREG(seen.st_mode) else _NOT_REGULAR
                    if self._settling.see(name, stamp, now):
                        affected.add(name)
            else:
                return self._bases(affected)
        return self._bases(affected) | self.scan(root, now)

    def _enroll(self, fresh: Iterable[str]) -> set[str]:
        """Put new names in their groups; give those that matter to others though they have no stamp."""
        temporaries = set()
        for name in fresh:
            kind = self._kinds[name]
            if kind is Kind.NOTE:
                self.notes.add(name)
                self._fresh_notes.add(name)
            elif kind is Kind.IGNORED and is_temporary(name):
                self.temporaries.add(name)
            elif kind is Kind.IGNORED and is_claimed_name(name):
                self.claimed.add(name)
            elif kind is Kind.TEMPORARY or kind in _STAMPED:
                self._groups.setdefault(self._names.base(name), set()).add(name)
                if kind is Kind.TEMPORARY:
                    temporaries.add(name)
        return temporaries

    def _drop(self, names: set[str]) -> set[str]:
        for name in names:
            self._kinds.pop(name, None)
            self.notes.discard(name)
            self.temporaries.discard(name)
            self.claimed.discard(name)
            base = self._names.base(name)
            group = self._groups.get(base)
            if group is not None:
                group.discard(name)
                if not group:
                    del self._groups[base]
        return names

    def _bases(self, names: set[str]) -> set[str]:
        if any(name.lower().endswith(SUFFIXES) for name in names):
            self.images_changed = True
        if DEFAULTS in names:
            self.defaults_changed = True
        return {self._names.base(name) for name in names}

    # --- what is known ----------------------------------------------------------------------------------

    def entries(self, base: str) -> list[Entry]:
        """Describe the files of one base name."""
        return [self._entry(name) for name in self._groups.get(base, ())]

    def _entry(self, name: str) -> Entry:
        kind = self._kinds[name]
        if kind is Kind.TEMPORARY:
            return Entry(name, kind, awaits=self._names.awaited(name))
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

    def bases(self) -> list[str]:
        """Every base name there is."""
        return list(self._groups)

    def settled(self, name: str) -> Stamp | None:
        """Give the stamp of a file that has settled, else None."""
        return self._settling.settled(name)

    def since(self, name: str) -> float:
        """Since when, in monotonic seconds, a known file stands still."""
        return self._settling.since(name)

    def waiting_names(self) -> list[str]:
        """Name the files that may have a note: clips and sidecars."""
        return [name for group in self._groups.values() for name in group]

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
        """Describe one clip, sidecar, `_defaults.toml` or image, if it is there."""
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
