"""Reads and relinks Final Cut Pro's FCPXML, which Resolve writes too; changed in place."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction

from clipspool.media.timelines.model import RETIMED, SWITCHED_OFF, Cut, Link, NoTimeline, mark_of, numbered
from clipspool.media.timelines.tree import Element, parse, write

_SECONDS = re.compile(r"(-?\d{1,12}(?:\.\d{1,9})?)(?:/(\d{1,12}))?s")
_CLIPS = frozenset({"asset-clip", "clip", "ref-clip", "sync-clip", "mc-clip"})
"""What shows media; only the first, and a film within a `clip`, names one asset, which can be exchanged."""
_MARKERS = ("marker", "chapter-marker")


def read(data: bytes) -> list[Cut]:
    """Return the clips of all projects. Raises NoTimeline."""
    root = parse(data)
    assets = {asset.get("id", ""): asset for asset in root.iterfind("resources/asset")}
    cuts = [
        _cut(number, clip, assets.get(_showing(clip).get("ref", "")), reach)
        for number, (clip, reach) in numbered(_clips(root))
    ]
    if not cuts:
        raise NoTimeline("it has no project with clips; export the project, not an event")
    return cuts


def relink(data: bytes, links: Mapping[int, Link]) -> bytes:
    """Give each linked clip an asset of its own, whose time begins where the result does."""
    root = parse(data)
    resources = root.find("resources")
    assets = {asset.get("id", ""): asset for asset in root.iterfind("resources/asset")}
    for number, (clip, _) in list(numbered(_clips(root))):
        shown = _showing(clip)
        link, asset = links.get(number), assets.get(shown.get("ref", ""))
        if link is None or asset is None or resources is None:
            continue
        made = _asset(asset, f"clipspool-{number}", link)
        video = _format(root, asset, clip, f"clipspool-format-{number}", link)
        for resource in (video, made):
            resource.tail = asset.tail
            resources.append(resource)
        made.set("format", video.get("id", ""))
        if shown is not clip:  # it is placed by its offset in the clip's time, which stays
            shown.set("offset", _written(link.start - _ahead(shown, asset)))
            shown.set("start", _written(link.start))
            shown.set("duration", _written(link.seconds))
        shown.set("ref", made.get("id", ""))
        if clip.get("format") is not None:
            clip.set("format", video.get("id", ""))
        if shown is clip and clip.get("start") is None:  # it counted from the begin of the asset
            clip.set("start", asset.get("start", "0s"))
    return write(root, data)


def _clips(root: Element) -> Iterator[tuple[Element, tuple[Fraction, Fraction]]]:
    """Yield what shows media in every spine, connected clips included, and how far transitions reach."""
    for spine in root.iter("spine"):
        children = [child for child in spine if not callable(child.tag)]  # a comment's tag is a function
        for at, child in enumerate(children):
            before = _reach(children[at - 1]) if at else Fraction(0)
            after = _reach(children[at + 1]) if at + 1 < len(children) else Fraction(0)
            # A connected clip is an element inside of the clip, or gap, that it is connected to.
            connected = [below for below in child if below.get("lane") is not None]
            bare = (Fraction(0), Fraction(0))
            for clip, reach in ((child, (before, after)), *((below, bare) for below in connected)):
                if clip.tag == "audition":  # the first of several takes is the one that is shown
                    clip = next((one for one in clip if not callable(one.tag)), clip)  # noqa: PLW2901
                if clip.tag in _CLIPS:
                    yield clip, reach


def _showing(clip: Element) -> Element:
    """Return what names the media: the clip itself, or the one film that a `clip` holds."""
    films = clip.findall("video") if clip.tag == "clip" else []
    return films[0] if len(films) == 1 else clip


def _ahead(film: Element, asset: Element) -> Fraction:
    """Return how far the media's time is ahead of that of the clip which holds it."""
    return _time(film.get("start") or asset.get("start")) - _time(film.get("offset"))


def _reach(neighbour: Element) -> Fraction:
    return _time(neighbour.get("duration")) / 2 if neighbour.tag == "transition" else Fraction(0)


def _time(text: str | None) -> Fraction:
    found = _SECONDS.fullmatch((text or "0s").strip())
    if found is None or not int(found[2] or 1):
        raise NoTimeline(f"it has a time that cannot be read: {(text or '')[:40]}")
    return Fraction(found[1]) / int(found[2] or 1)


def _written(time: Fraction) -> str:
    return f"{time.numerator}s" if time.denominator == 1 else f"{time.numerator}/{time.denominator}s"


def _cut(number: int, clip: Element, asset: Element | None, reach: tuple[Fraction, Fraction]) -> Cut:
    origin = _time(asset.get("start")) if asset is not None else Fraction(0)
    shown = _showing(clip)
    ahead = _ahead(shown, asset) if shown is not clip and asset is not None else Fraction(0)
    start = _time(clip.get("start")) if clip.get("start") is not None or shown is not clip else origin
    seconds = _time(clip.get("duration") or (asset.get("duration") if asset is not None else None))
    refusal = ""
    rate = clip.find("conform-rate")
    is_scaled = rate is not None and rate.get("scaleEnabled") != "0"
    if asset is None or (clip.tag != "asset-clip" and shown is clip):
        refusal = "it is a compound, synchronised or multicam clip"
    elif asset.get("hasVideo", "1") == "0" or clip.get("srcEnable") == "audio":
        refusal = "it shows no pictures"
    elif clip.get("enabled") == "0":
        refusal = SWITCHED_OFF
    elif is_scaled or any(one.find("timeMap") is not None for one in (clip, shown)):
        refusal = RETIMED
    media = [] if asset is None else [rep.get("src") for rep in asset.iterfind("media-rep")]
    media += [] if asset is None else [asset.get("src"), asset.get("name")]
    return Cut(
        number=number,
        name=clip.get("name") or (asset.get("name") if asset is not None else None) or "?",
        media=tuple(dict.fromkeys(name for name in (*media, clip.get("name")) if name)),
        start=start + ahead,
        seconds=seconds,
        origin=origin,
        mark=mark_of(_marks(clip, start, start + seconds)),
        refusal=refusal,
        before=reach[0],
        after=reach[1],
    )


def _marks(clip: Element, begin: Fraction, end: Fraction) -> Iterator[str | None]:
    for marker in clip:
        if marker.tag in _MARKERS and begin <= _time(marker.get("start")) < end:
            note = marker.get("note")
            yield note if (note or "").strip() else marker.get("value")
    if (note := clip.findtext("note") or "").strip():
        yield note


def _asset(asset: Element, asset_id: str, link: Link) -> Element:
    made = copy.deepcopy(asset)
    for name in ("uid", "src", "colorSpaceOverride"):
        made.attrib.pop(name, None)
    has_representation = made.find("media-rep") is not None
    for child in list(made):
        if child.tag in {"media-rep", "bookmark"}:
            made.remove(child)
    made.set("id", asset_id)
    made.set("name", link.name)
    made.set("start", _written(link.start))
    made.set("duration", _written(link.seconds))
    if has_representation:
        made.insert(0, Element("media-rep", {"kind": "original-media", "src": link.url}))
    else:
        made.set("src", link.url)
    return made


def _format(root: Element, asset: Element, clip: Element, format_id: str, link: Link) -> Element:
    """Return the format of a result: that of the media with the result's size and frames."""
    wanted = asset.get("format") or clip.get("format")
    known = next((one for one in root.iterfind("resources/format") if one.get("id") == wanted), None)
    made = Element("format") if known is None else copy.deepcopy(known)
    # The name is that of a fixed size. The result is progressive, in square pixels and colours of its own.
    for fact in ("name", "fieldOrder", "paspH", "paspV", "colorSpace"):
        made.attrib.pop(fact, None)
    made.set("id", format_id)
    made.set("frameDuration", _written(1 / link.fps))
    made.set("width", str(link.width))
    made.set("height", str(link.height))
    return made
