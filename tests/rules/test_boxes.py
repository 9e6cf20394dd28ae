"""Which files are whole, told from their headers alone."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.media.boxes import Complete, Incomplete, Unrecognised, completeness, container


def box(kind, content=b"", *, long=False):
    if long:
        return (1).to_bytes(4, "big") + kind + (16 + len(content)).to_bytes(8, "big") + content
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def look(data):
    return completeness(io.BytesIO(data), len(data))


FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")
QUICKTIME = box(b"ftyp", b"qt  \0\0\2\0qt  ")
MOOV = box(b"moov", b"index" * 20)
MDAT = box(b"mdat", b"pictures" * 50)
FILM = FTYP + MOOV + MDAT

EBML_WEBM = bytes.fromhex("1a45dfa3 87 4282 84") + b"webm"
EBML_MKV = bytes.fromhex("1a45dfa3 8b 4282 88") + b"matroska"
SEGMENT = bytes.fromhex("18538067")


@pytest.mark.parametrize(
    ("film", "name"),
    [
        (FTYP + MOOV + MDAT, "mp4"),
        (FTYP + box(b"free") + MDAT + MOOV, "mp4"),
        (FTYP + MOOV + box(b"mdat", b"pictures", long=True), "mp4"),
        (QUICKTIME + box(b"wide") + MDAT + MOOV, "mov"),
        (box(b"wide") + MDAT + MOOV, "mov"),
        (EBML_WEBM + SEGMENT + b"\x84" + b"data", "webm"),
        (EBML_MKV + SEGMENT + b"\x84" + b"data", "mkv"),
        (b"PK\x03\x04 pictures PK\x05\x06" + bytes(18), "zip"),
    ],
)
def test_a_whole_file_is_complete_and_its_container_is_known_by_content(film, name):
    assert look(film) == Complete(name)
    assert container(io.BytesIO(film)) == name


@given(st.data())
def test_a_film_cut_anywhere_is_never_complete(data):
    film = data.draw(st.sampled_from([FILM, FTYP + MDAT + MOOV, EBML_MKV + SEGMENT + b"\xd0" + b"data" * 20]))
    cut = data.draw(st.integers(min_value=0, max_value=len(film) - 1))
    assert isinstance(look(film[:cut]), Incomplete)


@given(st.integers(min_value=0, max_value=len(FILM) - 1))
def test_a_film_into_preallocated_room_is_never_complete_before_most_of_it_is_there(written):
    known_by_headers = written < len(FTYP + MOOV) + 8 + (len(MDAT) - 8) // 2
    found = look(FILM[:written].ljust(len(FILM), b"\0"))
    assert isinstance(found, Incomplete | Unrecognised) or not known_by_headers


def test_what_is_missing_is_said_in_words():
    assert look(FILM[:-10]).reason == (
        "10 bytes are missing at the end of the file "
        "(it is probably still being copied; if not, copy it here again)"
    )
    assert "`moov`" in look(FTYP + MDAT).reason
    assert "`mdat`" in look(FTYP + MOOV).reason
    assert "fragment" in look(FTYP + MOOV + box(b"moof") + MDAT + box(b"moof")).reason
    assert "zeros" in look(bytes(5000)).reason
    assert "zeros" in look(FTYP + bytes(500)).reason
    assert look(b"").reason == "the file is empty"


def test_silence_at_the_end_of_a_film_is_no_sign_of_a_copy_under_way():
    assert look(FTYP + MOOV + box(b"mdat", b"x" * 1000 + bytes(900))) == Complete("mp4")


@pytest.mark.parametrize(
    "appended", [bytes(100), b"\x01\x02\x03\x04 a transfer tool was here", b"\0\0", b"TRAILER "]
)
def test_what_a_tool_left_behind_a_whole_film_does_no_harm(appended):
    found = look(FILM + appended)
    assert isinstance(found, Complete)
    assert f"from byte {len(FILM)} on" in found.doubt


@given(st.integers(min_value=1, max_value=19))
def test_a_film_that_is_cut_in_a_box_behind_it_may_still_be_on_its_way(missing):
    film = FILM + box(b"free", b"a name of it")
    assert look(film) == Complete("mp4")
    assert look(film[:-missing]).doubt


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"#EXTM3U\n#EXTINF:1\nhttp://example.com/x.ts\n", "playlist"),
        (b"ffconcat version 1.0\nfile 'x.mp4'\n", "list of files"),
        (b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash">', "DASH"),
        (b"\xef\xbb\xbf<MPD>................", "DASH"),
        (b"<!DOCTYPE html><html><body>502", "web page"),
        (b'<?xml version="1.0"?><project/>', "XML"),
        (b"these are only words in a file", "text"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ........", "WAV"),
        (b"\x89PNG\r\n\x1a\n........", "still image"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0e", "first bytes"),
        (FTYP + b"\0\0\0\3moov" + MDAT, "damaged"),
        (FTYP + b"\0\0\1\0\1\2\3\4" + MDAT, "damaged"),
    ],
)
def test_what_is_no_video_is_told_by_its_first_bytes_and_said_in_words(data, word):
    found = look(data)
    assert isinstance(found, Unrecognised)
    assert word in found.reason


def test_a_file_of_endless_tiny_boxes_is_given_up():
    assert isinstance(look(FTYP + box(b"free") * 100_001), Unrecognised)


@given(st.binary(max_size=300))
def test_no_bytes_at_all_make_it_fail(data):
    for opening in (b"", FTYP, EBML_WEBM, b"PK\x03\x04"):
        assert isinstance(look(opening + data), Complete | Incomplete | Unrecognised)
