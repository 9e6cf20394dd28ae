"""Writes a short moving test picture as a real clip, for the demo."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import av
import av.error
import av.filter

from clipspool.media.facts import Written
from clipspool.media.writing import output

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS_MAX = 60.0
SIDE_PIXELS_MAX = 1920


def make_sample(destination: int, *, seconds: float, width: int, height: int, fps: int) -> Written:
    """Write a moving test picture as H.264 MP4 without sound to an empty, writable descriptor.

    `seconds` up to 60, `width` and `height` even and up to 1920 pixels, `fps` up to 60; else ValueError.
    """
    if not (0 < seconds <= SECONDS_MAX and 0 < fps <= 60):  # noqa: PLR2004
        raise ValueError("a sample lasts up to 60 seconds at up to 60 pictures a second")
    if not all(0 < side <= SIDE_PIXELS_MAX and side % 2 == 0 for side in (width, height)):
        raise ValueError("a sample's sides are even and at most 1920 pixels")
    frames = 0
    with output(destination, "mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in _moving_picture(seconds, width, height, fps):
            container.mux(stream.encode(picture))
            frames += 1
        container.mux(stream.encode())
    return Written(os.fstat(destination).st_size, frames)


def _moving_picture(seconds: float, width: int, height: int, fps: int) -> Iterator[av.VideoFrame]:
    graph = av.filter.Graph()
    source = graph.add("testsrc2", f"size={width}x{height}:rate={fps}:duration={seconds}")
    graph.link_nodes(source, graph.add("format", "pix_fmts=yuv420p"), graph.add("buffersink")).configure()
    with suppress(av.error.EOFError):
        while True:
            picture = graph.vpull()
            picture.pict_type = 0
            yield picture
