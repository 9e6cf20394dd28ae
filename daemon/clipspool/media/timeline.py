"""Decides what a result needs to lie in the timeline exactly where its source lay."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from clipspool.media.facts import Probe

# what each container carries as it stands; anything else becomes AAC
MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})
MOV_AUDIO = MP4_AUDIO - {"opus"}
COPIED_VIDEO = frozenset({"h264", "hevc", "prores"})
DROP_FRAMES_A_MINUTE = {30: 2, 60: 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishPlan:
    """How a result is made to match its source.

    `frames` is the exact length at `fps` ("num/den"); `width` and `height` even pixels; `audio` what happens
    with the source's sound, of which `audio_start_seconds` on is taken; `copy_video` that the result's
    pictures are taken over as they are.
    """

    container: Literal["mp4", "mov"]
    fps: str
    frames: int
    width: int
    height: int
    copy_video: bool
    audio: Literal["copy", "aac", "none"]
    audio_start_seconds: float = 0.0
    timecode: str | None = None
    changes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON and TOML can hold them."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**fields | {"changes": tuple(fields.get("changes", ()))})


def finish_plan(
    result: Probe,
    source: Probe,
    *,
    start_seconds: float = 0.0,
    seconds: float | None = None,
    dimensions: bool = False,
) -> FinishPlan:
    """Compare a result with its source (or with the part of it that was sent) and say what is to be done.

    A source whose sound only MOV carries (PCM) makes the result a MOV, so that the sound stays identical.
    """
    fps = Fraction(source.fps or result.fps or "25/1")
    frames = _frames(source, fps, start_seconds, seconds)
    container: Literal["mp4", "mov"] = "mov" if result.container == "mov" else "mp4"
    audio: Literal["copy", "aac", "none"] = "none"
    if source.audio is not None:
        if source.audio.codec.startswith("pcm_"):
            container = "mov"
        copied = source.audio.codec.startswith("pcm_") or source.audio.codec in (
            MOV_AUDIO if container == "mov" else MP4_AUDIO
        )
        audio = "copy" if copied else "aac"
    width, height = (source.width, source.height) if dimensions else (result.width, result.height)
    width, height = width - width % 2, height - height % 2
    copy_video = (
        result.video_codec in COPIED_VIDEO
        and (result.video_codec != "prores" or container == "mov")
        and (width, height) == (result.coded_width, result.coded_height)
        and result.rotation == 0
        and not result.variable_frame_rate
        and bool(result.fps)
        and Fraction(result.fps) == fps
        and result.frames == frames
    )
    timecode = source.timecode and later_timecode(source.timecode, round(start_seconds * fps), fps)
    bare = FinishPlan(
        container=container,
        fps=f"{fps.numerator}/{fps.denominator}",
        frames=frames,
        width=width,
        height=height,
        copy_video=copy_video,
        audio=audio,
        audio_start_seconds=start_seconds,
        timecode=timecode,
    )
    fields = bare.to_dict() | {"changes": _changes(result, source, bare)}
    return FinishPlan.from_dict(fields)


def later_timecode(timecode: str, frames: int, fps: Fraction) -> str:
    """Give the timecode `frames` later, drop-frame where it is written with `;`; unreadable ones stay."""
    parts = timecode.replace(";", ":").replace(".", ":").split(":")
    nominal = round(fps)
    if len(parts) != 4 or not all(part.isdecimal() for part in parts) or nominal == 0:  # noqa: PLR2004
        return timecode
    hours, minutes, seconds, frame = map(int, parts)
    dropped = DROP_FRAMES_A_MINUTE.get(nominal, 0) if ";" in timecode else 0
    all_minutes = hours * 60 + minutes
    count = (all_minutes * 60 + seconds) * nominal + frame + frames
    count -= dropped * (all_minutes - all_minutes // 10)
    if dropped:
        ten_minutes = nominal * 600 - dropped * 9
        tens, rest = divmod(count, ten_minutes)
        count += dropped * 9 * tens
        if rest >= nominal * 60:
            count += dropped * (1 + (rest - nominal * 60) // (nominal * 60 - dropped))
    total_seconds, frame = divmod(count, nominal)
    clock = f"{total_seconds // 3600 % 24:02}:{total_seconds // 60 % 60:02}:{total_seconds % 60:02}"
    return f"{clock}{';' if dropped else ':'}{frame:02}"


def _frames(source: Probe, fps: Fraction, start_seconds: float, seconds: float | None) -> int:
    counted = round(source.seconds * fps) - round(start_seconds * fps)
    return max(1, counted if seconds is None else min(counted, round(seconds * fps)))


def _changes(result: Probe, source: Probe, plan: FinishPlan) -> tuple[str, ...]:
    said = []
    fps = Fraction(plan.fps)
    match plan.audio:
        case "copy":
            said.append(
                f"sound of the source added, as it was ({source.audio.codec if source.audio else ''})"
            )
        case "aac":
            said.append(
                f"sound of the source added, as AAC (it was {source.audio.codec if source.audio else ''})"
            )
        case "none":
            pass
    if plan.timecode:
        said.append(f"start timecode {plan.timecode}")
    if not result.fps or Fraction(result.fps) != fps:
        said.append(f"{float(fps):.6g} frames a second (the result had {result.frames_per_second:.6g})")
    difference = plan.frames - round(result.seconds * fps)
    if difference > 0:
        said.append(f"last frame held for {difference} frames to the source's length")
    elif difference < 0:
        said.append(f"{-difference} frames cut off to the source's length")
    if (plan.width, plan.height) != (result.width, result.height):
        said.append(f"scaled to {plan.width}x{plan.height} (the result was {result.width}x{result.height})")
    if not plan.copy_video and result.video_codec:
        said.append("pictures coded again as H.264")
    return tuple(said)
