"""How much decoding and coding may have under way at once, whatever the machine."""

import pytest

from clipspool.media.memory import (
    AHEAD_MAX,
    BASE_BYTES,
    CODER_BYTES_PER_PIXEL,
    CODER_BYTES_PER_PIXEL_AHEAD,
    CODER_BYTES_PER_PIXEL_THREAD,
    HELD_PICTURES,
    USUAL_BYTES,
    Coder,
    coder,
    decoder_threads,
)

ROOM = USUAL_BYTES - BASE_BYTES
FULL_HD, UHD, WIDEST = 1920 * 1080, 3840 * 2160, 4096 * 2304


def share(source_pixels, coded_pixels, processors):
    """Return the decoder's threads and the coder's share for a 10-bit source, and what both take."""
    picture = source_pixels * 3
    threads = decoder_threads(picture, HELD_PICTURES, processors + 1, ROOM)
    decoder = picture * (HELD_PICTURES + threads)
    made = coder(coded_pixels, processors, ROOM - decoder)
    each = CODER_BYTES_PER_PIXEL + made.threads * CODER_BYTES_PER_PIXEL_THREAD
    return threads, made, decoder + coded_pixels * (each + made.ahead * CODER_BYTES_PER_PIXEL_AHEAD)


def test_a_usual_clip_on_a_usual_machine_has_what_ffmpeg_would_take():
    assert share(FULL_HD, FULL_HD, 8)[:2] == (9, Coder(12, AHEAD_MAX))
    assert share(UHD, FULL_HD, 2)[:2] == (3, Coder(3, AHEAD_MAX))


@pytest.mark.parametrize("processors", [1, 2, 4, 16, 64, 256])
@pytest.mark.parametrize("source", [FULL_HD, UHD, WIDEST])
def test_the_memory_suffices_on_any_machine(source, processors):
    for coded in (FULL_HD, UHD, WIDEST):
        if coded <= source:
            threads, made, needed = share(source, coded, processors)
            assert needed <= ROOM, (threads, made)
            assert made.ahead


def test_where_there_is_room_for_one_picture_after_the_other_nothing_is_looked_ahead():
    assert coder(7680 * 4320, 64, ROOM) == Coder(1, 0)
    assert decoder_threads(7680 * 4320 * 3, HELD_PICTURES, 64, ROOM) == 1
