"""Keeps all folders of one inbox as last seen: rescans walk them, hints make it check single files."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from math import inf

import structlog

from clipspool.intake.kinds import stem
from clipspool.intake.names import Names
from clipspool.intake.near import folded, loose
from clipspool.intake.pair import Entry
from clipspool.intake.scan import Folder
from clipspool.intake.types import Rules
from clipspool.intake.unwatched import with_clips
from clipspool.media.stills import lacks_end
from clipspool.spool.guard import Unavailable
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel, join, name_of, parent
from clipspool.system.mounts import FolderMarks
from clipspool.system.redaction import readable

DEPTH_MAX = 64
PATH_BYTES_MAX = 3500
"""Longest path of a folder that is searched: `_failed`, a name and its note must fit behind it into 4,096."""
IMAGE_BYTES_MAX = 256 << 20
"""8,000 x 8,000 incompressible pixels; each image is copied while the inbox's other clips wait."""
_IMAGES_COMPARED_MAX = 500
_IMAGES_SEARCHED_MAX = 2000

PASSED_BY = (
    "this folder is not looked into: at the top of an inbox, names that begin with @ or # belong to the NAS; "
    "rename it if its clips should be accepted"
)

Group = tuple[Rel, str]
"""A folder and a base name: the files that are judged together."""

log = structlog.get_logger()


def up_to(rel: Rel) -> Iterator[Rel]:
    """Yield the inbox, and every folder on the way to this one, which comes last."""
    names = rel.split("/") if rel else []
    return ("/".join(names[:depth]) for depth in range(len(names) + 1))


class Tree:
    """The folders of an inbox, and which groups of files in them must be judged."""

    def __init__(
        self,
        root: Root,
        rules: Rules,
        follow: Callable[[set[str], set[str]], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`follow` gets the names of the top folders before they are searched, and which of them are new.

        `now` is Unix time in seconds, as the file system has it.
        """
        self.folders: dict[Rel, Folder] = {}
        self.affected: OrderedDict[Group, None] = (
            OrderedDict()
        )  # a plain dict is slow to return its first key
        """Groups that must be judged, in order of arrival."""
        self.closed: dict[Rel, str] = {}
        """Folders that cannot be opened, and why."""
        self.passed_by: dict[Rel, str] = {}
        """Folders with clips that are skipped only for their first letter, and what to do."""
        self._root = root
        self._rules = rules
        self._names = Names(rules.extensions, rules.ignore)
        self._follow = follow
        self._marks = FolderMarks(now)
        self._followed: set[str] = set()
        self._busy: set[Rel] = set()
        self._have_images_changed = False
        self._loose: set[Rel] = set()

    def walk(self, now: float) -> None:
        """Scan everything. Raises Unavailable."""
        self._marks.forget_mounts()
        self._scan("", now, deep=True)
        skipped = self.folders[""].passed_by if "" in self.folders else ()
        found = dict.fromkeys(with_clips(self._root, skipped, self._names), PASSED_BY)
        for name in found.keys() - self.passed_by.keys():
            log.warning("folder_passed_by", inbox=self._rules.name, folder=readable(name))
        self.passed_by = found

    def follow_hints(self, hints: Iterable[Rel], now: float) -> None:
        """Check where something may have changed. Raises Unavailable."""
        files: dict[Rel, set[str]] = {}
        whole: set[Rel] = set()
        for hint in hints:
            folder = parent(hint)
            if hint in self.folders:
                whole.add(hint)
            elif folder in self.folders:
                files.setdefault(folder, set()).add(name_of(hint))
            elif not self._is_left_out(folder):
                while folder and folder not in self.folders:
                    folder = parent(folder)
                whole.add(folder)
        if renewed := {rel for rel in whole if rel and "/" not in rel}:  # it went, and may be back already
            self._follow(self.folders[""].below, renewed)
        for rel in whole:
            self._scan(rel, now)
        for rel in files.keys() - whole:
            self.check_files(rel, files[rel], now)

    def check_unsettled(self, now: float) -> None:
        """Check the files that may have settled. Raises Unavailable."""
        for rel in list(self._busy):
            if rel in self.folders:
                self.check_files(rel, self.folders[rel].candidates(), now)

    def next_look(self, now: float) -> float:
        """Return when, in monotonic seconds, `check_unsettled` is due."""
        return min((self.folders[rel].next_look(now) for rel in self._busy), default=inf)

    def has_pictures(self, rel: Rel) -> bool:
        """Return whether a folder that is searched holds the numbered pictures of a film."""
        folder = self.folders.get(rel)
        return folder is not None and bool(folder.picture_runs())

    def base(self, name: str) -> str:
        """Return the base name of a file: the group in which it is judged."""
        return self._names.base(name)

    def entry(self, path: Rel) -> Entry | None:
        """Return one clip, sidecar or image, if it exists in a folder that is searched."""
        folder = self.folders.get(parent(path))
        return None if folder is None else folder.entry(name_of(path))

    def pause_in(self, rel: Rel = "") -> Rel | None:
        """Return the `_pause` that holds back a folder's clips: one in it, or in a folder above it."""
        folders = (self.folders.get(path) for path in up_to(rel))
        pausing = ((f.rel, f.pausing()) for f in folders if f is not None)
        return next((join(path, min(names)) for path, names in pausing if names), None)

    def affect_all(self, below: Rel = "") -> None:
        """Have everything judged again in a folder and those below it."""
        for rel in self._at_and_below(below) if below else self.folders:
            self._affect(rel, self.folders[rel].bases())

    def _affect(self, rel: Rel, bases: Iterable[str]) -> None:
        self.affected.update(dict.fromkeys((rel, base) for base in bases))

    def take_images_changed(self) -> bool:
        """Return whether an image came, changed, settled or went since the last call."""
        have_changed, self._have_images_changed = self._have_images_changed, False
        return have_changed

    def take_loose(self) -> set[Rel]:
        """Return the folders in which a file that is neither clip nor sidecar came or went since."""
        folders, self._loose = self._loose, set()
        return folders

    def _is_left_out(self, rel: Rel) -> bool:
        return not all(self._names.enters(name_of(path), parent(path)) for path in up_to(rel) if path)

    def _scan(self, rel: Rel, now: float, *, deep: bool = False) -> None:
        """Scan a folder, and those in it: only new ones, or all with `deep`."""
        pending = [rel]
        while pending:
            rel = pending.pop()
            folder = self.folders.get(rel)
            if folder is None:
                folder = self.folders[rel] = Folder(rel, self._names, self._rules.settle_seconds, self._marks)
            before = folder.below
            if not self._update(folder, lambda f: f.scan(self._root, now)):
                continue
            if not rel:
                self._follow(folder.below, folder.below - self._followed)
                self._followed = set(folder.below)
            for name in before - folder.below:
                self._forget(join(rel, name))
            if not _is_deepest(rel):
                children = (join(rel, name) for name in sorted(folder.below))
                pending += [child for child in children if deep or child not in self.folders]

    def check_files(self, rel: Rel, names: Iterable[str], now: float) -> None:
        """Check some files of a folder. Raises Unavailable."""
        if (folder := self.folders.get(rel)) is None:
            return
        before = folder.below
        self._update(folder, lambda f: f.peek(self._root, names, now))
        if folder.below != before:
            self._scan(rel, now)

    def _update(self, folder: Folder, look: Callable[[Folder], set[str]]) -> bool:
        """Scan or check a folder and record what follows; return whether it could be read."""
        rel = folder.rel
        try:
            bases = look(folder)
        except Unavailable:
            raise
        except (FileNotFoundError, NotADirectoryError):
            self._forget(rel)
            return False
        except OSError as error:
            why = error.strerror
            if not rel:
                raise Unavailable(error.errno, f"{self._root.path} cannot be read: {why}") from error
            if rel not in self.closed:
                log.warning("folder_not_opened", inbox=self._rules.name, folder=readable(rel), reason=why)
            todo = "; let clipspool read and write in it" if isinstance(error, PermissionError) else ""
            self.closed[rel] = f"this folder cannot be opened: {why}{todo}"
            return False
        self.closed.pop(rel, None)
        if folder.below and _is_deepest(rel):
            self.closed[rel] = "the folders in this one are not looked into: they are nested too deep"
        self._affect(rel, sorted(bases))
        changes = folder.take_changes()
        if changes.settings:
            self.affect_all(rel)
        self._have_images_changed |= changes.images
        if changes.loose:
            self._loose.add(rel)
        if changes.loose or changes.images:
            self._affect_as_clip(rel)
        # What is said of a folder of pictures depends on whether it has a sidecar.
        named = (join(rel, name) for base in bases if (name := folder.groups.folder(base)))
        self._loose.update(path for path in named if path in self.folders)
        (self._busy.add if folder.candidates() else self._busy.discard)(rel)
        return True

    def _affect_as_clip(self, rel: Rel) -> None:
        """Have a folder of pictures judged again, if it has a sidecar beside it."""
        above = self.folders.get(parent(rel)) if rel else None
        if above is not None and above.groups.folder_with_sidecar(base := self._names.base(name_of(rel))):
            self._affect(above.rel, (base,))

    def is_clip(self, rel: Rel) -> bool:
        """Return whether a folder is meant as one clip: it holds numbered pictures, and has a sidecar."""
        above = self.folders.get(parent(rel)) if rel else None
        base = self._names.base(name_of(rel))
        return (
            above is not None
            and above.groups.folder_with_sidecar(base) == name_of(rel)
            and self.has_pictures(rel)
        )

    def forget(self, rel: Rel) -> None:
        """Drop a folder that was accepted as a clip."""
        if rel in self.folders:
            self._forget(rel)

    def _forget(self, rel: Rel) -> None:
        """Drop a folder that went, and those below it; it may be back at once."""
        self._affect_as_clip(rel)
        self.closed.pop(rel, None)
        self._followed.discard(rel)
        if above := self.folders.get(parent(rel)):
            above.forget_folder(name_of(rel))
        for path in self._at_and_below(rel):
            self._affect(path, self.folders.pop(path).bases())
            self._loose.add(path)
            self._busy.discard(path)

    def _at_and_below(self, rel: Rel) -> list[Rel]:
        return [path for path in self.folders if path == rel or path.startswith(rel + "/")]


def _is_deepest(rel: Rel) -> bool:
    return rel.count("/") >= DEPTH_MAX or len(os.fsencode(rel)) > PATH_BYTES_MAX


class Images:
    """Finds the reference images of clips in one inbox, also when their names are spelled differently."""

    def __init__(self, root: Root, tree: Tree) -> None:
        self._root, self._tree = root, tree
        self._used: set[Rel] = set()
        self.entry = tree.entry

    def find(self, paths: Sequence[Rel]) -> Rel | None:
        """Return the first path at which an image exists, else the one image with that name in another case.

        None if there is none, or several in another case.
        """
        path = next((path for path in paths if self.entry(path) is not None), None)
        if path is None:
            wanted = {folded(path) for path in paths}
            found = [path for path in self._beside(paths) if folded(path) in wanted]
            path = found[0] if len(found) == 1 else None
        if path is not None:
            self._used.add(path)
        return path

    def trouble(self, image: Entry | None, paths: Sequence[Rel]) -> str:
        """Return why an image cannot be used, and which one may be meant; empty where it can be."""
        if image is None:
            like = self.like(paths)
            meant = f"; did you mean `{readable(like)}`?" if like is not None else ""
            return f"which is not in the inbox (yet){meant}"
        if not image.is_regular:
            return "which is a link or a device"
        if image.size > IMAGE_BYTES_MAX:
            return f"which is larger than {IMAGE_BYTES_MAX >> 20} MB; export the image smaller"
        return ""

    def coming(self, image: Entry, path: Rel) -> str:
        """Return why an image may still be on its way; empty where it is whole. Raises OSError."""
        if not image.is_settled:
            return "empty" if image.is_empty else "still changing"
        with self._root.open(path) as file:
            return "not whole, its end is missing" if lacks_end(file, image.size) else ""

    def like(self, paths: Sequence[Rel]) -> Rel | None:
        """Return an image that may be meant."""
        names = {loose(folded(stem(name_of(path)))) for path in paths}
        found = {loose(folded(stem(name_of(path)))): path for path in self._beside(paths)}
        close = (get_close_matches(name, list(found)[:_IMAGES_COMPARED_MAX], n=1) for name in sorted(names))
        return next((found[one[0]] for one in close if one), None) or self._named_so(paths)

    def _named_so(self, paths: Sequence[Rel]) -> Rel | None:
        """Return the one image of that very name in another folder; None for none, or several."""
        wanted = {folded(name_of(path)) for path in paths}
        images = (join(rel, name) for rel, folder in self._tree.folders.items() for name in folder.images)
        some = islice(images, _IMAGES_SEARCHED_MAX)
        found = [path for path in some if folded(name_of(path)) in wanted]
        return found[0] if len(found) == 1 else None

    def _beside(self, paths: Sequence[Rel]) -> Iterator[Rel]:
        folders = {folded(parent(path)) for path in paths}
        for rel, folder in self._tree.folders.items():
            if folded(rel) in folders:
                yield from (join(rel, name) for name in sorted(folder.images))

    def is_used(self, path: Rel) -> bool:
        """Return whether a clip refers to an image."""
        return path in self._used
