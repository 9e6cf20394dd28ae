"""Uses the provider's own ephemeral uploads: a placeholder, then a form with the file, valid for a day."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from io import FileIO
from typing import Any

from clipspool.jobs.faults import Fault, FaultOf
from clipspool.provider.runway.refusals import account_fault
from clipspool.provider.transport.way import LIFE_SECONDS, Parcel, Way
from clipspool.system.atomic import CHUNK
from clipspool.system.http.client import Wire
from clipspool.system.http.faults import WireTrouble, wire_fault
from clipspool.system.http.free import FreeAdapter
from clipspool.system.http.guard import guard_for
from clipspool.system.http.pace import TimeLimits
from clipspool.system.http.proxy import Proxy
from clipspool.system.http.reply import Reply, read_reply

BYTES_MAX = 200_000_000
"""[PROVIDER 2.4]."""
_SECONDS_MAX = 3600.0
_URI_LENGTH_MAX = 2048


@dataclass(frozen=True, slots=True)
class _Form:
    """A multipart form of known length: every field first, the file last [PROVIDER 2.5]."""

    head: bytes
    file: FileIO
    size: int
    tail: bytes

    def __len__(self) -> int:
        return len(self.head) + self.size + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        left = self.size
        while left and (chunk := self.file.read(min(left, CHUNK))):
            left -= len(chunk)
            yield chunk
        yield self.tail


class ProviderUploads(Way):
    """Uploads to one provider. Their addresses are kept in memory only, never on a disk."""

    name = "upload"

    def __init__(
        self,
        base_url: str,
        api_key: Callable[[], str],
        *,
        api_version: str,
        user_agent: str,
        now: Callable[[], float],
        ca_file: str | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """Take `base_url` up to and including `/v1`; `now` is a clock in seconds that cannot be set."""
        guard = guard_for(base_url)
        self._base_url = base_url
        self._api_key = api_key
        self._now = now
        self._common = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._headers = {**self._common, "Accept": "application/json", "X-Runway-Version": api_version}
        limits = TimeLimits(total_seconds=_SECONDS_MAX)
        self._adapter = FreeAdapter(Wire(guard, ca_file, proxy), limits)
        self._given: dict[tuple[str, str, str], tuple[str, float]] = {}
        self._lock = threading.Lock()

    def room(self, content_type: str) -> int:  # noqa: ARG002 - the same for all
        """Return the largest size of an upload."""
        return BYTES_MAX

    def put(self, parcel: Parcel) -> Fault | None:
        """Upload a file, unless a valid upload of it exists. Raises OSError."""
        if self.address(parcel) is not None:
            return None
        placeholder = self._place(parcel)
        if isinstance(placeholder, Fault):
            return placeholder
        url, fields, uri = placeholder
        if (fault := self._store(url, fields, parcel)) is not None:
            return fault
        with self._lock:
            now = self._now()
            self._given = {k: v for k, v in self._given.items() if now - v[1] < LIFE_SECONDS}
            self._given[_key(parcel)] = (uri, now)
        return None

    def address(self, parcel: Parcel) -> str | None:
        """Return the `runway://` address of an upload; None when there is none or it is too old."""
        with self._lock:
            uri, at = self._given.get(_key(parcel), ("", 0.0))
        return uri if uri and self._now() - at < LIFE_SECONDS else None

    def remove(self, clip_id: str) -> Fault | None:
        """Forget a clip's uploads; there is no call to remove them, they expire by themselves."""
        with self._lock:
            self._given = {key: value for key, value in self._given.items() if key[0] != clip_id}
        return None

    def close(self) -> None:
        """Close the connections."""
        self._adapter.close()

    def _place(self, parcel: Parcel) -> tuple[str, Mapping[str, str], str] | Fault:
        asked = json.dumps({"filename": f"clip{parcel.suffix}", "type": "ephemeral"}).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        if key := self._api_key().strip():
            headers["Authorization"] = f"Bearer {key}"
        reply = self._ask(f"{self._base_url}/uploads", headers, asked)
        if isinstance(reply, Fault):
            return reply
        if (fault := account_fault(reply)) is not None:
            return fault
        tree: dict[str, Any] = reply.tree or {}
        url, fields, uri = tree.get("uploadUrl"), tree.get("fields"), tree.get("runwayUri")
        is_good = isinstance(url, str) and isinstance(uri, str) and isinstance(fields, dict)
        if reply.status != HTTPStatus.OK or not is_good or not str(uri).startswith("runway://"):
            return _fault(f"the provider gives no place for an upload (HTTP {reply.status})", reply)
        texts = list(dict(fields or {}).values())
        if len(str(uri)) > _URI_LENGTH_MAX or not all(isinstance(value, str) for value in texts):
            return _fault("the provider's place for an upload makes no sense", reply)
        return str(url), dict(fields or {}), str(uri)

    def _store(self, url: str, fields: Mapping[str, str], parcel: Parcel) -> Fault | None:
        """Send the form to the placeholder's address; the key is not sent there."""
        boundary = f"clipspool{secrets.token_hex(16)}"
        with ExitStack() as stack:
            form = _Form(
                _head(boundary, fields, parcel),
                stack.enter_context(parcel.open()),
                parcel.size,
                f"\r\n--{boundary}--\r\n".encode(),
            )
            headers = {**self._common, "Content-Type": f"multipart/form-data; boundary={boundary}"}
            reply = self._ask(url, headers, form)
        if isinstance(reply, Fault):
            return reply
        if reply.status not in range(200, 300):
            return _fault(f"the provider's storage does not take the upload (HTTP {reply.status})", reply)
        return None

    def _ask(self, url: str, headers: Mapping[str, str], body: bytes | _Form) -> Reply | Fault:
        try:
            answer = self._adapter.exchange("POST", url, headers, body)
        except WireTrouble as error:
            return wire_fault(error)
        return read_reply(*answer, datetime.now(UTC))


def _key(parcel: Parcel) -> tuple[str, str, str]:
    return parcel.clip_id, parcel.name, parcel.sha256


def _head(boundary: str, fields: Mapping[str, str], parcel: Parcel) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
        if '"' not in name and "\n" not in name
    ]
    last = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="clip{parcel.suffix}"\r\n'
        f"Content-Type: {parcel.content_type}\r\n\r\n"
    )
    return ("".join(parts) + last).encode()


def _fault(message: str, reply: Reply) -> Fault:
    todo = "Another [transport] mode may do."
    return Fault(FaultOf.MOMENT, "TRANSPORT.UPLOAD", message, todo, reply.retry_after_seconds)
