"""Joins the results of a clip's parts into one film, picture by picture."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING

import av
import av.filter

from clipspool.media import memory
from clipspool.media.coding import progress
from clipspool.media.finishing import coded_video, pixel_format_of, write_film
from clipspool.media.pictures import Shape, pictures
from clipspool.media.reading import container_of, foreign_errors, opened, video_stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    import av.container

    from clipspool.media.facts import Finished
    from clipspool.media.joins import JoinPlan, Piece

    Packet = av.Packet[Any]

DECODERS = 2
"""Where two parts are faded into one another, both are decoded."""


def join(source: int, destination: int, results: Sequence[int], plan: JoinPlan) -> Finished:
    """Write the film of all parts, given their results in order; raises MediaError."""
    with opened(results[0], container_of(results[0])) as first:
        left = memory.spread(video_stream(first), DECODERS)

    def video(target: av.container.OutputContainer) -> Iterator[Packet]:
        shown = _timed(_shown(results, plan), Fraction(plan.finish.fps))
        return coded_video(target, progress.of(shown, plan.finish.frames), plan.finish, left)

    return write_film(source, destination, plan.finish, video)


def _timed(shown: Iterator[av.VideoFrame], fps: Fraction) -> Iterator[av.VideoFrame]:
    for number, picture in enumerate(shown):
        picture.pts, picture.time_base, picture.pict_type = number, 1 / fps, 0
        yield picture


def _shown(results: Sequence[int], plan: JoinPlan) -> Iterator[av.VideoFrame]:
    """Yield the pictures of all parts, decoding a part from where it is shown first."""
    fades = [piece.fade for piece in plan.pieces[1:]] + [0]
    before: Iterator[av.VideoFrame] = iter(())
    for result, piece, next_fade in zip(results, plan.pieces, fades, strict=True):
        shown = _pictures_of(result, piece, plan)
        for number, (old, new) in enumerate(zip(before, islice(shown, piece.fade), strict=True), start=1):
            yield _blend(old, new, number / (piece.fade + 1))
        yield from islice(shown, piece.frames - piece.fade - next_fade)
        before = shown


def _pictures_of(result: int, piece: Piece, plan: JoinPlan) -> Iterator[av.VideoFrame]:
    finish = plan.finish
    shape = Shape(
        width=finish.width,
        height=finish.height,
        fps=Fraction(finish.fps),
        frames=piece.skip + piece.frames,
        is_every_picture=piece.by_frame,
        crop=(piece.crop_width, piece.crop_height) if piece.crop_width else None,
        pixel_format=pixel_format_of(finish),
    )
    with opened(result, container_of(result)) as made:
        stream = video_stream(made)
        memory.spread(stream, DECODERS)
        yield from islice(pictures(made, stream, shape), piece.skip, None)


def _blend(old: av.VideoFrame, new: av.VideoFrame, share: float) -> av.VideoFrame:
    """Return a picture of which the new one makes up a share."""
    graph = av.filter.Graph()
    graph.threads = memory.filter_threads()
    base = Fraction(1, 25)
    entries = [
        graph.add_buffer(width=old.width, height=old.height, format=old.format, time_base=base)
        for _ in range(2)
    ]
    blend, end = graph.add("blend", f"all_mode=normal:all_opacity={share:.6f}"), graph.add("buffersink")
    # What lies above has the opacity.
    for place, (entry, picture) in enumerate(zip(entries, (new, old), strict=True)):
        entry.link_to(blend, 0, place)
        picture.pts, picture.time_base = 0, base
    blend.link_to(end)
    with foreign_errors("fading the parts into one another"):
        graph.configure()
        for place, picture in enumerate((new, old)):
            graph.vpush(picture, place)
        return graph.vpull()
