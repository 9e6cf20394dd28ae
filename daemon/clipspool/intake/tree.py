"""All folders of one inbox as last seen: walked at each rescan, peeked into where something happens."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from math import inf

import structlog

from clipspool.intake.names import Names, readable
from clipspool.intake.pair import Entry
from clipspool.intake.scan import Folder, holds_clip
from clipspool.intake.types import Rules
from clipspool.spool.root import Root, Unavailable
from clipspool.system.atomic import Rel, join, name_of, parent

DEPTH_MAX = 64
PATH_BYTES_MAX = 3500
"""Of a folder that is looked into: `_failed`, a name and its note have to fit behind it into 4,096."""

PASSED_BY = (
    "this folder is not looked into: at the top of an inbox, names that begin with @ or # belong to the NAS; "
    "rename it if its clips are meant"
)

Group = tuple[Rel, str]
"""A folder and a base name: the files that are judged together."""

log = structlog.get_logger()


class Tree:
    """The folders of an inbox, and which groups of files in them have to be judged."""

    def __init__(self, root: Root, rules: Rules, follow: Callable[[set[str], set[str]], None]) -> None:
        """`follow` is told which folders the root has, before they are looked into, and which are new."""
        self.folders: dict[Rel, Folder] = {}
        self.affected: OrderedDict[Group, None] = OrderedDict()  # a plain dict takes long to give its first
        """What has to be judged, first come first served."""
        self.closed: dict[Rel, str] = {}
        """Folders that cannot be opened, and why."""
        self.passed_by: dict[Rel, str] = {}
        """Folders with clips in them that are left out for their first letter alone, and what to do."""
        self.images_changed = False
        """Whether an image came, changed, settled or went; the caller sets it back to False."""
        self.loose: set[Rel] = set()
        """Folders in which something that is neither clip nor sidecar came or went; the caller empties it."""
        self._root = root
        self._rules = rules
        self._names = Names(rules.extensions, rules.ignore)
        self._follow = follow
        self._followed: set[str] = set()
        self._busy: set[Rel] = set()

    def walk(self, now: float) -> None:
        """Look at everything. Raises Unavailable."""
        self._scan("", now, deep=True)
        self.passed_by = dict.fromkeys(self._passed_by_with_clips(), PASSED_BY)

    def _passed_by_with_clips(self) -> Iterator[str]:
        for name in sorted(self.folders[""].passed_by if "" in self.folders else ()):
            try:
                found = holds_clip(self._root, name, self._names)
            except Unavailable:
                raise
            except OSError:  # it went, or is not ours to read
                continue
            if found:
                if name not in self.passed_by:
                    log.warning("folder_passed_by", inbox=self._rules.name, folder=readable(name))
                yield name

    def hear(self, hints: Iterable[Rel], now: float) -> None:
        """Look where something may have changed. Raises Unavailable."""
        files: dict[Rel, set[str]] = {}
        whole: set[Rel] = set()
        for hint in hints:
            if hint in self.folders:
                whole.add(hint)
                continue
            folder = parent(hint)
            if folder in self.folders:
                files.setdefault(folder, set()).add(name_of(hint))
            elif self._is_ours(folder):
                continue
            else:
                while folder and folder not in self.folders:
                    folder = parent(folder)
                whole.add(folder)
        if renewed := {rel for rel in whole if rel and "/" not in rel}:  # it went, and may be back already
            self._follow(self.folders[""].below, renewed)
        for rel in whole:
            self._scan(rel, now)
        for rel, names in files.items():
            if rel not in whole:
                self._peek(rel, names, now)

    def look_again(self, now: float) -> None:
        """Look at what may have settled. Raises Unavailable."""
        for rel in list(self._busy):
            if rel in self.folders:
                self._peek(rel, self.folders[rel].candidates(), now)

    def next_look(self, now: float) -> float:
        """Say when, in monotonic seconds, `look_again` is due."""
        return min((self.folders[rel].next_look(now) for rel in self._busy), default=inf)

    def entry(self, path: Rel) -> Entry | None:
        """Describe one clip, sidecar or image, if it is there and not in a folder that is left out."""
        folder = self.folders.get(parent(path))
        return None if folder is None else folder.entry(name_of(path))

    def suspect(self, rel: Rel, names: Iterable[str], now: float) -> None:
        """Look again at files that turned out to have changed. Raises Unavailable."""
        if rel in self.folders:
            self._peek(rel, names, now)

    def pause(self) -> str:
        """Give the `_pause` that lies in the inbox itself; empty where none does."""
        root = self.folders.get("")
        return min(root.pauses, default="") if root is not None else ""

    def pause_above(self, rel: Rel) -> Rel | None:
        """Give the `_pause` that holds back the clips of a folder: one in it, or in a folder above it."""
        path: Rel = ""
        for part in ("", *rel.split("/")) if rel else ("",):
            path = join(path, part)
            folder = self.folders.get(path)
            if folder is not None and folder.pauses:
                return join(path, min(folder.pauses))
        return None

    def affect_all(self, below: Rel = "") -> None:
        """Have everything judged again, in a folder and those below it."""
        for rel, folder in self.folders.items():
            if not below or rel == below or rel.startswith(below + "/"):
                self.affected.update(dict.fromkeys((rel, base) for base in folder.bases()))

    def _is_ours(self, rel: Rel) -> bool:
        names = rel.split("/")
        return not all(self._names.enters(name, "/".join(names[:i])) for i, name in enumerate(names) if name)

    def _scan(self, rel: Rel, now: float, *, deep: bool = False) -> None:
        """Look at a folder, and at those in it: the new ones, or with `deep` all."""
        open_ends = [rel]
        while open_ends:
            rel = open_ends.pop()
            folder = self.folders.get(rel)
            if folder is None:
                folder = self.folders[rel] = Folder(rel, self._names, self._rules.settle_seconds)
            before = folder.below
            if not self._look(folder, lambda f: f.scan(self._root, now)):
                continue
            if not rel:
                self._follow(folder.below, folder.below - self._followed)
                self._followed = set(folder.below)
            for name in before - folder.below:
                self._forget(join(rel, name))
            if not _is_deepest(rel):
                children = (join(rel, name) for name in sorted(folder.below))
                open_ends += [child for child in children if deep or child not in self.folders]

    def _peek(self, rel: Rel, names: Iterable[str], now: float) -> None:
        folder = self.folders[rel]
        before = folder.below
        self._look(folder, lambda f: f.peek(self._root, names, now))
        if folder.below != before:
            self._scan(rel, now)

    def _look(self, folder: Folder, look: Callable[[Folder], set[str]]) -> bool:
        rel = folder.rel
        try:
            bases = look(folder)
        except Unavailable:
            raise
        except (FileNotFoundError, NotADirectoryError):
            self._forget(rel)
            return False
        except OSError as error:
            if not rel:
                raise Unavailable(
                    error.errno, f"{self._root.path} cannot be read: {error.strerror}"
                ) from error
            if rel not in self.closed:
                log.warning(
                    "folder_not_opened", inbox=self._rules.name, folder=readable(rel), reason=error.strerror
                )
            self.closed[rel] = f"this folder cannot be opened: {error.strerror}"
            return False
        self.closed.pop(rel, None)
        if folder.below and _is_deepest(rel):
            self.closed[rel] = "the folders in this one are not looked into: they are nested too deep"
        self.affected.update(dict.fromkeys((rel, base) for base in sorted(bases)))
        if folder.defaults_changed:
            folder.defaults_changed = False
            self.affect_all(rel)
        if folder.images_changed:
            folder.images_changed = False
            self.images_changed = True
        if folder.loose_changed:
            folder.loose_changed = False
            self.loose.add(rel)
        if folder.candidates():
            self._busy.add(rel)
        else:
            self._busy.discard(rel)
        return True

    def _forget(self, rel: Rel) -> None:
        """Strike out a folder that is gone, and those that were below it; it may be back at once."""
        self.closed.pop(rel, None)
        self._followed.discard(rel)
        if above := self.folders.get(parent(rel)):
            above.below = above.below - {name_of(rel)}
        for path in list(self._at_and_below(rel)):
            folder = self.folders.pop(path)
            self.loose.add(path)
            self._busy.discard(path)
            self.affected.update(dict.fromkeys((path, base) for base in folder.bases()))

    def _at_and_below(self, rel: Rel) -> Iterator[Rel]:
        for path in self.folders:
            if path == rel or path.startswith(rel + "/"):
                yield path


def _is_deepest(rel: Rel) -> bool:
    return rel.count("/") >= DEPTH_MAX or len(os.fsencode(rel)) > PATH_BYTES_MAX
