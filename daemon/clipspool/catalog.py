"""What each model takes and what it costs: requests are checked, built and priced here before any is sent."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from clipspool.job import Problem, Request
from clipspool.media.plan import Limits
from clipspool.provider import Inline

_RATIO = re.compile(r"[1-9]\d{0,4}:[1-9]\d{0,4}")
_ALMOST_RATIO = re.compile(r"\s*([1-9]\d{0,4})\s*[:xX\u00d7*/]\s*([1-9]\d{0,4})\s*")
_THRESHOLDS = ("auto", "low")
_DEPTH_MAX = 20
_FRAME_SECONDS = 0.04
_SIDE_MAX = 16_384
"""No model takes a longer side, known or not."""

OptionalField = Literal["seed", "ratio", "references", "contentModeration"]


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 - pydantic hears ValueError only
    return value


_Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False), BeforeValidator(_no_truth)]
_Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False), BeforeValidator(_no_truth)]
_Count = Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(_no_truth)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


DEFAULT_MODEL = "gen4_aleph"
"""What a request asks for that names no model [PROVIDER 1.1]."""


class BadModel(Exception):
    """A `[models.NAME]` table cannot be used."""

    def __init__(self, loc: tuple[int | str, ...], message: str) -> None:
        super().__init__(message)
        self.loc = loc
        """The way to the key, from the model's name on."""
        self.message = message


class Model(BaseModel):
    """One model. Limits that are None are not known, and are not checked.

    Sources: gen4_aleph PROVIDER 2.2, aleph2 2.3, both 2.4 and 2.10.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*$", max_length=200)] = (
        "video_to_video"
    )
    """Path below the base URL."""
    source_field: _Name = "videoUri"
    """`videoUri`, or `promptVideo` for the seedance family."""
    prompt_field: _Name = "promptText"
    fields: tuple[OptionalField, ...] = ("seed",)
    """Which of the optional fields exist; bodies with an unknown one are refused upstream."""
    ratios: tuple[Annotated[str, Field(pattern=rf"^{_RATIO.pattern}$")], ...] = ()
    """Accepted ratios; empty for any `W:H`. Sent only when the request gives one."""
    prompt_utf16_max: Annotated[_Count, Field(ge=1)] = 1000
    """In UTF-16 units: an emoji counts twice."""
    references_max: _Count = 0
    seconds_min: _Amount = 0.0
    seconds_max: _Positive | None = None
    cuts_longer_clips: bool = False
    """The provider reads only the first `seconds_max` of a longer clip, instead of refusing it."""
    credits_per_second: _Amount | None = None
    """One credit is 0.01 USD; None when the price is not known."""
    credits_min: _Amount = 0.0
    other_output_credits_per_second: _Amount = 0.0
    """Added, at most, when `outputFormat` in `[extra]` asks for another container than MP4."""
    outputs: tuple[Literal["mp4", "mov", "webm", "zip"], ...] = ("mp4",)
    side_pixels_max: Annotated[_Count, Field(ge=16)] | None = None
    short_side_pixels_min: _Count | None = None
    aspect_min: _Positive | None = None
    """Width divided by height."""
    aspect_max: _Positive | None = None
    frames_per_second_max: _Positive | None = None
    frames_per_second_min: _Positive | None = None
    containers: tuple[Literal["mp4", "mov", "webm", "mkv"], ...] = ("mp4", "mov", "webm")
    """Containers and codecs that are sent as they are; a clip in any other is made to fit [PROVIDER 2.4]."""
    codecs: tuple[_Name, ...] = ("h264", "hevc", "vp8", "vp9", "av1", "prores")
    bit_depth_max: Annotated[_Count, Field(ge=8, le=16)] = 10
    takes_hdr: bool = False
    """Whether HDR (PQ, HLG) is sent as it is; otherwise it is tone-mapped."""
    uses_audio: bool = False
    """Whether the model listens; otherwise a clip that is made to fit goes without its sound."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for low, high in (("seconds_min", "seconds_max"), ("aspect_min", "aspect_max")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise ValueError(f"has `{low}` above `{high}`")
        return self


@cache
def _shipped() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(files("clipspool").joinpath("models.toml").read_text("utf-8"))


class Catalog:
    """The models by name; pure but for one reading of the shipped table."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self.models = dict(models)

    @classmethod
    def load(cls, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Catalog:
        """Take the shipped models, with single keys changed and models added. Raises BadModel."""
        tables = {name: dict(table) for name, table in _shipped().items()}
        for name, table in (overrides or {}).items():
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}", name):
                raise BadModel((name,), "is no name for a model: letters, digits, `.`, `_`, `-`, `:` or `/`")
            if not isinstance(table, Mapping):
                raise BadModel((name,), "must be a table")
            tables[name] = {**tables.get(name, {}), **table}
        return cls({name: _model(name, table) for name, table in tables.items()})

    def problems(self, request: Request) -> list[Problem]:
        """Say what the model does not take, in words for the editor; empty when it can be sent."""
        model = self.models.get(request.model)
        if model is None:
            return [
                Problem(f"names the unknown model `{request.model}`{self._meant(request.model)}", "model")
            ]
        found = [
            *_prompt_problems(model, request),
            *_ratio_problems(model, request),
            *_moderation_problems(model, request),
            *_extra_problems(model, request),
        ]
        if len(request.references) > model.references_max:
            limit = f"at most {model.references_max}" if model.references_max else "no reference images"
            found.append(
                Problem(
                    f"does not fit: `{request.model}` takes {limit}, here are {len(request.references)}",
                    "references",
                )
            )
        return found

    def limits(self, name: str) -> Limits:
        """Give what a model takes as the media plan wants it; raises KeyError for one that is not known."""
        model = self.models[name]
        least, most = model.short_side_pixels_min or 2, model.side_pixels_max or _SIDE_MAX
        return Limits(
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
        """Build the JSON body for a request without problems; what is not set is absent [PROVIDER 1.1, 2.2].

        `references` are what the request's references became, in their order. Raises KeyError for a model
        that is not in the catalogue (any more).
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
        if references and "references" in model.fields:
            body["references"] = [{"type": "image", "uri": uri} for uri in references]
        threshold = request.content_moderation.get("public_figure_threshold")
        if threshold is not None and "contentModeration" in model.fields:
            body["contentModeration"] = {"publicFigureThreshold": threshold}
        return {**request.extra, **body}

    def credits(self, request: Request, seconds: float | None) -> float | None:
        """Estimate the price of a clip of `seconds`; None where length or price is not known.

        A cautious estimate, by the started second (a frame's length forgiven). The one bill that was measured
        counted whole seconds only: 812 credits for 29.9 s of aleph2, 29 times 28 [PROVIDER 2.10].
        """
        model = self.models.get(request.model)
        if model is None or model.credits_per_second is None or seconds is None:
            return None
        if not math.isfinite(seconds) or seconds <= 0:
            return None
        rate = model.credits_per_second
        if request.extra.get("outputFormat", "mp4") != "mp4":
            rate += model.other_output_credits_per_second
        counted = min(seconds, model.seconds_max or seconds)
        return max(
            math.ceil(counted - _FRAME_SECONDS) * rate, rate if counted > 0 else 0.0, model.credits_min
        )

    def _meant(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.models, 1, 0.6)
        meant = f", did you mean `{close[0]}`?" if close else ""
        return f"{meant} (known: {', '.join(sorted(self.models))})"


def _model(name: str, table: Mapping[str, Any]) -> Model:
    try:
        return Model(**table)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        message = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
        if first["type"] == "extra_forbidden":
            known = list(Model.model_fields)
            close = difflib.get_close_matches(str(first["loc"][-1]), known, 1, 0.6)
            message = "is an unknown key" + (
                f", did you mean `{close[0]}`?" if close else f"; known: {', '.join(known)}"
            )
        raise BadModel((name, *first["loc"]), message) from None


def utf16_units(text: str) -> int:
    """Count as the API does; a lone surrogate counts as one."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _prompt_problems(model: Model, request: Request) -> list[Problem]:
    if not request.prompt.strip():
        return [Problem("is empty: say what should become of the clip", "prompt")]
    units = utf16_units(request.prompt)
    if units > model.prompt_utf16_max:
        return [
            Problem(
                f"has {units} UTF-16 units, `{request.model}` takes {model.prompt_utf16_max} "
                f"(an emoji counts twice): shorten it by {units - model.prompt_utf16_max}",
                "prompt",
            )
        ]
    return []


def _ratio_problems(model: Model, request: Request) -> list[Problem]:
    if request.ratio is None:
        return []
    if "ratio" not in model.fields:
        return [Problem(f"has no place here, `{request.model}` takes no ratio: leave the key out", "ratio")]
    accepted = (
        f"`{request.model}` takes {', '.join(model.ratios)}" if model.ratios else "write it like 1280:720"
    )
    if not _RATIO.fullmatch(request.ratio):
        almost = _ALMOST_RATIO.fullmatch(request.ratio)
        meant = f"{almost[1]}:{almost[2]}" if almost else ""
        if meant and (not model.ratios or meant in model.ratios):
            return [Problem(f"is written with a colon: `{meant}`", "ratio")]
        return [Problem(f"is no ratio: {accepted}", "ratio")]
    if model.ratios and request.ratio not in model.ratios:
        return [Problem(f"is {request.ratio}, which is not accepted: {accepted}", "ratio")]
    return []


def _moderation_problems(model: Model, request: Request) -> list[Problem]:
    moderation = request.content_moderation
    if not moderation:
        return []
    if "contentModeration" not in model.fields:
        return [
            Problem(f"has no place here, `{request.model}` takes none: leave it out", "content_moderation")
        ]
    found = [
        Problem("unknown key, only `public_figure_threshold` is known", f"content_moderation.{key}")
        for key in moderation
        if key != "public_figure_threshold"
    ]
    if moderation.get("public_figure_threshold", "auto") not in _THRESHOLDS:
        found.append(
            Problem('must be "auto" or "low"', "content_moderation.public_figure_threshold"),
        )
    return found


def _extra_problems(model: Model, request: Request) -> list[Problem]:
    ours = {
        "model": "model",
        model.source_field: "",
        model.prompt_field: "prompt",
        "seed": "seed",
        "ratio": "ratio",
        "references": "references",
        "contentModeration": "content_moderation",
    }
    found = []
    for key, value in request.extra.items():
        if key in ours:
            instead = f"use the key `{ours[key]}`" if ours[key] else "it is the clip itself"
            found.append(Problem(f"cannot be set through [extra]: {instead}", f"extra.{key}"))
        elif wrong := _no_json(value):
            found.append(Problem(f"cannot be sent as JSON: {wrong}", f"extra.{key}"))
    return found


def _no_json(value: Any, depth: int = 0) -> str:
    """Say why a TOML value has no form in JSON; empty when it has."""
    if depth > _DEPTH_MAX:
        return "nested too deep"
    match value:
        case None | bool() | int() | str():
            return ""
        case float():
            return "" if math.isfinite(value) else "not a finite number"
        case dict():
            return next((wrong for inner in value.values() if (wrong := _no_json(inner, depth + 1))), "")
        case list() | tuple():
            return next((wrong for inner in value if (wrong := _no_json(inner, depth + 1))), "")
        case _:
            return "a date or time: write it as text in quotes"
