"""Reckons how many pictures may be under way at once, so that work stays within its process's memory.

FFmpeg counts processors alone, and each of its threads has pictures of its own: on many processors, or with
pictures of 8K on few, decoding and coding would need more than the limit. Figures are measured address space.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import av.video

USUAL_BYTES: Final = 2 << 30
BASE_BYTES: Final = 560 << 20  # the interpreter, the libraries, the stacks of all threads, and some to spare
DECODER_SHARE: Final = 0.35
DECODER_THREADS_MAX: Final = 16
HELD_PICTURES: Final = 8  # others are made from them, or they wait in the filters
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


@dataclass(frozen=True, slots=True)
class Coder:
    """Threads of the coder, and how many pictures it looks ahead; none where there is no room for it."""

    threads: int
    ahead: int


def processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0))


def room() -> int:
    """Give the bytes that pictures may take, by the limit of this process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return (USUAL_BYTES if limit == resource.RLIM_INFINITY else limit) - BASE_BYTES


def filter_threads() -> int:
    """Give the threads of each filter."""
    return min(processors(), FILTER_THREADS_MAX)


def picture_bytes(stream: av.video.VideoStream) -> int:
    """Give the size of one decoded picture."""
    codec = stream.codec_context
    bits = codec.format.padded_bits_per_pixel if codec.format else PIXEL_BITS
    return codec.width * codec.height * bits // 8


def decoder_threads(picture: int, held: int, most: int, of: int) -> int:
    """Give the threads that each decode a picture of so many bytes, within the decoder's share `of` all."""
    return max(1, min(most, DECODER_THREADS_MAX, int(of * DECODER_SHARE / max(picture, 1)) - held))


def coder(pixels: int, most: int, left: int) -> Coder:
    """Share what is `left` between threads and looking ahead, in pictures of so many pixels."""
    each = left / max(pixels, 1) - CODER_BYTES_PER_PIXEL
    threads = int((each - AHEAD_GOOD * CODER_BYTES_PER_PIXEL_AHEAD) / CODER_BYTES_PER_PIXEL_THREAD)
    threads = max(1, min(threads, most * 3 // 2, CODER_THREADS_MAX))
    ahead = int((each - threads * CODER_BYTES_PER_PIXEL_THREAD) / CODER_BYTES_PER_PIXEL_AHEAD)
    return Coder(threads, 0 if ahead < AHEAD_MIN else min(ahead, AHEAD_MAX))


def spread(stream: av.video.VideoStream) -> int:
    """Give a decoder as many threads as there is room for, and say how many bytes are left.

    Where whole pictures side by side would be too much, the parts of one are decoded side by side.
    """
    codec, all_of_it = stream.codec_context, room()
    picture, count = picture_bytes(stream), processors()
    held = HELD_PICTURES_INTRA if codec.codec.intra_only else HELD_PICTURES
    threads = decoder_threads(picture, held, count + 1, all_of_it)
    if threads > 1 or codec.name == "libdav1d":  # which has whole pictures side by side whatever it is told
        stream.thread_type, codec.thread_count = "AUTO", threads
    else:
        stream.thread_type, codec.thread_count = "SLICE", min(count, DECODER_THREADS_MAX)
    return all_of_it - picture * (held + threads)
