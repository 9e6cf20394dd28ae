"""Groups the names in one folder: those of one clip, and similar ones that may belong to it; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clipspool.intake.names import Kind, Names
from clipspool.intake.near import is_typo_of

LOOSE = frozenset({Kind.PROMPT, Kind.NEAR, Kind.COMING, Kind.OTHER})
"""Files that are judged only beside a clip or a sidecar of the same name; the others get notes."""
_SIDECARS = frozenset({Kind.SIDECAR, Kind.PROMPT, Kind.NEAR})
_CLIPS = frozenset({Kind.CLIP, Kind.TEMPORARY})
_SIMILAR_MAX = 200
"""In a folder with more names typing errors are not searched for."""


@dataclass(slots=True)
class Changes:
    """What came, changed, settled or went in a folder since `take_changes` was last called."""

    settings: bool = False
    """`_defaults.toml`, `_prompt.txt` or `_pause`."""
    images: bool = False
    loose: bool = False
    """A file that is neither clip nor sidecar, or a program's package."""


class Groups:
    """The groups of one folder, by base name; it knows names only, never files."""

    def __init__(self, names: Names) -> None:
        self.prompts: set[str] = set()
        """Every `.txt` that is read, because a clip or a sidecar has the same name."""
        self._names = names
        self._kinds: dict[str, Kind] = {}
        self._groups: dict[str, set[str]] = {}
        self._beside: dict[str, set[str]] = {}
        """Loose files by base name."""
        self._alike: dict[str, set[str]] = {}
        """Base names by their loose form."""

    def add(self, name: str, kind: Kind) -> bool:
        """Add a name; return whether it belongs to a group that is judged."""
        base = self._names.base(name)
        self._kinds[name] = kind
        if kind in LOOSE:
            self._beside.setdefault(base, set()).add(name)
            if base in self._groups:
                self._read_prompts(base)
            elif kind is not Kind.OTHER:
                self._alike.setdefault(self._names.loose(base), set()).add(base)
            return base in self._groups
        if base not in self._groups:
            self._groups[base] = set()
            self._alike.setdefault(self._names.loose(base), set()).add(base)
            self._read_prompts(base)
        self._groups[base].add(name)
        return True

    def _read_prompts(self, base: str) -> None:
        self.prompts.update(n for n in self._beside.get(base, ()) if self._kinds[n] is Kind.PROMPT)

    def drop(self, name: str) -> bool:
        """Remove a name; return whether loose files of its base name are left."""
        if self._kinds.pop(name, None) is None:
            return False
        self.prompts.discard(name)
        base = self._names.base(name)
        for groups in (self._groups, self._beside):
            _discard(groups, base, name)
        if base not in self._groups and base not in self._beside:
            _discard(self._alike, self._names.loose(base), base)
        return base in self._beside

    def names(self, base: str) -> list[str]:
        """Return the files of one base name, including loose ones."""
        return [*self._groups.get(base, ()), *self._beside.get(base, ())]

    def is_alone(self, name: str) -> bool:
        """Return whether no other file has the base name of this one."""
        base = self._names.base(name)
        return len(self._groups.get(base, ())) + len(self._beside.get(base, ())) == 1

    def bases(self) -> list[str]:
        """Return every base name that is judged."""
        return list(self._groups)

    def judged(self) -> list[str]:
        """Return the files that are judged: clips, sidecars, images."""
        return [name for group in self._groups.values() for name in group]

    def has_clip(self, name: str) -> bool:
        """Return whether a clip, or a file that announces one, has the same base name."""
        return any(self._kinds[other] in _CLIPS for other in self._groups.get(self._names.base(name), ()))

    def folder_with_sidecar(self, base: str) -> str:
        """Return a folder beside which a sidecar or prompt, and no clip, has its name; empty for none."""
        kinds = {self._kinds[name] for name in self.names(base)}
        is_alone = bool(kinds & _CLIPS) or not kinds & {Kind.SIDECAR, Kind.PROMPT}
        return "" if is_alone else self.folder(base)

    def folder(self, base: str) -> str:
        """Return a folder with that base name; empty for none."""
        return next((name for name in self.names(base) if self._kinds[name] is Kind.FOLDER), "")

    def similar(self, base: str, wanted: Kind, *, with_typos: bool) -> list[str]:
        """Return lone sidecars, or lone clips, that may be meant by a base name."""
        loosely = self._names.loose(base)
        found = self._lone(self._alike.get(loosely, set()) - {base}, wanted)
        if not found and with_typos and len(self._alike) <= _SIMILAR_MAX:
            alike = [bases for other, bases in self._alike.items() if is_typo_of(loosely, other)]
            found = self._lone(set().union(*alike) - {base}, wanted)
        return found

    def similar_clip(self, name: str) -> str:
        """Return a clip without a sidecar that a file's name may be meant for; empty for none."""
        clips = self.similar(self._names.base(name), Kind.CLIP, with_typos=True)
        return clips[0] if clips else ""

    def _lone(self, bases: Iterable[str], wanted: Kind) -> list[str]:
        found = []
        for base in sorted(bases):
            names = self.names(base)
            clips = sorted(name for name in names if self._kinds[name] is Kind.CLIP)
            sidecars = sorted(name for name in names if self._kinds[name] in _SIDECARS)
            if not (clips and sidecars):
                found += clips if wanted is Kind.CLIP else sidecars
        return found


def _discard(groups: dict[str, set[str]], key: str, member: str) -> None:
    if key in groups:
        groups[key].discard(member)
        if not groups[key]:
            del groups[key]
