"""Sends a paid request once: connects, asks the gate, writes, reads; and knows how much of it left."""

from __future__ import annotations

import http.client
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clipspool.jobs.faults import Fault, FaultOf
from clipspool.provider.protocol import Gate, NothingSent, Unclear
from clipspool.provider.runway.body import Body, FileChanged
from clipspool.system.failpoint import reach
from clipspool.system.http.client import Witness
from clipspool.system.http.faults import WireTrouble, describe, wire_fault
from clipspool.system.http.pace import ExchangePace, TimeLimits
from clipspool.system.http.reply import decoded, read_whole


@dataclass(frozen=True, slots=True)
class PaidAnswer:
    """An answer to a paid request, which it may have cut short; its head is whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    evidence: dict[str, Any]
    cut: str = ""
    """Why its body is cut, if it is."""


@dataclass(frozen=True, slots=True)
class PaidPost:
    """One paid request with its limits; `send` may be called once."""

    witness: Witness
    path: str
    headers: Mapping[str, str]
    body: Body
    limits: TimeLimits
    early_answer_seconds: float
    """How long to wait for an answer after the server stopped reading midway."""

    def send(self, gate: Gate) -> PaidAnswer | NothingSent | Unclear:
        """Send it, or return why nothing left; raises what `gate` raises, and then nothing left."""
        try:
            pieces = iter(self.body)
            first = next(pieces)
        except (OSError, FileChanged) as error:
            return NothingSent(file_fault(error))
        try:
            self.witness.connect()
        except WireTrouble as error:
            return NothingSent(wire_fault(error))
        try:
            if (trouble := self._compose_head()) is not None:
                return NothingSent(wire_fault(trouble))
            # The gate opens once the intent is durable. From here to the last byte nothing is tried again.
            if not gate(self.witness.is_silent):
                return NothingSent(self._why_not())
            return self._exchange(itertools.chain([first], pieces))
        finally:
            self.witness.close()

    def _exchange(self, pieces: Iterator[bytes]) -> PaidAnswer | NothingSent | Unclear:
        evidence: dict[str, Any] = {"sent_at": datetime.now(UTC).isoformat(timespec="milliseconds")}
        try:
            trouble = self._write(pieces)
        except (OSError, FileChanged) as error:
            # A file of ours failed midway. The bytes that left cannot be undone, but the request never ends.
            self.witness.abort()
            evidence |= self._count() | {"error": file_fault(error).message}
            return Unclear("The clip could not be read to its end while it was sent", evidence)
        # Only zero bytes prove that nothing was sent: a server may act on a request that it never got whole.
        if trouble is not None and self.witness.bytes_written == 0:
            self.witness.abort()
            return NothingSent(wire_fault(trouble))
        evidence |= self._count()
        if trouble is None:
            reach("sent")
            return self._answer(ExchangePace(self.limits), evidence)
        early = TimeLimits(silence_seconds=self.early_answer_seconds, total_seconds=self.early_answer_seconds)
        answer = self._answer(ExchangePace(early), evidence)
        self.witness.abort()
        if isinstance(answer, Unclear):
            return Unclear(f"Sending broke off: {describe(trouble)}", evidence | {"error": describe(trouble)})
        return answer

    def _why_not(self) -> Fault:
        if not self.witness.is_silent():
            message = "The server closed the connection before anything was sent"
            return Fault(FaultOf.MOMENT, "NETWORK.BROKEN", message)
        return Fault(FaultOf.MOMENT, "SUBMIT.STOPPED", "Nothing was sent: submitting was stopped")

    def _compose_head(self) -> Exception | None:
        """Prepare the head before the gate: after the gate, an end at any moment means doubt."""
        self.witness.held = bytearray()
        try:
            self.witness.putrequest("POST", self.path, skip_accept_encoding=True)
            for name, value in self.headers.items():
                self.witness.putheader(name, value)
            self.witness.putheader("Content-Length", str(self.body.length))
            self.witness.endheaders()
        except WireTrouble as error:
            return error
        return None

    def _write(self, pieces: Iterator[bytes]) -> Exception | None:
        """Write head and body; return an error of the connection, raise one of a file."""
        self.witness.pace = ExchangePace(self.limits)
        for piece in pieces:
            try:
                self.witness.send(piece)
            except WireTrouble as error:
                return error
        return None

    def _answer(self, pace: ExchangePace, evidence: dict[str, Any]) -> PaidAnswer | Unclear:
        cut, kept = "", list[bytes]()
        try:
            with self.witness.answer(pace) as response:

                def read(count: int) -> bytes:
                    kept.append(response.read1(count))  # as it comes: a break loses nothing that came before
                    return kept[-1]

                try:
                    read_whole(read)
                except (http.client.IncompleteRead, OSError) as error:
                    cut = describe(error)
                else:
                    cut = "the answer ended early" if response.length else ""
        except WireTrouble as error:
            why = describe(error)
            return Unclear(
                f"The request was sent, but no whole answer arrived: {why}", evidence | {"error": why}
            )
        headers = {name.lower(): value for name, value in response.getheaders()}
        body = decoded(b"".join(kept), headers.get("content-encoding", ""))
        return PaidAnswer(response.status, headers, body, evidence, cut)

    def _count(self) -> dict[str, Any]:
        total = self.witness.head_bytes + self.body.length
        return {"bytes_written": self.witness.bytes_written, "bytes_total": total}


def file_fault(error: Exception) -> Fault:
    """Return the fault of a file that could not be read; a share may return later, a changed file does not.

    Either is this clip's own fault: other clips have other files.
    """
    if isinstance(error, FileChanged):
        return Fault(FaultOf.CLIP, "FILE.CHANGED", str(error).capitalize(), "Wait until the clip is whole.")
    reason = getattr(error, "strerror", None) or type(error).__name__
    return Fault(FaultOf.CLIP, "FILE.UNREADABLE", f"A file of the request cannot be read: {reason}")
