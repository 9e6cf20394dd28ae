"""Which films are whole by their own indexes, and of which nobody can tell."""

import io
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipspool.media.boxes import Complete, Incomplete, Unrecognised, completeness
from clipspool.media.facts import MediaError
from clipspool.media.gaps import gap_in
from clipspool.media.refusals import refuse_what_cannot_be_used
from films import (
    FTYP,
    WEBM,
    box,
    cluster,
    cues,
    element,
    film,
    fragment,
    fragmented,
    full,
    info,
    matroska,
    moov,
    number,
    tracks,
    trak,
)


def look(data):
    return completeness(io.BytesIO(data), len(data))


# --- MP4 and MOV ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [False, True])
def test_a_film_whose_index_names_no_more_than_is_there_is_whole(wide):
    assert look(film(wide=wide)) == Complete("mp4")


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("missing", [1, 59, 60, 149])
def test_an_index_that_names_bytes_behind_the_end_is_seen_though_all_boxes_fit(missing, wide):
    assert "its index names" in look(film(missing=missing, wide=wide)).reason


def test_media_data_without_a_length_ends_where_the_index_says():
    whole = film()
    start = whole.index(b"mdat") - 4
    data = whole[:start] + bytes(4) + whole[start + 4 :]
    assert look(data) == Complete("mp4")
    assert "its index names" in look(data[:-1]).reason


def test_the_last_chunk_is_measured_also_where_there_are_more_sizes_than_are_kept():
    sizes = (1, 2) * 600_000
    first = sum(sizes[:700_000])
    head = FTYP + moov(two_chunks(sizes, 700_000, (1000, 1000 + first)))
    begin = len(head) + 8
    head = FTYP + moov(two_chunks(sizes, 700_000, (begin, begin + first)))
    data = head + b"\0\0\0\0mdat" + b"p" * sum(sizes)
    assert look(data) == Complete("mp4")
    for missing in (1, sum(sizes) - first - 2):
        assert "its index names" in look(data[:-missing]).reason


def two_chunks(sizes, of_the_first, places):
    """Return a track of two chunks, the first of which has this many samples."""
    runs = struct.pack(">7I", 2, 1, of_the_first, 1, 2, len(sizes) - of_the_first, 1)
    track = trak(1, b"vide", b"avc1", places, sizes)
    one = full(b"stsc", struct.pack(">IIII", 1, 1, len(sizes), 1))
    # Boxes of other lengths: their parents grow with the second run.
    grown = track.replace(one, full(b"stsc", runs))
    more = len(grown) - len(track)
    for kind in (b"trak", b"mdia", b"minf", b"stbl"):
        at = grown.index(kind) - 4
        length = struct.unpack_from(">I", grown, at)[0] + more
        grown = grown[:at] + struct.pack(">I", length) + grown[at + 4 :]
    return grown


def test_media_data_without_a_length_and_without_samples_has_no_end():
    assert look(FTYP + moov() + b"\0\0\0\0mdat" + b"to the end").open_end


def test_tracks_of_a_reference_movie_lie_elsewhere():
    data = FTYP + moov(trak(1, b"vide", b"apcn", (1 << 30,), (500,), is_here=False)) + box(b"mdat", b"x" * 9)
    assert look(data) == Complete("mp4")


def test_compressed_sound_that_is_counted_by_the_sample_is_not_measured_by_it():
    whole = film((40, 50))
    track = trak(2, b"soun", b"ima4", (len(whole) - 40,), ())
    stsz = full(b"stsz", struct.pack(">II", 0, 0))
    counted = track.replace(stsz, full(b"stsz", struct.pack(">II", 1, 4096)))
    counted = counted.replace(struct.pack(">IIII", 1, 1, 0, 1), struct.pack(">IIII", 1, 1, 4096, 1))
    assert counted != track
    assert look(FTYP + moov(counted) + box(b"mdat", b"s" * 9000)) == Complete("mp4")


def test_compact_sizes_are_read():
    sizes = trak(1, b"vide", b"avc1", (100,), (3, 4)).replace(
        full(b"stsz", struct.pack(">IIII", 0, 2, 3, 4)),
        full(b"stz2", struct.pack(">IIHH4x", 16, 2, 3, 60_000)),
    )
    assert "up to byte 60,103" in look(FTYP + moov(sizes) + box(b"mdat", b"x" * 900)).reason


# --- fragments ------------------------------------------------------------------------------------------


def test_a_fragmented_film_tells_no_end_until_its_index_of_fragments_comes():
    assert look(fragmented()).open_end == "it is a fragmented MP4, which does not say where it ends"
    assert look(fragmented() + box(b"mfra", b"x" * 20)) == Complete("mp4")
    assert look(fragmented() + box(b"mfra", b"x" * 20) + fragment(4, 600)).open_end


def test_a_fragmented_film_that_reached_the_length_it_announced_is_whole():
    assert look(fragmented(3, told=600)) == Complete("mp4")
    assert look(fragmented(3, duration=600)) == Complete("mp4")
    assert "0.6 s of the 5.0 s" in look(fragmented(3, told=5000)).reason


def test_a_fragment_whose_data_is_cut_is_seen_though_all_boxes_fit():
    data = fragmented(2)
    last = data.rindex(b"mdat") - 4
    cut = data[:last] + struct.pack(">I", 8 + 20) + data[last + 4 : last + 28]
    assert "a fragment names data" in look(cut).reason


def test_a_fragment_missing_in_the_middle_is_seen():
    assert "a fragment in the middle is missing" in look(fragmented(9, skip=(3, 4, 5))).reason
    assert look(fragmented(9)).open_end


def test_a_recording_whose_clock_jumped_misses_no_fragment():
    head = fragmented(2)
    assert look(head + fragment(3, 5000)).open_end


def test_zeros_behind_the_index_of_fragments_do_no_harm():
    found = look(fragmented() + box(b"mfra", b"x" * 20) + bytes(5000))
    assert isinstance(found, Complete)
    assert found.doubt
    assert isinstance(look(fragmented() + bytes(5000)), Incomplete)


def test_an_index_of_all_segments_tells_the_end():
    segments = [fragment(n + 1, n * 200) for n in range(3)]
    head = FTYP + moov(trak(1, b"vide", b"avc1", (), ()), is_fragmented=True)
    rows = b"".join(struct.pack(">III", len(one), 200, 0) for one in segments)
    sidx = full(b"sidx", struct.pack(">IIIIHH", 1, 1000, 0, 0, 0, 3), rows)
    whole = head + sidx + b"".join(segments)
    assert look(whole) == Complete("mp4")
    assert "its index names fragments" in look(head + sidx + b"".join(segments[:2])).reason


# --- Matroska -------------------------------------------------------------------------------------------

FRONT = (info(), tracks())


def test_a_segment_with_a_length_is_whole():
    assert look(matroska(*FRONT, cluster(0), cluster(500))) == Complete("mkv")


@pytest.mark.parametrize("length", [None, 0])
def test_a_recording_without_a_length_has_no_end(length):
    data = matroska(*FRONT, cluster(0, length=length), cluster(500, length=length), length=0, head=WEBM)
    assert look(data).open_end == "it is a WebM file without a length, which does not say where it ends"


def test_an_index_behind_the_pictures_or_a_length_that_was_reached_tells_the_end():
    clusters = (cluster(0), cluster(500))
    assert look(matroska(*FRONT, *clusters, cues(len(b"".join(FRONT))), length=0)) == Complete("mkv")
    assert look(matroska(info(1.0), tracks(), *clusters, length=0)) == Complete("mkv")
    assert "0.9 s of the 9.0 s" in look(matroska(info(9.0), tracks(), *clusters, length=0)).reason


def test_a_recording_cut_within_a_block_is_incomplete():
    data = matroska(*FRONT, cluster(0), cluster(500, length=0), length=0)
    for missing in (1, 30, 45, 50):
        assert isinstance(look(data[:-missing]), Incomplete), missing


def test_an_index_that_names_a_cluster_behind_the_end_or_where_none_is_is_seen():
    for position in (5000, len(b"".join(FRONT)) + 3):
        found = look(matroska(*FRONT, cluster(0), cues(position)))
        assert "its index names pictures" in found.reason


def test_a_part_that_the_list_of_parts_places_behind_the_end_is_missed():
    seek = element(0x114D9B74, element(0x4DBB, element(0x53AB, b"\x1c\x53\xbb\x6b"), number(0x53AC, 90_000)))
    assert "after its end" in look(matroska(seek, *FRONT, cluster(0), length=0)).reason


def test_zeros_among_the_elements_are_a_part_that_was_not_copied():
    data = matroska(*FRONT, cluster(0), cluster(500), cluster(1000))
    part = cluster(500)
    assert "only zeros" in look(data.replace(part, bytes(len(part)))).reason


# --- GIF ------------------------------------------------------------------------------------------------


def test_a_gif_is_whole_at_its_end_mark_and_not_at_a_byte_of_a_picture_that_looks_like_one():
    head = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x80, 0, 0) + bytes(6)
    control = b"!\xf9\x04" + bytes(4) + b"\0"
    picture = b"," + struct.pack("<HHHHB", 0, 0, 2, 2, 0x81) + b"c" * 12 + b"\x02\x05;;;;;\x02;;\0"
    whole = head + control + picture + control + picture + b";"
    assert look(whole) == look(whole + bytes(30)) == Complete("gif")
    for cut in range(12, len(whole)):
        assert isinstance(look(whole[:cut]), Incomplete), cut


# --- gaps -----------------------------------------------------------------------------------------------


def gap(data, holes=(), name="mp4"):
    whole = look(data)
    assert isinstance(whole, Complete)
    assert whole.container == name
    return gap_in(io.BytesIO(data), len(data), whole, holes)


def blanked(data, begin, length):
    return data[:begin] + bytes(length) + data[begin + length :]


def test_a_picture_of_nothing_but_zeros_is_a_gap_whatever_compressed_it():
    for codec in (b"avc1", b"apch", b"AVdn", b"mx5n", b"what"):
        data = film((400, 500, 600), codec=codec)
        assert gap(data) is None
        assert gap(blanked(data, len(data) - 1100, 500)).is_certain, codec


def test_zeros_within_a_large_picture_are_a_gap_where_its_codec_has_none():
    data = film((400_000, 400_000))
    begin = len(data) - 300_000
    assert gap(blanked(data, begin, 200_000)).is_certain
    padded = film((400_000, 400_000), codec=b"AVdn")
    assert gap(blanked(padded, begin, 200_000)) is None


def test_black_that_nothing_compresses_and_silence_are_no_gap():
    assert gap(film((4000, 5000), codec=b"raw ", fill=b"\0")) is None
    assert gap(film((4000, 5000), codec=b"sowt", handler=b"soun", fill=b"\0")) is None


def test_silence_at_the_end_of_a_film_of_any_length_is_no_gap():
    """Seven seconds of PCM behind the last picture; half of the media data and more."""

    def head_for(length):
        picture = trak(1, b"vide", b"avc1", (length + 8,), (50,))
        return FTYP + moov(picture, trak(2, b"soun", b"sowt", (length + 58,), (900_000,)))

    length = len(head_for(0))
    head = head_for(length)
    data = head + box(b"mdat", b"p" * 50, bytes(900_000))
    assert look(data) == Complete("mp4")
    assert gap(data) is None
    doubt = gap(data, [(length + 4096, len(data))])
    assert not doubt.is_certain
    assert "silence or black" in doubt.reason


def test_a_hole_counts_where_it_lies():
    data = film((4000, 5000)) + box(b"free", bytes(9000))
    end = data.index(b"free") - 4
    assert gap(data, [(end - 100, end)]).is_certain
    assert gap(data, [(end + 8, len(data))]) is None
    assert gap(data, [(40, 90)]).is_certain  # in the index itself
    raw = film((4000, 5000), codec=b"raw ")
    assert not gap(raw, [(len(raw) - 100, len(raw))]).is_certain


def test_a_hole_in_a_matroska_file_counts_where_it_lies():
    data = matroska(*FRONT, cluster(0, size=4000), element(0xEC, bytes(9000)))
    blocks = data.index(cluster(0, size=4000))
    assert gap(data, [(blocks + 3000, blocks + 3500)], "mkv").is_certain
    assert gap(data, [(len(data) - 8000, len(data))], "mkv") is None
    sound = matroska(info(), tracks(b"A_PCM/INT/LIT", 2), cluster(0, size=4000))
    assert not gap(sound, [(blocks + 3000, blocks + 3500)], "mkv").is_certain


def test_a_hole_in_a_film_without_tables_is_certain():
    assert gap(FTYP + box(b"moov", b"index" * 9) + box(b"mdat", b"x" * 99), [(200, 220)]).is_certain


# --- whatever the bytes ---------------------------------------------------------------------------------

SEEDS = [
    film(),
    film(wide=True),
    fragmented(3, told=600),
    matroska(*FRONT, cluster(0), cues(20)),
    matroska(info(2.0), tracks(), cluster(0, length=0), cluster(500), length=0, head=WEBM),
]


@settings(deadline=None)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=12))
def test_no_change_of_bytes_makes_it_fail_or_take_long(data, changes):
    altered = bytearray(data)
    for position, value in changes:
        altered[position % len(altered)] = value
    begun = time.monotonic()
    found = look(bytes(altered))
    assert isinstance(found, Complete | Incomplete | Unrecognised)
    if isinstance(found, Complete) and found.container != "zip":
        gap_in(io.BytesIO(altered), len(altered), found, [(50, 60)])
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("data", SEEDS)
def test_a_film_cut_anywhere_is_never_taken_for_whole_at_once(data):
    for cut in range(len(data)):
        found = look(data[:cut])
        waits = isinstance(found, Incomplete) or (
            isinstance(found, Complete) and (found.open_end or found.doubt)
        )
        assert waits, cut


def test_a_film_that_lacks_its_last_short_fragment_is_not_taken_for_whole():
    """Its boxes are whole and 0.2 s are missing, less than half a second."""
    found = look(fragmented(3, told=600)[:861])
    assert isinstance(found, Complete)
    assert found.open_end


def test_a_fragmented_film_whose_sound_has_come_and_whose_last_pictures_have_not_has_no_end():
    picture, sound = trak(1, b"vide", b"avc1", (), ()), trak(2, b"soun", b"mp4a", (), ())
    head = FTYP + moov(picture, sound, told=600, is_fragmented=True)
    of_sound = fragment(1, 0, duration=300, track=2)
    assert look(head + of_sound + fragment(2, 0) + fragment(3, 200)).open_end
    assert look(head + of_sound + fragment(2, 0, duration=300)) == Complete("mp4")


def test_a_recording_that_lacks_its_last_picture_has_no_end():
    whole = matroska(info(0.5), tracks(), cluster(0, length=0), length=0)
    assert look(whole) == Complete("mkv")
    lacks_one = matroska(info(0.5), tracks(), cluster(0, 4, length=0), length=0)
    assert look(lacks_one).open_end


@pytest.mark.parametrize("count", [0xFFFF_FFFF, 1 << 30])
def test_tables_that_announce_billions_of_entries_cost_nothing(count):
    track = trak(1, b"vide", b"avc1", (100,), (50,))
    huge = struct.pack(">I", count)
    for kind in (b"stsz", b"stco", b"stsc"):
        at = track.index(kind) + (12 if kind == b"stsz" else 8)
        data = FTYP + moov(track[:at] + huge + track[at + 4 :]) + box(b"mdat", b"x" * 900)
        begun = time.monotonic()
        assert isinstance(look(data), Complete | Incomplete)
        assert time.monotonic() - begun < 2


@pytest.mark.parametrize("length", [None, 0])
def test_a_matroska_film_is_encrypted_by_its_element_and_not_by_bytes_that_look_like_it(length):
    """Random identities of tracks are in each file: a clip in some hundred was refused for two bytes."""

    def film_with(*more):
        uid = number(0x73C5, int.from_bytes(b"\x50\x35\x81\0\x50\x35\x80\0", "big"))
        entry = element(0xAE, number(0xD7, 1), number(0x83, 1), element(0x86, b"V_VP9"), uid, *more)
        return matroska(info(2), element(0x1654AE6B, entry), cluster(0), length=length)

    def refuse(data):
        refuse_what_cannot_be_used(io.BytesIO(data), len(data), Complete("mkv"))

    compressed = element(0x6D80, element(0x6240, element(0x5034, b"")))
    encrypted = element(0x6D80, element(0x6240, element(0x5034, b""), element(0x5035, b"")))
    refuse(film_with())
    refuse(film_with(compressed))
    with pytest.raises(MediaError, match="encrypted"):
        refuse(film_with(encrypted))
