"""Examines a clip, its sidecar and its reference images: what is wrong, or what will be requested."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, assert_never

from clipspool.intake.names import TXT
from clipspool.intake.notes import sentence
from clipspool.intake.pair import Waits
from clipspool.intake.poison import WHY, Deaths
from clipspool.intake.sequences import Rested, facts_at_rate, own_pictures, rate_problems
from clipspool.intake.settle import MTIME_NS, SIZE, Stamp, stamp_of
from clipspool.intake.sidecar.keys import SEED_MAX
from clipspool.intake.sidecar.layers import Draft, Wanted, drafts, located, preset_of
from clipspool.intake.sidecar.parse import BYTES_MAX, Layer, parse, parse_prompt
from clipspool.intake.sidecar.presets import Presets, Unready
from clipspool.intake.tree import Images
from clipspool.intake.types import Inspection, Rules
from clipspool.intake.whole import Wholeness
from clipspool.jobs.faults import Unsure
from clipspool.jobs.model import Problem, Reference, Request
from clipspool.media.boxes import Complete, Unrecognised
from clipspool.spool.layout import REFERENCE
from clipspool.spool.root import Root
from clipspool.system.atomic import TIME_NS_MAX, Rel
from clipspool.system.redaction import readable

_Inspected = tuple[dict[str, Any], tuple[Problem, ...]]

_AGAIN_SECONDS = 10.0
_AGAIN_SECONDS_MAX = 3600.0


class Unsettled(Exception):
    """The clip or its sidecar changed after it settled."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """A settled clip with its sidecar or prompt; with neither, the folder's defaults are used."""

    clip: Rel
    stamps: Mapping[Rel, Stamp]
    """Of the clip, its sidecar and its prompt, as they settled."""
    since: float
    """Monotonic seconds: since when the clip is unchanged."""
    sidecar: Rel | None = None
    prompt: Rel | None = None
    """A `.txt` with the prompt."""
    controls: tuple[Rel, ...] = ()
    """Control files that would mark the clip as incomplete if they existed."""
    pause: float = 0.0
    """Longest time in seconds between two growths of the clip."""
    made: tuple[Layer, ...] = ()
    """Settings that a timeline gives the clip, instead of files beside it."""
    prompt_blocked: str = ""
    """Why the clip must wait if it has no prompt of its own."""
    pictures: Rested | None = None
    """What is in the clip if it is a folder of pictures."""

    @property
    def stamp(self) -> Stamp:
        """Stamp of the clip."""
        return self.stamps[self.clip]


@dataclass(frozen=True, slots=True)
class Ready:
    """A clip that passed every check."""

    pairing: Pairing
    requests: tuple[tuple[str, Request], ...]
    """Variant and request of each job."""
    copies: tuple[tuple[Rel, str], ...]
    media: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Unsure:
    stamp: Stamp
    at: float
    """Monotonic seconds of the next attempt."""
    pause: float
    reason: str


class Examination:
    """Makes all checks of a clip between pairing and acceptance, for one inbox."""

    def __init__(
        self, root: Root, rules: Rules, images: Images, deaths: Deaths, inspection: Inspection
    ) -> None:
        self._images = images
        self._deaths = deaths
        self._root = root
        self._rules = rules
        self._inspection = inspection
        self._inspected: dict[Rel, tuple[Stamp, _Inspected]] = {}
        self._unsure: dict[Rel, _Unsure] = {}
        self._wholeness = Wholeness(rules, root.path)
        read = partial(self.read_layer, is_own=False)
        self._presets = Presets(root, rules.presets, rules.settle_seconds, read)

    def examine(self, pairing: Pairing, defaults: Sequence[Layer], now: float) -> Ready | Waits:
        """Judge a pairing at `now` (monotonic seconds). Raises Unsettled and OSError."""
        look = repr(tuple(pairing.stamps.values()))
        if self._deaths.is_set_aside(pairing.clip, look):
            return _wrong(pairing.clip, [Problem(WHY)])
        with self._deaths.examining(pairing.clip, look):
            answer = self._examine(pairing, defaults, now)
        if isinstance(answer, Ready) or answer.found:
            self._deaths.survive(pairing.clip)
        return answer

    def _examine(self, pairing: Pairing, defaults: Sequence[Layer], now: float) -> Ready | Waits:
        if abs(pairing.stamp[MTIME_NS]) >= TIME_NS_MAX:
            far = Problem("its date is after the year 2262; copy the clip, or set a new date")
            return _wrong(pairing.clip, [far])
        own = [*pairing.made]  # the sidecar last: a prompt in it wins over that of a text file beside it
        for path in filter(None, (pairing.prompt, pairing.sidecar)):
            layer = self.read_layer(path, pairing.stamps[path], is_own=True)
            if layer is None:
                raise Unsettled(path)
            own.append(layer)
        if pairing.prompt_blocked and not any(_has_prompt(layer) for layer in own):
            due = pairing.since + self._rules.sidecar_wait_seconds
            return Waits.until(pairing.clip, pairing.prompt_blocked, due, now)
        inspected = self._inspect(pairing, now)
        if isinstance(inspected, Waits):
            return inspected
        facts, problems = inspected[0], [*inspected[1]]
        prompt = own[0] if len(own) > 1 else None
        try:
            find = self._presets.finder(now)
            made, mistakes = drafts(defaults, own[-1] if own else None, prompt=prompt, find=find)
        except Unready as unready:
            due = pairing.since + self._rules.sidecar_wait_seconds
            wait = Waits.until(pairing.clip, str(unready), due, now, needs_others=True)
            return replace(wait, look_at=min(wait.look_at, now + self._rules.settle_seconds))
        problems += mistakes
        problems += rate_problems(own, made, is_film=pairing.pictures is None)
        count = len(problems)
        found = self._find_references(pairing, made, problems, now)
        if isinstance(found, Waits):
            return found
        if pairing.pictures is not None:
            problems += own_pictures(pairing.clip, found)
        requests = []
        for draft in made if len(problems) == count else ():
            request = draft.request(secrets.randbelow(SEED_MAX + 1), found)
            request = self._inspection.complete(request, facts)
            problems += [
                located(p, draft.layers, draft.variant) for p in self._inspection.check(request, facts)
            ]
            requests.append((draft.variant, request))
        if problems:
            # What is wrong may be mended in a preset, which is in no folder that is scanned.
            has_preset = any(_has_key(layer, "preset") for layer in (*defaults, *own))
            return _wrong(pairing.clip, problems, needs_others=has_preset)
        copies = {reference.name: reference.file for reference in found.values()}
        if pairing.pictures is not None:
            facts = facts_at_rate(facts, made[0], requests[0][1])
        return Ready(pairing, tuple(requests), tuple(copies.items()), facts)

    def facts(self, pairing: Pairing, now: float) -> dict[str, Any] | Waits:
        """Return a clip's media facts, or why it cannot be used (yet). Raises Unsettled and OSError."""
        look = repr(tuple(pairing.stamps.values()))
        if self._deaths.is_set_aside(pairing.clip, look):
            return _wrong(pairing.clip, [Problem(WHY)])
        with self._deaths.examining(pairing.clip, look):
            inspected = self._inspect(pairing, now)
        if isinstance(inspected, Waits):
            return inspected
        return _wrong(pairing.clip, inspected[1]) if inspected[1] else inspected[0]

    def preset(self, layers: Sequence[Layer], now: float) -> Layer:
        """Return the preset that layers name; an empty one where there is none, or none that can be read."""
        name = preset_of({}, layers)
        with suppress(Unready):
            return self._presets.finder(now)(name) if name else Layer()
        return Layer()

    def price(self, request: Request, facts: Mapping[str, Any]) -> float | None:
        """Return the credits that a request costs; None where that is not known."""
        return self._inspection.price(request, facts)

    def read_layer(self, path: Rel, stamp: Stamp, *, is_own: bool) -> Layer | None:
        """Read a settled sidecar or defaults file; None if it changed since. Raises OSError."""
        with self._root.open(path) as file:
            if _stamp(file.fileno()) != stamp:
                return None
            data = file.read(BYTES_MAX + 1)
            if _stamp(file.fileno()) != stamp:
                return None
        return parse_prompt(data, path) if path.lower().endswith(TXT) else parse(data, path, is_own=is_own)

    def _inspect(self, pairing: Pairing, now: float) -> _Inspected | Waits:
        """Return media facts, or why it is not a usable clip."""
        known = self._inspected.get(pairing.clip)
        if known is not None and known[0] == pairing.stamp:
            return known[1]
        unsure = self._unsure.get(pairing.clip)
        if unsure is not None and unsure.stamp == pairing.stamp and now < unsure.at:
            return Waits(pairing.clip, unsure.reason, is_problem=True, look_at=unsure.at)
        try:
            found = (
                self._inspect_film(pairing, now)
                if pairing.pictures is None
                else self._inspect_pictures(pairing, pairing.pictures)
            )
        except Unsure as unsure:
            return self._postpone(pairing, now, str(unsure))
        if isinstance(found, Waits):
            return found
        facts, problems = found
        inspected = ({}, tuple(problems)) if problems else (facts, ())
        self._inspected[pairing.clip] = (pairing.stamp, inspected)
        return inspected

    def _inspect_film(self, pairing: Pairing, now: float) -> tuple[dict[str, Any], list[Problem]] | Waits:
        """Return the media facts of a file and why it is no clip, or why it waits. Raises Unsure."""
        facts: dict[str, Any] = {}
        problems: list[Problem] = []
        with self._root.open(pairing.clip) as file:
            if _stamp(file.fileno()) != pairing.stamp:
                raise Unsettled(pairing.clip)
            verdict = self._wholeness.judge(
                file, pairing.clip, pairing.stamp, pairing.since, pairing.pause, now
            )
            match verdict:  # by the first bytes, whatever the name says
                case Waits():
                    return verdict
                case Unrecognised(reason):
                    problems.append(Problem(reason))
                case Complete("zip"):
                    problems.append(Problem("it is a ZIP archive, not a video"))
                case Complete():
                    with self._deaths.paused():  # another process does that, and may take long
                        facts, problems = self._inspection.inspect(file.fileno())
                case _:
                    assert_never(verdict)
            if _stamp(file.fileno()) != pairing.stamp:
                raise Unsettled(pairing.clip)
        return facts, problems

    def _inspect_pictures(self, pairing: Pairing, pictures: Rested) -> tuple[dict[str, Any], list[Problem]]:
        """Return the media facts of a folder of pictures by its first one, and why it is no clip."""
        with self._root.open(pictures.first) as file, self._deaths.paused():
            return self._inspection.inspect(file.fileno(), pictures.facts, pairing.stamp[SIZE])

    def _postpone(self, pairing: Pairing, now: float, reason: str) -> Waits:
        """Try a clip that could not be inspected again later, after a longer pause each time."""
        before = self._unsure.get(pairing.clip)
        pause = _AGAIN_SECONDS
        if before is not None and before.stamp == pairing.stamp:
            pause = min(before.pause * 2, _AGAIN_SECONDS_MAX)
        unsure = _Unsure(pairing.stamp, now + pause, pause, f"{reason} It is looked at again by itself.")
        self._unsure[pairing.clip] = unsure
        return Waits(pairing.clip, unsure.reason, is_problem=True, look_at=unsure.at)

    def forget(self, path: Rel) -> None:
        """Drop what is known about a clip that is gone or accepted."""
        self._inspected.pop(path, None)
        self._unsure.pop(path, None)
        self._wholeness.forget(path)

    def _find_references(
        self, pairing: Pairing, made: Sequence[Draft], problems: list[Problem], now: float
    ) -> dict[Wanted, Reference] | Waits:
        """Find every reference image; mistakes are added to `problems`."""
        found: dict[Wanted, Reference] = {}
        files: dict[Rel, str] = {}
        for wanted in dict.fromkeys(w for draft in made for w in draft.references if not w.is_address):
            paths = wanted.paths(self._rules.places, str(self._root.path))
            path = self._images.find(paths) or ""
            image = self._images.entry(path) if path else None
            if image is None:
                path, image = self._presets.image(paths, now)
            if trouble := self._images.trouble(image, paths) if paths else self._elsewhere(wanted):
                named = readable(path or wanted.entry)
                problems.append(Problem(f"names `{named}`, {trouble}", key=wanted.key, file=wanted.file))
            elif image is not None and (trouble := self._images.coming(image, path)):
                due = image.since + self._rules.sidecar_wait_seconds
                reason = f"its reference image `{readable(path)}` is {trouble}"
                is_changing = not image.is_settled and not image.is_empty
                return Waits.until(pairing.clip, reason, due, now, proceeds=is_changing)
            else:
                file = files.setdefault(path, f"{REFERENCE}{len(files)}{path[path.rindex('.') :].lower()}")
                found[wanted] = Reference(name=path, file=file)
        return found

    def _elsewhere(self, wanted: Wanted) -> str:
        """Return which folder would be right for an image outside of this inbox."""
        home = self._rules.places.path(str(self._root.path))
        inside = wanted.below(str(self._root.path))
        if inside:
            return f"a path of the server; write it from this inbox on: `{readable(inside)}`"
        if (like := self._images.find(wanted.tails())) is not None:
            return f"which is not inside this inbox; did you mean `{readable(like)}`?"
        return (
            f"which is not inside this inbox; put the image into `{readable(home)}` and write its name alone"
        )


def _has_prompt(layer: Layer) -> bool:
    """Return whether a clip's own file holds its prompt, or a mistake that must be reported first."""
    return bool(layer.problems) or _has_key(layer, "prompt") or _has_key(layer, "preset")


def _has_key(layer: Layer, key: str) -> bool:
    return any(key in table for table in (layer.keys, *layer.variants))


def _wrong(clip: Rel, problems: Sequence[Problem], *, needs_others: bool = False) -> Waits:
    """Return a wait for a clip that its editor must fix."""
    each = tuple(dict.fromkeys(problems))
    reason = "; ".join(sentence(problem) for problem in each[:3])
    return Waits(
        clip,
        reason,
        found=each,
        needs_others=needs_others or any(one.key in {"references", "keyframe", "preset"} for one in each),
    )


def _stamp(descriptor: int) -> Stamp:
    return stamp_of(os.fstat(descriptor))
