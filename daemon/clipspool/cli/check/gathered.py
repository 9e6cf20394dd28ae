"""Quotes what is more than one file for `clipspool check`: a folder of numbered pictures, and a timeline."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from clipspool.app.quoting import Quoter, read_prompt
from clipspool.intake.advice import HOW_TO_EXPORT
from clipspool.intake.kinds import TIMELINES, UNREAD_TIMELINES, card_in, suffix_of
from clipspool.intake.names import TOML, TXT, Names
from clipspool.intake.pair import Entry
from clipspool.intake.sequences import not_alone, odd_count
from clipspool.intake.sidecar.layers import preset_of
from clipspool.intake.sidecar.parse import BYTES_MAX, Layer, parse
from clipspool.intake.sidecar.presets import finder
from clipspool.intake.timeline_cuts import (
    HOW_TO_MARK,
    nearly_its_sidecar,
    placed,
    timelines_in,
    why_doubtful,
    why_missing,
    why_perhaps,
)
from clipspool.intake.timeline_media import Media, Medium, unread_in
from clipspool.intake.tree import Tree, up_to
from clipspool.intake.types import Rules
from clipspool.jobs.model import Problem
from clipspool.jobs.quote import Quote
from clipspool.jobs.sequence import pictures_of
from clipspool.media import timelines
from clipspool.media.decoder import Decoder
from clipspool.media.facts import MediaFault
from clipspool.media.stills import Unfit
from clipspool.media.timelines import Cut, NoTimeline, OtherXml
from clipspool.spool.root import Root
from clipspool.spool.sources import strangers
from clipspool.stages.film import facts_in
from clipspool.system.atomic import Rel, join, name_of, parent, split_suffix
from clipspool.system.redaction import readable


def quote_pictures(quoter: Quoter, decoder: Decoder, root: Root, rules: Rules, rel: Rel) -> Quote:
    """Quote a folder of numbered pictures with the sidecar or prompt of its very name. Raises OSError."""
    if why := not_alone(strangers(root, rel)) or odd_count(len(pictures_of(root.names(rel)))):
        return _wrong(why)
    sidecar, text = f"{rel}{TOML}", f"{rel}{TXT}"
    has_sidecar, has_text = root.exists(sidecar), root.exists(text)
    if not (has_sidecar or has_text):
        name = readable(name_of(rel))
        return _wrong(f"has no sidecar: a folder of pictures needs `{name}.toml` or `{name}.txt` beside it")
    found = facts_in(root, rel, decoder)
    if isinstance(found, Unfit | MediaFault):
        return _wrong(found.reason if isinstance(found, Unfit) else found.message)
    body = root.head(sidecar, BYTES_MAX + 1) if has_sidecar else b""
    below = (read_prompt(root, text),) if has_text else ()
    return quoter.quote(root, rules, rel, body, (found, ()), sidecar_name=sidecar, below=below)


def quote_timeline(
    quoter: Quoter, root: Root, rules: Rules, rel: Rel
) -> tuple[Quote, Sequence[Quote], tuple[str, ...]]:
    """Quote a timeline: all its jobs, the quote of each clip, and of what no job is made. Raises OSError."""
    try:
        cuts = _cuts(root, rel)
    except (NoTimeline, ValueError) as error:
        return _wrong(f"it cannot be read as a timeline: {error}"), (), ()
    if all(cut.mark is None for cut in cuts):
        return _wrong(HOW_TO_MARK), (), ()
    tree = Tree(root, rules, lambda _all, _new: None)
    tree.walk(time.monotonic())
    shown = Media(root, rules, tree).shown(cuts, parent(rel))
    if why := why_missing(shown.missing) or why_doubtful(shown.doubtful):
        return _wrong(why), (), ()
    own, trouble = _own(root, rules, rel)
    marked = [cut for cut in cuts if cut.mark is not None]
    refused = tuple(f"{cut.in_words}: {cut.refusal}" for cut in marked if cut.refusal)
    quotes = []
    for medium in shown.media:
        its = [cut for cut in medium.cuts if cut.mark is not None and not cut.refusal]
        if its and not trouble:
            quotes.append(_of_medium(quoter, root, rules, rel, medium, its, own))
    # What the timeline's sidecar has wrong is so for each clip.
    problems = tuple(dict.fromkeys((*trouble, *(one for quote in quotes for one in quote.problems))))
    if not quotes and not trouble:
        problems = tuple(map(Problem, refused))
    return Quote(tuple(job for quote in quotes for job in quote.jobs), problems), quotes, refused


def _cuts(root: Root, rel: Rel) -> list[Cut]:
    return timelines.read(root.head(rel, timelines.BYTES_MAX + 1), suffix_of(name_of(rel)))


class TimelinesAbove:
    """Finds the timelines in an inbox that show a clip, as the daemon does before it accepts the clip."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, Rel], list[tuple[Rel, frozenset[Rel] | None]]] = {}
        """Of each folder the timelines in it with the clips that they show; None: it may show any."""

    def showing(self, root: Root, rules: Rules, clip: Rel) -> tuple[Rel, str]:
        """Return the timeline that shows a clip, or else why the clip waits for one that may show it."""
        why = ""
        for above in up_to(parent(clip)):
            for timeline, shown in self._of(root, rules, above):
                if shown is not None and clip in shown:
                    return timeline, ""
                if shown is None:
                    todo = HOW_TO_EXPORT if suffix_of(timeline) in UNREAD_TIMELINES else ""
                    why = why_perhaps(name_of(timeline), todo and f"{todo}, and remove it")
        return "", why

    def _of(self, root: Root, rules: Rules, folder: Rel) -> list[tuple[Rel, frozenset[Rel] | None]]:
        if (known := self._known.get((root.path, folder))) is None:
            known = self._known[root.path, folder] = list(_timelines_of(root, rules, folder))
        return known


def _timelines_of(root: Root, rules: Rules, folder: Rel) -> Iterator[tuple[Rel, frozenset[Rel] | None]]:
    suffixes = TIMELINES | UNREAD_TIMELINES
    if card_in(folder) is not None or not any(suffix_of(one) in suffixes for one in root.names(folder)):
        return
    tree = Tree(root, rules, lambda _all, _new: None)
    tree.walk(time.monotonic())
    if folder not in tree.folders:
        return
    media = Media(root, rules, tree)
    for name in sorted(tree.folders[folder].timelines):
        path = join(folder, name)
        try:
            yield path, media.shown(_cuts(root, path), folder).paths
        except OtherXml:
            continue
        except (NoTimeline, OSError):
            yield path, None
    yield from ((join(folder, name), None) for name in sorted(unread_in(tree.folders[folder])))


def _own(root: Root, rules: Rules, rel: Rel) -> tuple[tuple[Layer, ...], list[Problem]]:
    """Read a timeline's sidecar: `cut.edl.toml`, or `cut.toml`."""
    beside = _beside(root, Names(rules.extensions, rules.ignore), rel)
    own = next((own for one, own in timelines_in(beside) if one.name == name_of(rel)), None)
    if own is None:
        near = nearly_its_sidecar(name_of(rel), beside)
        return (), [Problem(near)] if near else []
    path = join(parent(rel), own.name)
    layer = parse(root.head(path, BYTES_MAX + 1), path, is_own=False)
    return (layer,), list(layer.problems)


def timeline_of(root: Root, names: Names, sidecar: Rel) -> str:
    """Return the timeline beside a sidecar that is the timeline's, and no clip's; empty for none."""
    found = timelines_in(_beside(root, names, sidecar))
    return next((one.name for one, own in found if own is not None and own.name == name_of(sidecar)), "")


def _beside(root: Root, names: Names, rel: Rel) -> list[Entry]:
    """Return the files of a file's group, which are judged together."""
    folder, base = parent(rel), names.base(name_of(rel))
    return [Entry(one, names.kind(one, folder)) for one in root.names(folder) if names.base(one) == base]


def _of_medium(
    quoter: Quoter,
    root: Root,
    rules: Rules,
    rel: Rel,
    medium: Medium,
    its: Sequence[Cut],
    own: Sequence[Layer],
) -> Quote:
    """Quote the jobs of one clip; without handles where the model takes less, as when it is accepted."""
    with root.open(medium.path) as file:
        facts = media, problems = quoter.facts(file)
    if problems:
        return _named(Quote(problems=problems), medium.path)
    above = quoter.layers(root, rules, parent(medium.path))
    name = preset_of({}, (*above, *own))
    preset = finder(root, rules.presets)(name) if name else Layer()
    wrong, tries = placed(rel, medium.path, its, media, (*above, preset, *own))
    quotes = [Quote(problems=tuple(map(Problem, wrong)))] if wrong else []
    for _, settings in tries:
        quotes.append(quoter.quote(root, rules, medium.path, b"", facts, below=(*own, settings)))
        if not quotes[-1].problems:
            return _named(quotes[-1], medium.path)
    return _named(quotes[-1], medium.path)  # it says how long a clip is that is too long, without handles


def _named(quote: Quote, path: Rel) -> Quote:
    """Add to each job and problem the name of its clip."""
    stem, name = split_suffix(name_of(path))[0], readable(name_of(path))
    jobs = tuple(replace(job, variant=f"{stem}{job.variant}") for job in quote.jobs)
    problems = tuple(
        one if one.key else replace(one, message=f"{name}: {one.message}") for one in quote.problems
    )
    return replace(quote, jobs=jobs, problems=problems)


def _wrong(why: str) -> Quote:
    return Quote(problems=(Problem(why),))
