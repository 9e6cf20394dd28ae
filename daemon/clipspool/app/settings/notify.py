"""`[notify]`: who is notified of what."""

from __future__ import annotations

import re
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from clipspool.app.settings.tables import AnyPath, Seconds, SettingsTable, is_plain
from clipspool.reporting.notify.signing import read_secret
from clipspool.reporting.notify.topics import Topic

SECRET_NAMES = {"urls": "notify_urls", "webhook_secret": "webhook_secret"}
"""The credential that holds each secret; `KEY_file` in the file names another place."""
_RECEIVERS_MAX = 16
_LINE = re.compile(r"(?:(?P<inboxes>[\w.,\s-]+)=\s*)?(?P<url>[A-Za-z][\w+.-]*://\S+)")


def _read_urls(text: str) -> list[tuple[frozenset[str], str]]:
    """Read one address a line; names of inboxes and `=` before it limit it to those."""
    found: list[tuple[frozenset[str], str]] = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(
                f"has a line {number} that is no address, such as `ntfys://ntfy.example.com/clips`"
            )
        inboxes = frozenset(filter(None, re.split(r"[,\s]+", match["inboxes"] or "")))
        found.append((inboxes, match["url"]))
    if len(found) > _RECEIVERS_MAX:
        raise ValueError(f"has more than {_RECEIVERS_MAX} addresses")
    return found


def _urls(value: SecretStr) -> SecretStr:
    _read_urls(value.get_secret_value())
    return value


def _webhook_url(value: str) -> str:
    """Check an address without ever repeating it."""
    wrong = "must be an address such as https://tools.example.com/hooks/clipspool"
    try:
        url = urlsplit(value)
        host, port = url.hostname, url.port
    except ValueError:
        raise ValueError(wrong) from None
    if url.username is not None or url.password is not None or url.fragment:
        raise ValueError("must hold no user name, password or #")
    if url.scheme not in {"http", "https"} or not host or port == 0 or not is_plain(value):
        raise ValueError(wrong)
    return value


def _webhook_secret(value: SecretStr) -> SecretStr:
    read_secret(value.get_secret_value())
    return value


class NotifySettings(SettingsTable):
    """`[notify]`."""

    events: tuple[Topic, ...] = tuple(Topic)
    inboxes: tuple[str, ...] = ()
    """Empty for all; messages about no single inbox are always sent."""
    digest_seconds: Seconds = 300.0
    urls: Annotated[SecretStr, AfterValidator(_urls)] | None = None
    """Addresses for apprise, one a line. Never in this file: environment, credential or `urls_file`."""
    urls_file: AnyPath | None = None
    webhook_url: Annotated[str, Field(max_length=2000), AfterValidator(_webhook_url)] | None = None
    webhook_secret: Annotated[SecretStr, AfterValidator(_webhook_secret)] | None = None
    """Never in this file: from the environment, a systemd credential or `webhook_secret_file`."""
    webhook_secret_file: AnyPath | None = None

    heartbeat_url: Annotated[str, Field(max_length=2000), AfterValidator(_webhook_url)] | None = None
    """Asked once a minute while all is well; who is asked notices when it stops."""

    @model_validator(mode="after")
    def _is_signed(self) -> Self:
        if self.webhook_url is not None and self.webhook_secret is None:
            raise ValueError(
                "has `webhook_url` and no secret; set CLIPSPOOL_NOTIFY__WEBHOOK_SECRET, or give a systemd "
                "credential named webhook_secret, or name a file in `notify.webhook_secret_file`"
            )
        return self

    @property
    def receivers(self) -> tuple[tuple[frozenset[str], str], ...]:
        """Each address with the inboxes it is limited to; empty for those of `inboxes`."""
        return () if self.urls is None else tuple(_read_urls(self.urls.get_secret_value()))

    @property
    def secrets(self) -> list[SecretStr | None]:
        """Every secret in here, for redaction in logs."""
        addresses = [url for _, url in self.receivers]
        ours = [url for url in (self.webhook_url, self.heartbeat_url) if url is not None]
        addresses += [url for url in ours if len(urlsplit(url).path) > 1]
        return [self.webhook_secret, *map(SecretStr, addresses)]
