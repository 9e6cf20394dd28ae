"""Decides by a trial whether smaller or coarser pictures look better at equal bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import av.filter

from clipspool.media import memory

GOOD_QUALITY = 26.0
QUALITIES = (12.0, 50.0)
"""Values of x264's `crf`: with the first no better size is looked for; trials stay between the other two."""
QUALITY_STEPS_TO_HALF = 6.0
"""By how much `crf` has to grow, about, for half as many bytes."""
BETTER_DECIBELS = 0.15
"""Smaller pictures have to be better by this much."""
GROUP_FRAMES = 250
"""How far apart x264 puts its key pictures where nothing changes."""
TRIAL_OPTIONS = {"preset": "veryfast", "tune": "psnr", "rc-lookahead": "10", "keyint": str(GROUP_FRAMES)}


@dataclass(frozen=True, slots=True)
class _Point:
    """What a quality came to: bytes a frame, and decibels (PSNR of the brightness)."""

    quality: float
    bytes_a_frame: float
    decibels: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial showed."""

    is_smaller_better: bool
    room: float
    """How many times as many bytes are allowed as whole pictures need at good quality."""


def compare(
    samples: Iterable[list[av.VideoFrame]], smaller: tuple[int, int], bytes_a_frame: float, frames: int
) -> Trial:
    """Code samples of a clip whole and at a smaller size, and compare both with the clip at equal bytes.

    `smaller` is width and height in pixels. The samples are yuv420p, of one size, each of pictures that
    follow one another; `frames` is how many the clip has.
    """
    group = min(frames, GROUP_FRAMES)
    gains, rooms = [], []
    for sample in samples:
        whole = (sample[0].width, sample[0].height)
        first = _attempt(sample, whole, GOOD_QUALITY, group)
        rooms.append(bytes_a_frame / first.bytes_a_frame)
        if first.bytes_a_frame <= bytes_a_frame:
            gains.append(0.0)
            continue
        begin = _attempt(sample, smaller, GOOD_QUALITY, group)
        better = _decibels(sample, smaller, bytes_a_frame, group, begin)
        gains.append(better - _decibels(sample, whole, bytes_a_frame, group, first))
    return Trial(sum(gains) > BETTER_DECIBELS * len(gains), min(rooms))


def _decibels(
    sample: list[av.VideoFrame], size: tuple[int, int], bytes_a_frame: float, group: int, first: _Point
) -> float:
    """Return the PSNR of a sample coded at `bytes_a_frame`, from a first attempt and one near it."""
    wanted = first.quality + QUALITY_STEPS_TO_HALF * math.log2(first.bytes_a_frame / bytes_a_frame)
    second = _attempt(sample, size, min(max(wanted, QUALITIES[0]), QUALITIES[1]), group)
    apart = math.log2(second.bytes_a_frame / first.bytes_a_frame)
    if abs(apart) < 0.1:  # noqa: PLR2004  the same place on the curve
        return second.decibels
    slope = (second.decibels - first.decibels) / apart
    return second.decibels + slope * math.log2(bytes_a_frame / second.bytes_a_frame)


def _attempt(sample: list[av.VideoFrame], size: tuple[int, int], quality: float, group: int) -> _Point:
    """Code and decode a sample; its key picture counts as one of `group` pictures."""
    codec = _coder(size, quality)
    scaled = [frame.reformat(*size, "yuv420p", interpolation="BICUBIC") for frame in sample]
    packets = []
    for number, frame in enumerate(scaled):
        frame.pts, frame.time_base, frame.pict_type = number, codec.time_base, 0
        packets += codec.encode(frame)
    packets += codec.encode(None)
    key = packets[0].size
    others = sum(packet.size for packet in packets[1:]) / max(1, len(packets) - 1)
    error = _mean_error(_decoded(packets), sample)
    return _Point(quality, key / group + others + 1, 10 * math.log10(255**2 / max(error, 1e-4)))


def _coder(size: tuple[int, int], quality: float) -> av.VideoCodecContext:
    codec = av.CodecContext.create("libx264", "w")
    if not isinstance(codec, av.VideoCodecContext):
        raise TypeError("libx264 is no video codec")
    codec.width, codec.height, codec.pix_fmt = *size, "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, 25), Fraction(25)
    codec.options = TRIAL_OPTIONS | {"crf": f"{quality:.1f}"}
    share = memory.coder(size[0] * size[1], memory.processors(), memory.room() // 2)
    codec.thread_count, codec.thread_type = share.threads, "FRAME"
    return codec


def _decoded(packets: list[av.Packet[av.VideoStream]]) -> Iterator[av.VideoFrame]:
    codec = av.CodecContext.create("h264", "r")
    for packet in (*packets, None):
        for frame in codec.decode(packet):
            if isinstance(frame, av.VideoFrame):
                yield frame


def _mean_error(made: Iterable[av.VideoFrame], sample: list[av.VideoFrame]) -> float:
    """Return the mean squared error of the brightness, in pictures of the sample's size."""
    errors = []
    graph: av.filter.Graph | None = None
    for number, (frame, wanted) in enumerate(zip(made, sample, strict=True)):
        graph = graph or _comparison(frame, wanted)
        for entry, each in enumerate((frame, wanted)):
            each.pts, each.time_base = number, Fraction(1, 25)
            graph.vpush(each, entry)
        compared = graph.vpull()
        errors.append(float(compared.metadata["lavfi.psnr.mse.y"]))
    return sum(errors) / max(1, len(errors))


def _comparison(made: av.VideoFrame, wanted: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = memory.filter_threads()
    entries = [
        graph.add_buffer(width=each.width, height=each.height, format=each.format, time_base=Fraction(1, 25))
        for each in (made, wanted)
    ]
    scale = graph.add("scale", f"w={wanted.width}:h={wanted.height}:flags=bicubic")
    compare, end = graph.add("psnr"), graph.add("buffersink")
    entries[0].link_to(scale)
    scale.link_to(compare, 0, 0)
    entries[1].link_to(compare, 0, 1)
    compare.link_to(end)
    graph.configure()
    return graph
