"""Timelines of other programs: EDL, FCP XML, FCPXML and OTIO, read, and linked to results in place.

The document itself is changed, and nothing else in it: what this program does not know stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from clipspool.media.timelines import edl, fcpxml, otio, xmeml
from clipspool.media.timelines.model import Cut as Cut
from clipspool.media.timelines.model import Link as Link
from clipspool.media.timelines.model import NoTimeline as NoTimeline

SUFFIXES = frozenset({".edl", ".xml", ".fcpxml", ".otio"})
BYTES_MAX = 16 << 20
_HEAD_BYTES = 4096


def read(data: bytes, suffix: str) -> list[Cut]:
    """Return the clips with pictures, in the order of the document. Raises NoTimeline."""
    if len(data) > BYTES_MAX:
        raise NoTimeline(f"it is larger than {BYTES_MAX >> 20} MB")
    cuts: list[Cut] = _module(data, suffix).read(data)
    return cuts


def relink(data: bytes, suffix: str, links: Mapping[int, Link]) -> bytes:
    """Return the same timeline with results in place of the media of these clips, by their numbers."""
    made: bytes = _module(data, suffix).relink(data, links)
    return made


def _module(data: bytes, suffix: str) -> ModuleType:
    if suffix == ".edl":
        return edl
    if suffix == ".otio":
        return otio
    head = data[:_HEAD_BYTES]
    if b"<xmeml" in head:
        return xmeml
    if b"<fcpxml" in head:
        return fcpxml
    raise NoTimeline("it is an XML, but neither FCP XML (xmeml) nor FCPXML: export one of these")
