"""Builds what leaves or marks films from the settings: the ways to the provider, and what signs results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote, urlsplit

import structlog

from clipspool import __version__
from clipspool.app.settings import BucketSettings, Settings
from clipspool.app.settings.keys import VENDOR_HOSTS
from clipspool.media.signing import Signer
from clipspool.provider.transport import Depot, SecretNames, Way
from clipspool.provider.transport.bucket import Bucket
from clipspool.provider.transport.folder import ServedFolder
from clipspool.provider.transport.way import InRequest
from clipspool.spool.root import Root
from clipspool.system.http.proxy import Proxy
from clipspool.system.process import seconds_since_boot

_CERTIFICATE_BYTES_MAX = 1 << 20

log = structlog.get_logger()


def depot_of(settings: Settings, secret: bytes, now: Callable[[], float] = time.time) -> Depot:
    """Build every way that the mode allows; `secret` makes names of uploaded files unguessable."""
    return Depot(tuple(ways_of(settings, SecretNames(secret))), now)


def ways_of(settings: Settings, names: SecretNames) -> Iterator[Way]:
    """Yield the ways that the mode allows: with `auto` all that are configured, the request itself first."""
    transport, provider = settings.transport, settings.provider
    mode = transport.mode
    if mode in {"auto", "inline"}:
        yield InRequest(provider.inline_bytes_max)
    if transport.bucket is not None and mode in {"auto", "bucket"}:
        yield bucket_of(transport.bucket, transport.url_bytes_max, names, _proxy_with_login(settings))
    if transport.public_url is not None and mode in {"auto", "public_url"}:
        served = transport.public_url
        yield ServedFolder.at(Root(served.folder), served.url, transport.url_bytes_max, names)
    is_vendor = urlsplit(provider.base_url).hostname in VENDOR_HOSTS
    if mode == "upload" or (mode == "auto" and is_vendor):
        yield _uploads_of(settings)


def bucket_of(bucket: BucketSettings, bytes_max: int, names: SecretNames, proxy: str | None = None) -> Bucket:
    """Build the bucket; its package is loaded when it is first used."""
    key, secret = bucket.access_key_id, bucket.secret_access_key
    return Bucket(
        bucket=bucket.name,
        prefix=bucket.prefix,
        bytes_max=bytes_max,
        names=names,
        region=bucket.region,
        endpoint=bucket.endpoint,
        virtual_hosted=bucket.virtual_hosted,
        access_key_id="" if key is None else key.get_secret_value(),
        secret_access_key="" if secret is None else secret.get_secret_value(),
        url_seconds=bucket.url_seconds,
        public_url=bucket.public_url,
        proxy=proxy,
    )


def _uploads_of(settings: Settings) -> Way:
    from clipspool.provider.transport.upload import ProviderUploads  # noqa: PLC0415  (5 MB)

    provider = settings.provider
    key = provider.api_key
    return ProviderUploads(
        provider.base_url,
        lambda: "" if key is None else key.get_secret_value(),
        api_version=provider.api_version,
        user_agent=f"clipspool/{__version__}",
        now=seconds_since_boot,
        ca_file=None if provider.ca_file is None else str(provider.ca_file),
        proxy=proxy_of(settings),
    )


def signer_of(settings: Settings) -> Signer | None:
    """Build what signs re-encoded films; None where no certificate is configured."""
    ours = settings.content_credentials
    if ours.certificate is None or ours.key is None:
        return None
    chain = ""
    with suppress(OSError), ours.certificate.open("rb") as file:
        chain = file.read(_CERTIFICATE_BYTES_MAX).decode("utf-8", "replace")
    signer = Signer(chain, ours.key.get_secret_value())
    if why := signer.try_out():
        log.error("cannot_sign", why=why)
    return replace(signer, trouble=why)


def _proxy_with_login(settings: Settings) -> str | None:
    """Return the proxy's address with its login in it, as obstore takes it."""
    proxy, login = settings.provider.proxy, settings.provider.proxy_login
    if proxy is None or login is None:
        return proxy
    user, _, password = login.get_secret_value().partition(":")
    return proxy.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)


def proxy_of(settings: Settings) -> Proxy | None:
    """Build the proxy that the configuration names; the environment's is never taken."""
    provider, login = settings.provider, settings.provider.proxy_login
    if provider.proxy is None:
        return None
    return Proxy.at(provider.proxy, "" if login is None else login.get_secret_value())
