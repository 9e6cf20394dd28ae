"""Sends uploads and messages through `requests`, over connections that keep their limits.

Without its Session on purpose: what a Session adds (redirects, cookies, .netrc, proxies of the environment)
must not happen here. Import it where it is needed: `requests` takes 5 MB of memory and 40 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool

from clipspool.system.http.client import CONNECTIONS_KEPT, WITNESS_OF, Wire, Witness
from clipspool.system.http.pace import TimeLimits
from clipspool.system.http.reply import decoded, read_whole


class FreeAdapter(HTTPAdapter):
    """Sends prepared requests of `requests` over kept witnesses; no retry, no redirect, no environment."""

    def __init__(self, wire: Wire, limits: TimeLimits) -> None:
        self._wire = wire
        self._limits = limits
        super().__init__(pool_connections=8, pool_maxsize=CONNECTIONS_KEPT)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Have every pool make witnesses; these do TLS, so one kind of pool serves both schemes."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {
            scheme: cast("type[HTTPConnectionPool]", partial(self._pool, scheme))
            for scheme in ("http", "https")
        }

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Leave certificates to `Wire.connected`."""

    def _pool(self, scheme: str, host: str, port: int, *, maxsize: int, **_: Any) -> HTTPConnectionPool:
        pool = HTTPConnectionPool(host, port, maxsize=maxsize)
        pool.ConnectionCls = cast(
            "type[Witness]",
            partial(WITNESS_OF[scheme], wire=self._wire, limits=self._limits, scheme=scheme),
        )
        return pool

    def call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
    ) -> requests.Response:
        """Send a request and return once the answer's head is read; a streamed body needs a `len`.

        Raises WireTrouble: Forbidden for an address that the guard refuses, before or after `requests`
        normalised it, InvalidURL where it cannot.
        """
        self._wire.guard.target(url)
        request = requests.Request(method, url, headers=dict(headers), data=body).prepare()
        self._wire.guard.target(request.url or "")
        return self.send(
            request, stream=True, timeout=(self._limits.connect_seconds, self._limits.silence_seconds)
        )

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request as `call`; return status, headers in lower case and the whole body, unpacked."""
        response = self.call(method, url, headers, body)
        try:
            answer = read_whole(lambda count: response.raw.read(count, decode_content=False))
        finally:
            response.close()
        received = {name.lower(): value for name, value in response.headers.items()}
        return response.status_code, received, decoded(answer, received.get("content-encoding", ""))
