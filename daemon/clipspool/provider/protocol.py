"""The interface of any provider: its calls, its answers and its faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, BinaryIO, Protocol

from clipspool.jobs.account import Balance
from clipspool.jobs.faults import Fault


@dataclass(frozen=True, slots=True)
class Inline:
    """A file that is sent in the request's JSON as a data URI, and read only while it is sent."""

    open: Callable[[], BinaryIO]
    """Opens it again for reading. Raises OSError when it is gone or has changed."""
    size: int
    """In bytes; the encoded URI has `encoded_length(size, content_type)` characters."""
    content_type: str
    """`video/mp4`, `video/quicktime`, `image/png`, …; never octet-stream [PROVIDER trap 14]."""


def encoded_length(size: int, content_type: str) -> int:
    """Return the length of the data URI of a file of `size` bytes."""
    return len(f"data:{content_type};base64,") + (size + 2) // 3 * 4


@dataclass(frozen=True, slots=True)
class Call:
    """One paid request, ready to be sent."""

    endpoint: str
    """Path below the base URL: `video_to_video`."""
    body: Mapping[str, Any]
    """The JSON body; any string in it may be an `Inline` instead."""


@dataclass(frozen=True, slots=True)
class Created:
    """A task exists."""

    task_id: str
    credits: float | None = None


@dataclass(frozen=True, slots=True)
class NothingSent:
    """No task was made for sure: no byte of the request left, or the gate was closed."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Refused:
    """A clear answer that no task was made."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Unclear:
    """Bytes left and no clear answer came: a task may exist and cost money."""

    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    """`sent_at` (ISO 8601), `bytes_written`, `bytes_total`, `http_status`, `error`, and `answer`: redacted,
    at most 500 characters."""


SubmitAnswer = Created | NothingSent | Refused | Unclear


class TaskStatus(StrEnum):
    """The provider's many status words, normalised [PROVIDER 1.4]."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    MISSING = "missing"
    """`task_not_exist` or 404; a new task may not be visible yet."""
    UNKNOWN = "unknown"
    """A word not in the table: the task is open, it has not ended."""


@dataclass(frozen=True, slots=True)
class TaskLook:
    """The state of a task at one look."""

    status: TaskStatus
    word: str
    """The provider's own word, for people; at most 60 characters."""
    progress: float | None = None
    """0 to 1."""
    outputs: tuple[str, ...] = ()
    """Result addresses without repeats; only with SUCCEEDED. Signed: never logged or stored."""
    credits: float | None = None
    """Charged (when ended) or estimated by the provider; None where it is not given."""
    charged: float | None = None
    """The cost of an ended task, in any unit: above 0 or 0; None where it is not given."""
    failure: Fault | None = None
    """Only with FAILED; `of` is CLIP where the request must change, MOMENT where a retry may succeed."""


@dataclass(frozen=True, slots=True)
class Download:
    """A result that is being downloaded."""

    chunks: Iterator[bytes]
    """Identity encoding; raises `DownloadCut` when it ends early, stalls, drips or sends too much."""
    offset: int
    """The first chunk's place in the file: the requested offset, or 0 when the server began again."""
    size: int | None
    """Whole size in bytes where the server gives it; the caller checks it."""
    etag: str
    """Strong ETag, or empty: then the download cannot be resumed later."""


class DownloadCut(Exception):
    """The download ended early; the bytes so far are good if it can be resumed."""


Gate = Callable[[Callable[[], bool]], bool]
"""Holds a paid request back: `gate(is_usable)` blocks until the intent is durable; False: do not send.

`is_usable` returns whether the connection still is: called last, before it is noted that bytes leave.
"""


class Followed(Protocol):
    """Follows tasks that were made. Every method may be called from several threads."""

    def look(self, task_id: str) -> TaskLook | Fault:
        """Read a task's state. A Fault says nothing about the task itself."""

    def cancel(self, task_id: str) -> Fault | None:
        """Ask the provider to stop a task; a Fault where it has no such call."""

    def download(self, url: str, offset: int, etag: str) -> Download | Fault:
        """Open a result. The key goes to the API's host only; each hop must be a public https address."""


class Provider(Followed, Protocol):
    """A provider of paid, asynchronous video tasks. Every method may be called from several threads."""

    @property
    def profile(self) -> str:
        """The account that makes tasks: base URL and a fingerprint of the key; no secret."""

    def submit(self, call: Call, gate: Gate) -> SubmitAnswer:
        """Connect (TLS included), wait for `gate`, then send once: never twice, never redirected."""

    def ask_account(self) -> dict[str, Any] | Fault:
        """Check the key at no cost; read balance and limits where the provider has them."""

    def ask_balance(self) -> Balance | None:
        """Read the account's balance, within seconds; None where the provider does not give it."""

    def close(self) -> None:
        """Close the connections."""
