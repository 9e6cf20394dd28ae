"""Checks the receivers of notifications: without sending anything, or with a test message to each."""

from __future__ import annotations

import time
from collections.abc import Iterator

from clipspool.app.receivers import new_id, senders_of
from clipspool.app.settings import Settings
from clipspool.cli.check.finding import Finding, look_at_file
from clipspool.reporting.notify.courier import NotDelivered, Sender
from clipspool.reporting.notify.digest import NoticeMessage
from clipspool.reporting.notify.notes import Note
from clipspool.reporting.notify.topics import Topic

_TODO = "check the address and its secrets; `clipspool check --notify` tries each"


def look_at_notify(settings: Settings, *, sends: bool = False) -> Iterator[Finding]:
    """Check each receiver's address; with `sends` also send it a test message."""
    notify = settings.notify
    yield from look_at_file("notify.urls_file", notify.urls_file)
    yield from look_at_file("notify.webhook_secret_file", notify.webhook_secret_file)
    if notify.webhook_url is not None and notify.webhook_url.startswith("http://"):
        why = "its address is not https: others on the network can read the messages"
        yield Finding("warn", "notify.webhook_url", why, "use https, except on your own network")
    count = 0
    for _, sender in senders_of(settings):
        count += 1
        if isinstance(sender, str):
            yield Finding("bad", "notifications", sender, _TODO)
        elif sends:
            yield _try(sender)
        else:
            yield Finding("ok", "notifications", f"{sender.name}: the address is valid; nothing was sent")
    if sends and not count:
        yield Finding("warn", "notifications", "no receivers are configured", "see [notify]")


def _try(sender: Sender) -> Finding:
    words = "this is a test of clipspool's notifications; nothing is wrong"
    note = Note(Topic.BATCH_FINISHED, time.time(), words)
    try:
        sender.send(NoticeMessage((note,), {note.topic: 1}, is_test=True), new_id())
    except NotDelivered as trouble:
        return Finding("bad", "notifications", f"{sender.name}: {trouble}", _TODO)
    return Finding("ok", "notifications", f"{sender.name}: accepted a test message")
