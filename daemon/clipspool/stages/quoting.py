"""Completes, checks and prices a request for a clip before anything is sent; intake and `again` agree.

Nothing here is written, uploaded or asked of the provider.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clipspool.jobs.events import FellBack
from clipspool.jobs.model import Problem, Request
from clipspool.jobs.sequence import DEFAULT_RATE, PICTURES, Facts, at_rate, exact_rate, in_words
from clipspool.media.facts import Probe
from clipspool.media.parts import parts_of
from clipspool.media.plan import Conform, Refuse
from clipspool.provider.catalog import Catalog
from clipspool.provider.transport import Choice, Way
from clipspool.stages.fit import choose_for, type_by
from clipspool.stages.split import Parting, is_split, parting


@dataclass(frozen=True, slots=True)
class Quoting:
    """What the models accept and cost, and which ways lead to the provider."""

    catalog: Catalog
    ways: Sequence[Way]

    def complete(self, request: Request, media: Mapping[str, Any]) -> Request:
        """Return a request with the fields that its model always needs; `media` is the clip's probe.

        Only a folder of pictures has a rate of its own choice: for a film the key is left out.
        """
        rate = (request.frames_per_second or DEFAULT_RATE) if PICTURES in media else 0.0
        if rate != request.frames_per_second:
            request = replace(request, frames_per_second=rate)
        return self.catalog.completed(request, media)

    def check(self, request: Request, media: Mapping[str, Any]) -> list[Problem]:
        """Return what keeps a request for a clip from being sent: the model's limits, or the clip itself."""
        if found := self.catalog.problems(request):
            return found
        if request.long_clips == "split" and request.output_format == "png_sequence":
            return [Problem("makes pictures, and those of parts are not joined", "output_format")]
        media = at_rate(media, request.frames_per_second)
        match self._parting(request, media) or self._choice(request, media):
            case Refuse(reason=reason, what_to_do=what_to_do):
                return [Problem(f"{reason}. {what_to_do}")]
            case Parting():
                return _late_keyframes(request, media.get("seconds"))
            case Choice(verdict=Refuse(reason=reason)) if request.long_clips == "split" and PICTURES in media:
                return [Problem(f"cuts no folder of pictures, and {reason}: drop fewer", "long_clips")]
            case Choice(verdict=Refuse(reason=reason, what_to_do=what_to_do)):
                return [Problem(f"{reason}. {what_to_do}")]
            case Choice(verdict=Conform(seconds=seconds, own_seconds=own)):
                return _late_keyframes(request, own or seconds)
            case _:
                return _late_keyframes(request, media.get("seconds"))

    def fallback(self, request: Request, media: Mapping[str, Any], shut: Collection[str]) -> FellBack | None:
        """Return the first fallback of a request's model that takes it for this clip; None for none.

        `shut` are models that are not offered now.
        """
        return next((_fell_back(one, request.model) for one in self._others(request, media, shut)), None)

    def covered(
        self, request: Request, media: Mapping[str, Any], asked: str, left: float, shut: Collection[str]
    ) -> tuple[FellBack, float] | None:
        """Return the first fallback of the model `asked` that the credits `left` cover, with its price.

        None for none, and where they cover `asked` itself or its price is not known: then it is waited for.
        """
        asked_for = replace(request, model=asked)
        own = self.price(asked_for, media)
        if own is None or own <= left:
            return None
        for one in self._others(asked_for, media, shut):
            price = self.price(one, media)
            # The parts of a film are jobs of their own, which the account's pause would hold half-way.
            is_whole = not isinstance(self._parting(one, media), Parting)
            if price is not None and price <= left and is_whole:
                why = f"costs about {own:,.10g} credits, and the account has {left:,.10g}"
                return replace(_fell_back(one, asked), why=why), price
        return None

    def _others(self, request: Request, media: Mapping[str, Any], shut: Collection[str]) -> Iterator[Request]:
        """Return a request as its model's fallbacks take it for this clip, none of those in `shut`.

        A ratio that nobody asked for is chosen again.
        """
        model = self.catalog.models.get(request.model)
        for name in model.fallback if model else ():
            if name in shut or name not in self.catalog.models or name == request.model:
                continue
            ratio = None if request.ratio_is_chosen else request.ratio
            tried = replace(request, model=name, ratio=ratio, ratio_is_chosen=False)
            tried = self.complete(tried, media)
            if not self.check(tried, media):
                yield tried

    @property
    def patience(self) -> dict[str, float]:
        """How long each model is waited for while it is too busy, where a fallback may serve after that."""
        models = self.catalog.models.items()
        return {name: one.fallback_seconds for name, one in models if one.fallback_seconds is not None}

    def price(self, request: Request, media: Mapping[str, Any]) -> float | None:
        """Return the credits that a request for a clip costs, by the seconds as sent; None if not known."""
        if request.model not in self.catalog.models:
            return None
        seconds = at_rate(media, request.frames_per_second).get("seconds")
        match self._parting(request, media) or self._choice(request, media):
            case Refuse():
                return None
            case Parting() as parting:
                return parting.price
            case Choice(verdict=Conform(seconds=cut)):
                seconds = cut
            case _:
                pass
        return self.catalog.credits(request, None if seconds is None else float(seconds))

    def changes(self, request: Request, media: Mapping[str, Any]) -> tuple[str, ...]:
        """Return what is changed of a clip so that it can be sent, in words; empty for nothing."""
        facts = Facts.of(media)
        first = in_words(facts, exact_rate(request.frames_per_second)) if facts else ()
        match self._parting(request, media) or self._choice(request, media):
            case Parting(changes=changes):
                return changes
            case Choice(verdict=Conform(changes=changes)):
                return (*first, *changes)
            case _:
                return ()

    def _parting(self, request: Request, media: Mapping[str, Any]) -> Parting | Refuse | None:
        """Cut a clip that is too long evenly: its scene changes, found later, make it no dearer."""
        if request.long_clips != "split" or not media.get("container"):
            return None
        limits, probe = self.catalog.limits(request.model), Probe.from_dict(dict(media))
        if not is_split(request, probe, limits):
            return None
        found = parts_of(probe, limits, overlap_frames=request.overlap_frames)
        if isinstance(found, Refuse):
            return found
        estimate = self.catalog.credits
        return parting(request, probe, limits, self.ways, type_by(media, ""), estimate, found)

    def _choice(self, request: Request, media: Mapping[str, Any]) -> Choice[Conform] | None:
        if not media.get("container") or request.model not in self.catalog.models:
            return None
        limits = self.catalog.limits(request.model)
        media = at_rate(media, request.frames_per_second)
        return choose_for(request, Probe.from_dict(dict(media)), limits, self.ways, type_by(media, ""))


def _fell_back(request: Request, instead_of: str) -> FellBack:
    return FellBack(request.model, instead_of, request.ratio, request.ratio_is_chosen)


def _late_keyframes(request: Request, seconds: float | None) -> list[Problem]:
    """Return a problem for the first keyframe whose time is after the end of what is sent."""
    times = [one.position for one in request.references if one.at]
    late = next((at for at in times if not isinstance(at, str) and seconds and at > seconds), None)
    if late is None:
        return []
    return [Problem(f"is at {late:g} s, and {seconds:.4g} s of the clip are sent", "keyframe")]
