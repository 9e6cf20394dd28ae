"""The values that media work answers with: what is in a clip, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

from clipspool.jobs.nouns import read

CALL_BYTES_MAX = 1 << 16
PARTS_MAX = 200
"""Of one clip: all results are open while they are joined; and nobody pays for more by mistake."""
FILES_MAX = PARTS_MAX + 2
"""Bytes and files of a message between the daemon and its decoding process: a call, or its answer."""
EXPORT_AGAIN = "Export or copy the clip again, and check that it plays to its end."
ZEROS = "its pictures are nothing but zeros"
"""How a notice begins of a film that lacks a part."""

FaultCode = Literal[
    "MEDIA.UNREADABLE",
    "MEDIA.INCOMPLETE",
    "MEDIA.NO_VIDEO",
    "MEDIA.TOO_LARGE",
    "MEDIA.UNSUPPORTED",
    "MEDIA.CANNOT_FIT",
    "MEDIA.TIMEOUT",
    "MEDIA.CRASHED",
    "MEDIA.NO_SPACE",
    "MEDIA.STOPPED",
]


class Value:
    """A dataclass that goes to another process, or into JSON or TOML, as a dict."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields; those that are None are left out, since TOML has no null."""
        # Each look into a clip does this three times; `dataclasses.asdict` copies every value deeply.
        return {
            field.name: _plain(value)
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read the result of `to_dict`; keys of a later version are skipped."""
        return read(cls, {key: value for key, value in found.items() if key in cls.__dataclass_fields__})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.to_dict() if isinstance(value, Value) else value


@dataclass(frozen=True, slots=True)
class MediaFault(Value):
    """Why a file could not be used, in words for an editor; a fault of the world, so a value."""

    code: FaultCode
    message: str
    what_to_do: str


class MediaError(Exception):
    """Carries a fault of the file in hand to the answer; it never leaves the decoding process."""

    def __init__(self, code: FaultCode, message: str, what_to_do: str) -> None:
        super().__init__(message)
        self.fault = MediaFault(code, message, what_to_do)


@dataclass(frozen=True, slots=True)
class Audio(Value):
    """The first track of sound; `streams` counts all, `codecs` names those that can be decoded, in order."""

    codec: str
    channels: int
    rate: int
    streams: int = 1
    codecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe(Value):
    """What a clip holds. Where a container does not say, the field has its empty value ("", 0, None).

    `width` and `height` are those of the shown picture in square pixels, rotation applied; `coded_width` and
    `coded_height` those stored. `rotation` is degrees clockwise that a player turns the stored picture (0,
    90, 180, 270), `mirrored` that it is flipped left to right before. `sar`, `fps` and `fps_base` are exact
    ratios as "num/den": `fps` is the average where the rate varies, and `fps_base` then the lowest rate that
    shows every picture. A ZIP of images has container "zip" and no more facts,
    a folder of numbered pictures "pictures".
    """

    container: str
    size_bytes: int
    video_codec: str = ""
    width: int = 0
    height: int = 0
    coded_width: int = 0
    coded_height: int = 0
    rotation: int = 0
    mirrored: bool = False
    sar: str = "1/1"
    fps: str = ""
    fps_base: str = ""
    variable_frame_rate: bool | None = None
    seconds: float = 0.0
    frames: int | None = None
    pixel_format: str = ""
    bit_depth: int = 0
    transfer: str = ""
    primaries: str = ""
    interlaced: bool = False
    video_tracks: int = 1
    """Without cover pictures; the other facts are those of the one that players show."""
    audio: Audio | None = None
    timecode: str | None = None
    reel: str | None = None
    captions: bool = False
    """Whether closed captions are in its pictures."""
    besides: tuple[str, ...] = ()
    """What it holds besides pictures and sound, in words: tags, chapters, captions, a second video track."""
    noticed: str | None = None
    """What is odd about its pictures, in words."""

    @property
    def frames_per_second(self) -> float:
        """The frame rate as a number, 0.0 where it is unknown."""
        return float(Fraction(self.fps)) if self.fps else 0.0

    @property
    def hidden_frames(self) -> int:
        """How many of its pictures an edit list hides: who trims without coding again only writes that list.

        One more or less is rounding. Whether a provider heeds the list is not known.
        """
        if self.frames is None or self.variable_frame_rate or not self.fps:
            return 0
        hidden = self.frames - round(self.seconds * Fraction(self.fps))
        return hidden if hidden > 1 else 0

    @property
    def is_hdr(self) -> bool:
        """Whether the picture is coded for HDR screens (PQ or HLG)."""
        return self.transfer in {"smpte2084", "arib-std-b67"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPart(Value):
    """A part of a clip that is split, in frames of the clip's constant rate.

    It begins with frame `start` (the first is 0) and has `frames` frames. Its first `overlap` are the last of
    the part before as well: 0 for the first part, and where a scene begins.
    """

    start: int
    frames: int
    overlap: int = 0

    @property
    def end(self) -> int:
        """The frame after its last one."""
        return self.start + self.frames


@dataclass(frozen=True, slots=True)
class Scenes(Value):
    """The frames at which another scene begins, counted as in `ClipPart`, in order; never the first."""

    cuts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Conformed(Value):
    """A clip that was made to fit: its facts now, how often it was coded, and the changes, in words."""

    facts: Probe
    attempts: int
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finished(Value):
    """A result that was made ready for the timeline, and the changes, in words."""

    size_bytes: int
    frames: int
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written(Value):
    """A film that was written from pictures: a test clip, or numbered pictures packed into one film."""

    size_bytes: int
    frames: int


@dataclass(frozen=True, slots=True)
class Cropped(Value):
    """How many pictures were cropped, each in its place."""

    pictures: int


@dataclass(frozen=True, slots=True)
class Picture(Value):
    """A still image that was written."""

    format: Literal["jpeg", "png"]
    width: int
    height: int
    size_bytes: int


def has_alpha(pixel_format: str) -> bool:
    """Whether a pixel format has transparency, by its name."""
    return pixel_format.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya"))


def inside(width: int, height: int, aspect: str) -> tuple[int, int]:
    """Return the even sides of a picture of an aspect ("num/den") between black bars in a frame."""
    wanted = Fraction(aspect)
    if wanted * height > width:
        return width, min(height, 2 * round(width / wanted / 2))
    return min(width, 2 * round(height * wanted / 2)), height
