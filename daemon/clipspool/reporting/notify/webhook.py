"""Posts messages to an operator's own address, signed by standardwebhooks.com.

It uses the same client as all other requests: every step has a deadline, no redirect is followed, and no
proxy, netrc or cookie is used. Only the status of the answer is read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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

LIMITS = TimeLimits(connect_seconds=5.0, silence_seconds=10.0, total_seconds=20.0)


@dataclass(frozen=True, slots=True)
class Anywhere(AddressGuard):
    """Admits every address of the host, private ones too: only an operator can choose it."""

    def admits(self, address: str, scheme: str) -> bool:  # noqa: ARG002
        """Whether a connection to this IP address may be made."""
        return True


class Webhook:
    """One address; used by one thread."""

    def __init__(
        self,
        url: str,
        key: bytes,
        *,
        origin: str,
        user_agent: str,
        ca_file: str | None = None,
        now: Callable[[], float] = time.time,
        limits: TimeLimits = LIMITS,
    ) -> None:
        """`key` signs; `origin` is the machine that messages name as their sender."""
        self._url = url
        self._key = key
        self._origin = origin
        self._user_agent = user_agent
        self._ca_file = ca_file
        self._now = now
        self._limits = limits
        self._adapter: FreeAdapter | None = None

    @property
    def name(self) -> str:
        """Name the receiver by its host: the path may be a secret."""
        return f"webhook {urlsplit(self._url).hostname}"

    def send(self, message: NoticeMessage, message_id: str) -> None:
        """Post once; raises NotDelivered unless the answer is a 2xx."""
        at = self._now()
        body = json.dumps(payload_of(message, self._origin, at)).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": self._user_agent,
            "Connection": "close",
            **headers_of(self._key, message_id, int(at), body),
        }
        try:
            if self._adapter is None:
                from clipspool.system.http.free import FreeAdapter  # noqa: PLC0415  (5 MB)

                self._adapter = FreeAdapter(Wire(Anywhere(allows_loopback=True), self._ca_file), self._limits)
            answer = self._adapter.call("POST", self._url, headers, body=body)
        except WireTrouble as error:
            raise NotDelivered(wire_fault(error).message) from None  # its own text holds the address
        answer.close()
        status = answer.status_code
        if status == HTTPStatus.GONE:
            raise NotDelivered("the address is gone for good (410); it is not used any more", is_final=True)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise NotDelivered(f"it answered {status}")
