"""Merges defaults, a sidecar and its variants into the settings of each job of a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unicodedata import normalize

from clipspool.intake.sidecar.lines import line_of
from clipspool.intake.sidecar.mistakes import shorten
from clipspool.intake.sidecar.parse import Layer
from clipspool.intake.sidecar.references import is_absolute, is_address, is_inside, spellings
from clipspool.jobs.model import Problem, Reference, Request
from clipspool.jobs.path_map import AS_THEY_ARE, Places
from clipspool.system.atomic import Rel, join

Find = Callable[[str], Layer]
"""Returns a preset by its name; one with a problem where there is none of that name."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An entry of `references`, and where it was written."""

    entry: str
    folder: Rel
    """Folder of the file with this entry."""
    file: Rel
    at: str = ""
    """Where a keyframe guides the result; empty for an entry of `references`."""

    @property
    def key(self) -> str:
        """The key under which it was written."""
        return "keyframe" if self.at else "references"

    @property
    def is_address(self) -> bool:
        """Whether it is an https address instead of a file."""
        return is_address(self.entry)

    def paths(self, places: Places = AS_THEY_ARE, home: str = "") -> tuple[Rel, ...]:
        """Return where the image may be: beside the file that names it, else relative to the inbox.

        A path of an editor's machine is looked up in `places`, and must lead into the inbox at `home`. Names
        from a Mac may be decomposed (NFD), typed ones hardly ever are.
        """
        found: list[Rel] = []
        top = home.rstrip("/") + "/"
        for entry in spellings(self.entry):
            for one in (entry, normalize("NFC", entry), normalize("NFD", entry)):
                if is_absolute(one):
                    found += [path.removeprefix(top) for path in places.meant(one) if path.startswith(top)]
                else:
                    found += [join(self.folder, one), one]
        return tuple(path for path in dict.fromkeys(found) if is_inside(path))

    def tails(self) -> tuple[Rel, ...]:
        """Return the ends of a path whose beginning is unknown, the longest first."""
        parts = spellings(self.entry)[0].strip("/").split("/")
        ends = ["/".join(parts[begin:]) for begin in range(1, len(parts))]
        return tuple(one for end in ends if is_inside(end) for one in (join(self.folder, end), end))

    def below(self, home: str) -> Rel:
        """Return its path below the inbox if it was written as this machine's absolute path; else empty."""
        path = spellings(self.entry)[0]
        top = home.rstrip("/") + "/"
        return path.removeprefix(top) if path.startswith(top) and is_inside(path.removeprefix(top)) else ""


@dataclass(frozen=True, slots=True)
class Draft:
    """The settings of one job, before its reference files are found."""

    variant: str
    """Empty, or `_v1`, `_v2`, …"""
    keys: Mapping[str, Any]
    references: tuple[Wanted, ...]
    layers: tuple[Layer, ...] = ()
    """What it was merged from, later ones winning, to find where a key was written."""

    def request(self, seed: int, found: Mapping[Wanted, Reference]) -> Request:
        """Return the request; `seed` is used if none was written, `found` are the reference files."""
        given = dict(self.keys)
        if "not_before" in given:
            given["not_before"] = given["not_before"].timestamp()
        given.pop("handle_frames", None)  # for timelines, which make their requests' parts with it
        for name in {"start_seconds", "length_seconds", "frames_per_second"} & given.keys():
            given[name] = float(given[name])
        references = tuple(
            replace(Reference(uri=w.entry) if w.is_address else found[w], at=w.at) for w in self.references
        )
        return Request(**{"seed": seed, "seed_is_drawn": "seed" not in given, **given}, references=references)


def drafts(
    defaults: Sequence[Layer], sidecar: Layer | None, *, prompt: Layer | None = None, find: Find | None = None
) -> tuple[tuple[Draft, ...], tuple[Problem, ...]]:
    """Merge the layers, of which later ones win; return a draft for each job, or the problems.

    `prompt` is a clip's text file, below its sidecar; `find` returns presets, which are above all defaults
    and below both. Tables (`extra`, `content_moderation`) are merged key by key, anything else is replaced.
    """
    own = [layer for layer in (prompt, sidecar) if layer is not None]
    layers = [*defaults, *own]
    problems = tuple(problem for layer in layers for problem in layer.problems)
    if problems:
        return (), problems
    last = layers[-1] if layers else Layer()
    made = []
    for keys, variant in [(v, f"_v{n}") for n, v in enumerate(last.variants, 1)] or [({}, "")]:
        laid = layers
        if name := preset_of(keys, layers):
            preset = find(name) if find is not None else Layer()
            if preset.problems:
                return (), tuple(located(problem, layers, variant) for problem in preset.problems)
            laid = [*defaults, preset, *own]
        effective: dict[str, Any] = {}
        for layer in laid:
            _lay_over(effective, layer.keys, layer)
        _lay_over(effective, keys, last)
        if missing := _missing(effective, last, variant):
            return (), missing
        images = (*effective.pop("references", ()), *effective.pop("keyframe", ()))
        made.append(Draft(variant, effective, images, tuple(laid)))
    slips = (*_repeated(made, last), *_idle_start(made, own), *_idle(made, own), *_unlinkable(made, last))
    return (() if slips else tuple(made)), slips


def _repeated(made: Sequence[Draft], last: Layer) -> Iterator[Problem]:
    """Yield the variants that are the same as an earlier one: one result would be paid for twice."""
    seen: dict[str, str] = {}
    for draft in made:
        # Without a seed of its own each gets another one, and is another request.
        order = repr((sorted(draft.keys.items()), draft.references))
        if "seed" in draft.keys and (first := seen.setdefault(order, draft.variant)) != draft.variant:
            number = draft.variant.removeprefix("_v")
            if last.cuts:
                same = last.cuts[int(first.removeprefix("_v")) - 1]
                why = f"it shows what {same} shows, with the same prompt and seed"
                todo = "it would be paid for as well: remove its marker"
                yield of_cut(Problem(f"{why}; {todo}"), last.cuts[int(number) - 1])
                continue
            message = (
                f"{number} is the same as variant {first.removeprefix('_v')}, and would be paid for as well: "
                "change its seed or its prompt, or delete it"
            )
            key = f"variant.{number}"
            line = line_of(last.text, key) or line_of(last.text, "matrix")
            yield Problem(f"variant {message}", file=last.file, line=line)


def _idle_start(made: Sequence[Draft], own: Sequence[Layer]) -> Iterator[Problem]:
    """Yield a start that a clip's own sidecar names and nothing uses: another part would be paid for."""
    is_used = any(one.keys.get("long_clips") == "trim" or "length_seconds" in one.keys for one in made)
    for layer in own:
        # A provenance names all that was in force, and is a sidecar too.
        is_written = "start_seconds" in layer.keys and line_of(layer.text, "result") is None
        if made and is_written and not is_used:
            message = (
                'changes nothing without `long_clips = "trim"` or `length_seconds`: add one, or delete it'
            )
            yield located(Problem(message, key="start_seconds"), [layer], "")


def _idle(made: Sequence[Draft], own: Sequence[Layer]) -> Iterator[Problem]:
    """Yield what a clip's own sidecar says of a finished film, parts or handles where there are none."""
    if not made:
        return
    idle: dict[str, str] = {}
    if all(one.keys.get("finish", "as_is") == "as_is" for one in made):
        why = 'changes nothing without `finish = "timeline"`: add that, or delete it'
        idle |= dict.fromkeys(("finish_size", "finish_codec", "finish_timing"), why)
    if any(layer.cuts for layer in own):
        idle["overlap_frames"] = "changes nothing, since the clips of a timeline are never split: delete it"
    else:
        idle["handle_frames"] = "changes nothing in a clip's sidecar, only in that of a timeline: delete it"
        if all(one.keys.get("long_clips") != "split" for one in made):
            why = 'changes nothing without `long_clips = "split"`: add that, or delete it'
            idle["overlap_frames"] = why
    for layer in own:
        # A provenance names all that was in force, and is a sidecar too.
        for key, why in idle.items():
            if key in layer.keys and line_of(layer.text, "result") is None:
                yield located(Problem(why, key=key), [layer], "")


def _unlinkable(made: Sequence[Draft], last: Layer) -> Iterator[Problem]:
    """Yield a result that no timeline can show, before it is paid for."""
    if last.cuts and (one := next((d for d in made if d.keys.get("output_format") == "png_sequence"), None)):
        message = 'makes a folder of pictures, which no timeline can show: write `"prores"` or `"mp4"`'
        yield located(Problem(message, key="output_format"), one.layers, "")


def preset_of(variant: Mapping[str, Any], layers: Sequence[Layer]) -> str:
    """Return the preset that is named last; empty for none."""
    tables = [*(layer.keys for layer in layers), variant]
    return str(next((table["preset"] for table in reversed(tables) if "preset" in table), ""))


def located(problem: Problem, layers: Sequence[Layer], variant: str) -> Problem:
    """Add the file and line of its key, or the cut of a timeline, to a problem of an effective request."""
    key = problem.key.partition(".")[0]
    number = int(variant[2:] or 0)
    if layers and layers[-1].cuts and not problem.file:
        timeline, cut = layers[-1], max(number - 1, 0)
        if not key or key in timeline.keys or (number and key in timeline.variants[cut]):
            return of_cut(problem, timeline.cuts[cut])
    if problem.file or not problem.key:
        return problem
    for layer in reversed(layers):
        if number and layer.variants and key in layer.variants[number - 1]:
            path = f"variant.{number}.{problem.key}"
        elif key in layer.keys:
            path = problem.key
        else:
            continue
        line = line_of(layer.text, path)
        if line is None and path.startswith("variant."):  # it may be one of a matrix
            line = line_of(layer.text, f"matrix.{problem.key}")
        text = problem.text or ("" if line is None else shorten(layer.text.split("\n")[line - 1]))
        return replace(problem, key=path, file=layer.file, line=line, text=text)
    return replace(problem, file=layers[-1].file if layers else "")


def of_cut(problem: Problem, cut: str) -> Problem:
    """Return a problem of what a timeline says of one of its clips: it has no key and no line of its own."""
    what = f"its {problem.key.rpartition('.')[2]} " if problem.key else ""
    return replace(problem, message=f"{cut}: {what}{problem.message}", key="", file="", text="", right="")


def _lay_over(below: dict[str, Any], above: Mapping[str, Any], layer: Layer) -> None:
    for key, value in above.items():
        if key == "references":
            below[key] = tuple(Wanted(entry, layer.folder, layer.file) for entry in value)
        elif key == "keyframe":
            below[key] = tuple(
                Wanted(one["image"], layer.folder, layer.file, str(one["at"])) for one in value
            )
        else:
            below[key] = _laid_over(below.get(key), value)


def _laid_over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: _laid_over(below.get(key), value) for key, value in above.items()}


def _missing(keys: Mapping[str, Any], last: Layer, variant: str) -> tuple[Problem, ...]:
    which = f" for variant {variant[2:]}" if variant else ""
    message = f"is missing{which}: neither the sidecar nor any defaults have it"
    return tuple(Problem(message, key=key, file=last.file) for key in ("prompt", "model") if key not in keys)
