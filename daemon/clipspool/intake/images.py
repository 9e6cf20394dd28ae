"""Finds the reference images of clips among what lies in an inbox, also where they are spelled otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from clipspool.intake.names import stem
from clipspool.intake.near import folded, loose
from clipspool.intake.pair import Entry
from clipspool.intake.tree import Tree
from clipspool.system.atomic import Rel, join, name_of, parent

_NAMES_MAX = 500


class Images:
    """The images of one inbox, and which of them clips have referred to."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._used: set[Rel] = set()

    def find(self, paths: Sequence[Rel]) -> Rel | None:
        """Give the first path at which an image lies, else the one image that differs from it in letter case.

        None where there is none, or where several are spelled like that.
        """
        path = next((path for path in paths if self.entry(path) is not None), None)
        if path is None:
            wanted = {folded(path) for path in paths}
            found = [path for path in self._in({folded(parent(p)) for p in paths}) if folded(path) in wanted]
            path = found[0] if len(found) == 1 else None
        if path is not None:
            self._used.add(path)
        return path

    def like(self, paths: Sequence[Rel]) -> Rel | None:
        """Give an image that was perhaps meant."""
        names = {loose(folded(stem(name_of(path)))) for path in paths}
        found = {
            loose(folded(stem(name_of(path)))): path for path in self._in({folded(parent(p)) for p in paths})
        }
        close = (get_close_matches(name, list(found)[:_NAMES_MAX], n=1) for name in sorted(names))
        return next((found[one[0]] for one in close if one), None)

    def _in(self, folders: Iterable[str]) -> Iterator[Rel]:
        for rel, folder in self._tree.folders.items():
            if folded(rel) in folders:
                yield from (join(rel, name) for name in sorted(folder.images))

    def entry(self, path: Rel) -> Entry | None:
        """Describe an image, if it is there and not in a folder that is left out."""
        return self._tree.entry(path)

    def is_used(self, path: Rel) -> bool:
        """Say whether a clip referred to an image."""
        return path in self._used
