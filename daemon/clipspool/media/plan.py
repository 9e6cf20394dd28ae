"""Decides whether a clip is sent unchanged, made to fit, or refused, and names every change in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

from clipspool.media.facts import ClipPart, Probe, Value, has_alpha
from clipspool.media.rates import DEFAULT_RATE, constant_rate

if TYPE_CHECKING:  # the decoding process has no use for it
    from clipspool.jobs.request import LongClips

AUDIO_BITS_PER_SECOND = 128_000
BITS_PER_SECOND_MIN = 40_000
BITS_PER_PIXEL_LOW = 0.04  # below it a smaller picture may look better than a coarser one
SCALE_MAX = 0.92  # a picture is made smaller by at least 8 %: less saves nothing, and would blur it
FRAMES_MIN = 1.5  # fewer are a still picture
H264_PIXELS_MAX = 36_864 * 16 * 16  # level 5.2: what decoders of H.264 take everywhere
PLAIN_BITS = 8
CONTAINER_BYTES, CONTAINER_BYTES_PER_FRAME = 6_000, 24  # headers and index of an MP4, and what a frame adds


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a model takes, from its catalogue entry (PROVIDER.md 2.2 to 2.4); None: no limit is known.

    Sides are pixels of the shown picture, aspects width divided by height, rates frames a second.
    """

    width_min: int = 2
    width_max: int = 8000
    height_min: int = 2
    height_max: int = 8000
    aspect_min: float = 0.5
    aspect_max: float = 2.0
    fps_min: float | None = None
    fps_max: float | None = None
    seconds_min: float | None = None
    seconds_max: float | None = None
    containers: frozenset[str] = frozenset({"mp4", "mov", "webm"})
    codecs: frozenset[str] = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "prores"})
    bit_depth_max: int = 10
    hdr: bool = False
    audio_used: bool = False


@dataclass(frozen=True, slots=True)
class AsIs:
    """The clip fits and is sent byte for byte."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The clip cannot be used; `reason` says why and what would fit, `what_to_do` how to fix it."""

    reason: str
    what_to_do: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conform(Value):
    """How a clip is converted to an H.264 MP4 of 8-bit 4:2:0 that fits.

    `width` and `height` are even; `fps` is the exact constant rate as "num/den"; `start_seconds` and
    `seconds` the part that is used; `bytes_max` the size that the result never exceeds, None for no limit;
    `bits_per_second` the video's share of it. `smaller_width` and `smaller_height` are tried as well where
    that share is low, else 0. `picture_aspect` is "num/den" where black bars surround the picture, and
    `own_seconds` the clip's own length where its last picture is held.
    """

    width: int
    height: int
    fps: str
    start_seconds: float
    seconds: float
    rotation: int = 0
    mirrored: bool = False
    deinterlace: bool = False
    tone_map: bool = False
    audio: bool = False
    bytes_max: int | None = None
    bits_per_second: int | None = None
    smaller_width: int = 0
    smaller_height: int = 0
    picture_aspect: str = ""
    own_seconds: float | None = None
    changes: tuple[str, ...] = ()


def plan(
    probe: Probe,
    limits: Bounds,
    bytes_max: int | None,
    *,
    long_clips: LongClips = "refuse",
    start_seconds: float = 0.0,
    length_seconds: float | None = None,
    part: ClipPart | None = None,
) -> AsIs | Conform | Refuse:
    """Decide what is sent for a clip: itself, a version of it that fits, or nothing.

    `bytes_max` is what the transport carries (for a data URI the bytes before encoding). `start_seconds` is
    where the part that is sent begins, with `long_clips="trim"` or `length_seconds`. `part` is a part of a
    clip that is split.
    """
    if part is not None:
        used: Conform | Refuse = _part(probe, part)
    elif length_seconds is not None:
        used = _piece(probe, limits, start_seconds, length_seconds)
    else:
        used = _length(probe, limits, long_clips, start_seconds)
    if isinstance(used, Refuse):
        return used
    if probe.width <= 0 or probe.height <= 0:
        return Refuse("its pictures have no size", "Export the clip again.")
    if _fits(probe, limits, bytes_max) and not used.changes:
        return AsIs()
    fps, fps_change = _rate(probe, limits)
    shape = _padded(probe, limits)
    width, height = fitted(*shape, limits, H264_PIXELS_MAX)
    if used.own_seconds is not None:
        used = replace(used, seconds=float(ceil(Fraction(used.seconds) * fps) / fps))
    conform = replace(
        used,
        picture_aspect="" if shape == (probe.width, probe.height) else f"{probe.width}/{probe.height}",
        width=width,
        height=height,
        fps=f"{fps.numerator}/{fps.denominator}",
        rotation=probe.rotation,
        mirrored=probe.mirrored,
        deinterlace=probe.interlaced,
        tone_map=probe.is_hdr,
        audio=limits.audio_used and probe.audio is not None,
        bytes_max=bytes_max,
    )
    if bytes_max is not None:
        budgeted = _within_bytes(conform, limits, bytes_max)
        if isinstance(budgeted, Refuse):
            return budgeted
        conform = budgeted
    return replace(conform, changes=(*used.changes, *_changes(probe, limits, conform, fps_change)))


def fitted(width: int, height: int, limits: Bounds, pixels_max: float | None = None) -> tuple[int, int]:
    """Return the even sides nearest to a picture's own within the limits; its aspect is kept within a pixel.

    A picture that need not be smaller loses at most a column and a row. Of sizes up to four pixels narrower,
    the first within half a pixel is chosen, else the best.
    """
    scale = min(1.0, limits.width_max / width, limits.height_max / height)
    if pixels_max is not None:
        scale = min(scale, (pixels_max / (width * height)) ** 0.5)
    scale = max(scale, limits.width_min / width, limits.height_min / height)
    if scale == 1.0:
        return max(2, width - width % 2), max(2, height - height % 2)
    fitted_width = 2 * (floor if scale <= 1 else ceil)(round(width * scale / 2, 6))
    while True:
        fitted_height = max(2, 2 * round(fitted_width * height / width / 2))
        if fitted_height <= limits.height_max or fitted_width <= 2:  # noqa: PLR2004  no smaller even number
            break
        fitted_width -= 2
    found: dict[tuple[int, int], float] = {}
    for narrower in (0, 2, 4):
        sides = (
            max(2, fitted_width - narrower),
            max(2, 2 * round((fitted_width - narrower) * height / width / 2)),
        )
        if narrower and (sides[0] < limits.width_min or sides[1] < limits.height_min):
            break
        found[sides] = abs(sides[1] - sides[0] * height / width)
    return next((sides for sides, off in found.items() if off <= 0.5), min(found, key=found.__getitem__))  # noqa: PLR2004


def _padded(probe: Probe, limits: Bounds) -> tuple[int, int]:
    """Return the sides of a clip's pictures, with black bars where the model does not take their aspect."""
    width, height = probe.width, probe.height
    slack = 1 / height  # one pixel either way
    if width / height > limits.aspect_max + slack:
        return width, 2 * ceil(width / limits.aspect_max / 2)
    if width / height < limits.aspect_min - slack:
        return 2 * ceil(height * limits.aspect_min / 2), height
    return width, height


def video_bits_per_second(bytes_max: int, seconds: float, frames: float, *, audio: bool) -> int:
    """Return the video's rate at which a clip has `bytes_max`."""
    room = bytes_max - CONTAINER_BYTES - CONTAINER_BYTES_PER_FRAME * frames
    if audio:
        room -= (AUDIO_BITS_PER_SECOND / 8) * (seconds + 1)
    return int(room * 8 / seconds)


def _length(probe: Probe, limits: Bounds, long_clips: LongClips, start_seconds: float) -> Conform | Refuse:
    """Choose the part of the clip; the caller plans the rest."""
    whole = Conform(width=2, height=2, fps="1/1", start_seconds=0.0, seconds=probe.seconds)
    frame = 1 / probe.frames_per_second if probe.fps else 0.0
    rate, wanted = constant_rate(probe), start_seconds if long_clips == "trim" else 0.0
    # Once, and here: pictures, sound and timecode begin at the same instant, whatever each rounds to.
    start_seconds = float(round(Fraction(wanted) * rate) / rate)
    least, most = limits.seconds_min or 0.0, limits.seconds_max or probe.seconds
    is_short = not start_seconds and probe.seconds < least - frame / 2
    if 0 < probe.seconds < frame * FRAMES_MIN or (is_short and not (frame and probe.seconds)):
        return Refuse("it is a single picture, not a video", "Use a clip that has several pictures.")
    if is_short:
        change = f"last picture held to {least:g} s, the model's least (it is {probe.seconds:g} s)"
        return replace(whole, seconds=least, own_seconds=probe.seconds, changes=(change,))
    if not start_seconds and probe.seconds <= most + frame / 2:
        return whole
    if long_clips == "split":
        raise ValueError("a part of a clip that is split is planned, not the clip")
    if long_clips == "refuse":
        return Refuse(
            f"the clip is {probe.seconds:g} s long and the model takes at most {most:g} s",
            f'Cut it to {most:g} s, or write `long_clips = "trim"` ("split": all, in parts).',
        )
    seconds, least = min(most, probe.seconds - start_seconds), max(least, frame)
    if start_seconds < 0 or seconds < least:
        last = floor((probe.seconds - least) * 10) / 10
        why = f"`start_seconds = {wanted:g}` leaves too little of a clip of {probe.seconds:g} s"
        todo = f"Choose a start between 0 and {last:g}." if last > 0 else "Delete `start_seconds`."
        return Refuse(why, todo)
    frame_of = f", frame {round(start_seconds * rate)}" if start_seconds != wanted else ""
    change = f"cut to {seconds:g} s from {start_seconds:g} s on{frame_of} (it was {probe.seconds:g} s)"
    return replace(whole, start_seconds=start_seconds, seconds=seconds, changes=(change,))


def _piece(probe: Probe, limits: Bounds, start_seconds: float, length_seconds: float) -> Conform | Refuse:
    """Choose the part that start and length name, exact to the frame; the caller plans the rest."""
    rate = constant_rate(probe)
    first, frames = round(Fraction(start_seconds) * rate), round(Fraction(length_seconds) * rate)
    start, seconds = float(first / rate), float(frames / rate)
    if frames <= FRAMES_MIN or first < 0 or first + frames > round(Fraction(probe.seconds) * rate):
        return Refuse(
            f"`length_seconds = {length_seconds:g}` from `start_seconds = {start_seconds:g}` on is no "
            f"part of a clip of {probe.seconds:g} s",
            "Choose a part of at least two frames within the clip.",
        )
    if limits.seconds_max is not None and seconds > limits.seconds_max + float(1 / rate) / 2:
        return Refuse(
            f"a part of {seconds:g} s is wanted and the model takes at most {limits.seconds_max:g} s",
            f"Choose a part of at most {limits.seconds_max:g} s.",
        )
    change = f"cut to {seconds:g} s from {start:g} s on, frame {first} (it was {probe.seconds:g} s)"
    whole = Conform(width=2, height=2, fps="1/1", start_seconds=start, seconds=seconds, changes=(change,))
    if limits.seconds_min is None or seconds >= limits.seconds_min:
        return whole
    more = f"what follows it is sent too, up to {limits.seconds_min:g} s, the model's least"
    return replace(whole, seconds=limits.seconds_min, own_seconds=seconds, changes=(change, more))


def _part(probe: Probe, part: ClipPart) -> Conform:
    """Choose a part of a clip that is split; the caller plans the rest."""
    rate = constant_rate(probe)
    start, seconds = float(part.start / rate), float(part.frames / rate)
    change = f"frames {part.start} to {part.end - 1} of it ({seconds:g} s from {start:g} s on)"
    return Conform(width=2, height=2, fps="1/1", start_seconds=start, seconds=seconds, changes=(change,))


def _fits(probe: Probe, limits: Bounds, bytes_max: int | None) -> bool:
    rate = probe.frames_per_second
    return (
        (bytes_max is None or probe.size_bytes <= bytes_max)
        and probe.container in limits.containers
        and probe.video_codec in limits.codecs
        and limits.width_min <= probe.width <= limits.width_max
        and limits.height_min <= probe.height <= limits.height_max
        and limits.aspect_min <= probe.width / probe.height <= limits.aspect_max
        and (limits.fps_max is None or 0 < rate <= limits.fps_max + 0.01)
        and (limits.fps_min is None or rate >= limits.fps_min - 0.03)
        and probe.bit_depth <= limits.bit_depth_max
        and _has_usual_colour(probe)
        and (limits.hdr or not probe.is_hdr)
        and not (probe.rotation or probe.mirrored or probe.interlaced or probe.variable_frame_rate)
        and not (probe.hidden_frames or probe.video_tracks > 1)  # what the provider takes is not known
        and Fraction(probe.sar) == 1
    )


def _has_usual_colour(probe: Probe) -> bool:
    """Whether most decoders read the codec in this colour format: 4:2:0, which ProRes never has."""
    if has_alpha(probe.pixel_format):
        return False
    if probe.video_codec == "prores":
        return True
    return "420p" in probe.pixel_format and (probe.video_codec != "h264" or probe.bit_depth <= PLAIN_BITS)


def _rate(probe: Probe, limits: Bounds) -> tuple[Fraction, str | None]:
    """Choose the constant rate: the clip's own, an even part of it, or the limit."""
    own, rate = Fraction(probe.fps) if probe.fps else DEFAULT_RATE, constant_rate(probe)
    if limits.fps_max is not None and rate > limits.fps_max + 0.01:
        part = rate / ceil(float(rate) / (limits.fps_max + 0.01))
        rate = part if part >= limits.fps_max * 0.75 else Fraction(limits.fps_max).limit_denominator(1001)
    if limits.fps_min is not None and rate < limits.fps_min - 0.03:
        rate = Fraction(limits.fps_min).limit_denominator(1001)
    if probe.variable_frame_rate:
        return rate, f"constant {_shown(rate)} frames a second (it varied)"
    return rate, f"{_shown(rate)} frames a second (it was {_shown(own)})" if rate != own else None


def _within_bytes(conform: Conform, limits: Bounds, bytes_max: int) -> Conform | Refuse:
    """Choose the bit rate, and a smaller picture to try where it is low for this one."""
    fps = float(Fraction(conform.fps))
    rate = video_bits_per_second(bytes_max, conform.seconds, conform.seconds * fps, audio=conform.audio)
    if rate < BITS_PER_SECOND_MIN:
        return Refuse(
            f"{conform.seconds:g} s of video cannot be made to fit {bytes_max:,} bytes",
            "Drop a shorter clip, or configure another transport.",
        )
    planned = replace(conform, bits_per_second=rate)
    width, height = fitted(conform.width, conform.height, limits, rate / fps / BITS_PER_PIXEL_LOW)
    if width > conform.width * SCALE_MAX:
        return planned
    return replace(planned, smaller_width=width, smaller_height=height)


def _changes(probe: Probe, limits: Bounds, conform: Conform, fps_change: str | None) -> tuple[str, ...]:
    was = f"{probe.video_codec} in {probe.container.upper()}"
    if probe.container == "pictures":
        was = f"{probe.video_codec.upper()} pictures"
    size, old = (conform.width, conform.height), (probe.width, probe.height)
    is_plain = probe.bit_depth <= PLAIN_BITS and probe.pixel_format.startswith("yuv420")
    is_over = conform.bytes_max is not None and probe.size_bytes > conform.bytes_max
    changes = (
        (was == "h264 in MP4", "coded again as H.264 MP4"),
        (was != "h264 in MP4", f"converted to H.264 MP4 (it was {was})"),
        (size != old, f"{size[0]}x{size[1]} pixels (it was {old[0]}x{old[1]})"),
        (conform.picture_aspect, "black bars to the aspect that the model takes"),
        (Fraction(probe.sar) != 1, f"square pixels (they were {probe.sar.replace('/', ':')})"),
        (probe.rotation, f"rotation of {probe.rotation} degrees applied"),
        (probe.noticed, probe.noticed or ""),
        (probe.mirrored, "mirrored, as players show it"),
        (probe.video_tracks > 1, f"the one of {probe.video_tracks} video tracks that players show"),
        (probe.hidden_frames, f"{probe.hidden_frames} pictures left out that players do not show"),
        (fps_change, fps_change or ""),
        (probe.interlaced, "deinterlaced"),
        (probe.is_hdr, "tone-mapped from HDR to SDR (BT.709)"),
        (not is_plain, f"8-bit 4:2:0 colour (it was {probe.pixel_format})"),
        (has_alpha(probe.pixel_format), "transparency left out"),
        (is_over, f"at most {conform.bytes_max or 0:,} bytes (it was {probe.size_bytes:,})"),
        (probe.audio and not limits.audio_used, "sound left out, the model does not use it"),
    )
    return tuple(text for is_made, text in changes if is_made)


def _shown(rate: Fraction) -> str:
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")
