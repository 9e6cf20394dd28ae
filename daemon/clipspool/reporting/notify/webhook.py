"""Posts messages to an operator's own address, signed by standardwebhooks.com.

It uses the same client as all other requests: every step has a deadline, no redirect is followed, and no
proxy, netrc or cookie is used. Only the status of the answer is read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clipspool import __version__
from clipspool.reporting.notify.courier import NotDelivered
from clipspool.reporting.notify.digest import NoticeMessage
from clipspool.reporting.notify.signing import headers_of
from clipspool.reporting.notify.wording import payload_of
from clipspool.system.http.client import Wire
from clipspool.system.http.faults import WireTrouble, wire_fault
from clipspool.system.http.guard import AddressGuard
from clipspool.system.http.pace import TimeLimits

if TYPE_CHECKING:
    from clipspool.system.http.free import FreeAdapter

_HEADERS = {"User-Agent": f"clipspool/{__version__}", "Connection": "close"}
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
LIMITS = TimeLimits(connect_seconds=5.0, silence_seconds=10.0, total_seconds=20.0)


@dataclass(frozen=True, slots=True)
class Anywhere(AddressGuard):
    """Admits every address of the host, private ones too: only an operator can choose it."""

    def admits(self, address: str, scheme: str) -> bool:  # noqa: ARG002
        """Whether a connection to this IP address may be made."""
        return True


class OwnAddress:
    """One address of the operator's own; used by one thread."""

    def __init__(self, url: str, ca_file: str | None, limits: TimeLimits = LIMITS) -> None:
        self._url, self._ca_file, self._limits = url, ca_file, limits
        self._adapter: FreeAdapter | None = None

    def ask(self, method: str, headers: Mapping[str, str], body: bytes | None = None) -> None:
        """Ask once; raises NotDelivered unless the answer is a 2xx."""
        try:
            if self._adapter is None:
                from clipspool.system.http.free import FreeAdapter  # noqa: PLC0415  (5 MB)

                self._adapter = FreeAdapter(Wire(Anywhere(allows_loopback=True), self._ca_file), self._limits)
            answer = self._adapter.call(method, self._url, {**_HEADERS, **headers}, body=body)
        except WireTrouble as error:
            raise NotDelivered(wire_fault(error).message) from None  # its own text holds the address
        answer.close()
        status = answer.status_code
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            is_refusal = status // 100 == 4 and status not in _PASSING  # noqa: PLR2004 - 4xx
            raise NotDelivered(
                f"it answered {status}", is_refusal=is_refusal, is_final=status == HTTPStatus.GONE
            )


class Webhook:
    """Posts messages to one address; used by one thread."""

    def __init__(
        self,
        url: str,
        key: bytes,
        *,
        origin: str,
        ca_file: str | None = None,
        now: Callable[[], float] = time.time,
        limits: TimeLimits = LIMITS,
    ) -> None:
        """`key` signs; `origin` is the machine that messages name as their sender."""
        self._address = OwnAddress(url, ca_file, limits)
        self._key, self._origin, self._now = key, origin, now
        self.name = f"webhook {urlsplit(url).hostname}"
        """By its host: the path may be a secret."""

    def send(self, message: NoticeMessage, message_id: str) -> None:
        """Post once; raises NotDelivered, for good where the answer is that the address is gone (410)."""
        at = self._now()
        body = json.dumps(payload_of(message, self._origin, at)).encode()
        signed = headers_of(self._key, message_id, int(at), body)
        self._address.ask("POST", {"Content-Type": "application/json", **signed}, body)
