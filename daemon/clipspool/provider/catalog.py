"""What each model accepts and costs: requests are checked, built and priced here before they are sent."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from clipspool.jobs.model import Problem, Request
from clipspool.jobs.naming import units
from clipspool.jobs.nouns import replace
from clipspool.media.plan import Bounds
from clipspool.provider.model import RATIO, BadModel, Model, read_model
from clipspool.provider.passthrough import extra_problems
from clipspool.provider.protocol import Inline

_ALMOST_RATIO = re.compile(r"\s*([1-9]\d{0,4})\s*[:xX\u00d7*/]\s*([1-9]\d{0,4})\s*")
_THRESHOLDS = ("auto", "low")
_FRAME_SECONDS = 0.04
_SIDE_MAX = 16_384
"""No model takes a picture with a longer side, not even one that the catalogue does not have."""

_USUAL_RATIO = "1280:720"
_UNSET: Mapping[str, Any] = {
    "seed": 0,
    "ratio": _USUAL_RATIO,
    "references": [],
    "contentModeration": {"publicFigureThreshold": "auto"},
}
"""The value of a field that is always sent and that the request does not set."""
_WITH_KEYS = frozenset({"keyframes", "targetAspectRatio", "outputFormat"})
"""Fields that `[extra]` may set as well: it had to before they had keys, and a keyframe's range has none."""
_MP4 = "mp4"
_AS_NEAR = 0.01
"""Shapes that differ by a hundredth look the same: 848:480 and 1280:720."""


DEFAULT_MODEL = "gen4_aleph"
"""The model of a request that names none [PROVIDER 1.1]."""


@cache
def _shipped() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(files("clipspool").joinpath("models.toml").read_text("utf-8"))


class Catalog:
    """The models by name; pure except for reading the shipped table once."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self.models = dict(models)

    @classmethod
    def load(cls, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Catalog:
        """Load the shipped models, with single keys changed and models added. Raises BadModel."""
        tables = {name: dict(table) for name, table in _shipped().items()}
        for name, table in (overrides or {}).items():
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}", name):
                raise BadModel((name,), "is no name for a model: letters, digits, `.`, `_`, `-`, `:` or `/`")
            if not isinstance(table, Mapping):
                raise BadModel((name,), "must be a table")
            tables[name] = {**tables.get(name, {}), **table}
        return cls({name: read_model(name, table) for name, table in tables.items()})

    def problems(self, request: Request) -> list[Problem]:
        """List what the model does not accept, in words for the editor; empty when it can be sent."""
        model = self.models.get(request.model)
        if model is None:
            unknown = f"names the unknown model `{request.model}`{self._meant(request.model)}"
            return [Problem(unknown, "model")]
        found = [
            *_prompt_problems(model, request),
            *_ratio_problems(model, request),
            *_moderation_problems(model, request),
            *_extra_problems(model, request),
        ]
        return [*found, *_image_problems(model, request), *_output_problems(model, request)]

    def limits(self, name: str) -> Bounds:
        """Return a model's limits for the media plan; raises KeyError for an unknown model."""
        model = self.models[name]
        least, most = model.short_side_pixels_min or 2, model.side_pixels_max or _SIDE_MAX
        return Bounds(
            width_min=least,
            width_max=most,
            height_min=least,
            height_max=most,
            aspect_min=model.aspect_min or 0.0,
            aspect_max=model.aspect_max or math.inf,
            fps_min=model.frames_per_second_min,
            fps_max=model.frames_per_second_max,
            seconds_min=model.seconds_min or None,
            seconds_max=model.seconds_max,
            containers=frozenset(model.containers),
            codecs=frozenset(model.codecs),
            bit_depth_max=model.bit_depth_max,
            hdr=model.takes_hdr,
            audio_used=model.uses_audio,
        )

    def body(
        self, request: Request, source: Inline | str, references: Sequence[Inline | str] = ()
    ) -> dict[str, Any]:
        """Build the JSON body for a request without problems; unset fields are absent [PROVIDER 1.1, 2.2].

        `references` are the request's references as they are sent, in their order. Raises KeyError for a
        model that is not in the catalogue (any more).
        """
        model = self.models[request.model]
        body: dict[str, Any] = {
            "model": request.model,
            model.source_field: source,
            model.prompt_field: request.prompt,
        }
        if "seed" in model.fields:
            body["seed"] = request.seed
        if request.ratio is not None and "ratio" in model.fields:
            body["ratio"] = request.ratio
        images = list(zip(request.references, references, strict=True))
        plain = [{"type": "image", "uri": uri} for one, uri in images if not one.at]
        frames = [{**_time_of(one.position), "uri": uri} for one, uri in images if one.at]
        given = {
            "references": plain,
            "keyframes": frames,
            "targetAspectRatio": request.target_aspect,
            "outputFormat": request.output_format,
        }
        body |= {name: value for name, value in given.items() if value and name in model.fields}
        threshold = request.content_moderation.get("public_figure_threshold")
        if threshold is not None and "contentModeration" in model.fields:
            body["contentModeration"] = {"publicFigureThreshold": threshold}
        for name in model.always:
            if name in model.fields:
                body.setdefault(name, _UNSET[name])
        return {**request.extra, **body}

    def completed(self, request: Request, media: Mapping[str, Any]) -> Request:
        """Fill in the ratio nearest to the clip's shape, where the model needs one and the request has none.

        `media` has the probe's `width` and `height` of the shown picture.
        """
        model = self.models.get(request.model)
        if model is None or request.ratio is not None or not {"ratio"} <= {*model.always} & {*model.fields}:
            return request
        ratio = _nearest(model.ratios, media.get("width") or 0, media.get("height") or 0)
        return replace(request, ratio=ratio, ratio_is_chosen=True)

    def retirement(self, name: str) -> str:
        """Describe since when a model is retired, and its successor; empty for one that is not."""
        model = self.models.get(name)
        if model is None or not model.retired_since:
            return ""
        after = f"; its successor is {model.successor}" if model.successor else ""
        return f"{name} left its vendor's own interface on {model.retired_since}{after}"

    def credits(self, request: Request, seconds: float | None) -> float | None:
        """Estimate the price of a clip of `seconds`; None where length or price is not known.

        A cautious estimate, by each started second (with a frame's tolerance). The one bill that was measured
        counted whole seconds only: 812 credits for 29.9 s of aleph2, 29 times 28 [PROVIDER 2.10].
        """
        model = self.models.get(request.model)
        if model is None or model.credits_per_second is None or seconds is None:
            return None
        if not math.isfinite(seconds) or seconds <= 0:
            return None
        rate = model.credits_per_second
        if (request.output_format or request.extra.get("outputFormat", _MP4)) != _MP4:
            rate += model.other_output_credits_per_second
        counted = min(seconds, model.seconds_max or seconds)
        return max(
            math.ceil(counted - _FRAME_SECONDS) * rate, rate if counted > 0 else 0.0, model.credits_min
        )

    def _meant(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.models, 1, 0.6)
        meant = f", did you mean `{close[0]}`?" if close else ""
        return f"{meant} (known: {', '.join(sorted(self.models))})"


@lru_cache(maxsize=64)
def _nearest(ratios: tuple[str, ...], width: int, height: int) -> str:
    """Choose the ratio nearest to a clip's shape; of those as near, one not smaller than the clip."""
    if not ratios:
        return f"{width}:{height}" if width and height else _USUAL_RATIO
    if not width or not height:
        return ratios[0]

    def distance(ratio: str) -> float:
        across, down = _sides(ratio)
        return abs(math.log(across / down) - math.log(width / height))

    least = min(map(distance, ratios))
    near = [one for one in ratios if distance(one) <= least + _AS_NEAR]
    whole = [one for one in near if math.prod(_sides(one)) >= width * height]
    if whole:
        return min(whole, key=distance)
    return max(near, key=lambda one: math.prod(_sides(one)))


def _sides(ratio: str) -> tuple[int, int]:
    across, _, down = ratio.partition(":")
    return int(across), int(down)


def _prompt_problems(model: Model, request: Request) -> Iterator[Problem]:
    length, most = units(request.prompt), model.prompt_utf16_max
    if not request.prompt.strip():
        yield Problem("is empty: say what should become of the clip", "prompt")
    elif length > most:
        too_long = f"has {length} UTF-16 units, `{request.model}` takes {most} (an emoji counts twice)"
        yield Problem(f"{too_long}: shorten it by {length - most}", "prompt")


def _ratio_problems(model: Model, request: Request) -> Iterator[Problem]:
    ratio = request.ratio
    if ratio is None:
        return
    if "ratio" not in model.fields:
        yield Problem(f"has no place here, `{request.model}` takes no ratio: leave the key out", "ratio")
        return
    known = ", ".join(model.ratios)
    accepted = f"`{request.model}` takes {known}" if known else "write it like 1280:720"
    if not RATIO.fullmatch(ratio):
        almost = _ALMOST_RATIO.fullmatch(ratio)
        meant = f"{almost[1]}:{almost[2]}" if almost else ""
        is_accepted = meant and (not known or meant in model.ratios)
        message = f"is written with a colon: `{meant}`" if is_accepted else f"is no ratio: {accepted}"
        yield Problem(message, "ratio", right=f'ratio = "{meant}"' if is_accepted else "")
    elif known and ratio not in model.ratios:
        across, down = _sides(ratio)
        right = f'ratio = "{_nearest(model.ratios, across, down)}"'
        yield Problem(f"is {ratio}, which is not accepted: {accepted}", "ratio", right=right)


def _image_problems(model: Model, request: Request) -> Iterator[Problem]:
    frames = sum(bool(one.at) for one in request.references)
    for key, what, count, most in (
        ("references", "reference images", len(request.references) - frames, model.references_max),
        ("keyframe", "keyframes", frames, model.keyframes_max),
    ):
        if count > most:
            limit = f"at most {most}" if most else f"no {what}"
            yield Problem(f"does not fit: `{request.model}` takes {limit}, here are {count}", key)


def _output_problems(model: Model, request: Request) -> Iterator[Problem]:
    for key, value, known in (
        ("target_aspect", request.target_aspect, model.target_aspects),
        ("output_format", request.output_format, model.output_formats),
    ):
        if value and value not in known:
            accepted = f"it takes {', '.join(known)}" if known else "leave the key out"
            yield Problem(f"is {value}, which `{request.model}` does not take: {accepted}", key)


def _time_of(position: str | float) -> dict[str, float]:
    """Return a keyframe's place in the API's form: seconds, or a share of the whole length."""
    match position:
        case "last":
            return {"at": 1.0}
        case "first":
            return {"seconds": 0.0}
        case _:
            return {"seconds": float(position)}


def _moderation_problems(model: Model, request: Request) -> Iterator[Problem]:
    key, inner = "content_moderation", "public_figure_threshold"
    if request.content_moderation and "contentModeration" not in model.fields:
        yield Problem(f"has no place here, `{request.model}` takes none: leave it out", key)
        return
    for name in request.content_moderation:
        if name != inner:
            yield Problem(f"unknown key, only `{inner}` is known", f"{key}.{name}")
    if request.content_moderation.get(inner, "auto") not in _THRESHOLDS:
        yield Problem('must be "auto" or "low"', f"{key}.{inner}")


def _extra_problems(model: Model, request: Request) -> Iterator[Problem]:
    ours = {"model": "model", model.source_field: "", model.prompt_field: "prompt"}
    for name in model.fields:
        if name not in _WITH_KEYS:
            ours[name] = "content_moderation" if name == "contentModeration" else name
    return extra_problems(request.extra, ours)
