"""Sends messages through apprise to services such as mail, Slack or ntfy."""

from __future__ import annotations

import logging
import re
import warnings
from typing import Any
from urllib.parse import unquote, urlsplit

from clipspool.reporting.notify.courier import NotDelivered
from clipspool.reporting.notify.digest import NoticeMessage
from clipspool.reporting.notify.topics import Topic
from clipspool.reporting.notify.wording import body_of, title_of

_WHY_MAX = 200
_ALARMING = {Topic.FAILED, Topic.IN_DOUBT, Topic.PROVIDER_BLOCKED, Topic.INBOX_OFFLINE, Topic.PEER_LOST}


class NoService(Exception):
    """The address cannot be used; the text says why, without it."""


class NotifyAddress:
    """One address; used by one thread."""

    def __init__(self, url: str, number: int, *, origin: str) -> None:
        """Read the address; `number` counts them from 1, for their names. Raises NoService."""
        try:
            import apprise  # noqa: PLC0415  (an extra, and 0.2 s)
        except ImportError:
            raise NoService("apprise is not installed; `pip install 'clipspool[notify]'`") from None
        # Its own log lines contain addresses; its answer to us is enough.
        logging.getLogger("apprise").propagate = False
        asset = apprise.AppriseAsset(
            app_id="clipspool",
            app_desc="clipspool",
            app_url="",
            async_mode=False,  # this and the next line: apprise starts no threads
            service_timeout=0,
            http_redirects=False,
            secure_logging=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its plugins use deprecated features
            service = apprise.Apprise.instantiate(url, asset=asset)
        if service is None:
            raise NoService("apprise does not know this address, or a part of it is missing")
        self.name = f"{urlsplit(url).scheme.lower()} {number}"
        self._secrets = _parts_of(url)
        self._origin = origin
        self._apprise: Any = apprise.Apprise(service, asset=asset)
        self._types = apprise.NotifyType

    def send(self, message: NoticeMessage, message_id: str) -> None:  # noqa: ARG002  (no service takes an id)
        """Send a message; raises NotDelivered with apprise's words, without the parts of the address."""
        types = self._types
        is_alarming = bool(_ALARMING & message.counts.keys()) and not message.is_test
        result = self._apprise.notify(
            title=title_of(message),
            body=body_of(message, self._origin),
            notify_type=types.WARNING if is_alarming else types.INFO,
            body_format="text",
        )
        if not result:
            said = " ".join(entry.message for entry in result.logs())
            raise NotDelivered(self._without_secrets(said)[:_WHY_MAX] or "apprise could not send it")

    def _without_secrets(self, said: str) -> str:
        for part in self._secrets:
            said = said.replace(part, "[redacted]")
        return " ".join(said.split())


def _parts_of(url: str) -> list[str]:
    """Return every part of an address that may be secret, longest first: services differ in their places."""
    _, _, rest = url.partition("://")
    pieces = {rest, *re.split(r"[/?&=:@#,;]+", rest)}
    pieces |= {unquote(piece) for piece in pieces}
    return sorted((piece for piece in pieces if len(piece) > 3), key=len, reverse=True)  # noqa: PLR2004
