"""Posts messages to an operator's own address, signed as standardwebhooks.com has it.

The host may be private: the operator chose it. But nobody else chooses: no redirect is followed, no proxy or
netrc of the environment is used, and of the answer nothing but its status is read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

import urllib3

from clipspool.notify.courier import NotDelivered
from clipspool.notify.digest import Message
from clipspool.notify.signing import headers_of
from clipspool.notify.wording import payload_of
from clipspool.runway.wire import describe, tls_context

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 10.0


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
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        """Take the address and the signing key; `origin` is the machine that messages say they come from."""
        self._url = url
        self._key = key
        self._origin = origin
        self._user_agent = user_agent
        self._ca_file = ca_file
        self._now = now
        self._timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=answer_seconds)
        self._pool: urllib3.PoolManager | None = None

    @property
    def name(self) -> str:
        """Name the receiver by its host: the path may be a secret."""
        return f"webhook {urlsplit(self._url).hostname}"

    def send(self, message: Message, message_id: str) -> None:
        """Post once; raises NotDelivered unless the answer is a 2xx."""
        at = self._now()
        body = json.dumps(payload_of(message, self._origin, at)).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": self._user_agent,
            **headers_of(self._key, message_id, int(at), body),
        }
        try:
            if self._pool is None:
                self._pool = urllib3.PoolManager(ssl_context=tls_context(self._ca_file), maxsize=1)
            answer = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                timeout=self._timeout,
                preload_content=False,
            )
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            raise NotDelivered(describe(error)) from None  # the error's own text holds the address
        # What it says besides is not read, so the connection is of no more use.
        answer.close()
        answer.release_conn()
        status = answer.status
        if status == HTTPStatus.GONE:
            raise NotDelivered("the address is gone for good (410); it is not used any more", is_final=True)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise NotDelivered(f"it answered {status}")
