"""Timelines of other programs: EDL, FCP XML, FCPXML and OTIO, read, and linked to results in place.

The document itself is changed, and nothing else in it: what this program does not know stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType

from clipspool.media.timelines import edl, fcpxml, otio, xmeml
from clipspool.media.timelines.model import Cut as Cut
from clipspool.media.timelines.model import Link as Link
from clipspool.media.timelines.model import NoTimeline as NoTimeline
from clipspool.media.timelines.model import OtherXml as OtherXml
from clipspool.media.timelines.model import mark_of

BYTES_MAX = 16 << 20
_HEAD_BYTES = 4096


def read(data: bytes, suffix: str) -> list[Cut]:
    """Return the clips with pictures, in the order of the document. Raises NoTimeline."""
    if len(data) > BYTES_MAX:
        raise NoTimeline(f"it is larger than {BYTES_MAX >> 20} MB")
    module = _module(data, suffix)
    cuts: list[Cut] = module.read(data)
    if any(cut.mark is not None for cut in cuts) or not hasattr(module, "ruler"):
        return cuts
    # Those of the ruler are often about something else: only where no clip is marked, and only with a text.
    texts: dict[int, list[str | None]] = {}
    for number, text in module.ruler(data):
        if (text or "").strip():
            texts.setdefault(number, []).append(text)
    marks = {number: mark_of(said) for number, said in texts.items()}
    return [replace(cut, mark=marks.get(cut.number, cut.mark)) for cut in cuts]


def relink(data: bytes, suffix: str, links: Mapping[int, Link]) -> bytes:
    """Return the same timeline with results in place of the media of these clips, by their numbers."""
    made: bytes = _module(data, suffix).relink(data, links)
    return made


def _module(data: bytes, suffix: str) -> ModuleType:
    if suffix == ".edl":
        return edl
    if suffix == ".otio":
        return otio
    head = data[:_HEAD_BYTES].replace(b"\0", b"")  # it may be UTF-16
    if b"<xmeml" in head:
        return xmeml
    if b"<fcpxml" in head:
        return fcpxml
    why = "it is an XML, but neither FCP XML (xmeml) nor FCPXML: export one of these"
    raise OtherXml(why) if suffix == ".xml" else NoTimeline(why)
