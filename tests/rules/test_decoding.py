"""What an editor's program may save as text, and what is said of what is none."""

import codecs
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.intake.sidecar.parse import decode
from clipspool.jobs.model import Problem

PROMPT = 'prompt = "Zürich 冬 🎬"\nseed = 1\n'


@pytest.mark.parametrize(
    "data",
    [
        PROMPT.encode(),
        codecs.BOM_UTF8 + PROMPT.encode(),
        PROMPT.encode("utf-16"),
        codecs.BOM_UTF16_LE + PROMPT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + PROMPT.encode("utf-16-be"),
    ],
)
def test_utf_8_and_utf_16_with_its_mark_are_text(data):
    assert decode(data) == PROMPT


def test_line_ends_stay_as_they_are():
    assert decode(b"a\r\nb\rc\n") == "a\r\nb\rc\n"


def zipped(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{\\rtf1\\ansi\\ansicpg1252 prompt = "x"}', "rich text"),
        (zipped("[Content_Types].xml", "word/document.xml"), "Word"),
        (zipped("mimetype", "content.xml"), "LibreOffice"),
        (zipped("Index/Document.iwa"), "Pages"),
        (zipped("a.txt"), "ZIP"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "Word"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"<!DOCTYPE html>\n<html>", "web page"),
        (b"\n<html lang=en>", "web page"),
        (codecs.BOM_UTF8 + b"<p>Make it winter</p>", "web page"),
        (b'<?xml version="1.0"?><prompt/>', "XML"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"\x00\x00\x00\x20ftypisom", "video"),
    ],
)
def test_what_is_no_plain_text_is_named_by_its_first_bytes_with_what_to_do(data, kind):
    problem = decode(data)
    assert isinstance(problem, Problem)
    assert kind in problem.message
    assert "save it as plain text" in problem.message


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_named_and_not_guessed(encoding):
    problem = decode(PROMPT.encode(encoding))
    assert isinstance(problem, Problem)
    assert "UTF-16" in problem.message
    assert "save it as UTF-8" in problem.message


@pytest.mark.parametrize("encoding", ["cp1252", "mac-roman", "latin-1"])
def test_a_letter_of_an_older_encoding_is_told_with_its_line_and_its_text(encoding):
    problem = decode('model = "x"\r\nprompt = "a café in Zürich"\r\n'.encode(encoding))
    assert isinstance(problem, Problem)
    assert problem.line == 2
    assert '`prompt = "a caf\ufffd in Z\ufffdrich"`' in problem.message
    assert "save it as UTF-8" in problem.message


def test_a_line_is_counted_by_whatever_ends_it_and_shown_around_its_letter():
    problem = decode(b'a\rb\rprompt = "' + b"x" * 900 + b"\xe9" + b"y" * 900)
    assert isinstance(problem, Problem)
    assert problem.line == 3
    assert "xx\ufffdyy" in problem.message
    assert len(problem.message) < 300


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF16_LE + b"a",
        codecs.BOM_UTF16_LE + b"\x00\xd8a\x00",
        "x".encode("utf-32"),
        b"prompt\0",
        bytes(range(256)),
    ],
)
def test_what_is_damaged_is_a_problem(data):
    assert isinstance(decode(data), Problem)


@given(st.binary(max_size=300))
def test_no_bytes_ever_raise(data):
    text = decode(data)
    assert isinstance(text, Problem) or "\0" not in text


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=100))
def test_text_in_utf_8_comes_out_as_it_is_but_where_it_begins_like_another_file(text):
    found = decode(text.encode())
    assert isinstance(found, Problem) or found == text.removeprefix("\ufeff")
