"""Reads and relinks Final Cut Pro 7's XML (xmeml), which Premiere and Resolve write; changed in place."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction

from clipspool.media.timelines.model import (
    RETIMED,
    SWITCHED_OFF,
    Cut,
    Link,
    NoTimeline,
    frames_of_timecode,
    mark_of,
    numbered,
    rate_of,
)
from clipspool.media.timelines.tree import Element, parse, text_of, write

_PLAIN = (("pixelaspectratio", "square"), ("anamorphic", "FALSE"), ("fielddominance", "none"))
"""What a result is, whatever its media was."""
_NOTES = ("logginginfo/lognote", "comments/mastercomment1", "comments/clipcommenta")


def read(data: bytes) -> list[Cut]:
    """Return the cuts of all video tracks. Raises NoTimeline."""
    root = parse(data)
    files = _files(root)
    cuts = [_cut(number, item, rate, files) for number, (item, rate) in numbered(_items(root))]
    if not cuts:
        raise NoTimeline("it has no sequence with clips on a video track; export the sequence")
    return cuts


def relink(data: bytes, links: Mapping[int, Link]) -> bytes:
    """Give each linked clip a file of its own, and count its in and out from that file's first picture."""
    root = parse(data)
    files = _files(root)
    for number, (item, _) in numbered(_items(root)):
        if (link := links.get(number)) is not None:
            _relink(item, f"clipspool-{number}", link, files)
    _define_again(root, files)
    return write(root, data)


def ruler(data: bytes) -> Iterator[tuple[int, str | None]]:
    """Yield the markers of the timeline's ruler: the number of the topmost clip below each, and its text."""
    number = 0
    for sequence in parse(data).iter("sequence"):
        placed: list[tuple[int, int, int]] = []
        for item in sequence.iterfind("media/video/track/clipitem"):
            number += 1
            placed.append((number, _whole(item.findtext("start")), _whole(item.findtext("end"))))
        for marker in sequence.iterfind("marker"):
            at = _whole(marker.findtext("in"))
            below = [which for which, start, end in placed if 0 <= start <= at < end]
            if below:
                yield below[-1], marker.findtext("comment")


def _items(root: Element) -> Iterator[tuple[Element, Fraction | None]]:
    """Yield the clips on the video tracks of each sequence, those of nested ones apart, and its rate."""
    for sequence in root.iter("sequence"):
        rate = _rate(sequence)
        for track in sequence.iterfind("media/video/track"):
            yield from ((item, rate) for item in track.iterfind("clipitem"))


def _files(root: Element) -> dict[str, Element]:
    """Return the files that are described, by their id: later uses of a file name its id alone."""
    return {file.get("id", ""): file for file in root.iter("file") if len(file)}


def _rate(element: Element | None) -> Fraction | None:
    if element is None:
        return None
    is_ntsc = (element.findtext("rate/ntsc") or "").strip().upper() == "TRUE"
    return rate_of(element.findtext("rate/timebase"), is_ntsc=is_ntsc)


def _whole(text: str | None) -> int:
    try:
        return int((text or "").strip())
    except ValueError:
        return -1


def _cut(number: int, item: Element, shown: Fraction | None, files: Mapping[str, Element]) -> Cut:
    named = item.find("file")
    file = None if named is None else files.get(named.get("id", ""), named)
    rate = _rate(item) or _rate(file)
    begin, end = _whole(item.findtext("in")), _whole(item.findtext("out"))
    refusal = ""
    if item.find("sequence") is not None or file is None:
        refusal = "it is a nested sequence, a title or a generator"
    elif (item.findtext("enabled") or "").strip().upper() == "FALSE":
        refusal = SWITCHED_OFF
    elif _is_retimed(item):
        refusal = RETIMED
    elif rate is None or begin < 0 or end <= begin:
        refusal = "its in and out cannot be read"
    else:
        placed = (_whole(item.findtext("start")), _whole(item.findtext("end")))
        length = placed[1] - placed[0]
        # Some programs count its place by the sequence's rate, and its in and out by its own.
        apart = abs(length / (shown or rate) - (end - begin) / rate)
        if -1 not in placed and length != end - begin and apart >= 1 / min(shown or rate, rate):
            refusal = RETIMED
    media = (text_of(file, "pathurl"), text_of(file, "name"), item.findtext("name"))
    rate = rate or Fraction(1)
    # The times of a subclip count from where it begins in its media.
    offset = max(_whole(item.findtext("subclipinfo/startoffset")), 0)
    return Cut(
        number=number,
        name=item.findtext("name") or text_of(file, "name") or item.get("id") or "?",
        media=tuple(dict.fromkeys(name.strip() for name in media if name and name.strip())),
        start=max(begin, 0) / rate,
        seconds=max(end - begin, 0) / rate,
        origin=-offset / rate,
        mark=mark_of(_marks(item, begin, end)),
        refusal=refusal,
    )


def _is_retimed(item: Element) -> bool:
    if (
        item.findtext("stillframe") or ""
    ).strip().upper() == "TRUE":  # one frame of its media, for its length
        return True
    for effect in item.iterfind("filter/effect"):
        if (effect.findtext("effectid") or "").strip().lower() == "timeremap":
            said = {
                (one.findtext("parameterid") or ""): (one.findtext("value") or "").strip().upper()
                for one in effect.iterfind("parameter")
            }
            is_plain = said.get("reverse") != "TRUE" and said.get("variablespeed") not in {"1", "TRUE"}
            if not is_plain or not re.fullmatch(r"100(\.0*)?", said.get("speed", "")):
                return True
    return False


def _marks(item: Element, begin: int, end: int) -> Iterator[str | None]:
    """Yield the texts of its markers within what it shows, then its notes."""
    for marker in item.iterfind("marker"):
        if begin <= _whole(marker.findtext("in")) < end:
            comment = marker.findtext("comment")
            yield comment if (comment or "").strip() else marker.findtext("name")
    yield from (text for path in _NOTES if (text := (item.findtext(path) or "").strip()))


def _relink(item: Element, file_id: str, link: Link, files: Mapping[str, Element]) -> None:
    named = item.find("file")
    rate = _rate(item) or link.fps
    shift = round(link.start * rate)
    for path in ("in", "out"):
        if (place := item.find(path)) is not None:
            place.text = str(_whole(place.text) - shift)
    for marker in item.iterfind("marker"):
        for path in ("in", "out"):
            if (place := marker.find(path)) is not None and _whole(place.text) >= 0:
                place.text = str(max(_whole(place.text) - shift, 0))
    # Premiere counts in ticks of its own besides, which would win; and the result is no subclip.
    for path in ("pproTicksIn", "pproTicksOut", "subclipinfo"):
        if (place := item.find(path)) is not None:
            item.remove(place)
    if named is None:
        return
    described = copy.deepcopy(files.get(named.get("id", ""), named))
    described.set("id", file_id)
    described.tail = named.tail
    _set(described, "name", link.name)
    # Premiere and Final Cut write the name of the host.
    is_hosted = (described.findtext("pathurl") or "").startswith("file://localhost/")
    url = link.url.replace("file:///", "file://localhost/", 1) if is_hosted else link.url
    _set(described, "pathurl", url)
    _set(described, "duration", str(round(link.seconds * link.fps)))
    for fact, value in (("width", str(link.width)), ("height", str(link.height)), *_PLAIN):
        if (place := described.find(f"media/video/samplecharacteristics/{fact}")) is not None:
            place.text = value
    _set_timecode(described, link)
    _set(item, "duration", str(round(link.seconds * rate)))
    _set(item, "name", link.name)
    for master in item.findall("masterclipid"):
        item.remove(master)  # it is the clip in the project's bin, which is the media
    item[list(item).index(named)] = described


def _set_timecode(file: Element, link: Link) -> None:
    timecode = file.find("timecode")
    if timecode is None:
        return
    frames = None if link.timecode is None else frames_of_timecode(link.timecode, link.fps)
    if link.timecode is None or frames is None:
        file.remove(timecode)
        return
    _set(timecode, "string", link.timecode)
    _set(timecode, "frame", str(frames))


def _set(element: Element, name: str, text: str) -> None:
    found = element.find(name)
    if found is None:
        found = Element(name)
        element.insert(0, found)
    found.text = text


def _define_again(root: Element, files: Mapping[str, Element]) -> None:
    """Describe each file at its first use, where the clip that described it has another one now."""
    described: set[str] = set()
    for file in root.iter("file"):
        file_id = file.get("id", "")
        if len(file):
            described.add(file_id)
        elif file_id in files and file_id not in described:
            described.add(file_id)
            file.extend(copy.deepcopy(list(files[file_id])))
