"""Asks without a body over kept connections: polls, balances, cancellations, downloads."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from contextlib import closing, suppress

from clipspool.system.http.client import CONNECTIONS_KEPT, Wire, Witness
from clipspool.system.http.guard import Target
from clipspool.system.http.pace import ExchangePace, TimeLimits
from clipspool.system.http.reply import decoded, read_whole
from clipspool.system.process import closed_on_error


class OpenAnswer:
    """An answer whose head is read; `close` keeps the connection where the body was read to its end."""

    def __init__(self, response: http.client.HTTPResponse, witness: Witness, kept: list[Witness]) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        """With names in lower case."""
        self.body = response
        self._witness = witness
        self._kept = kept

    @property
    def is_cut(self) -> bool:
        """Whether some of the announced length has not come."""
        return bool(self.body.length)

    def close(self) -> None:
        """Keep the connection for the next request, or close it; call it once."""
        is_whole = self.body.isclosed() or self.body.length == 0
        if not is_whole or self.body.will_close or len(self._kept) >= CONNECTIONS_KEPT:
            self._witness.close()
        else:
            self._kept.append(self._witness)
        self.body.close()


class Asker:
    """Sends requests without a body over kept connections; no redirect. A GET on a stale one is sent again.

    It does what `FreeAdapter` does, in a third of the processor time: most requests are polls.
    May be used from many threads.
    """

    def __init__(self, wire: Wire, limits: TimeLimits) -> None:
        self._wire = wire
        self._limits = limits
        self._kept: dict[tuple[str, str, int], list[Witness]] = {}

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers in lower case and the whole body, unpacked. Raises WireTrouble."""
        with closing(self.call(method, url, headers)) as answer:
            body = read_whole(answer.body.read)
            if answer.is_cut:
                raise http.client.IncompleteRead(b"")
        return answer.status, answer.headers, decoded(body, answer.headers.get("content-encoding", ""))

    def call(self, method: str, url: str, headers: Mapping[str, str]) -> OpenAnswer:
        """Send a request and return once the answer's head is read. Raises WireTrouble."""
        target = self._wire.guard.target(url)
        kept = self._kept.setdefault(target.origin, [])
        if (old := self._usable(kept)) is not None:
            try:
                return self._asked(old, method, target, headers, kept)
            except ConnectionError:
                # The server closed it at this very moment: a request that only reads is sent again.
                if method != "GET":
                    raise
        witness = self._wire.witness(target, self._limits)
        witness.connect()
        return self._asked(witness, method, target, headers, kept)

    def _usable(self, kept: list[Witness]) -> Witness | None:
        """Take a kept connection that the server has not closed meanwhile; None where there is none."""
        while kept:
            with suppress(IndexError):  # another thread took the last one
                if (witness := kept.pop()).is_silent():
                    return witness
                witness.close()
        return None

    def _asked(
        self, witness: Witness, method: str, target: Target, headers: Mapping[str, str], kept: list[Witness]
    ) -> OpenAnswer:
        with closed_on_error(witness):
            sent = self._sent(witness, method, target.path, headers)
        return OpenAnswer(sent, witness, kept)

    def _sent(
        self, witness: Witness, method: str, path: str, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        witness.pace = pace = ExchangePace(self._limits)
        witness.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            witness.putheader(name, value)
        if method != "GET":
            witness.putheader("Content-Length", "0")
        witness.endheaders()
        return witness.answer(pace)

    def close(self) -> None:
        """Close the kept connections."""
        for kept in self._kept.values():
            while kept:
                kept.pop().close()
