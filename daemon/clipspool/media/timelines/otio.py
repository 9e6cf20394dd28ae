"""Reads and relinks an OpenTimelineIO file; the JSON is changed in place, whatever else stands in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from clipspool.media.timelines.model import RETIMED, SWITCHED_OFF, Cut, Link, NoTimeline, mark_of, numbered

_KEY = "DEFAULT_MEDIA"
_NOTES = frozenset({"prompt", "note", "comment"})
_DEPTH_MAX = 100
_ZERO = Fraction(0)

Table = dict[str, Any]


def read(data: bytes) -> list[Cut]:
    """Return the clips of the video tracks. Raises NoTimeline."""
    cuts = [_cut(number, *found) for number, found in numbered(_clips(_loaded(data)))]
    if not cuts:
        raise NoTimeline("it has no clip on a video track")
    return cuts


def relink(data: bytes, links: Mapping[int, Link]) -> bytes:
    """Give each linked clip the result as its media, with the range that it has in the media's time."""
    body = _loaded(data)
    for number, (clip, _, _) in numbered(_clips(body)):
        if (link := links.get(number)) is None:
            continue
        _, rate = _time(_range(clip).get("start_time"))
        old = _reference(clip)
        available = {
            "OTIO_SCHEMA": "TimeRange.1",
            "start_time": _written(link.start, rate or link.fps),
            "duration": _written(link.seconds, rate or link.fps),
        }
        made = {
            "OTIO_SCHEMA": "ExternalReference.1",
            "metadata": old.get("metadata") or {},
            "name": link.name,
            "available_range": available,
            "available_image_bounds": None,
            "target_url": link.url,
        }
        if "media_references" in clip:
            clip["media_references"][clip.get("active_media_reference_key") or _KEY] = made
        else:
            clip["media_reference"] = made
    return json.dumps(body, indent=4, ensure_ascii=False).encode()


def ruler(data: bytes) -> Iterator[tuple[int, str | None]]:
    """Yield the markers of the timeline's ruler: the number of the topmost clip below each, and its text."""
    body = _loaded(data)
    stack = body.get("tracks")
    if not isinstance(stack, dict):
        return
    number, placed = 0, []
    for track in _tables(stack.get("children")):
        if track.get("kind", "Video") != "Video":
            continue
        at = _ZERO
        for child in _tables(track.get("children")):
            if _is(child, "Transition"):
                continue
            seconds = _time(_range(child).get("duration"))[0]
            if _is(child, "Clip"):
                number += 1
                placed.append((number, at, at + seconds))
            at += seconds
    begin = _time(body.get("global_start_time"))[0]
    for marker in _tables(stack.get("markers")):
        time, rate = _time((marker.get("marked_range") or {}).get("start_time"))
        if rate is not None:
            # Some programs count by the timeline's timecode.
            time = time - begin if begin and time >= begin else time
            below = [which for which, start, end in placed if start <= time < end]
            if below:
                yield below[-1], _comment_of(marker)


def _loaded(data: bytes) -> Table:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise NoTimeline("it is no whole JSON, as an OTIO file is; export it again") from None
    if _is_deep(body):  # it could be read, and not be written again
        raise NoTimeline("it is nested too deep")
    if not isinstance(body, dict) or not _is(body, "Timeline"):
        raise NoTimeline("it holds no timeline of OpenTimelineIO; export the timeline itself")
    return body


def _is_deep(body: Any) -> bool:
    level = [body]
    for _ in range(_DEPTH_MAX):
        tables = [one for one in level if isinstance(one, dict | list)]
        if not tables:
            return False
        level = [below for one in tables for below in (one.values() if isinstance(one, dict) else one)]
    return True


def _is(table: Any, *kinds: str) -> bool:
    return isinstance(table, dict) and str(table.get("OTIO_SCHEMA", "")).partition(".")[0] in kinds


def _tables(values: Any) -> list[Table]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _clips(body: Table) -> Iterator[tuple[Table, tuple[Fraction, Fraction], str]]:
    """Yield each clip, how far transitions reach beyond it, and why it cannot be relinked where it stands."""
    pending = [(body.get("tracks"), 0)]
    while pending:
        stack, depth = pending.pop()
        for track in _tables((stack or {}).get("children") if isinstance(stack, dict) else None):
            if track.get("kind", "Video") != "Video":
                continue
            children = _tables(track.get("children"))
            for at, child in enumerate(children):
                if _is(child, "Stack") and depth < _DEPTH_MAX:
                    pending.append((child, depth + 1))
                if not _is(child, "Clip"):
                    continue
                before = _reach(children, at - 1, "in_offset")
                after = _reach(children, at + 1, "out_offset")
                yield child, (before, after), "it is in a nested sequence" if depth else ""


def _reach(children: list[Table], at: int, name: str) -> Fraction:
    if not 0 <= at < len(children) or not _is(children[at], "Transition"):
        return _ZERO
    return _time(children[at].get(name))[0]


def _time(table: Any) -> tuple[Fraction, Fraction | None]:
    """Return seconds and frames a second of a rational time."""
    try:
        if isinstance(table["rate"], str) or isinstance(table["value"], str):  # it may have a million zeros
            return _ZERO, None
        rate = Fraction(str(table["rate"])).limit_denominator(1001)
        # 23.976 stands for 24000/1001, 29.97 for 30000/1001.
        for whole in (24, 30, 48, 60, 120):
            if abs(rate - Fraction(whole * 1000, 1001)) < Fraction(1, 200):
                rate = Fraction(whole * 1000, 1001)
        return Fraction(str(table["value"])) / rate, rate
    except (TypeError, KeyError, ValueError, ZeroDivisionError):
        return _ZERO, None


def _written(time: Fraction, rate: Fraction) -> Table:
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": float(rate), "value": float(time * rate)}


def _reference(clip: Table) -> Table:
    references = clip.get("media_references")
    if isinstance(references, dict):
        found = references.get(clip.get("active_media_reference_key") or _KEY)
    else:
        found = clip.get("media_reference")
    return found if isinstance(found, dict) else {}


def _range(clip: Table) -> Table:
    found = clip.get("source_range") or _reference(clip).get("available_range")
    return found if isinstance(found, dict) else {}


def _cut(number: int, clip: Table, reach: tuple[Fraction, Fraction], refusal: str) -> Cut:
    reference, shown = _reference(clip), _range(clip)
    available = reference.get("available_range")
    start, rate = _time(shown.get("start_time"))
    seconds, _ = _time(shown.get("duration"))
    if not refusal:
        if clip.get("enabled") is False:
            refusal = SWITCHED_OFF
        elif any(_is_retiming(effect) for effect in _tables(clip.get("effects"))):
            refusal = RETIMED
        elif _is(reference, "ImageSequenceReference", "GeneratorReference"):
            refusal = "its media is an image sequence or a generator"
        elif rate is None or seconds <= 0:
            refusal = "what it shows of its media cannot be read"
    names = (reference.get("target_url"), reference.get("name"), clip.get("name"))
    return Cut(
        number=number,
        name=str(clip.get("name") or reference.get("name") or "?"),
        media=tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name)),
        start=start,
        seconds=seconds,
        origin=_time(available.get("start_time"))[0] if isinstance(available, dict) else None,
        mark=mark_of(_marks(clip, start, start + seconds)),
        refusal=refusal,
        before=reach[0],
        after=reach[1],
    )


def _is_retiming(effect: Table) -> bool:
    if _is(effect, "LinearTimeWarp"):
        return bool(effect.get("time_scalar", 1) != 1)
    return _is(effect, "FreezeFrame", "TimeEffect")


def _marks(clip: Table, begin: Fraction, end: Fraction) -> Iterator[str | None]:
    for marker in _tables(clip.get("markers")):
        at, rate = _time((marker.get("marked_range") or {}).get("start_time"))
        # Some programs count markers from the clip's own begin.
        if rate is None or begin <= at < end or 0 <= at < end - begin:
            yield _comment_of(marker) or str(marker.get("name") or "")
    if note := _note_in(clip.get("metadata")):
        yield note


def _comment_of(marker: Table) -> str:
    comment = marker.get("comment") or _note_in(marker.get("metadata"))
    return comment if isinstance(comment, str) and comment.strip() else ""


def _note_in(metadata: Any) -> str:
    """Return the note in a clip's metadata, or one level below, where each program has a table of its own."""
    tables = [metadata, *metadata.values()] if isinstance(metadata, dict) else []
    for table in tables:
        for name, value in table.items() if isinstance(table, dict) else ():
            if name.lower() in _NOTES and isinstance(value, str) and value.strip():
                return value
    return ""
