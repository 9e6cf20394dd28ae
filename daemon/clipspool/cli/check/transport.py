"""Tries each configured transport for real: puts a small file, reads it as the provider would, removes it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing

from clipspool.app.settings import Settings
from clipspool.app.shipping import ways_of
from clipspool.cli.check.finding import Finding
from clipspool.provider.transport import SecretNames
from clipspool.provider.transport.trial import try_out

_TODO = {
    "bucket": "check [transport.bucket]: name, endpoint, region, key and its permissions, public_url",
    "public_url": "check [transport.public_url]: the folder's permissions, and what the web server serves",
    "upload": "check the API key and its credits, or choose another [transport] mode",
}
_HEAD_TODO = "if the provider refuses clips, make the bucket public and set transport.bucket.public_url"


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
        with closing(way):
            level, why = try_out(way, ca_file)
        if not level:
            yield Finding("ok", what, "a small file was uploaded, read back and removed")
        elif level == "look":
            yield Finding("warn", what, why, _HEAD_TODO if "HEAD" in why else _TODO[way.name])
        else:
            yield Finding("bad", what, why, _TODO[way.name])
