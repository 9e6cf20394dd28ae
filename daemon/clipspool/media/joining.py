"""Joins the results of a clip's parts into one film, picture by picture."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Final

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

DEEP: Final = {"yuv420p": "yuv420p16le"}
DEEP_PIXELS_MAX = 4096 * 2304
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
            yield _mixed(old, new, number, piece.fade + 1)
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


def _mixed(old: av.VideoFrame, new: av.VideoFrame, share: int, of: int) -> av.VideoFrame:
    """Return a mix of two pictures: `share` parts in `of` are the new one's, the rest the old one's.

    FFmpeg's `blend` rounds down: where both are alike they would become darker. And where they differ by one
    step, all would change in the same picture: so pictures of 8 bit are mixed in 16, and dithered. For those
    larger than 4K the decoder's memory would not suffice.
    """
    graph = av.filter.Graph()
    graph.threads = memory.filter_threads()
    base, name = Fraction(1, 25), old.format.name
    mixed = DEEP.get(name, name) if old.width * old.height <= DEEP_PIXELS_MAX else name
    mix = graph.add("mix", f"inputs=2:weights={of - share} {share}")
    for place, picture in enumerate((old, new)):
        picture.pts, picture.time_base = 0, base
        entry = graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=base
        )
        deep = graph.add("format", f"pix_fmts={mixed}")
        entry.link_to(deep)
        deep.link_to(mix, 0, place)
    graph.link_nodes(mix, graph.add("format", f"pix_fmts={name}"), graph.add("buffersink"))
    with foreign_errors("fading the parts into one another"):
        graph.configure()
        for place, picture in enumerate((old, new)):
            graph.vpush(picture, place)
        return graph.vpull()
