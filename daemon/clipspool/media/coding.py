"""Codes pictures, and writes packets into a container in the order of their times."""

from __future__ import annotations

import heapq
import os
import sys
import time
from contextlib import contextmanager, suppress
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error

from clipspool.media import memory
from clipspool.media.facts import MediaError
from clipspool.media.reading import foreign_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    import av.container

    Packet = av.Packet[Any]

ONE_AFTER_THE_OTHER = {
    "rc-lookahead": "0",
    "bf": "0",
    "refs": "1",
    "x264-params": "mbtree=0:sync-lookahead=0",
}
SMALLER = "Export the clip with smaller pictures."
QUANTIZER_STEP = 118  # of FFmpeg's measure of quality (FF_QP2LAMBDA)
_scratch: list[str] = []
_REPORT_SECONDS = 0.5


def allow_two_passes(folder: str) -> None:
    """Have x264 keep its first pass's statistics for the second in a folder that it may write."""
    _scratch[:] = [folder]


class RunProgress:
    """Reports which run over the pictures of a call is under way, and how far it has come."""

    def __init__(self) -> None:
        self._report: Callable[[int, float], None] | None = None
        self._run = 0
        self._due = 0.0

    def begin(self, report: Callable[[int, float], None]) -> None:
        """Begin another call."""
        self._report, self._run, self._due = report, 0, time.monotonic() + _REPORT_SECONDS

    def of(self, shown: Iterator[av.VideoFrame], count: int) -> Iterator[av.VideoFrame]:
        """Hand on the pictures of one run, `count` of them, and report how far it is, seldom."""
        self._run += 1
        for number, picture in enumerate(shown):
            if self._report is not None and time.monotonic() >= self._due:
                self._due = time.monotonic() + _REPORT_SECONDS
                self._report(self._run, min(number / max(count, 1), 1.0))
            yield picture


progress = RunProgress()
"""Of the call under way: a decoding process has one at a time."""


def pass_options(number: int) -> dict[str, str]:
    """Return the options of the first or second pass; none where there is no folder for what they share."""
    # It may be gone: systems remove old folders from where temporary ones are.
    if not _scratch or not os.path.isdir(_scratch[0]):  # noqa: PTH112  pathlib imports modules too late
        return {}
    return {"flags": f"+pass{number}", "stats": f"{_scratch[0]}/stats"}


@contextmanager
def one_pass() -> Iterator[None]:
    """Keep the passes apart while the block runs: each is coded by itself."""
    folder = _scratch.copy()
    _scratch.clear()
    try:
        yield
    finally:
        _scratch[:] = folder


def forget_passes() -> None:
    """Empty what the first pass left; of a long clip it is tens of megabytes."""
    for name in ("stats", "stats.mbtree") if _scratch else ():
        with suppress(OSError), open(f"{_scratch[0]}/{name}", "r+b") as file:  # noqa: PTH123
            file.truncate()


def quantizer_of(packet: Packet) -> float:
    """Return the quantizer of a coded picture: 0 is lossless, 51 the coarsest."""
    if not packet.has_sidedata("quality_stats"):
        return 0.0
    quality = bytes(packet.get_sidedata("quality_stats"))[:4]
    return int.from_bytes(quality, sys.byteorder, signed=True) / QUANTIZER_STEP


def encoded(
    target: av.container.OutputContainer,
    shown: Iterator[av.VideoFrame],
    fps: Fraction,
    codec: str,
    options: dict[str, str],
    left: int,
    tags: dict[str, str] | None = None,
) -> Iterator[Packet]:
    """Add a video stream for pictures of one kind and return its packets; waits for the first picture.

    `left` is the memory it may use, in bytes; `tags` are the stream's.
    """
    first = next(shown)
    share = memory.coder(first.width * first.height, memory.processors(), left)
    if codec == "libx264":
        options = options | ({"rc-lookahead": str(share.ahead)} if share.ahead else ONE_AFTER_THE_OTHER)
    stream = target.add_stream(codec, rate=fps, options=options)
    if not isinstance(stream, av.VideoStream):
        raise TypeError(f"{codec} is no video codec")
    stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
    context = stream.codec_context
    context.time_base, context.sample_aspect_ratio = 1 / fps, Fraction(1)
    context.thread_count = share.threads
    context.thread_type = "FRAME"  # slices would cost quality at the same rate
    context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
    context.colorspace, context.color_range = first.colorspace, first.color_range
    stream.metadata.update(tags or {})

    def packets() -> Iterator[Packet]:
        with foreign_errors("coding the pictures"):
            try:
                yield from stream.encode(first)
                for picture in shown:
                    yield from stream.encode(picture)
                yield from stream.encode(None)
            except av.error.ExternalError as error:  # x264's only error
                why = "coding its pictures needs more memory than is allowed"
                raise MediaError("MEDIA.TOO_LARGE", why, SMALLER) from error

    return packets()


def mux(target: av.container.OutputContainer, streams: list[Iterator[Packet]], bytes_max: int | None) -> int:
    """Write packets in the order of their times, so that none has to be kept; stop above the limit."""
    written = 0
    for packet in heapq.merge(*streams, key=lambda packet: (packet.dts or 0) * (packet.time_base or 1)):
        written += packet.size
        if bytes_max is not None and written > bytes_max:
            break
        try:
            target.mux(packet)
        except av.error.InvalidDataError:
            # A packet of sound that a broadcast damaged: as where it is decoded, the rest goes on.
            if packet.stream.type != "audio":
                raise
    return written
