"""One model of the catalogue: its address, fields, limits and price."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

RATIO = re.compile(r"[1-9]\d{0,4}:[1-9]\d{0,4}")

AlwaysField = Literal["seed", "ratio", "references", "contentModeration"]
OptionalField = Literal[
    "seed",
    "ratio",
    "references",
    "contentModeration",
    "keyframes",
    "targetAspectRatio",
    "outputFormat",
]


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 - pydantic reads ValueError only
    return value


_Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False), BeforeValidator(_no_truth)]
_Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False), BeforeValidator(_no_truth)]
_Count = Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(_no_truth)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class BadModel(Exception):
    """A `[models.NAME]` table cannot be used; what caused it are all mistakes, where pydantic found them."""

    def __init__(self, loc: tuple[int | str, ...], message: str) -> None:
        super().__init__(message)
        self.loc = loc
        """The path to the key, beginning with the model's name."""
        self.message = message


class Model(BaseModel):
    """One model. Limits that are None are unknown and not checked.

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
    """The optional fields that exist; the provider refuses a body with an unknown one."""
    always: tuple[AlwaysField, ...] = ()
    """Those of them that are always sent, since the API's page marks them required [PROVIDER 8]: the ratio
    nearest to the clip's shape, an empty list of references, moderation `auto`."""
    retired_since: Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""
    """The day on which the vendor's own interface dropped the model; gateways may offer it longer."""
    successor: Annotated[str, Field(max_length=100)] = ""
    """The model that its vendor recommends instead."""
    fallback: tuple[Annotated[str, Field(max_length=100)], ...] = ()
    """The operator's order: models that serve instead, the first that fits, while this one is not offered."""
    fallback_seconds: _Amount | None = None
    """They also serve once this one was refused this long for load or a daily quota; None: clips wait for
    it."""
    ratios: tuple[Annotated[str, Field(pattern=rf"^{RATIO.pattern}$")], ...] = ()
    """Accepted ratios; empty for any `W:H`. Sent only when the request gives one."""
    prompt_utf16_max: Annotated[_Count, Field(ge=1)] = 1000
    """In UTF-16 units: an emoji counts twice."""
    references_max: _Count = 0
    keyframes_max: _Count = 0
    target_aspects: tuple[Annotated[str, Field(pattern=rf"^{RATIO.pattern}$")], ...] = ()
    """Shapes that a result can be given."""
    output_formats: tuple[_Name, ...] = ()
    """What the provider can make instead of an MP4."""
    seconds_min: _Amount = 0.0
    seconds_max: _Positive | None = None
    credits_per_second: _Amount | None = None
    """One credit is 0.01 USD; None when the price is not known."""
    credits_min: _Amount = 0.0
    other_output_credits_per_second: _Amount = 0.0
    """The most that is added where `output_format` is another than `mp4`."""
    outputs: tuple[Literal["mp4", "mov", "webm", "zip"], ...] = ("mp4",)
    side_pixels_max: Annotated[_Count, Field(ge=16)] | None = None
    short_side_pixels_min: _Count | None = None
    aspect_min: _Positive | None = None
    """Width divided by height."""
    aspect_max: _Positive | None = None
    frames_per_second_max: _Positive | None = None
    frames_per_second_min: _Positive | None = None
    containers: tuple[Literal["mp4", "mov", "webm", "mkv"], ...] = ("mp4", "mov", "webm")
    """Containers and codecs that are sent unchanged; a clip in any other is converted [PROVIDER 2.4]."""
    codecs: tuple[_Name, ...] = ("h264", "hevc", "vp8", "vp9", "av1", "prores")
    bit_depth_max: Annotated[_Count, Field(ge=8, le=16)] = 10
    takes_hdr: bool = False
    """Whether HDR (PQ, HLG) is sent unchanged; otherwise it is tone-mapped."""
    uses_audio: bool = False
    """Whether the model uses sound; otherwise a converted clip has none."""
    running_max: Annotated[_Count, Field(ge=1)] | None = None
    """The operator's limit on its tasks under way at one time; None: only the account's limit holds."""
    credits_per_day: _Amount | None = None
    """The operator's limit on what it may cost in a day (UTC)."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for low, high in (("seconds_min", "seconds_max"), ("aspect_min", "aspect_max")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise ValueError(f"has `{low}` above `{high}`")
        return self


def read_model(name: str, table: Mapping[str, Any]) -> Model:
    """Read a `[models.NAME]` table; raises BadModel."""
    try:
        return Model(**table)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise BadModel((name, *first["loc"]), first["msg"]) from error
