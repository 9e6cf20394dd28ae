"""The values that media work answers with: what is in a clip, or what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal, Self

EXPORT_AGAIN = "Export or copy the clip again, and check that it plays to its end."

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


@dataclass(frozen=True, slots=True)
class MediaFault:
    """Why a file could not be used, in words for an editor; a fault of the world, so a value."""

    code: FaultCode
    message: str
    what_to_do: str

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON and TOML can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**fields)


class MediaError(Exception):
    """A fault of the file in hand, on its way to the answer; it never leaves the decoding process."""

    def __init__(self, code: FaultCode, message: str, what_to_do: str) -> None:
        super().__init__(message)
        self.fault = MediaFault(code, message, what_to_do)


@dataclass(frozen=True, slots=True)
class Audio:
    """The first track of sound; `streams` counts all, `codecs` names those that can be decoded, in order."""

    codec: str
    channels: int
    rate: int
    streams: int = 1
    codecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """What a clip holds. Where a container does not say, the field has its empty value ("", 0, None).

    `width` and `height` are those of the shown picture in square pixels, rotation applied; `coded_width` and
    `coded_height` those stored. `rotation` is degrees clockwise that a player turns the stored picture (0,
    90, 180, 270), `mirrored` that it is flipped left to right before. `sar`, `fps` and `fps_base` are exact
    ratios as "num/den": `fps` is the average where the rate varies, and `fps_base` then the lowest rate that
    shows every picture. A ZIP of images has container "zip" and no more facts.
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
    audio: Audio | None = None
    timecode: str | None = None
    noticed: str | None = None
    """What is odd about its pictures, in words."""

    @property
    def frames_per_second(self) -> float:
        """The frame rate as a number, 0.0 where it is unknown."""
        return float(Fraction(self.fps)) if self.fps else 0.0

    @property
    def is_hdr(self) -> bool:
        """Whether the picture is coded for HDR screens (PQ or HLG)."""
        return self.transfer in {"smpte2084", "arib-std-b67"}

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON and TOML can hold them; what is None is left out, TOML has no null."""
        return {
            key: {inner: known for inner, known in value.items() if known is not None}
            if isinstance(value, dict)
            else value
            for key, value in asdict(self).items()
            if value is not None
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote; keys of a later version are passed over."""
        known = {key: value for key, value in fields.items() if key in cls.__dataclass_fields__}
        if audio := known.get("audio"):
            known["audio"] = Audio(**audio | {"codecs": tuple(audio.get("codecs", ()))})
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Sample:
    """A test clip that was written."""

    size_bytes: int
    frames: int

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Conformed:
    """A clip that was made to fit: what it is now, how often it was coded, and what was changed, in words."""

    facts: Probe
    attempts: int
    changes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON can hold them."""
        return {"facts": self.facts.to_dict(), "attempts": self.attempts, "changes": list(self.changes)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(Probe.from_dict(fields["facts"]), fields["attempts"], tuple(fields["changes"]))


@dataclass(frozen=True, slots=True)
class Finished:
    """A result that was made ready for the timeline, and what was done, in words."""

    size_bytes: int
    frames: int
    changes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON can hold them."""
        return {"size_bytes": self.size_bytes, "frames": self.frames, "changes": list(self.changes)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(fields["size_bytes"], fields["frames"], tuple(fields["changes"]))


@dataclass(frozen=True, slots=True)
class Picture:
    """A still image that was written."""

    format: Literal["jpeg", "png"]
    width: int
    height: int
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**fields)
