"""The keys of config.toml: their types, limits and defaults (PRODUCT §5)."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, model_validator

from clipspool.app.settings.inbox import InboxSettings
from clipspool.app.settings.notify import NotifySettings
from clipspool.app.settings.tables import (
    YEAR_SECONDS,
    AnyPath,
    Credits,
    Days,
    Keys,
    Number,
    PathMap,
    Seconds,
    SettingsTable,
    Word,
    database_address,
    few,
    form,
    public_address,
    secret,
    some,
)
from clipspool.app.settings.transport import TransportSettings
from clipspool.app.settings.web import WebSettings
from clipspool.jobs.hours import read_hours
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import Duplicates
from clipspool.jobs.shares import Share, Shares

if TYPE_CHECKING:
    from clipspool.journal.database import Place


def _shares(limited: Mapping[str, Any]) -> Mapping[str, Share]:
    found = {name: Share(one.running_max, one.credits_per_day) for name, one in limited.items()}
    return {name: share for name, share in found.items() if share}


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _proxy(value: str) -> str:
    from clipspool.system.http.proxy import Proxy  # noqa: PLC0415 - it loads urllib3, and few have a proxy

    Proxy.at(value)
    return value.rstrip("/")


def _login(value: SecretStr) -> SecretStr:
    if ":" not in secret(value).get_secret_value():
        raise ValueError("must be `user:password`")
    return value


def _pem(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith("-----BEGIN "):
        raise ValueError("must be a private key in PEM, which begins with -----BEGIN")
    return value


VENDOR_HOSTS = frozenset({"api.dev.runwayml.com"})
"""Hosts known to accept uploads [PROVIDER 2.1, 2.5]; for others set `mode = "upload"`."""


class ProviderSettings(SettingsTable):
    """`[provider]`: where the API is, and how often it may be asked."""

    base_url: Annotated[str, AfterValidator(public_address)] = "https://api.cometapi.com/runwayml/v1"
    """The prefix up to and including `/v1`, without a slash at the end [PROVIDER 3]."""
    other_urls: tuple[Annotated[str, AfterValidator(public_address)], ...] = ()
    """Other addresses of the same account, used in this order while `base_url` is out of reach."""
    unreachable_seconds: Seconds = 60.0
    """How long it has to be out of reach before another is used, and in reach before it is used again."""
    api_version: Annotated[str, form("[A-Za-z0-9._-]{1,40}", "a version such as 2024-11-06")] = "2024-11-06"
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
        if len(set(self.addresses)) < len(self.addresses):
            raise ValueError("has an address in `other_urls` that is named already")
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses of the account, in the order in which they are used."""
        return (self.base_url, *self.other_urls)


class JournalSettings(SettingsTable):
    """`[journal]`."""

    path: AnyPath
    """On a local disk; in `$STATE_DIRECTORY`, else `~/.local/state/clipspool`, named journal.sqlite3."""
    url: Annotated[str, AfterValidator(database_address)] | None = None
    password: Annotated[SecretStr, AfterValidator(secret)] | None = None
    """Never in this file: from `$PGPASSFILE`, the environment or the systemd credential journal_password."""

    @property
    def place(self) -> Place:
        """The file, or the PostgreSQL that `url` names; `path` is only this machine's state then."""
        from clipspool.journal.database import Address  # noqa: PLC0415 - some commands need no journal

        if self.url is None:
            return self.path
        return Address(self.url, None if self.password is None else self.password.get_secret_value())

    def with_password(self, password: str) -> Self:
        """Return the same with a password that was read elsewhere."""
        return self.model_copy(update={"password": SecretStr(password)})


_LEASE_MIN = 5.0
"""A shorter lease would be lost over a slow answer of the database."""
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _node_name(value: str) -> str:
    if not _NODE_NAME.fullmatch(value):
        raise ValueError("must be 1 to 64 letters, digits, `.`, `_` or `-`, and begin with a letter or digit")
    return value


class FarmSettings(SettingsTable):
    """`[farm]`: used where `[journal] url` names a database that several machines share."""

    node: Annotated[str, AfterValidator(_node_name)] | None = None
    """The host's name where it is not set."""
    lease_seconds: Annotated[float, Field(ge=_LEASE_MIN, le=300.0, allow_inf_nan=False), Number] = 15.0
    """How long after a node's last sign of life another node may take its lead."""
    stages: tuple[Literal["prepare", "fetch", "finish"], ...] = ("prepare", "fetch", "finish")
    """What this node does for the one that leads."""

    @property
    def name(self) -> str:
        """The name of this node."""
        if self.node is not None:
            return self.node
        return re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("-._")[:64] or "node"


class BudgetSettings(SettingsTable):
    """`[budget]`: None means no limit."""

    credits_per_day: Credits | None = None
    credits_per_job_max: Credits | None = None
    credits_per_clip_max: Credits | None = None
    """Of all jobs of a clip, retries included; unless set it is `credits_per_job_max`."""
    submissions_per_day: Annotated[int, Field(ge=1, le=10_000_000), Number] = 500


class ContentCredentialsSettings(SettingsTable):
    """`[content_credentials]`: the certificate that signs films which were coded again here."""

    certificate: AnyPath | None = None
    """PEM: the certificate, then those that lead to its authority. Unset: nothing is signed."""
    key: Annotated[SecretStr, AfterValidator(_pem)] | None = None
    """Never in this file: from the systemd credential content_credentials_key, or `key_file`."""
    key_file: AnyPath | None = None

    @model_validator(mode="after")
    def _has_key(self) -> Self:
        if self.certificate is not None and self.key is None:
            raise ValueError(
                "has a certificate and no key: name its file in `content_credentials.key_file`, or give a "
                "systemd credential named content_credentials_key"
            )
        return self


class HooksSettings(SettingsTable):
    """`[hooks]`: commands, each a list of words that no shell reads, with the job as JSON on their input."""

    before_submit: Annotated[tuple[Word, ...], few] = ()
    """Exit 1 is a veto: the job is held, and what it wrote to standard error is the reason."""
    after_delivery: Annotated[tuple[Word, ...], few] = ()
    on_failure: Annotated[tuple[Word, ...], few] = ()
    seconds_max: Seconds = 30.0
    """After this time a hook is killed, with all that it started."""

    @property
    def commands(self) -> dict[str, tuple[str, ...]]:
        """The hooks that are configured, by name."""
        return {name: words for name, words in self if isinstance(words, tuple) and words}


class RetentionSettings(SettingsTable):
    """`[retention]`: days after a clip ended; None keeps for ever."""

    done_days: Days | None = None
    """Of sources in `_done`, with their sidecars."""
    failed_days: Days | None = None
    """Of sources in `_failed`, with their sidecars and notes."""
    journal_days: Days | None = None
    """Of the history of jobs."""
    posters_days: Days | None = None
    """Of the small pictures on the page."""


class LogSettings(SettingsTable):
    """`[logs]`."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"


class Settings(SettingsTable):
    """Everything an operator set, checked and never changed; made by `load`."""

    provider: ProviderSettings = ProviderSettings()
    journal: JournalSettings
    farm: FarmSettings = FarmSettings()
    budget: BudgetSettings = BudgetSettings()
    hooks: HooksSettings = HooksSettings()
    content_credentials: ContentCredentialsSettings = ContentCredentialsSettings()
    retention: RetentionSettings = RetentionSettings()
    logs: LogSettings = LogSettings()
    defaults: Keys = Field(default_factory=dict)
    """Sidecar keys below every inbox's own."""
    presets: Mapping[str, Keys] = Field(default_factory=dict)
    """Sidecar keys by a name, that `preset` in a sidecar asks for."""
    transport: TransportSettings = TransportSettings()
    notify: NotifySettings = NotifySettings()
    web: WebSettings = WebSettings()
    inbox: Annotated[tuple[InboxSettings, ...], some]
    models: Mapping[str, Keys] = Field(default_factory=dict)
    """What `Catalog.load` takes."""
    path_map: PathMap = Field(default_factory=dict)
    """Folders of this machine, and what the editors' machines call them."""
    _file: Path | None = PrivateAttr(default=None)
    _journal_named_by: str = PrivateAttr(default="")
    _troubles: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _uploads_have_one_address(self) -> Self:
        provider, mode = self.provider, self.transport.mode
        is_vendor = urlsplit(provider.base_url).hostname in VENDOR_HOSTS
        if provider.other_urls and (mode == "upload" or (mode == "auto" and is_vendor)):
            why = "what is uploaded to the provider at one address may be unknown at another"
            raise ValueError(f"has `other_urls`, and sends clips by the provider's own uploads: {why}")
        return self

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
    def duplicates(self) -> Mapping[str, Duplicates]:
        """What happens to duplicates, by inbox."""
        return {inbox.name: inbox.duplicates for inbox in self.inbox}

    @property
    def limits(self) -> Limits:
        """What the scheduler may submit and spend."""
        return Limits(
            running_max=self.provider.running_max,
            inboxes=frozenset(self.inbox_names),
            shares=Shares(_shares({one.name: one for one in self.inbox}), self._model_shares()),
            weights={one.name: one.weight for one in self.inbox},
            hours={one.name: hours for one in self.inbox if (hours := read_hours(one.hours))},
            **dict(self.budget),
        )

    def _model_shares(self) -> Mapping[str, Share]:
        if not self.models:
            return {}
        from clipspool.provider.catalog import Catalog  # noqa: PLC0415 - few change a model

        return _shares(Catalog.load(self.models).models)

    def with_journal(self, path: Path) -> Self:
        """Return the same settings with the journal at another place."""
        return self.model_copy(update={"journal": self.journal.model_copy(update={"path": path})})

    @property
    def secrets(self) -> list[str]:
        """Every secret that is set, for redaction in logs."""
        bucket = self.transport.bucket
        held = [self.provider.api_key, self.provider.proxy_login, self.journal.password, *self.notify.secrets]
        held.append(self.content_credentials.key)
        held += self.web.secrets.values()
        held += [bucket.access_key_id, bucket.secret_access_key] if bucket is not None else []
        return [one.get_secret_value() for one in held if one is not None]
