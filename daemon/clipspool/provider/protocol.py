"""What we need from any provider: its calls, its answers and its faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, BinaryIO, Protocol

from clipspool.jobs.faults import Fault
from clipspool.jobs.records import Balance


@dataclass(frozen=True, slots=True)
class Inline:
    """A file that goes into the request's JSON as a data URI, read only while it is sent."""

    open: Callable[[], BinaryIO]
    """Opens it for reading; each call anew. Raises OSError when it is gone or has changed."""
    size: int
    """Bytes of the file. The encoded URI has `encoded_length(size, content_type)` characters."""
    content_type: str
    """`video/mp4`, `video/quicktime`, `image/png`, …; never octet-stream [PROVIDER trap 14]."""


def encoded_length(size: int, content_type: str) -> int:
    """Count the characters of the data URI of a file of `size` bytes."""
    return len(f"data:{content_type};base64,") + (size + 2) // 3 * 4


@dataclass(frozen=True, slots=True)
class Call:
    """One paid request, ready to be sent."""

    endpoint: str
    """Path below the base URL: `video_to_video`."""
    body: Mapping[str, Any]
    """The JSON body; an `Inline` may stand wherever a string may."""


@dataclass(frozen=True, slots=True)
class Created:
    """A task exists."""

    task_id: str
    credits: float | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """Surely no task was made: no byte of the request left, or the gate was closed."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Refused:
    """A clear answer that no task was made."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Unclear:
    """Bytes left, and no clear answer came: a task may exist and cost money."""

    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    """`sent_at` (ISO 8601), `bytes_written`, `bytes_total`, `http_status`, `error`, and `answer`: redacted,
    at most 500 characters."""


SubmitAnswer = Created | NotSent | Refused | Unclear


class TaskStatus(StrEnum):
    """The provider's many status words, normalised [PROVIDER 1.4]."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    MISSING = "missing"
    """`task_not_exist` or 404: patience while it is fresh."""
    UNKNOWN = "unknown"
    """A word not in the table: open, never an end."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a task showed."""

    status: TaskStatus
    word: str
    """The provider's own word, for people; at most 60 characters."""
    progress: float | None = None
    """0 to 1."""
    outputs: tuple[str, ...] = ()
    """Result addresses, as given, without repeats; only with SUCCEEDED. Signed: never logged or stored."""
    credits: float | None = None
    """Charged (when ended) or estimated by the provider; None when it does not say."""
    charged: float | None = None
    """What an ended task cost, in whatever unit: above 0 or 0; None when the provider does not say."""
    failure: Fault | None = None
    """Only with FAILED; `of` is CLIP where the request must change, MOMENT where a later try may do."""


@dataclass(frozen=True, slots=True)
class Download:
    """A result's bytes on their way."""

    chunks: Iterator[bytes]
    """Identity encoding; raises `Cut` when the wire ends early, stalls, drips or gives too much."""
    offset: int
    """Where in the file the first chunk belongs: the offset asked for, or 0 when the server began anew."""
    size: int | None
    """Whole size in bytes where the server said; the caller checks it."""
    etag: str
    """Strong ETag, or empty: then a later resume is not possible."""


class Cut(Exception):
    """The download ended before its end; what came so far is good if it can be resumed."""


Gate = Callable[[Callable[[], bool]], bool]
"""Stands before a paid request: `gate(is_usable)` blocks until the intent is durable; False: do not send.

`is_usable` tells whether the connection still is: asked last, before it is written down that bytes leave.
"""


class Provider(Protocol):
    """A provider of paid, asynchronous video tasks. Every method may be called from several threads."""

    @property
    def profile(self) -> str:
        """Name what made a task: base URL and a fingerprint of the key; no secret."""

    def submit(self, call: Call, gate: Gate) -> SubmitAnswer:
        """Connect (TLS included), wait for `gate`, then send once: never twice, never redirected."""

    def look(self, task_id: str) -> Look | Fault:
        """Look at a task. A Fault never says anything about the task itself."""

    def cancel(self, task_id: str) -> Fault | None:
        """Tell the provider to stop; a Fault where it has no such call."""

    def download(self, url: str, offset: int, etag: str) -> Download | Fault:
        """Open a result. The key goes to the API's host only; each hop must be a public https address."""

    def ask_account(self) -> dict[str, Any] | Fault:
        """Ask whether the key is good, spending nothing: balance and limits where the provider tells them."""

    def ask_balance(self) -> Balance | None:
        """Ask what the account has left, within seconds; None where the provider does not tell."""

    def close(self) -> None:
        """Give back the connections."""
