"""Carries over what a source holds besides pictures and sound, and names what is lost of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import av.stream

if TYPE_CHECKING:
    import av.container
    from av.container.core import Chapter

TECHNICAL: Final = frozenset(
    (
        *(
            "major_brand",
            "minor_version",
            "compatible_brands",
            "encoder",
            "timecode",
            "duration",
            "handler_name",
        ),
        *("material_package_umid", "file_package_umid", "operational_pattern_ul", "uid", "generation_uid"),
        *("product_uid", "toolkit_version_num", "product_version_num", "modification_date", "package_name"),
        *("variant_bitrate", "date-eng", "software", "company_name", "product_name", "product_version"),
        *("application_platform", "material_package_umid", "project_name", "creation_time-eng"),
    )
)
"""Tags about the file itself, not copied: the new file gets its own."""
FREE_TAGS: Final = ("com.apple.", "com.android.")
"""Beginnings of tags of phones: with them all tags are written by their names, as phones write them."""
_SHOWN_TAGS_MAX = 6
_TAG_BYTES_MAX = 4096
_TAGS_MAX = 100

_USUAL_ORDER_MAX: Final = 8
"""More channels than this have no usual order."""


@dataclass(frozen=True, slots=True)
class ReplacedPart:
    """The part of the source that the result replaces: its start, and its length, in seconds."""

    start_seconds: float
    seconds: float


def tags_of(source: av.container.InputContainer) -> dict[str, str]:
    """Return the tags that say something about a film, such as its title, its camera and its place."""
    return {
        name: value
        for name, value in list(source.metadata.items())[:_TAGS_MAX]
        if name.lower() not in TECHNICAL and value and len(value) <= _TAG_BYTES_MAX
    }


def has_free_tags(source: av.container.InputContainer) -> bool:
    """Whether a phone wrote tags of its own."""
    return any(name.lower().startswith(FREE_TAGS) for name in tags_of(source))


def reel_of(source: av.container.InputContainer) -> str | None:
    """Return the name of the tape or card, by which editors find the camera's original."""
    return _tag_of(source, "reel_name")


def timecode_of(source: av.container.InputContainer) -> str | None:
    """Return the timecode of a clip's first picture; None where no track or header has one."""
    return _tag_of(source, "timecode")


def _tag_of(source: av.container.InputContainer, name: str) -> str | None:
    tags = (*(stream.metadata for stream in source.streams), source.metadata)
    return next(filter(None, (tag.get(name) or tag.get(name.upper()) for tag in tags)), None)


def name_no_channels(source: av.container.InputContainer) -> None:
    """Make the decoder ignore the custom channel order of a track, as recorders write it, and only count.

    PyAV 18.1 frees such an order after a look at it, and FFmpeg frees it again: the process dies of that.
    Tracks that are copied keep their order, which is read from elsewhere.
    """
    for stream in source.streams.audio:
        # There may be no context, against PyAV's types.
        layout = getattr(stream.codec_context, "layout", None)
        if layout is not None and "(" in layout.name:
            order = "c" if layout.nb_channels <= _USUAL_ORDER_MAX else "C"
            stream.codec_context.layout = f"{layout.nb_channels}{order}"


def bring(
    source: av.container.InputContainer, target: av.container.OutputContainer, part: ReplacedPart
) -> None:
    """Set the target's tags and chapters, before anything is written to it."""
    target.metadata.update(tags_of(source))
    if chapters := list(_chapters(source, part)):
        target.set_chapters(chapters)


def kept_and_lost(
    source: av.container.InputContainer,
    made: av.container.InputContainer,
    part: ReplacedPart,
    reel: str | None,
    shown: int,
) -> Iterator[str]:
    """Yield in words what of the source's belongings is in what was made, and what is lost.

    `shown` is the index of the stream whose pictures the film replaces.
    """
    wanted, there = tags_of(source), {name.lower() for name in made.metadata}
    chapters = len(list(_chapters(source, part)))
    kept = [f"reel name {reel}"] if reel and reel_of(made) == reel else []
    lost = [f"reel name {reel}"] if reel and not kept else []
    if chapters:
        (kept if len(made.chapters()) >= chapters else lost).append(
            f"{chapters} chapter{'s' * (chapters > 1)}"
        )
    if has := [name for name in wanted if name.lower() in there]:
        kept.append(_listed(has))
    if gone := [name for name in wanted if name.lower() not in there]:
        lost.append(_listed(gone))
    tracks = len(source.streams.audio)
    if (silent := tracks - len(made.streams.audio)) > 0:
        lost.append(f"{silent} of {tracks} tracks of sound, of which nothing can be read")
    lost += _streams_besides(source, shown)
    if kept:
        yield f"kept from the source: {', '.join(kept)}"
    if lost:
        yield f"lost from the source: {', '.join(lost)}"


def besides(source: av.container.InputContainer, shown: int) -> Iterator[str]:
    """Name what a film holds besides pictures and sound; `shown` is the index of its stream of pictures."""
    if chapters := len(source.chapters()):
        yield f"{chapters} chapter{'s' * (chapters > 1)}"
    for name in tags_of(source):
        yield name.removeprefix("com.apple.quicktime.")
    yield from _streams_besides(source, shown)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_TAGS_MAX} more" if len(names) > _SHOWN_TAGS_MAX else ""
    return ", ".join(name.removeprefix("com.apple.quicktime.") for name in names[:_SHOWN_TAGS_MAX]) + more


def _chapters(source: av.container.InputContainer, part: ReplacedPart) -> Iterator[Chapter]:
    """Yield the chapters of a part, timed from its start."""
    first, last = Fraction(part.start_seconds), Fraction(part.start_seconds + part.seconds)
    for chapter in source.chapters():
        base = chapter["time_base"] or Fraction(1, 1_000_000)
        begin, end = chapter["start"] * base, chapter["end"] * base
        if end <= first or begin >= last:
            continue
        yield {
            **chapter,
            "start": round((max(begin, first) - first) / base),
            "end": round((min(end, last) - first) / base),
        }


def _streams_besides(source: av.container.InputContainer, shown: int) -> Iterator[str]:
    has_chapters = bool(source.chapters())
    for stream in source.streams:
        name = _name_of(stream)
        match stream.type:
            case "video" if stream.index != shown:
                is_cover = bool(stream.disposition & av.stream.Disposition.attached_pic)
                yield "a cover picture" if is_cover else f"another video track ({name})"
            case "subtitle":
                # The titles of chapters are a track of text in a MOV.
                if not (has_chapters and name in {"mov_text", "text"}):
                    yield f"captions ({name})"
            case "data" if "timecode" not in stream.metadata and name not in {"tmcd", "bin_data"}:
                yield f"data ({name})"
            case "attachment":
                yield f"an attachment ({stream.metadata.get('filename', name)})"
            case _:
                pass


def _name_of(stream: av.stream.Stream) -> str:
    """Return the name of a stream's kind: its codec, else the four letters of its container."""
    codec: object = stream.codec_context
    if codec is not None:
        return str(stream.codec_context.name)
    letters = getattr(stream, "codec_tag", "")
    return letters if letters.isprintable() else "unknown"
