"""The way without a way: the file goes into the request's JSON as a data URI."""

from __future__ import annotations

from dataclasses import dataclass

from clipspool.jobs.faults import Fault
from clipspool.provider.protocol import Inline
from clipspool.provider.transport.way import Parcel


@dataclass(frozen=True, slots=True)
class InRequest:
    """Always there, needs nothing, and carries little."""

    encoded_bytes_max: int
    """Of the whole data URI [PROVIDER 2.4]."""
    name: str = "inline"

    def room(self, content_type: str) -> int:
        """Say how many bytes of a file of this type fit, once encoded."""
        return max(0, (self.encoded_bytes_max - len(f"data:{content_type};base64,")) // 4 * 3)

    def put(self, parcel: Parcel) -> Fault | None:  # noqa: ARG002 - nothing to do
        """Do nothing: it is read when the request is sent."""
        return None

    def address(self, parcel: Parcel) -> Inline:
        """Let the request read the file."""
        return Inline(parcel.open, parcel.size, parcel.content_type)

    def remove(self, clip_id: str) -> Fault | None:  # noqa: ARG002
        """Do nothing: it lies nowhere."""
        return None

    def tidy(self, now: float) -> Fault | None:  # noqa: ARG002
        """Do nothing."""
        return None

    def close(self) -> None:
        """Do nothing."""
