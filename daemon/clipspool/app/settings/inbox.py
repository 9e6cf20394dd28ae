"""The keys of an `[[inbox]]` table: one watched folder, its outbox, and how its clips are treated."""

from __future__ import annotations

import re
import string
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from clipspool.app.settings.tables import (
    YEAR_SECONDS,
    AnyPath,
    Credits,
    Keys,
    Number,
    PathMap,
    Seconds,
    SettingsTable,
    few,
    some,
)
from clipspool.jobs.hours import read_hours

RESULT_NAME_FIELDS = ("stem", "variant", "model", "seed", "job", "date", "version")
"""What `result_name` may hold in braces."""
CLIP_EXTENSIONS = (
    *(".mp4", ".m4v", ".mov", ".webm", ".mkv"),
    *(".mxf", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".gif"),  # made to fit
)
_TEXT_MAX = 200


def _octal(value: Any) -> Any:
    """Read a mode from text: a bare 664 in TOML is decimal, and a trap."""
    if not isinstance(value, str) or not re.fullmatch(r"(0o)?[0-7]{3,5}", value):
        raise ValueError('must be octal digits in quotes, such as "0664"')
    return int(value, 8)


def _file_mode(mode: int) -> int:
    if mode & 0o600 != 0o600 or mode > 0o777:  # noqa: PLR2004 - modes are read best as they are
        raise ValueError('must let the owner read and write, and set no special bit, such as "0664"')
    return mode


def _folder_mode(mode: int) -> int:
    if mode & 0o700 != 0o700 or mode > 0o3777:  # noqa: PLR2004
        raise ValueError('must let the owner read, write and enter, such as "0775" or "2775"')
    return mode


def _result_name(value: str) -> str:
    try:
        pieces = list(string.Formatter().parse(value))
    except ValueError:
        raise ValueError("has a brace without its partner; write {{ or }} for a plain brace") from None
    for _, name, form, conversion in pieces:
        if name is not None and name not in RESULT_NAME_FIELDS:
            raise ValueError(f"may hold {{{'}, {'.join(RESULT_NAME_FIELDS)}}} and no other field")
        if form or conversion:
            raise ValueError("takes its fields plain, without `:` or `!`")
    literal = "".join(piece[0] for piece in pieces)
    if "/" in literal or not literal.isprintable():
        raise ValueError("must be one file name, without `/` or control characters")
    if not value or value[0] in "._~" or len(value) > _TEXT_MAX:
        raise ValueError(f"must be 1 to {_TEXT_MAX} characters and not begin with `.`, `_` or `~`")
    return value


def _extension(value: str) -> str:
    lower = value.lower()
    if re.fullmatch(r"[a-z0-9]{1,10}", lower):
        raise ValueError(f'must begin with a dot: ".{lower}"')
    if not re.fullmatch(r"\.[a-z0-9]{1,10}", lower):
        raise ValueError('must be a dot and letters or digits, such as ".mp4"')
    if lower in {".toml", ".txt", ".part", ".tmp", ".partial", ".crdownload", ".filepart"}:
        raise ValueError("is a sidecar, a note or a file on its way, never a clip")
    return lower


def _glob(value: str) -> str:
    if not value or len(value) > _TEXT_MAX or "\0" in value:
        raise ValueError(f"must be a pattern of 1 to {_TEXT_MAX} characters, such as '*_proxy.mov'")
    return value


def _inbox_name(value: str) -> str:
    if not re.fullmatch(r"\w[\w.-]{0,63}", value):
        raise ValueError("must be 1 to 64 letters, digits, `.`, `_` or `-`, and begin with no `.` or `-`")
    return unicodedata.normalize("NFC", value)


def _hours(value: tuple[str, ...]) -> tuple[str, ...]:
    for one in value:
        read_hours((one,))
    return value


class InboxSettings(SettingsTable):
    """`[[inbox]]`: one watched folder and its outbox."""

    name: Annotated[str, AfterValidator(_inbox_name)]
    """The folder's name where it is not set."""
    path: AnyPath
    outbox: AnyPath
    sidecar: Literal["required", "optional"] = "required"
    detect: Literal["auto", "events", "rescan"] = "auto"
    settle_seconds: Seconds = 3.0
    unsure_seconds: Seconds = 300.0
    rescan_seconds: Seconds = 30.0
    hold_seconds: Annotated[float, Field(ge=0, le=YEAR_SECONDS, allow_inf_nan=False), Number] = 0.0
    result_name: Annotated[str, AfterValidator(_result_name)] = "{stem}{variant}"
    names: Literal["as_is", "portable"] | None = None
    """Of results; "portable" by itself where `path_map` names a drive or a share."""
    priority: Annotated[int, Field(ge=-100, le=100), Number] = 0
    source: Literal["archive", "delete", "keep"] = "archive"
    """Of what was delivered: to `_done`, removed, or kept where it is: then the inbox is only read."""
    archive_dates: bool = False
    """Whether delivered sources go to a folder of `_done` for each day."""
    duplicates: Literal["hold", "run", "reuse"] = "hold"
    weight: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False), Number] = 1.0
    """Of two inboxes with clips of one priority, one of weight 3 sends three while another sends one."""
    running_max: Annotated[int, Field(ge=1, le=10_000), Number] | None = None
    """Of this inbox's tasks; `[provider] running_max` counts for all together."""
    credits_per_day: Credits | None = None
    """Of this inbox; `[budget] credits_per_day` counts for all together."""
    hours: Annotated[tuple[str, ...], few, AfterValidator(_hours)] = ()
    """When clips are sent; at any time unless set."""
    extensions: Annotated[tuple[Annotated[str, AfterValidator(_extension)], ...], some] = CLIP_EXTENSIONS
    ignore: Annotated[tuple[Annotated[str, AfterValidator(_glob)], ...], few] = ()
    defaults: Keys = Field(default_factory=dict)
    file_mode: Annotated[int, BeforeValidator(_octal), AfterValidator(_file_mode)] | None = None
    folder_mode: Annotated[int, BeforeValidator(_octal), AfterValidator(_folder_mode)] | None = None
    status_file: bool = False
    """Whether `_status.txt` in the inbox shows its editors the status of their clips."""
    path_map: PathMap = Field(default_factory=dict)
    """Used before the one at the top."""

    @property
    def is_read_only(self) -> bool:
        """Whether nothing is ever written into the inbox."""
        return self.source == "keep"

    @property
    def home(self) -> Path:
        """Where accepted clips and notes lie: the inbox, or the outbox of one that is only read."""
        return self.outbox if self.is_read_only else self.path

    @model_validator(mode="before")
    @classmethod
    def _named_after_folder(cls, values: Any) -> Any:
        if isinstance(values, dict) and "name" not in values:
            folder = unicodedata.normalize("NFC", Path(str(values.get("path", ""))).name)
            return {**values, "name": re.sub(r"[^\w.-]+", "-", folder).strip("-.")[:64] or "inbox"}
        return values
