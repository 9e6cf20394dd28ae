"""A dropped timeline, and the clips in its inbox that it shows."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Self

from clipspool.intake.examine import Ready
from clipspool.intake.kinds import UNREAD_TIMELINES, stem, suffix_of
from clipspool.intake.names import Kind
from clipspool.intake.near import folded
from clipspool.intake.scan import Folder
from clipspool.intake.settle import Stamp
from clipspool.intake.sidecar.layers import Wanted
from clipspool.intake.sidecar.parse import Layer
from clipspool.intake.sidecar.references import spellings
from clipspool.intake.tree import Tree
from clipspool.intake.types import Rules
from clipspool.jobs.model import Request
from clipspool.media.timelines import Cut, NoTimeline, OtherXml
from clipspool.spool.root import Root
from clipspool.spool.timelines import Plan, PlannedCut
from clipspool.system.atomic import Rel, join, name_of, parent
from clipspool.system.redaction import readable


@dataclass(frozen=True, slots=True)
class Medium:
    """A clip in the inbox that the timeline shows, and the cuts of it."""

    path: Rel
    cuts: tuple[Cut, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a timeline shows of the clips that are there."""

    media: list[Medium]
    missing: list[Cut]
    """The marked cuts whose clip is not there."""
    doubtful: list[tuple[Cut, list[Rel]]]
    """The cuts that may show any of several clips of one name."""

    @property
    def paths(self) -> frozenset[Rel]:
        """All clips that it shows, or may show."""
        doubtful = (path for _, paths in self.doubtful for path in paths)
        return frozenset((*(medium.path for medium in self.media), *doubtful))


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a timeline: its cuts, or why it cannot be read."""

    stamp: Stamp
    cuts: Sequence[Cut] = ()
    names: frozenset[str] = frozenset()
    """The names of the files that it shows, folded."""
    fault: NoTimeline | None = None

    @classmethod
    def of(cls, stamp: Stamp, cuts: Sequence[Cut]) -> Self:
        """Return the reading of a timeline with these cuts."""
        return cls(stamp, cuts, frozenset(name for cut in cuts for name in _names_of(cut)))

    @property
    def may_show_any(self) -> bool:
        """Whether nothing is known of its cuts, so that it may show any clip."""
        return self.fault is not None and not isinstance(self.fault, OtherXml)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A settled timeline: its folder, itself, its sidecar, and what they hold."""

    folder: Folder
    path: Rel
    stamp: Stamp
    sidecar: Rel | None
    document: bytes
    settings: bytes
    layer: Layer | None
    cuts: Sequence[Cut]

    @property
    def id(self) -> str:
        """The same at each look, and another one for the same file dropped again."""
        which = repr((self.path, self.stamp)).encode("utf-8", "surrogateescape")
        return hashlib.sha256(which).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Made:
    """A medium that passed every check, and its cuts as they are planned."""

    ready: Ready
    cuts: tuple[PlannedCut, ...]


def unread_in(folder: Folder) -> set[str]:
    """Return the timelines in a folder, packages too, that are of a kind that is not read."""
    packages = {name for name in folder.bundles if suffix_of(name) in UNREAD_TIMELINES}
    return folder.unread_timelines | packages


def plan_for(
    dropped: Dropped,
    made: Sequence[Made],
    known: Plan | None,
    claimed: Collection[Rel],
    price: Callable[[Request, Mapping[str, Any]], float | None],
) -> Plan:
    """Return what is written down of a timeline; `claimed` are media that a look before this one accepted."""
    cuts = {cut.number: cut for cut in (known.cuts if known else ()) if cut.clip in claimed}
    cuts |= {cut.number: cut for one in made for cut in one.cuts}
    for cut in dropped.cuts:
        if cut.mark is not None and cut.number not in cuts:
            why = cut.refusal or "its media was removed before it was accepted"
            cuts[cut.number] = PlannedCut(number=cut.number, name=cut.name, why=why)
    prices = [price(request, one.ready.media) for one in made for _, request in one.ready.requests]
    total = None if None in prices else sum(one or 0.0 for one in prices)
    return Plan(
        id=dropped.id,
        path=dropped.path,
        sidecar=dropped.sidecar,
        cuts=tuple(cuts[number] for number in sorted(cuts)),
        unmarked=sum(cut.mark is None for cut in dropped.cuts),
        credits=known.credits if known else total,
    )


class Media:
    """Looks clips up as timelines name them: by a path of any machine, or by the file name alone."""

    def __init__(self, root: Root, rules: Rules, tree: Tree) -> None:
        self._root, self._rules, self._tree = root, rules, tree

    def shown(self, cuts: Sequence[Cut], folder: Rel) -> Shown:
        """Return the clips that a timeline in `folder` shows."""
        index = self._index(folder)
        found: dict[Rel, list[Cut]] = defaultdict(list)
        shown = Shown([], [], [])
        for cut in cuts:
            paths = self._find(cut, folder, index)
            if len(paths) == 1:
                found[paths[0]].append(cut)
            elif paths:
                shown.doubtful.append((cut, paths))
            elif cut.mark is not None and not cut.refusal:
                shown.missing.append(cut)
        shown.media.extend(Medium(path, tuple(its)) for path, its in found.items())
        return shown

    def marked_twice(self, timeline: Rel, wanted: Collection[Rel], read: Mapping[Rel, Reading]) -> str:
        """Return which of its clips another timeline marks too; empty for none.

        Whichever came first would take them from the other, which might be the newer version.
        """
        for other, reading in read.items():
            marked = [cut for cut in reading.cuts if cut.mark is not None and not cut.refusal]
            shown = self.shown(marked, parent(other)).paths if other != timeline else frozenset[Rel]()
            if both := sorted(shown.intersection(wanted)):
                more = f" and {len(both) - 1} more" if len(both) > 1 else ""
                why = f"`{readable(name_of(other))}` marks `{readable(name_of(both[0]))}`{more} too"
                return f"{why}: remove one of the two, or put it into a folder with copies of its clips"
        return ""

    def _index(self, below: Rel) -> dict[str, list[Rel]]:
        """Return the clips in a folder and those below it by their names and stems."""
        index: dict[str, list[Rel]] = defaultdict(list)
        within = f"{below}/" if below else ""
        for rel, folder in self._tree.folders.items():
            for name in folder.judged_names() if f"{rel}/".startswith(within) else ():
                if folder.kind_of(name) is Kind.CLIP:
                    index[folded(name)].append(join(rel, name))
                    index[f"{folded(stem(name))}/"].append(join(rel, name))
        return index

    def _find(self, cut: Cut, folder: Rel, index: Mapping[str, list[Rel]]) -> list[Rel]:
        """Return the clip that a cut shows: by its path, else by its file name, else by its name alone.

        Of clips with one name it is the one whose folders are named as in the timeline's path, else the
        nearest one; several where that does not tell: cameras number their clips anew on each card.
        """
        for entry in cut.media:
            for path in Wanted(entry, folder, "").paths(self._rules.places, str(self._root.path)):
                seen = self._tree.entry(path)
                if seen is not None and seen.kind is Kind.CLIP:
                    return [path]
        names = _names_of(cut)
        by_name = (index.get(name) for name in names)
        by_stem = (index.get(f"{name}/") for name in names if suffix_of(name) not in self._rules.extensions)
        found = next(filter(None, (*by_name, *by_stem)), [])
        ranks = {path: (-_parts_alike(path, cut), path.count("/")) for path in found}
        return sorted(path for path in found if ranks[path] == min(ranks.values()))


def _parts_alike(path: Rel, cut: Cut) -> int:
    """Return how many folders above a clip have the names that they have in the timeline's path."""
    own = folded(path).split("/")[-2::-1]
    named = (folded(one).split("/")[-2::-1] for entry in cut.media for one in spellings(entry))
    alike = (takewhile(lambda pair: pair[0] == pair[1], zip(own, parts, strict=False)) for parts in named)
    return max((len(list(pairs)) for pairs in alike), default=0)


def _names_of(cut: Cut) -> list[str]:
    """Return the file names, folded, under which a cut's media may be found."""
    paths = [one for entry in cut.media for one in spellings(entry)]
    return [folded(one.rstrip("/").rpartition("/")[2]) for one in paths]
