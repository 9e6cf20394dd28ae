"""Tests a way: puts a small file there, reads its address as the provider would, and removes it."""

from __future__ import annotations

import hashlib
import io
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast
from urllib.parse import urlsplit

from clipspool.jobs.faults import Fault
from clipspool.provider.transport.way import ADDRESS_LENGTH_MAX, Parcel, Way
from clipspool.system.http.client import Wire
from clipspool.system.http.faults import WireTrouble, describe
from clipspool.system.http.free import FreeAdapter
from clipspool.system.http.guard import AddressGuard
from clipspool.system.http.pace import TimeLimits
from clipspool.system.http.proxy import Proxy

_BYTES = 4096
_CONTENT_TYPE = "video/mp4"
_FETCH_SECONDS = 10.0
"""About the provider's own limit for an address [PROVIDER 2.4]."""
_HEADERS = {"User-Agent": "RunwayML API/1.0", "Accept-Encoding": "identity"}

Verdict = tuple[str, str]
"""Empty, `look` (check it) or `bad`, and why."""


def try_out(way: Way, ca_file: str | None = None, proxy: Proxy | None = None) -> Verdict:
    """Test a way; return what is wrong with it, in words without a signed address."""
    data = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + secrets.token_bytes(_BYTES - 24)
    parcel = Parcel(
        clip_id=f"check{secrets.token_hex(4)}",
        name="check",
        open=lambda: cast("io.FileIO", io.BytesIO(data)),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        content_type=_CONTENT_TYPE,
        suffix=".mp4",
    )
    try:
        return _tried(way, parcel, data, ca_file, proxy)
    except OSError as error:
        return "bad", error.strerror or str(error)


def _tried(way: Way, parcel: Parcel, data: bytes, ca_file: str | None, proxy: Proxy | None) -> Verdict:
    try:
        fault = way.put(parcel)
        if isinstance(fault, Fault):
            return "bad", fault.message
        address = way.address(parcel)
        if not isinstance(address, str):
            return "bad", "it gives no address of at most 2048 characters"
        verdict = ("", "") if address.startswith("runway://") else look_at(address, data, ca_file, proxy)
    finally:
        left = way.remove(parcel.clip_id)
    if left is not None and not verdict[0]:
        return "look", f"what was put there cannot be removed: {left.message}"
    return verdict


def look_at(address: str, data: bytes, ca_file: str | None = None, proxy: Proxy | None = None) -> Verdict:
    """Read an address as the provider does [PROVIDER 2.4] and compare the file."""
    host = urlsplit(address).hostname or ""
    is_here = host in {"localhost", "127.0.0.1", "::1"}
    if len(address) > ADDRESS_LENGTH_MAX:
        return "bad", f"its addresses are longer than {ADDRESS_LENGTH_MAX} characters"
    adapter = FreeAdapter(
        Wire(AddressGuard(allows_loopback=is_here), ca_file, proxy),
        TimeLimits(_FETCH_SECONDS, _FETCH_SECONDS, _FETCH_SECONDS),
    )
    try:
        status, headers, body = adapter.exchange("GET", address, _HEADERS)
        if (wrong := _wrong(status, headers, len(data))) or body != data:
            return "bad", wrong or "what comes back is not what was put there"
        status, headers, _ = adapter.exchange("HEAD", address, _HEADERS)
    except WireTrouble as error:
        return "bad", f"{host} cannot be read: {describe(error)}"
    finally:
        adapter.close()
    if wrong := _wrong(status, headers, len(data)):
        return "look", f"to HEAD, which the provider sends, {wrong}; to GET all is well"
    if is_here:
        return "look", "it serves on this machine only: a provider elsewhere cannot read it"
    return "", ""


def _wrong(status: int, headers: Mapping[str, str], size: int) -> str:
    if status in range(300, 400):
        return "it redirects, which the provider does not follow"
    if status != HTTPStatus.OK:
        return f"it answers HTTP {status}"
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != _CONTENT_TYPE:
        return f"it gives the type {given or 'none'} where {_CONTENT_TYPE} is right"
    if headers.get("content-length") != str(size):
        return "it does not give the right Content-Length"
    return ""
