"""Checks what a network leads to: the journal's PostgreSQL, the transports, receivers of notifications."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from clipspool.app.receivers import new_id, senders_of
from clipspool.app.settings import Settings
from clipspool.app.shipping import proxy_of, ways_of
from clipspool.cli.check.finding import Finding, look_at_file
from clipspool.journal import Address, JournalError, JournalUnreachable
from clipspool.journal.migrations.postgres import HEAD
from clipspool.journal.place import require_driver
from clipspool.provider.transport import SecretNames
from clipspool.provider.transport.bucket import Bucket
from clipspool.provider.transport.trial import try_out
from clipspool.reporting.notify.courier import NotDelivered, Sender
from clipspool.reporting.notify.digest import NoticeMessage
from clipspool.reporting.notify.notes import Note
from clipspool.reporting.notify.topics import Topic

_WHAT = "journal"
_LOSES = "a paid request may be forgotten, and paid again"
_RECEIVER_TODO = "check the address and its secrets; `clipspool check --notify` tries each"
_TODO = {
    "bucket": "check [transport.bucket]: name, endpoint, region, key and its permissions, public_url",
    "public_url": "check [transport.public_url]: the folder's permissions, and what the web server serves",
    "upload": "check the API key and its credits, or choose another [transport] mode",
}
_STORE_SECONDS = 15.0
"""For each request to a bucket's store. The daemon waits longer, since its files are large."""
_HEAD_TODO = "if the provider refuses clips, make the bucket public and set transport.bucket.public_url"


def look_at_database(address: Address) -> Iterator[Finding]:
    """Check that it answers, its version, what it does before a commit is acknowledged, and its replicas."""
    try:
        require_driver()
        from clipspool.journal.server import condition_of

        found = condition_of(address)
    except JournalUnreachable as error:
        yield Finding("bad", _WHAT, str(error), "start the server, or see to the network, url and password")
        return
    except JournalError as error:
        yield Finding("bad", _WHAT, str(error))
        return
    made = "" if found.schema else " (its tables are created at the first run)"
    yield Finding("ok", _WHAT, f"{address}, PostgreSQL {found.version}{made}")
    if found.schema is not None and found.schema > HEAD:
        why = f"it belongs to a newer clipspool (schema {found.schema}, this one knows {HEAD})"
        yield Finding("bad", _WHAT, why, "install the same version on all nodes")
    if not found.may_create:
        yield Finding(
            "bad", _WHAT, "this user may not make tables in it", "make the user the owner of the database"
        )
    for name, does in (
        ("fsync", f"does not wait for its disk: after a power cut {_LOSES}, or the journal is damaged"),
        ("full_page_writes", "may be damaged by a power cut"),
    ):
        if found.settings[name] == "off":
            yield Finding("bad", _WHAT, f"{name} is off: the server {does}", f"set {name} = on")
    if found.settings["synchronous_commit"] in {"off", "local"}:
        value = found.settings["synchronous_commit"]
        why = f"synchronous_commit is {value}; clipspool sets it for its own changes only"
        yield Finding("warn", _WHAT, why, "set synchronous_commit = on")
    if found.replicas and not found.settings["synchronous_standby_names"]:
        yield Finding(
            "warn",
            _WHAT,
            f"{found.replicas} replica{'s' * (found.replicas != 1)} and no synchronous standby: when one "
            "takes over, the last second's changes may be lost, and nothing is sent until you accept that",
            "set synchronous_standby_names",
        )


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
            yield Finding("bad", "notifications", sender, _RECEIVER_TODO)
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
        return Finding("bad", "notifications", f"{sender.name}: {trouble}", _RECEIVER_TODO)
    return Finding("ok", "notifications", f"{sender.name}: accepted a test message")


def look_at_transports(settings: Settings) -> Iterator[Finding]:
    """Try every way but the request itself, which needs nothing."""
    provider = settings.provider
    ca_file = None if provider.ca_file is None else str(provider.ca_file)
    for way in ways_of(settings, SecretNames(secrets.token_bytes(32))):
        what = f"transport {way.name}"
        if way.name == "inline":
            room = way.room("video/mp4") / 1e6
            yield Finding("ok", what, f"clips up to {room:.2f} MB are sent inside the request")
            continue
        tried = replace(way, seconds_max=_STORE_SECONDS) if isinstance(way, Bucket) else way
        with closing(tried):
            level, why = try_out(tried, ca_file, proxy_of(settings))
        if not level:
            yield Finding("ok", what, "a small file was uploaded, read back and removed")
        elif level == "look":
            yield Finding("warn", what, why, _HEAD_TODO if "HEAD" in why else _TODO[way.name])
        else:
            yield Finding("bad", what, why, _TODO[way.name])
