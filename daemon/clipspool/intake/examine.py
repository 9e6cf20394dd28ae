"""Looks into a clip, its sidecar and its reference images: is all well, and what will be asked for."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, assert_never

from clipspool.files import Rel, Root
from clipspool.intake.keys import SEED_MAX
from clipspool.intake.layers import Draft, Wanted, drafts, located
from clipspool.intake.names import readable
from clipspool.intake.pair import Waits
from clipspool.intake.settle import SIZE, Settling, Stamp, stamp_of
from clipspool.intake.sidecar import BYTES_MAX, Layer, parse, too_large
from clipspool.intake.terms import Rules
from clipspool.job import Problem, Reference, Request
from clipspool.media.boxes import Complete, Incomplete, Unrecognised, completeness

Check = Callable[[Request], list[Problem]]
"""The catalogue's: what is wrong with a request, before anything is spent."""
Inspect = Callable[[int], tuple[dict[str, Any], list[Problem]]]
"""Looks into an open clip by its descriptor: media facts, and what is wrong."""


class Changed(Exception):
    """The clip or its sidecar is not what it was when it settled."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """A settled clip and its settled sidecar, or None where defaults serve."""

    clip: Rel
    stamp: Stamp
    since: float
    """Monotonic seconds: since when the clip stands still."""
    sidecar: Rel | None
    sidecar_stamp: Stamp | None


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


class Examination:
    """Everything that is asked of a clip between pairing and acceptance, for one inbox."""

    def __init__(self, root: Root, rules: Rules, *, check: Check, inspect: Inspect) -> None:
        self._root = root
        self._rules = rules
        self._check = check
        self._inspect = inspect
        self._images = Settling(rules.settle_seconds)
        self._verdicts: dict[Rel, tuple[Stamp, Wrong | dict[str, Any]]] = {}

    # --- looking ----------------------------------------------------------------------------------------

    def examine(self, pairing: Pairing, defaults: Sequence[Layer], now: float) -> Ready | Wrong | Waits:
        """Judge a pairing at `now` (monotonic seconds). Raises Changed and OSError."""
        sidecar: Layer | None = None
        if pairing.sidecar is not None and pairing.sidecar_stamp is not None:
            sidecar = self.read_layer(pairing.sidecar, pairing.sidecar_stamp, is_own=True)
            if sidecar is None:
                raise Changed(pairing.sidecar)
        media = self._look_inside(pairing, now)
        if isinstance(media, Waits):
            return media
        made, wrong = drafts(defaults, sidecar)
        problems = [*(media.problems if isinstance(media, Wrong) else ()), *wrong]
        found = self._find_references(pairing, made, problems, now)
        if isinstance(found, Waits):
            return found
        layers = [*defaults, sidecar] if sidecar is not None else [*defaults]
        requests = []
        for draft in made if not problems else ():
            request = draft.request(secrets.randbelow(SEED_MAX + 1), found)
            problems += [located(problem, layers, draft.variant) for problem in self._check(request)]
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
            return parse(data, path, is_own=is_own) if _stamp(file.fileno()) == stamp else None

    def _look_inside(self, pairing: Pairing, now: float) -> dict[str, Any] | Wrong | Waits:
        known = self._verdicts.get(pairing.clip)
        if known is not None and known[0] == pairing.stamp:
            return known[1]
        with self._root.open(pairing.clip) as file:
            if _stamp(file.fileno()) != pairing.stamp:
                raise Changed(pairing.clip)
            verdict = completeness(file, pairing.stamp[SIZE])
            facts: dict[str, Any] = {}
            problems: list[Problem] = []
            match verdict:  # by the first bytes, whatever the name says
                case Incomplete(reason):
                    due = pairing.since + self._rules.sidecar_wait_seconds
                    return Waits(pairing.clip, reason, now >= due, inf if now >= due else due)
                case Unrecognised(reason):
                    problems.append(Problem(reason))
                case Complete("zip"):
                    problems.append(Problem("it is a ZIP archive, not a video"))
                case Complete():
                    facts, problems = self._inspect(file.fileno())
                case _:
                    assert_never(verdict)
            if _stamp(file.fileno()) != pairing.stamp:
                raise Changed(pairing.clip)
        answer = Wrong(tuple(problems)) if problems else facts
        self._verdicts[pairing.clip] = (pairing.stamp, answer)
        return answer

    def forget(self, path: Rel) -> None:
        """Drop what is remembered of a clip that is gone or taken."""
        self._verdicts.pop(path, None)

    def _find_references(
        self, pairing: Pairing, made: Sequence[Draft], problems: list[Problem], now: float
    ) -> dict[Wanted, Reference] | Waits:
        """Look up every image file that is asked for; what is wrong is added to `problems`."""
        found: dict[Wanted, Reference] = {}
        names: dict[Rel, str] = {}
        wanted_files = dict.fromkeys(w for draft in made for w in draft.references if not w.is_address)
        for wanted in wanted_files:
            path, trouble = self._find_image(wanted, now)
            if trouble:
                problems.append(Problem(trouble, key="references", file=wanted.file))
            elif self._images.settled(path) is None:
                reason = f"its reference image `{readable(path)}` is still changing, or empty"
                return Waits(pairing.clip, reason, look_at=now + self._rules.settle_seconds, goes_on=True)
            else:
                file = names.setdefault(path, f"ref-{len(names)}{path[path.rindex('.') :].lower()}")
                found[wanted] = Reference(name=path, file=file)
        return found

    def _find_image(self, wanted: Wanted, now: float) -> tuple[Rel, str]:
        """Give the path of an image, or else what is wrong with it."""
        for path in wanted.paths():
            try:
                seen = self._root.stat(path)
            except (FileNotFoundError, NotADirectoryError):
                self._images.see(path, None, now)
                continue
            if not stat.S_ISREG(seen.st_mode):
                return path, f"names `{readable(path)}`, which is a link, folder or device, not an image file"
            self._images.see(path, stamp_of(seen), now)
            return path, ""
        return wanted.entry, f"names `{readable(wanted.entry)}`, which is not in the inbox (yet)"


def _stamp(descriptor: int) -> Stamp:
    return stamp_of(os.fstat(descriptor))
