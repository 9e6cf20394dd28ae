"""Computes how many pictures may be in memory at once, so that work stays within its process's limit.

FFmpeg counts processors only, and each of its threads has pictures of its own: on many processors, or with 8K
pictures on few, decoding and coding would exceed the limit. The figures are measured address space.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import av.video

USUAL_BYTES: Final = 2 << 30
BASE_BYTES: Final = 560 << 20  # the interpreter, the libraries, the stacks of all threads, and a reserve
DECODER_SHARE: Final = 0.35
DECODER_THREADS_MAX: Final = 16
HELD_PICTURES: Final = 8  # reference pictures, and those that wait in the filters
HELD_PICTURES_INTRA: Final = 4
CODER_THREADS_MAX: Final = 24
CODER_BYTES_PER_PIXEL: Final = 42
CODER_BYTES_PER_PIXEL_THREAD: Final = 23
CODER_BYTES_PER_PIXEL_AHEAD: Final = 3
AHEAD_MAX: Final = 30  # what x264 takes with its preset
AHEAD_MIN: Final = 1
AHEAD_GOOD: Final = 10
FILTER_THREADS_MAX: Final = 8
PIXEL_BITS: Final = 24
TRIAL_SHARE: Final = 0.1
TRIAL_FRAMES: Final = (4, 12)


@dataclass(frozen=True, slots=True)
class Coder:
    """The coder's threads, and how many pictures it looks ahead: 0 where there is no memory for it."""

    threads: int
    ahead: int


def processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0))


def room() -> int:
    """Return the bytes that pictures may use, by the limit of this process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return (USUAL_BYTES if limit == resource.RLIM_INFINITY else limit) - BASE_BYTES


def filter_threads() -> int:
    """Return the number of threads of each filter."""
    return min(processors(), FILTER_THREADS_MAX)


def picture_bytes(stream: av.video.VideoStream) -> int:
    """Return the size of one decoded picture."""
    codec = stream.codec_context
    bits = codec.format.padded_bits_per_pixel if codec.format else PIXEL_BITS
    return codec.width * codec.height * bits // 8


def decoder_threads(picture: int, held: int, most: int, of: int) -> int:
    """Return how many threads may decode pictures of `picture` bytes, in the decoder's share `of` all."""
    return max(1, min(most, DECODER_THREADS_MAX, int(of * DECODER_SHARE / max(picture, 1)) - held))


def coder(pixels: int, most: int, left: int) -> Coder:
    """Divide the memory that is `left` between threads and looking ahead, for pictures of `pixels` pixels."""
    each = left / max(pixels, 1) - CODER_BYTES_PER_PIXEL
    threads = int((each - AHEAD_GOOD * CODER_BYTES_PER_PIXEL_AHEAD) / CODER_BYTES_PER_PIXEL_THREAD)
    threads = max(1, min(threads, most * 3 // 2, CODER_THREADS_MAX))
    ahead = int((each - threads * CODER_BYTES_PER_PIXEL_THREAD) / CODER_BYTES_PER_PIXEL_AHEAD)
    return Coder(threads, 0 if ahead < AHEAD_MIN else min(ahead, AHEAD_MAX))


def spread(stream: av.video.VideoStream, decoders: int = 1) -> int:
    """Set as many threads for a decoder as fit into memory, and return the bytes that are left.

    Where several pictures at a time would not fit, the slices of one are decoded in parallel. `decoders` like
    it share the memory, and what is left is so for all of them.
    """
    codec, all_of_it = stream.codec_context, room()
    picture, count = picture_bytes(stream), processors()
    held = HELD_PICTURES_INTRA if codec.codec.intra_only else HELD_PICTURES
    threads = decoder_threads(picture, held, count + 1, all_of_it // decoders)
    if threads > 1 or codec.name == "libdav1d":  # which decodes several pictures at a time in any case
        stream.thread_type, codec.thread_count = "AUTO", threads
    else:
        stream.thread_type, codec.thread_count = "SLICE", min(count, DECODER_THREADS_MAX)
    return all_of_it - picture * (held + threads) * decoders


def trial_frames(pixels: int, count: int) -> int:
    """Return how many pictures a trial sample has, of a clip of `count` pictures of `pixels` pixels."""
    fitting = int(room() * TRIAL_SHARE / max(1, pixels * PIXEL_BITS // 16))
    return max(TRIAL_FRAMES[0], min(TRIAL_FRAMES[1], count // 14, fitting))
