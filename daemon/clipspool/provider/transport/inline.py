"""Sends files in the request's JSON as data URIs."""

from __future__ import annotations

from dataclasses import dataclass

from clipspool.provider.protocol import Inline, encoded_length
from clipspool.provider.transport.way import Parcel, Way


@dataclass(frozen=True)
class InRequest(Way):
    """The way that is always there: needs nothing, and carries small files."""

    encoded_bytes_max: int
    """Of the whole data URI [PROVIDER 2.4]."""
    name: str = "inline"

    def room(self, content_type: str) -> int:
        """Return how many bytes of a file of this type fit, once encoded."""
        return max(0, (self.encoded_bytes_max - encoded_length(0, content_type)) // 4 * 3)

    def address(self, parcel: Parcel) -> Inline:
        """Return the file itself, which is read when the request is sent."""
        return Inline(parcel.open, parcel.size, parcel.content_type)
