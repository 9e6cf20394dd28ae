"""Quotes a clip with its sidecar before it is accepted: by the same rules, layers and prices as intake."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from io import FileIO
from threading import Lock
from typing import Any

from clipspool.intake.names import TOML, TXT, Kind, Names
from clipspool.intake.near import folded
from clipspool.intake.sequences import facts_at_rate, rate_problems
from clipspool.intake.sidecar.layers import Draft, Wanted, drafts, located
from clipspool.intake.sidecar.parse import BYTES_MAX, Layer, layer_of, parse, parse_prompt, wrong_layer
from clipspool.intake.sidecar.presets import finder
from clipspool.intake.tree import up_to
from clipspool.intake.types import Rules
from clipspool.jobs.faults import Unsure
from clipspool.jobs.model import Problem, Reference
from clipspool.jobs.quote import Quote, QuotedJob
from clipspool.jobs.sequence import PICTURES, at_rate
from clipspool.media.boxes import Complete, completeness
from clipspool.spool.root import Root
from clipspool.stages.quoting import Quoting
from clipspool.system.atomic import NotRegular, Rel, join, name_of, parent
from clipspool.system.redaction import readable

_PROBES_MAX = 64
Inspect = Callable[[int], tuple[dict[str, Any], list[Problem]]]
Facts = tuple[dict[str, Any], tuple[Problem, ...]]
"""A clip's media facts, and what is wrong with it."""


class Quoter:
    """Quotes clips; for any thread."""

    def __init__(self, quoting: Callable[[], Quoting], inspect: Inspect) -> None:
        """`inspect` probes an open clip as intake does; it may raise Unsure."""
        self._quoting, self._inspect = quoting, inspect
        self._probes: OrderedDict[tuple[int, ...], Facts] = OrderedDict()
        self._lock = Lock()

    def quote(
        self,
        root: Root,
        rules: Rules,
        path: Rel,
        sidecar: bytes,
        file: FileIO | Facts | None = None,
        images: Sequence[str] = (),
        *,
        sidecar_name: Rel = "",
        below: Sequence[Layer] = (),
    ) -> Quote:
        """Quote a clip that is, or would be, at `path` in an inbox, with the text of its sidecar.

        Without `file`, or the facts of what is no file, nothing is known about the clip, its length included.
        `images` are the names of reference images that would lie beside it, `sidecar_name` the path of its
        sidecar, or of a `.txt` instead, if that is not the clip's with `.toml`; `below` is what its text file
        or a timeline says of it. Raises OSError, Unavailable among them.
        """
        media, found = self.facts(file) if isinstance(file, FileIO) else file or ({}, ())
        problems = list(found)
        at = sidecar_name or f"{path}{TOML}"
        own = (parse_prompt if at.lower().endswith(TXT) else parse)(sidecar, at) if sidecar else None
        layers = self.layers(root, rules, path.rpartition("/")[0])
        owns = [*below, *((own,) if own is not None else ())]
        prompt, own = (owns[0] if len(owns) > 1 else None), (owns[-1] if owns else None)
        wanted, mistakes = drafts(layers, own, prompt=prompt, find=finder(root, rules.presets))
        problems += mistakes
        if media:
            problems += rate_problems(owns, wanted, is_film=PICTURES not in media)
        references = dict(_references(root, rules, wanted, path, images, problems))
        jobs = [] if problems else [self._job(draft, references, media, problems) for draft in wanted]
        if jobs:
            media = dict(at_rate(media, jobs[0].request.frames_per_second))
        return Quote(() if problems else tuple(jobs), tuple(dict.fromkeys(problems)), media)

    def _job(
        self,
        draft: Draft,
        references: Mapping[Wanted, Reference],
        media: Mapping[str, Any],
        problems: list[Problem],
    ) -> QuotedJob:
        quoting = self._quoting()
        request = quoting.complete(draft.request(0, references), media)
        if PICTURES in media:
            media = facts_at_rate(dict(media), draft, request)
        problems += [
            located(problem, draft.layers, draft.variant) for problem in quoting.check(request, media)
        ]
        price, changes = quoting.price(request, media), quoting.changes(request, media)
        return QuotedJob(draft.variant, request, price, changes)

    def layers(self, root: Root, rules: Rules, folder: Rel) -> list[Layer]:
        """Read the settings that a folder's clips get, of the configuration and of the folders above it."""
        return [*_configured(rules), *_layers(root, rules, folder)]

    def facts(self, file: FileIO) -> Facts:
        """Return a clip's media facts, and what is wrong with it; kept while the file does not change."""
        there = os.fstat(file.fileno())
        key = (there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns)
        with self._lock:
            if key in self._probes:
                return self._probes[key]
        file.seek(0)
        verdict = completeness(file, there.st_size)
        if not isinstance(verdict, Complete) or verdict.container == "zip":
            reason = "it is a ZIP archive, not a video" if isinstance(verdict, Complete) else verdict.reason
            return {}, (Problem(reason),)
        try:
            media, problems = self._inspect(file.fileno())
        except Unsure as unsure:
            return {}, (Problem(str(unsure)),)
        with self._lock:
            self._probes[key] = media, tuple(problems)
            if len(self._probes) > _PROBES_MAX:
                self._probes.popitem(last=False)
        return media, tuple(problems)


def _configured(rules: Rules) -> Iterator[Layer]:
    return (layer_of(body, part) for part, body in rules.layers.items() if body)


def _layers(root: Root, rules: Rules, folder: Rel) -> Iterator[Layer]:
    """Read the settings of an inbox's folders, from its root down to `folder`."""
    names = Names(rules.extensions, rules.ignore)
    for above in up_to(folder):
        with suppress(FileNotFoundError, NotADirectoryError):
            present = root.names(above)
            for wanted in (Kind.FOLDER_PROMPT, Kind.DEFAULTS):
                for name in (name for name in present if names.kind(name, above) is wanted):
                    yield _layer(root, join(above, name), is_prompt=wanted is Kind.FOLDER_PROMPT)


def _layer(root: Root, path: Rel, *, is_prompt: bool) -> Layer:
    try:
        data = root.head(path, BYTES_MAX + 1)
    except NotRegular:
        return wrong_layer(path, "is a link or device instead of a file")
    return parse_prompt(data, path) if is_prompt else parse(data, path, is_own=False)


def read_prompt(root: Root, path: Rel) -> Layer:
    """Read a clip's text file. Raises OSError."""
    return _layer(root, path, is_prompt=True)


def _spelled_otherwise(root: Root, paths: Sequence[Rel], given: Collection[Rel]) -> Rel | None:
    """Return the one image whose name is the same in other letter case or encoding, as intake takes it."""
    wanted = {folded(path) for path in paths}
    there = set(given)
    for folder in {parent(path) for path in paths}:
        there |= {join(folder, name) for name in root.names_if_there(folder)}
    found = [path for path in there if folded(path) in wanted]
    return found[0] if len(found) == 1 else None


def _references(
    root: Root,
    rules: Rules,
    made: Sequence[Draft],
    path: Rel,
    images: Sequence[str],
    problems: list[Problem],
) -> Iterator[tuple[Wanted, Reference]]:
    """Find the reference images; those that are not there are added to `problems`."""
    given = {join(path.rpartition("/")[0], name) for name in images}
    for wanted in dict.fromkeys(w for draft in made for w in draft.references if not w.is_address):
        paths = wanted.paths(rules.places, str(root.path))
        found = next((one for one in paths if one in given or root.exists(one)), None)
        found = found or _spelled_otherwise(root, paths, given)
        if found is None:
            named = f"names `{readable(wanted.entry)}`, which is not in the inbox (yet)"
            problems.append(Problem(named, key=wanted.key, file=wanted.file))
        else:
            yield wanted, Reference(name=found, file=name_of(found))
