"""Looks into a clip, its sidecar and its reference images: is all well, and what will be asked for."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, assert_never

from clipspool.intake.images import Images
from clipspool.intake.names import TXT, readable
from clipspool.intake.pair import Entry, Waits
from clipspool.intake.poison import WHY, Deaths
from clipspool.intake.settle import MTIME_NS, SIZE, Stamp, stamp_of
from clipspool.intake.sidecar.keys import SEED_MAX
from clipspool.intake.sidecar.layers import Draft, Wanted, drafts, located
from clipspool.intake.sidecar.parse import BYTES_MAX, Layer, parse, parse_prompt, too_large
from clipspool.intake.types import Rules
from clipspool.intake.whole import Wholeness
from clipspool.jobs.faults import Unsure
from clipspool.jobs.model import Problem, Reference, Request
from clipspool.media.boxes import Complete, Unrecognised
from clipspool.spool.layout import REFERENCE
from clipspool.spool.root import Root
from clipspool.system.atomic import TIME_NS_MAX, Rel

Check = Callable[[Request, dict[str, Any]], list[Problem]]
"""Compares a request and the media facts of its clip with the model: what is wrong, before any is spent."""
Inspect = Callable[[int], tuple[dict[str, Any], list[Problem]]]
"""Looks into an open clip by its descriptor: media facts, and why it is no clip at all. May raise Unsure."""

IMAGE_BYTES_MAX = 256 << 20
"""8,000 x 8,000 pixels that nothing compresses; each image is copied while the inbox's other clips wait."""
_AGAIN_SECONDS = 10.0
_AGAIN_SECONDS_MAX = 3600.0


class Changed(Exception):
    """The clip or its sidecar is not what it was when it settled."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """A settled clip and what was written for it; neither sidecar nor prompt where defaults serve."""

    clip: Rel
    stamps: Mapping[Rel, Stamp]
    """Of the clip, its sidecar and its prompt, as they settled."""
    since: float
    """Monotonic seconds: since when the clip stands still."""
    sidecar: Rel | None = None
    prompt: Rel | None = None
    """A `.txt` that holds the prompt."""
    controls: tuple[Rel, ...] = ()
    """Control files that would say that the clip is not whole, were they there."""
    pause: float = 0.0
    """Seconds that the clip has stood still at most before it grew on."""
    prompt_blocked: str = ""
    """Why it has to wait where it does not say its own prompt."""

    @property
    def stamp(self) -> Stamp:
        """The clip's own."""
        return self.stamps[self.clip]


@dataclass(frozen=True, slots=True)
class Ready:
    """A clip with which all is well."""

    pairing: Pairing
    requests: tuple[tuple[str, Request], ...]
    """Variant and request of each job."""
    copies: tuple[tuple[Rel, str], ...]
    media: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wrong:
    """A clip that its editor has to mend."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Unsure:
    stamp: Stamp
    at: float
    """Monotonic seconds: looked at again no sooner."""
    pause: float
    reason: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """Who knows about clips and requests: the catalogue and the decoder."""

    check: Check
    inspect: Inspect
    expect: Callable[[], None] = lambda: None
    """Called while files settle that are likely to be inspected soon."""
    complete: Callable[[Request, dict[str, Any]], Request] = lambda request, _: request
    """Fills in what the model always wants and nobody named."""


class Examination:
    """Everything that is asked of a clip between pairing and acceptance, for one inbox."""

    def __init__(
        self,
        root: Root,
        rules: Rules,
        images: Images,
        deaths: Deaths,
        inspection: Inspection,
    ) -> None:
        self._images = images
        self._deaths = deaths
        self._root = root
        self._rules = rules
        self._inspection = inspection
        self._verdicts: dict[Rel, tuple[Stamp, Wrong | dict[str, Any]]] = {}
        self._unsure: dict[Rel, _Unsure] = {}
        self._wholeness = Wholeness(rules, root.path)

    # --- looking ----------------------------------------------------------------------------------------

    def examine(self, pairing: Pairing, defaults: Sequence[Layer], now: float) -> Ready | Wrong | Waits:
        """Judge a pairing at `now` (monotonic seconds). Raises Changed and OSError."""
        look = repr(tuple(pairing.stamps.values()))
        if self._deaths.is_set_aside(pairing.clip, look):
            return Wrong((Problem(WHY),))
        with self._deaths.over(pairing.clip, look):
            answer = self._examine(pairing, defaults, now)
        if not isinstance(answer, Waits):
            self._deaths.survive(pairing.clip)
        return answer

    def _examine(self, pairing: Pairing, defaults: Sequence[Layer], now: float) -> Ready | Wrong | Waits:
        if abs(pairing.stamp[MTIME_NS]) >= TIME_NS_MAX:
            return Wrong(
                (Problem("its date lies beyond the year 2262; copy the clip, or set its date anew"),)
            )
        own = []  # the sidecar last: a prompt in it wins over that of a text file beside it
        for path in (pairing.prompt, pairing.sidecar):
            if path is not None:
                layer = self.read_layer(path, pairing.stamps[path], is_own=True)
                if layer is None:
                    raise Changed(path)
                own.append(layer)
        if pairing.prompt_blocked and not any(_says_prompt(layer) for layer in own):
            due = pairing.since + self._rules.sidecar_wait_seconds
            return Waits(pairing.clip, pairing.prompt_blocked, now >= due, inf if now >= due else due)
        layers = [*defaults, *own]
        media = self._look_inside(pairing, now)
        if isinstance(media, Waits):
            return media
        made, wrong = drafts(layers[: len(layers) - bool(own)], own[-1] if own else None)
        problems = [*(media.problems if isinstance(media, Wrong) else ()), *wrong]
        wrong_so_far = len(problems)
        found = self._find_references(pairing, made, problems, now)
        if isinstance(found, Waits):
            return found
        requests = []
        for draft in made if len(problems) == wrong_so_far else ():
            facts = media if isinstance(media, dict) else {}
            request = draft.request(secrets.randbelow(SEED_MAX + 1), found)
            request = self._inspection.complete(request, facts)
            problems += [
                located(problem, layers, draft.variant) for problem in self._inspection.check(request, facts)
            ]
            requests.append((draft.variant, request))
        if problems or isinstance(media, Wrong):
            return Wrong(tuple(dict.fromkeys(problems)))
        copies = {reference.name: reference.file for reference in found.values()}
        return Ready(pairing, tuple(requests), tuple(copies.items()), media)

    def read_layer(self, path: Rel, stamp: Stamp, *, is_own: bool) -> Layer | None:
        """Read a sidecar or defaults that have settled; None when they changed since. Raises OSError."""
        with self._root.open(path) as file:
            if _stamp(file.fileno()) != stamp:
                return None
            if stamp[SIZE] > BYTES_MAX:
                return too_large(path)
            data = file.read(BYTES_MAX + 1)
            if _stamp(file.fileno()) != stamp:
                return None
            return (
                parse_prompt(data, path) if path.lower().endswith(TXT) else parse(data, path, is_own=is_own)
            )

    def _look_inside(self, pairing: Pairing, now: float) -> dict[str, Any] | Wrong | Waits:
        known = self._verdicts.get(pairing.clip)
        if known is not None and known[0] == pairing.stamp:
            return known[1]
        unsure = self._unsure.get(pairing.clip)
        if unsure is not None and unsure.stamp == pairing.stamp and now < unsure.at:
            return Waits(pairing.clip, unsure.reason, is_problem=True, look_at=unsure.at)
        with self._root.open(pairing.clip) as file:
            if _stamp(file.fileno()) != pairing.stamp:
                raise Changed(pairing.clip)
            verdict = self._wholeness.look(
                file, pairing.clip, pairing.stamp, pairing.since, pairing.pause, now
            )
            facts: dict[str, Any] = {}
            problems: list[Problem] = []
            match verdict:  # by the first bytes, whatever the name says
                case Waits():
                    return verdict
                case Unrecognised(reason):
                    problems.append(Problem(reason))
                case Complete("zip"):
                    problems.append(Problem("it is a ZIP archive, not a video"))
                case Complete():
                    try:
                        with self._deaths.apart():  # another process does that, and may take its time
                            facts, problems = self._inspection.inspect(file.fileno())
                    except Unsure as unsure:
                        return self._look_again(pairing, now, str(unsure))
                case _:
                    assert_never(verdict)
            if _stamp(file.fileno()) != pairing.stamp:
                raise Changed(pairing.clip)
        answer = Wrong(tuple(problems)) if problems else facts
        self._verdicts[pairing.clip] = (pairing.stamp, answer)
        return answer

    def _look_again(self, pairing: Pairing, now: float, reason: str) -> Waits:
        """Put off a clip that could not be looked into, longer each time: perhaps it was not its fault."""
        before = self._unsure.get(pairing.clip)
        is_first = before is None or before.stamp != pairing.stamp
        pause = _AGAIN_SECONDS if is_first or before is None else min(before.pause * 2, _AGAIN_SECONDS_MAX)
        unsure = _Unsure(pairing.stamp, now + pause, pause, f"{reason} It is looked at again by itself.")
        self._unsure[pairing.clip] = unsure
        return Waits(pairing.clip, unsure.reason, is_problem=True, look_at=unsure.at)

    def forget(self, path: Rel) -> None:
        """Drop what is remembered of a clip that is gone or taken."""
        self._verdicts.pop(path, None)
        self._unsure.pop(path, None)
        self._wholeness.forget(path)

    def _find_references(
        self, pairing: Pairing, made: Sequence[Draft], problems: list[Problem], now: float
    ) -> dict[Wanted, Reference] | Waits:
        """Look up every image file that is asked for; what is wrong is added to `problems`."""
        found: dict[Wanted, Reference] = {}
        files: dict[Rel, str] = {}
        for wanted in dict.fromkeys(w for draft in made for w in draft.references if not w.is_address):
            paths = wanted.paths(self._rules.places, str(self._root.path))
            path = self._images.find(paths) or ""
            image = self._images.entry(path) if path else None
            if trouble := self._trouble_with(image, paths) if paths else self._elsewhere(wanted):
                named = readable(path or wanted.entry)
                problems.append(Problem(f"names `{named}`, {trouble}", key="references", file=wanted.file))
            elif image is not None and not image.is_settled:
                due = image.since + self._rules.sidecar_wait_seconds
                trouble = "empty" if image.is_empty else "still changing"
                reason = f"its reference image `{readable(path)}` is {trouble}"
                return Waits(pairing.clip, reason, now >= due, inf if now >= due else due, not image.is_empty)
            else:
                file = files.setdefault(path, f"{REFERENCE}{len(files)}{path[path.rindex('.') :].lower()}")
                found[wanted] = Reference(name=path, file=file)
        return found

    def _trouble_with(self, image: Entry | None, paths: Sequence[Rel]) -> str:
        like = None if image is not None else self._images.like(paths)
        meant = f"; did you mean `{readable(like)}`?" if like is not None else ""
        return f"{trouble}{meant}" if (trouble := _unusable(image)) else ""

    def _elsewhere(self, wanted: Wanted) -> str:
        """Say which folder would be right for an image that does not lie in this inbox."""
        home = self._rules.places.path(str(self._root.path))
        inside = wanted.below(str(self._root.path))
        if inside:
            return f"a path of the server; write it from this inbox on: `{readable(inside)}`"
        return (
            f"which is not inside this inbox; put the image into `{readable(home)}` and write its name alone"
        )


def _says_prompt(layer: Layer) -> bool:
    """Say whether a clip's own file holds its prompt, or a mistake that has to be told first."""
    tables = (layer.keys, *layer.variants)
    return bool(layer.problems) or any("prompt" in table for table in tables)


def _unusable(image: Entry | None) -> str:
    if image is None:
        return "which is not in the inbox (yet)"
    if not image.is_regular:
        return "which is a link or a device"
    if image.size > IMAGE_BYTES_MAX:
        return f"which is larger than {IMAGE_BYTES_MAX >> 20} MB; export the image smaller"
    return ""


def _stamp(descriptor: int) -> Stamp:
    return stamp_of(os.fstat(descriptor))
