"""Decides what a result needs to replace its source in the timeline exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from clipspool.media.facts import Probe, Value, has_alpha, inside
from clipspool.media.lengths import frames_in_words
from clipspool.media.rates import constant_rate, frames_of

# what each container can hold unchanged; anything else becomes AAC
MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})
MOV_AUDIO = MP4_AUDIO - {"opus"}
LOSSLESS_AUDIO = frozenset(
    {"pcm_bluray", "pcm_dvd", "s302m", "flac", "truehd", "mlp", "wavpack", "tta", "ape"}
)
COPIED_VIDEO = frozenset({"h264", "hevc", "prores"})
DROP_FRAMES_A_MINUTE = {30: 2, 60: 4}
SHAPE_TOLERANCE = 0.01
"""A result's aspect may differ by this much from what was sent: sides are rounded to whole blocks."""
FRAMES_TO_TELL = 12
"""With fewer, two clips may have the same number by chance."""

BY_TIME = "as many frames as the source under another rate, placed by their own time"
Sound = Literal["copy", "pcm", "aac"]
FinishCodec = Literal["h264", "prores", "dnxhr"]
CODECS_SAID: dict[FinishCodec, str] = {"h264": "H.264", "prores": "ProRes 422 HQ", "dnxhr": "DNxHR HQX"}


_SHOWN_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishPlan(Value):
    """How a result is made to match its source.

    `frames` is the exact length at `fps` ("num/den"); `width` and `height` even pixels; `audio` what becomes
    of each track of the source's sound, from `audio_start_seconds` on, and to its own end unless `is_part`;
    `copy_video` that the result's pictures are copied unchanged.
    """

    container: Literal["mp4", "mov"]
    fps: str
    frames: int
    width: int
    height: int
    copy_video: bool
    audio: tuple[Sound, ...] = ()
    audio_start_seconds: float = 0.0
    is_part: bool = False
    timecode: str | None = None
    reel: str | None = None
    codec: FinishCodec = "h264"
    """What the pictures become where they are not copied."""
    kind: str = ""
    """What the result is, in words: progressive, SDR, 8 bit."""
    crop_width: int = 0
    crop_height: int = 0
    """What is kept of the result's pictures where black bars were sent; 0: all."""
    by_frame: bool = False
    """Whether each picture replaces one of the source, whatever rate the result is labelled with."""
    is_nothing: bool = False
    """Whether the result fits the timeline already, and nothing has to be written."""
    lost: str = ""
    """What a result that stays as it came lacks: a new container would cost the signature in its bytes."""
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FinishChoices:
    """The dimensions, the codec and the timing that a finished film should have."""

    dimensions: bool = False
    """Those of the source."""
    codec: FinishCodec | None = None
    """None: pictures stay as they are where they can."""
    by_time: bool = False
    """A result keeps its own time also where it has its source's frames under another rate."""


AS_USUAL = FinishChoices()


def finish_plan(
    result: Probe,
    source: Probe,
    *,
    start_seconds: float = 0.0,
    seconds: float | None = None,
    bars: Bars | None = None,
    sent_fps: str = "",
    wanted: FinishChoices = AS_USUAL,
) -> FinishPlan:
    """Compare a result with its source, or the part of it that was sent, and plan how to finish it.

    `bars` were put around the source's pictures before they were sent. A result is its own source where it
    only has to lose what was added. `sent_fps` is the rate of what was made of the clip and sent.

    A source whose sound needs MOV (PCM, or lossless, which becomes PCM) makes the result a MOV, so that the
    sound stays identical; so does a reel name.
    """
    fps = constant_rate(source if source.fps else result)
    frames = frames_of(source, fps, start_seconds, seconds)
    codecs = (source.audio.codecs or (source.audio.codec,)) if source.audio else ()
    is_mov = result.container == "mov" or any(_is_pcm(each) or each in LOSSLESS_AUDIO for each in codecs)
    is_mov = is_mov or bool(source.reel and source.timecode) or wanted.codec in {"prores", "dnxhr"}
    container: Literal["mp4", "mov"] = "mov" if is_mov else "mp4"
    kept: FinishCodec = "prores" if result.video_codec == "prores" and is_mov else "h264"
    crop = bars.kept_of(result) if bars else (0, 0)
    shown = crop if any(crop) else (result.width, result.height)
    width, height = (source.width, source.height) if wanted.dimensions else shown
    width, height = width - width % 2, height - height % 2
    is_mislabelled = _is_mislabelled(result, fps, frames, sent_fps)
    timecode = source.timecode and later_timecode(source.timecode, round(start_seconds * fps), fps)
    bare = FinishPlan(
        container=container,
        fps=f"{fps.numerator}/{fps.denominator}",
        frames=frames,
        width=width,
        height=height,
        copy_video=False,
        audio=tuple(_sound(each, container) for each in codecs),
        audio_start_seconds=start_seconds,
        is_part=start_seconds > 0 or frames < frames_of(source, fps),
        timecode=timecode,
        reel=source.reel,
        codec=wanted.codec or kept,
        by_frame=is_mislabelled and not wanted.by_time,
        crop_width=crop[0],
        crop_height=crop[1],
    )
    copy_video = wanted.codec in {None, result.video_codec} and _serves_as_it_is(result, bare)
    bare = replace(bare, copy_video=copy_video)
    changes = _changes(result, source, bare, bars)
    if is_mislabelled and wanted.by_time:
        changes = (BY_TIME, *changes)
    is_nothing = not changes and copy_video and container == result.container
    kind = _kind_said(result, source, bare)
    return replace(
        bare, changes=(*changes, kind), is_nothing=is_nothing, kind=kind, lost=_besides_lost(source, result)
    )


def _besides_lost(source: Probe, result: Probe) -> str:
    """Return in words what a source holds and its result, which is kept as it came, does not; "" for none."""
    gone = [name for name in source.besides if name not in result.besides]
    more = f" and {len(gone) - _SHOWN_MAX} more" if len(gone) > _SHOWN_MAX else ""
    return f"lost from the source: {', '.join(gone[:_SHOWN_MAX])}{more}" if gone else ""


def _serves_as_it_is(result: Probe, plan: FinishPlan) -> bool:
    """Whether a result's pictures fit a plan without being re-encoded."""
    return (
        result.video_codec in COPIED_VIDEO
        and (result.video_codec != "prores" or plan.container == "mov")
        and (plan.width, plan.height) == (result.coded_width, result.coded_height)
        and result.rotation == 0
        and Fraction(result.sar) == 1
        and not (result.variable_frame_rate or result.hidden_frames)
        and (plan.by_frame or (bool(result.fps) and Fraction(result.fps) == Fraction(plan.fps)))
        and result.frames == plan.frames
    )


@dataclass(frozen=True, slots=True)
class Bars:
    """The black bars of what was sent: the frame's sides, and the aspect ("num/den") of the picture in it."""

    width: int
    height: int
    picture_aspect: str

    def kept_of(self, result: Probe) -> tuple[int, int]:
        """Return what is kept of a result; (0, 0) where it has another shape than what was sent."""
        is_alike = (
            result.height
            and abs(result.width * self.height - result.height * self.width)
            <= SHAPE_TOLERANCE * result.height * self.width
        )
        is_plain = result.rotation == 0 and Fraction(result.sar) == 1
        if not (is_alike and is_plain):
            return 0, 0
        return inside(result.width - result.width % 2, result.height - result.height % 2, self.picture_aspect)


def _is_mislabelled(result: Probe, fps: Fraction, frames: int, sent_fps: str) -> bool:
    """Whether a result has as many pictures as the source, but is labelled with another rate.

    Placed by time, each would come later than its source's picture, and the last ones would be cut off. One
    that has the rate of what was sent is right: a short clip of 60 frames a second, sent with 30 and held to
    twice its length, has as many by chance.
    """
    if not result.fps or result.variable_frame_rate or result.hidden_frames or frames < FRAMES_TO_TELL:
        return False
    if sent_fps and Fraction(result.fps) == Fraction(sent_fps):
        return False
    return result.frames == frames and Fraction(result.fps) != fps


def later_timecode(timecode: str, frames: int, fps: Fraction) -> str:
    """Return the timecode `frames` later, drop-frame where it is written with `;`; unreadable ones stay."""
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


def _is_pcm(codec: str) -> bool:
    return codec.startswith("pcm_") and codec not in LOSSLESS_AUDIO


def _sound(codec: str, container: Literal["mp4", "mov"]) -> Sound:
    if _is_pcm(codec) or codec in (MOV_AUDIO if container == "mov" else MP4_AUDIO):
        return "copy"
    return "pcm" if codec in LOSSLESS_AUDIO else "aac"


def _changes(result: Probe, source: Probe, plan: FinishPlan, bars: Bars | None) -> tuple[str, ...]:
    is_own = source is result
    said = [] if is_own else list(_sounds_said(source, plan))
    if plan.crop_width:
        said.append(f"black bars cut off again ({plan.crop_width}x{plan.crop_height} pixels are left)")
    elif bars:
        said.append("black bars left in it: the result has another shape than what was sent")
    fps = Fraction(plan.fps)
    if plan.timecode and not is_own:
        said.append(f"start timecode {plan.timecode}")
    if plan.by_frame:
        said.append(
            f"{plan.frames} frames at {result.frames_per_second:.6g} frames a second, placed one by one on "
            f"the source's {plan.frames} at {float(fps):.6g}"
        )
    elif not result.fps or Fraction(result.fps) != fps:
        said.append(f"{float(fps):.6g} frames a second (the result had {result.frames_per_second:.6g})")
    difference = 0 if plan.by_frame else plan.frames - round(result.seconds * fps)
    if difference > 0:
        said.append(f"last frame held for {frames_in_words(difference)} to the source's length")
    elif difference < 0:
        said.append(f"{frames_in_words(-difference)} cut off to the source's length")
    shown = (plan.crop_width, plan.crop_height) if plan.crop_width else (result.width, result.height)
    if (plan.width, plan.height) != shown:
        said.append(f"scaled to {plan.width}x{plan.height} (the result was {result.width}x{result.height})")
    if result.audio is not None and not is_own:
        said.append("the result's own sound left out")
    if not plan.copy_video and result.video_codec:
        said.append(f"pictures coded again as {CODECS_SAID[plan.codec]}")
    if source.captions and not result.captions:
        said.append("the closed captions in the source's pictures are lost")
    if has_alpha(source.pixel_format) and not has_alpha(result.pixel_format):
        said.append("the source's transparency is lost")
    return tuple(said)


def _kind_said(result: Probe, source: Probe, plan: FinishPlan) -> str:
    """Write what the pictures are, and what those of the source are where that is something else."""
    bits = result.bit_depth if plan.copy_video else min(result.bit_depth, 8 if plan.codec == "h264" else 10)
    made = _kind(replace(result, bit_depth=bits))
    own = _kind(source)
    return f"it is {made}" + ("" if own == made else f"; its source is {own}")


def _kind(probe: Probe) -> str:
    colours = {"smpte2084": "HDR (PQ)", "arib-std-b67": "HDR (HLG)"}.get(probe.transfer, "SDR")
    gamut = {"bt2020": " in BT.2020", "smpte431": " in P3", "smpte432": " in P3"}.get(probe.primaries, "")
    return f"{'interlaced' if probe.interlaced else 'progressive'}, {colours}{gamut}, {probe.bit_depth} bit"


def _sounds_said(source: Probe, plan: FinishPlan) -> Iterator[str]:
    audio = source.audio
    if audio is None:
        return
    codecs = audio.codecs or (audio.codec,)
    for sound, how in (("copy", "as it was ("), ("pcm", "as PCM (it was "), ("aac", "as AAC (it was ")):
        of = [codec for codec, each in zip(codecs, plan.audio, strict=False) if each == sound]
        if of:
            tracks = "" if len(codecs) == 1 else f" ({len(of)} of {len(codecs)} tracks)"
            yield f"sound of the source added{tracks}, {how}{', '.join(dict.fromkeys(of))})"
