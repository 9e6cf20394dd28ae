"""Wraps a provider, and reports the time and outcome of each call to an observer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, Protocol, TypeVar, assert_never

from clipspool.jobs.account import Balance
from clipspool.jobs.faults import Fault
from clipspool.provider.protocol import (
    Call,
    Created,
    Download,
    DownloadCut,
    Gate,
    Inline,
    NothingSent,
    Provider,
    Refused,
    SubmitAnswer,
    TaskLook,
    Unclear,
    encoded_length,
)

CallName = Literal["submit", "look", "cancel", "download", "ask_account", "ask_balance"]
Direction = Literal["sent", "received"]
_T = TypeVar("_T")


class Observer(Protocol):
    """Receives the reports, from any thread; must neither raise nor block."""

    def call_ended(self, call: CallName, outcome: str, seconds: float) -> None:
        """Take one call: `outcome` is one of a few words, `seconds` is without the wait at the gate."""

    def download_cut(self) -> None:
        """Take a connection that ended before the result did."""

    def bytes_moved(self, direction: Direction, count: int) -> None:
        """Take bytes of files: sent with a request, or received of a result."""


class Measured:
    """Passes every call on, and what the provider returns or raises."""

    def __init__(
        self, provider: Provider, observer: Observer, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """`clock` returns seconds that only go forward."""
        self._provider = provider
        self._observer = observer
        self._clock = clock

    @property
    def profile(self) -> str:
        """Identify the account that makes tasks."""
        return self._provider.profile

    def submit(self, call: Call, gate: Gate) -> SubmitAnswer:
        """Send once; the time at the gate belongs to the journal and is not counted."""
        at_gate = 0.0

        def timed_gate(is_usable: Callable[[], bool]) -> bool:
            nonlocal at_gate
            begun = self._clock()
            try:
                return gate(is_usable)
            finally:
                at_gate += self._clock() - begun

        begun = self._clock()
        outcome = "raised"
        try:
            answer = self._provider.submit(call, timed_gate)
            outcome = _outcome_of(answer)
        finally:
            self._observer.call_ended("submit", outcome, self._clock() - begun - at_gate)
        if not isinstance(answer, NothingSent):
            self._observer.bytes_moved("sent", _inline_bytes(call.body))
        return answer

    def look(self, task_id: str) -> TaskLook | Fault:
        """Ask about a task."""
        return self._timed("look", lambda: self._provider.look(task_id))

    def cancel(self, task_id: str) -> Fault | None:
        """Ask the provider to cancel a task."""
        return self._timed("cancel", lambda: self._provider.cancel(task_id))

    def download(self, url: str, offset: int, etag: str) -> Download | Fault:
        """Open a result; its time ends with the answer's head, its bytes are counted as they arrive."""
        opened = self._timed("download", lambda: self._provider.download(url, offset, etag))
        return opened if isinstance(opened, Fault) else replace(opened, chunks=self._counted(opened.chunks))

    def ask_account(self) -> dict[str, Any] | Fault:
        """Ask whether the key is accepted."""
        return self._timed("ask_account", self._provider.ask_account)

    def ask_balance(self) -> Balance | None:
        """Ask for the account's balance."""
        return self._timed("ask_balance", self._provider.ask_balance)

    def close(self) -> None:
        """Close the connections."""
        self._provider.close()

    def _timed(self, call: CallName, ask: Callable[[], _T]) -> _T:
        begun = self._clock()
        outcome = "raised"
        try:
            answer = ask()
            outcome = f"fault_{answer.of.value}" if isinstance(answer, Fault) else "answered"
        finally:
            self._observer.call_ended(call, outcome, self._clock() - begun)
        return answer

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            for chunk in chunks:
                self._observer.bytes_moved("received", len(chunk))
                yield chunk
        except DownloadCut:
            self._observer.download_cut()
            raise
        finally:
            if (close := getattr(chunks, "close", None)) is not None:
                close()


def _outcome_of(answer: SubmitAnswer) -> str:
    match answer:
        case Created():
            return "created"
        case NothingSent():
            return "not_sent"
        case Refused(fault=fault):
            return f"refused_{fault.of.value}"
        case Unclear():
            return "unclear"
        case never:
            assert_never(never)


def _inline_bytes(body: Any) -> int:
    match body:
        case Inline():
            return encoded_length(body.size, body.content_type)
        case dict():
            return sum(map(_inline_bytes, body.values()))
        case list() | tuple():
            return sum(map(_inline_bytes, body))
        case _:
            return 0
