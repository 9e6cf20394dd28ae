"""Builds the receivers of notifications from the settings."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator

import structlog

from clipspool.app.settings import Settings
from clipspool.reporting.notify.courier import CountSent, Courier, Interests, Sender
from clipspool.reporting.notify.service import NoService, NotifyAddress
from clipspool.reporting.notify.signing import read_secret
from clipspool.reporting.notify.topics import Topic
from clipspool.reporting.notify.webhook import Webhook

log = structlog.get_logger()


def couriers_of(settings: Settings, count: CountSent) -> list[Courier]:
    """Build a courier for each receiver; one that cannot be used is logged and left out."""
    notify = settings.notify
    topics = frozenset(map(Topic, notify.events))
    couriers: list[Courier] = []
    for inboxes, sender in senders_of(settings):
        if isinstance(sender, str):
            log.error("notification_unavailable", why=sender)
            continue
        interests = Interests(topics, inboxes or frozenset(notify.inboxes))
        couriers.append(Courier(sender, interests, notify.digest_seconds, count=count, new_id=new_id))
    return couriers


def senders_of(settings: Settings) -> Iterator[tuple[frozenset[str], Sender | str]]:
    """Yield each receiver, or why it cannot be used, with its inboxes; empty for those of [notify]."""
    notify, origin = settings.notify, socket.gethostname()
    for number, (inboxes, url) in enumerate(notify.receivers, start=1):
        try:
            yield inboxes, NotifyAddress(url, number, origin=origin)
        except NoService as trouble:
            yield inboxes, f"number {number} of the notification addresses cannot be used: {trouble}"
    if notify.webhook_url is not None and notify.webhook_secret is not None:
        ca_file = settings.provider.ca_file
        yield (
            frozenset(),
            Webhook(
                notify.webhook_url,
                read_secret(notify.webhook_secret.get_secret_value()),
                origin=origin,
                ca_file=None if ca_file is None else str(ca_file),
            ),
        )


def new_id() -> str:
    """Return a message's id, the same for all its attempts."""
    return f"msg_{secrets.token_urlsafe(18)}"
