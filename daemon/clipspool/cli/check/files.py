"""`clipspool check FILE…`: what would be sent of clips and sidecars, what it costs, and what is wrong.

By the rules of the inbox in which a file lies; of one that lies elsewhere, by those of an inbox that is
named. Nothing is sent, written or asked of anybody.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import Any

from clipspool.app.build import rules_of
from clipspool.app.quoting import Quoter, read_prompt
from clipspool.app.settings import InboxSettings, Settings
from clipspool.app.shipping import depot_of
from clipspool.cli.check.gathered import TimelinesAbove, quote_pictures, quote_timeline, timeline_of
from clipspool.intake.advice import Found, about_files
from clipspool.intake.kinds import SNIFFED_BYTES, film_in, sort_of
from clipspool.intake.names import TOML, Kind, Names
from clipspool.intake.near import meant_as_settings, meant_as_sidecar
from clipspool.intake.notes import sentence
from clipspool.intake.pair import Entry, Matched, Waits, pair
from clipspool.intake.sequences import ONLY_READ
from clipspool.intake.sidecar.parse import BYTES_MAX, parse, parse_prompt
from clipspool.intake.sidecar.presets import finder
from clipspool.intake.timeline_cuts import NO_TIMELINES, why_twice
from clipspool.intake.types import Rules
from clipspool.jobs.model import Problem
from clipspool.jobs.quote import Quote, QuotedJob
from clipspool.jobs.records import ClipCost
from clipspool.jobs.sequence import pictures_of
from clipspool.media.decoder import Decoder
from clipspool.provider.catalog import Catalog
from clipspool.spool.layout import PRESETS, SUFFIXES
from clipspool.spool.root import Root
from clipspool.stages.provenance import as_sent
from clipspool.stages.quoting import Quoting
from clipspool.stages.runner import inspect
from clipspool.system.atomic import Rel, join, name_of, split_suffix
from clipspool.system.redaction import readable


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found out about one file."""

    file: str
    inbox: str
    quote: Quote
    source: Path | None = None
    """The clip, folder of pictures or timeline that would be sent; None where a sidecar has none yet."""
    is_settings: bool = False
    """Whether it holds settings for many clips, of which nothing is sent by itself."""
    is_elsewhere: bool = False
    """Whether the file lies in no inbox, so that only the settings are the inbox's."""
    held: str = ""
    """Why it would wait for an approval."""
    said: tuple[str, ...] = ()
    """What is to be known besides: clips of a timeline of which no job is made."""

    @property
    def clip(self) -> str:
        """The name of the clip; empty where there is none, so that the price depends on its length."""
        return "" if self.source is None else self.source.name

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "file": self.file,
            "inbox": self.inbox,
            "clip": self.clip,
            "problems": [sentence(problem) for problem in self.quote.problems],
            "jobs": [
                {
                    "variant": job.variant.lstrip("_"),
                    "request": _request_of(job),
                    "preset": job.request.preset or None,
                    "seed_is_drawn": job.request.seed_is_drawn,
                    "changes": list(job.changes),
                    "credits_estimated": job.credits,
                }
                for job in self.quote.jobs
            ],
            "credits_estimated": self.quote.credits,
            "held": self.held,
            "notes": list(self.said),
        }


class FileChecker:
    """Checks files one after another; closes its decoder at the end."""

    def __init__(self, settings: Settings, inbox: InboxSettings | None) -> None:
        """`inbox`: whose rules hold for files outside of all inboxes; the first one unless given."""
        self._settings, self._inbox = settings, inbox
        self._decoder = Decoder()
        quoting = Quoting(Catalog.load(settings.models), depot_of(settings, b"").ways)
        self._quoter = Quoter(lambda: quoting, lambda file: inspect(self._decoder, file))
        self._timelines = TimelinesAbove()

    def close(self) -> None:
        """End the decoder."""
        self._decoder.close()

    def check(self, path: Path) -> Checked:
        """Check a clip, a sidecar, a prompt or a file of settings. Raises OSError."""
        real = Path(os.path.realpath(path.parent)) / path.name
        inbox, root, rel = self._place(real)
        is_elsewhere = str(root.path) != os.path.realpath(inbox.path)
        return replace(self._checked(path, real, inbox, root, rel), is_elsewhere=is_elsewhere)

    def _checked(self, path: Path, real: Path, inbox: InboxSettings, root: Root, rel: Rel) -> Checked:
        rules = rules_of(self._settings, inbox, "")
        if real.is_dir() and not real.is_symlink():
            return self._folder(path, inbox, root, rules, rel)
        if trouble := _trouble(real):
            return Checked(str(path), inbox.name, Quote(problems=(Problem(trouble),)))
        names = Names(rules.extensions, rules.ignore)
        folder, _, name = rel.rpartition("/")
        kind = names.kind(name, folder)
        if kind is Kind.SIDECAR and (timeline := timeline_of(root, names, rel)):
            rel, name, kind = join(folder, timeline), timeline, Kind.TIMELINE
        if kind in {Kind.DEFAULTS, Kind.FOLDER_PROMPT} or folder.split("/")[0] == PRESETS:
            made = _settings_in(root, rel, kind) if folder.split("/")[0] != PRESETS else _preset_in(root, rel)
            return Checked(str(path), inbox.name, made, is_settings=True)
        if kind not in {Kind.CLIP, Kind.SIDECAR, Kind.PROMPT}:
            meant = meant_as_sidecar(name) or meant_as_settings(name)
            if meant is not None:
                why = f"it is not read under this name: rename it to `{readable(meant)}`"
                return Checked(str(path), inbox.name, Quote(problems=(Problem(why),)))
            if kind is Kind.TIMELINE:
                return self._timeline(path, inbox, root, rules, rel)
            why = _why_unused(root, rules, rel, kind)
            return Checked(str(path), inbox.name, Quote(problems=(Problem(why),)))
        return self._clip(path, inbox, root, rules, rel)

    def _clip(self, path: Path, inbox: InboxSettings, root: Root, rules: Rules, rel: Rel) -> Checked:
        """Check a clip with the files beside it, or one of those."""
        folder, _, name = rel.rpartition("/")
        answer = _paired(root, rules, Names(rules.extensions, rules.ignore), folder, name)
        clip = join(folder, answer.name if isinstance(answer, Waits) else answer.clip)
        is_there, has_own = root.exists(clip), isinstance(answer, Matched) and bool(answer.companions)
        pictures = join(folder, split_suffix(name)[0])
        if not is_there and root.is_folder(pictures) and pictures_of(root.names(pictures)):
            return self._folder(path, inbox, root, rules, pictures)
        timeline, doubt = "", ""
        if is_there and inbox.source != "keep":
            timeline, doubt = self._timelines.showing(root, rules, clip)
        if timeline and not has_own:
            return self._timeline(path, inbox, root, rules, timeline)
        if timeline:
            wrong = why_twice(readable(name_of(timeline)))
        elif isinstance(answer, Waits):
            wrong = f"`{readable(answer.name)}`: {answer.reason}"
        else:
            wrong = "" if has_own else doubt
        if wrong or isinstance(answer, Waits):
            return Checked(str(path), inbox.name, Quote(problems=(Problem(wrong),)))
        quote = self._quote(root, rules, folder, answer)
        return Checked(
            str(path), inbox.name, quote, root.path / clip if is_there else None, held=self._held(quote)
        )

    def _timeline(self, path: Path, inbox: InboxSettings, root: Root, rules: Rules, rel: Rel) -> Checked:
        if inbox.source == "keep":
            return Checked(str(path), inbox.name, Quote(problems=(Problem(NO_TIMELINES),)))
        quote, quotes, said = quote_timeline(self._quoter, root, rules, rel)
        held = next(filter(None, map(self._held, quotes)), "")
        return Checked(str(path), inbox.name, quote, root.path / rel, held=held, said=said)

    def _folder(self, path: Path, inbox: InboxSettings, root: Root, rules: Rules, rel: Rel) -> Checked:
        if not pictures_of(root.names(rel)):
            why = "it is a folder without numbered pictures: name the clips in it"
            return Checked(str(path), inbox.name, Quote(problems=(Problem(why),)))
        if inbox.source == "keep":
            return Checked(str(path), inbox.name, Quote(problems=(Problem(ONLY_READ),)))
        quote = quote_pictures(self._quoter, self._decoder, root, rules, rel)
        return Checked(str(path), inbox.name, quote, root.path / rel, held=self._held(quote))

    def _place(self, real: Path) -> tuple[InboxSettings, Root, str]:
        for inbox in self._settings.inbox:
            home = Path(os.path.realpath(inbox.path))
            if home in real.parents:
                return inbox, Root(home), str(real.relative_to(home))
        return self._inbox or self._settings.inbox[0], Root(real.parent), real.name

    def _quote(self, root: Root, rules: Rules, folder: Rel, match: Matched) -> Quote:
        clip, sidecar = join(folder, match.clip), join(folder, match.sidecar or "")
        with ExitStack() as opened:
            return self._quoter.quote(
                root,
                rules,
                clip,
                root.head(sidecar, BYTES_MAX + 1) if match.sidecar else b"",
                opened.enter_context(root.open(clip)) if root.exists(clip) else None,
                sidecar_name=sidecar if match.sidecar else "",
                below=(read_prompt(root, join(folder, match.prompt)),) if match.prompt else (),
            )

    def _held(self, quote: Quote) -> str:
        """Return why the clip would wait for an approval; empty where it would not."""
        limits = self._settings.limits
        for job in quote.jobs:
            if why := limits.is_too_dear(job.credits):
                return why
        prices = tuple(job.credits for job in quote.jobs)
        return limits.is_clip_too_dear(ClipCost(0.0, prices), next(iter(prices), None)) if prices else ""


def _paired(root: Root, rules: Rules, names: Names, folder: Rel, name: str) -> Matched | Waits:
    """Pair a file with those beside it, as the daemon does; without a clip, with one that is made up."""
    beside = [one for one in root.names(folder) if names.base(one) == names.base(name)]
    entries = []
    for one in beside:
        found, kind = (root.path / folder / one).lstat(), names.kind(one, folder)
        is_file, awaits = S_ISREG(found.st_mode), names.awaited(one)
        entries.append(Entry(one, kind, size=found.st_size, is_regular=is_file, awaits=awaits))
    if not any(entry.kind is Kind.CLIP for entry in entries):
        entries.append(Entry(f"{split_suffix(name)[0]}.mp4", Kind.CLIP))
    at_once = replace(rules, optional_wait_seconds=0.0)
    answers = pair(entries, now=0.0, rules=at_once, defaults_serve=True)
    of_it = (
        one
        for one in answers
        if name in ((one.clip, *one.companions) if isinstance(one, Matched) else (one.name,))
    )
    return next(of_it, answers[0])


_COMING = "it is taken for a file that is still on its way, until it has its own name"
_UNUSED = {
    Kind.IGNORED: "it is passed over: its name begins with `.`, `_` or `~`, is one that other programs give, "
    "or is in the inbox's `ignore`",
    Kind.TEMPORARY: _COMING,
    Kind.COMING: _COMING,
    Kind.NOTE: "it is a note of clipspool",
    Kind.PAUSE: "it pauses its folder: nothing of it is sent until it is removed",
    Kind.IMAGE: "it is a picture, which a sidecar may name in `references`; by itself it is no clip",
}


def _why_unused(root: Root, rules: Rules, rel: Rel, kind: Kind) -> str:
    """Return why nothing is sent of a file that is neither clip nor sidecar, as its note in an inbox does."""
    if kind in _UNUSED:
        return _UNUSED[kind]
    film = film_in(root.head(rel, SNIFFED_BYTES))
    return about_files(Found(sort_of(name_of(rel)), (name_of(rel),), film=film), sorted(rules.extensions))


def _trouble(real: Path) -> str:
    if real.is_symlink():
        return "it is a link, and links are never opened: put the file itself there"
    if not real.exists():
        return "there is no such file"
    return "" if real.is_file() else "it is no file"


def _settings_in(root: Root, rel: str, kind: Kind) -> Quote:
    data = root.head(rel, BYTES_MAX + 1)
    is_prompt = kind is Kind.FOLDER_PROMPT
    layer = parse_prompt(data, rel) if is_prompt else parse(data, rel, is_own=False)
    return Quote(problems=layer.problems)


def _preset_in(root: Root, rel: Rel) -> Quote:
    """Judge a file beside the presets as the daemon does: by its name, and by what it holds."""
    folder, _, name = rel.rpartition("/")
    if name.lower().endswith(SUFFIXES):
        return Quote()  # a preset's sample, or a reference image
    stem, suffix = split_suffix(meant_as_sidecar(name) or name)
    if folder != PRESETS or name != f"{stem}{suffix}" or suffix.lower() != TOML:
        right = f"{PRESETS}/{readable(stem)}{TOML}"
        why = f"it is not read here under this name: if it is a preset, rename it to `{right}`"
        return Quote(problems=(Problem(why),))
    return Quote(problems=finder(root, {})(stem).problems)


def lines(checked: Checked) -> Iterator[str]:
    """Yield what is printed for a file, without the first mark."""
    yield from _found(checked)
    if checked.is_elsewhere:
        yield f"  by the settings of the inbox {checked.inbox}: the file lies in no inbox"


def _found(checked: Checked) -> Iterator[str]:
    quote = checked.quote
    if quote.problems:
        for problem in quote.problems:
            yield sentence(problem)
        return
    if checked.is_settings:
        yield "it can be used for the clips that it is meant for"
        return
    yield _heading(checked)
    for job in quote.jobs:
        yield from _of_job(job, has_clip=bool(checked.clip))
    if len(quote.jobs) > 1 and quote.credits is not None:
        yield f"  {len(quote.jobs)} results, about {quote.credits:,.10g} credits in total"
    yield from (f"  {one}" for one in checked.said)
    if checked.held:
        yield f"  it would be held until somebody approves it: {checked.held}"


def _heading(checked: Checked) -> str:
    media = checked.quote.media
    if not checked.clip:
        return "no clip lies beside it yet"
    if not media.get("seconds"):
        return readable(checked.clip)
    return f"{readable(checked.clip)}, {media['seconds']:.4g} s, {media['width']}x{media['height']}"


def _of_job(job: QuotedJob, *, has_clip: bool) -> Iterator[str]:
    request = job.request
    seed = "drawn at random" if request.seed_is_drawn else str(request.seed)
    facts = [f"model {request.model}", f"seed {seed}"]
    facts += [f"ratio {request.ratio}"] if request.ratio and (has_clip or not request.ratio_is_chosen) else []
    facts += [f"preset {request.preset}"] if request.preset else []
    facts += [f"reference {one.uri or one.name}" for one in request.references]
    price = "price not known" if has_clip else "price by its clip's length"
    price = price if job.credits is None else f"about {job.credits:,.10g} credits"
    name = f"{job.variant.lstrip('_')}: " if job.variant else ""
    yield f"  {name}{price}; {', '.join(facts)}"
    yield f'      "{as_sent(request)["prompt"]}"'
    for change in job.changes:
        yield f"      made to fit: {change}"


def _request_of(job: QuotedJob) -> dict[str, Any]:
    """Return what would be sent; a seed that nobody named is drawn only when the clip is accepted."""
    sent = as_sent(job.request)
    return {key: value for key, value in sent.items() if key != "seed" or not job.request.seed_is_drawn}


def total(all_checked: Sequence[Checked]) -> str:
    """Return the sum over several clips, each counted once; empty for one."""
    clips = {one.source: one for one in all_checked if one.source and one.quote.jobs}.values()
    if len(clips) < 2:  # noqa: PLR2004 - a sum of one is that one
        return ""
    known = [one.quote.credits for one in clips if one.quote.credits is not None]
    more = f", and {len(clips) - len(known)} whose price is not known" if len(known) < len(clips) else ""
    jobs = sum(len(one.quote.jobs) for one in clips)
    return f"{len(clips)} clips, {jobs} results: about {sum(known):,.10g} credits in total{more}"
