"""The keys of config.toml: their types, limits and defaults (PRODUCT §5)."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)

from clipspool.app.settings.notify import NotifySettings
from clipspool.app.settings.parts import (
    YEAR_SECONDS,
    AnyPath,
    Credits,
    Number,
    Part,
    PathMap,
    Seconds,
    public_address,
    secret,
)
from clipspool.app.settings.transport import TransportSettings
from clipspool.app.settings.web import WebSettings
from clipspool.jobs.hours import read_hours
from clipspool.jobs.limits import Limits

RESULT_NAME_FIELDS = ("stem", "variant", "model", "seed", "job", "date")
"""What `result_name` may hold in braces."""
CLIP_EXTENSIONS = (".mp4", ".m4v", ".mov", ".webm", ".mkv")
_TEXT_MAX = 200
_LIST_MAX = 200


def _octal(value: Any) -> Any:
    """Read a mode from text: a bare 664 in TOML is decimal, and a trap."""
    if value is None:
        return None
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


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _at_most(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) > _LIST_MAX:
        raise ValueError(f"has more than {_LIST_MAX} entries")
    return value


def _at_least_one(value: Any) -> Any:
    if value in ([], ()):
        raise ValueError("must have at least one entry")
    return value


def _proxy(value: str) -> str:
    from clipspool.system.http.proxy import Proxy  # noqa: PLC0415 - it loads urllib3, and few have a proxy

    Proxy.at(value)
    return value.rstrip("/")


def _login(value: SecretStr) -> SecretStr:
    if ":" not in secret(value).get_secret_value():
        raise ValueError("must be `user:password`")
    return value


# Checked before the entries: pydantic would count a wrong entry as a missing one.
_few = BeforeValidator(_at_most)
_some = BeforeValidator(lambda value: _at_least_one(_at_most(value)))
Keys = Mapping[str, Any]


class ProviderSettings(Part):
    """`[provider]`: where the API is, and how often it may be asked."""

    base_url: Annotated[str, AfterValidator(public_address)] = "https://api.cometapi.com/runwayml/v1"
    """The prefix up to and including `/v1`, without a slash at the end [PROVIDER 3]."""
    api_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")] = "2024-11-06"
    """Sent as `X-Runway-Version` [PROVIDER 1.1]."""
    api_key: Annotated[SecretStr, AfterValidator(secret)] | None = None
    """Never in this file: from the environment, a systemd credential or `api_key_file`."""
    api_key_file: AnyPath | None = None
    ca_file: AnyPath | None = None
    """PEM certificates to trust besides the system's."""
    proxy: Annotated[str, AfterValidator(_proxy)] | None = None
    """`http://HOST:PORT`: an HTTP proxy to the provider. What the environment names is never taken."""
    proxy_login: Annotated[SecretStr, AfterValidator(_login)] | None = None
    """`user:password` for the proxy, never in this file: environment, credential or `proxy_login_file`."""
    proxy_login_file: AnyPath | None = None
    running_max: Annotated[int, Field(ge=1, le=10_000), Number] = 5
    poll_seconds_min: Annotated[float, Field(ge=0.01, le=YEAR_SECONDS, allow_inf_nan=False), Number] = 5.0
    poll_seconds_max: Seconds = 30.0
    polls_per_second_max: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False), Number] = 20.0
    ambiguous_submit: Literal["hold", "resubmit"] = "hold"
    task_seconds_max: Seconds = 3600.0
    """THROTTLED and queued time not counted."""
    inline_bytes_max: Annotated[int, Field(ge=1024, le=1_000_000_000), Number] = 5_000_000
    """Of the encoded data URI [PROVIDER 2.4]."""
    connect_seconds: Seconds = 10.0
    answer_seconds: Seconds = 60.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.poll_seconds_min > self.poll_seconds_max:
            raise ValueError("has `poll_seconds_min` above `poll_seconds_max`")
        return self


class JournalSettings(Part):
    """`[journal]`."""

    path: AnyPath
    """On a local disk; in `$STATE_DIRECTORY`, else `~/.local/state/clipspool`, named journal.sqlite3."""


class BudgetSettings(Part):
    """`[budget]`: None means no limit."""

    credits_per_day: Credits | None = None
    credits_per_job_max: Credits | None = None
    credits_per_clip_max: Credits | None = None
    """Of all jobs of a clip, retries included; unless set it is `credits_per_job_max`."""
    submissions_per_day: Annotated[int, Field(ge=1, le=10_000_000), Number] = 500


class LogSettings(Part):
    """`[logs]`."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"


class InboxSettings(Part):
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
    source: Literal["archive", "delete"] = "archive"
    duplicates: Literal["hold", "run", "reuse"] = "hold"
    hours: Annotated[tuple[str, ...], _few, AfterValidator(_hours)] = ()
    """When clips are sent; at any time unless set."""
    extensions: Annotated[tuple[Annotated[str, AfterValidator(_extension)], ...], _some] = CLIP_EXTENSIONS
    ignore: Annotated[tuple[Annotated[str, AfterValidator(_glob)], ...], _few] = ()
    defaults: Keys = Field(default_factory=dict)
    file_mode: Annotated[int, BeforeValidator(_octal), AfterValidator(_file_mode)] | None = None
    folder_mode: Annotated[int, BeforeValidator(_octal), AfterValidator(_folder_mode)] | None = None
    status_file: bool = False
    """Whether `_status.txt` in the inbox shows its editors the status of their clips."""
    path_map: PathMap = Field(default_factory=dict)
    """Used before the one at the top."""

    @model_validator(mode="before")
    @classmethod
    def _named_after_folder(cls, values: Any) -> Any:
        if isinstance(values, dict) and "name" not in values:
            folder = unicodedata.normalize("NFC", Path(str(values.get("path", ""))).name)
            return {**values, "name": re.sub(r"[^\w.-]+", "-", folder).strip("-.")[:64] or "inbox"}
        return values


class Settings(Part):
    """Everything an operator set, checked and never changed; made by `load`."""

    provider: ProviderSettings = ProviderSettings()
    journal: JournalSettings
    budget: BudgetSettings = BudgetSettings()
    logs: LogSettings = LogSettings()
    defaults: Keys = Field(default_factory=dict)
    """Sidecar keys below every inbox's own."""
    transport: TransportSettings = TransportSettings()
    notify: NotifySettings = NotifySettings()
    web: WebSettings = WebSettings()
    inbox: Annotated[tuple[InboxSettings, ...], _some]
    models: Mapping[str, Keys] = Field(default_factory=dict)
    """What `Catalog.load` takes."""
    path_map: PathMap = Field(default_factory=dict)
    """Folders of this machine, and what the editors' machines call them."""
    _file: Path | None = PrivateAttr(default=None)
    _journal_named_by: str = PrivateAttr(default="")
    _troubles: tuple[str, ...] = PrivateAttr(default=())

    @classmethod
    def of(
        cls, values: Mapping[str, Any], file: Path | None, journal_named_by: str, troubles: tuple[str, ...]
    ) -> Self:
        """Check values, and remember where they came from; raises ValidationError."""
        made = cls(**values)
        made._file, made._journal_named_by, made._troubles = file, journal_named_by, troubles
        return made

    @property
    def file(self) -> Path | None:
        """The file they came from; None when only the environment was used."""
        return self._file

    @property
    def journal_named_by(self) -> str:
        """Who named the journal's path: `file`, `environment`, or empty where it was derived."""
        return self._journal_named_by

    @property
    def troubles(self) -> tuple[str, ...]:
        """Sentences about secrets that could not be read; clips are processed without them."""
        return self._troubles

    @property
    def inbox_names(self) -> list[str]:
        """The names of the inboxes, in the order of the file."""
        return [inbox.name for inbox in self.inbox]

    @property
    def limits(self) -> Limits:
        """What the scheduler may submit and spend."""
        return Limits(
            running_max=self.provider.running_max,
            inboxes=frozenset(self.inbox_names),
            hours={one.name: hours for one in self.inbox if (hours := read_hours(one.hours))},
            **dict(self.budget),
        )

    def with_journal(self, path: Path) -> Self:
        """Return the same settings with the journal at another place."""
        return self.model_copy(update={"journal": self.journal.model_copy(update={"path": path})})

    @property
    def secrets(self) -> list[str]:
        """Every secret that is set, for redaction in logs."""
        bucket = self.transport.bucket
        held = [self.provider.api_key, self.provider.proxy_login, *self.notify.secrets]
        held += self.web.secrets.values()
        held += [bucket.access_key_id, bucket.secret_access_key] if bucket is not None else []
        return [one.get_secret_value() for one in held if one is not None]
