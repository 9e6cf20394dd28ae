"""Names that fit, and names that every machine opens."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.jobs.naming import (
    NAME_BYTES_MAX,
    SHORT_NAME_BYTES_MAX,
    fitted,
    is_portable,
    marked,
    portable,
    shortened,
    units,
)

NAMES = st.binary(min_size=1, max_size=300).map(os.fsdecode) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=300
)


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("CON", "CON_"),
        ("con", "con_"),
        ("nul.v2", "nul_.v2"),
        ("AUX .b", "AUX_.b"),
        ("COM1", "COM1_"),
        ("lpt9.take.2", "lpt9_.take.2"),
        ("COM\u00b9", "COM\u00b9_"),
        ("LPT\u00b3", "LPT\u00b3_"),
        ("CONIN$", "CONIN$_"),
        ("conout$", "conout$_"),
        ("CONTROL", "CONTROL"),
        ("COM10", "COM10"),
        ("a:b?c", "a_b_c"),
        ('<a>"b"|*\\', "_a__b____"),
        ("tab\there\x7f\x85", "tab_here__"),
        ("dot. ", "dot"),
        ("dots...", "dots"),
        ("  lead", "lead"),
        (" .lead", "_lead"),
        ("...", "_"),
        ("   ", "_"),
        ("e\u0301", "\u00e9"),
        (os.fsdecode(b"raw\xff"), "raw_"),
        ("Zürich 冬 🎬", "Zürich 冬 🎬"),
        ("plain name.v2", "plain name.v2"),
    ],
)
def test_a_name_is_spelled_so_that_every_machine_opens_it(name, spelled):
    assert portable(name) == spelled


@given(NAMES, st.sampled_from([110, 255]))
def test_a_portable_name_is_one_and_stays_one(name, bytes_max):
    spelled = portable(name, bytes_max)
    assert spelled
    assert not set(spelled) & set('<>:"/\\|?*')
    assert not any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in spelled)
    assert spelled == spelled.strip(" ").rstrip(".")
    assert len(spelled.encode()) <= bytes_max
    assert units(spelled) <= bytes_max
    assert spelled == unicodedata.normalize("NFC", spelled)
    assert portable(spelled, bytes_max) == spelled
    assert is_portable(spelled)


@given(NAMES, st.integers(0, 300))
def test_a_shortened_name_is_a_beginning_that_fits_and_no_letter_is_cut(name, bytes_max):
    short = shortened(name, bytes_max)
    assert name.startswith(short)
    assert len(os.fsencode(short)) <= bytes_max
    longer = name[: len(short) + 1]
    assert short == name or len(os.fsencode(longer)) > bytes_max


@given(NAMES)
def test_a_fitted_name_keeps_its_end(name):
    for made in (fitted(name, ".error.toml"), marked(name, ".problem.txt")):
        assert len(os.fsencode(made)) <= NAME_BYTES_MAX
        assert made.endswith((".error.toml", ".problem.txt"))
    assert len(os.fsencode(marked(name, ".problem.txt"))) <= SHORT_NAME_BYTES_MAX


def test_two_long_names_stay_apart_by_their_mark():
    one, other = marked("ü" * 140 + "a", ".txt"), marked("ü" * 140 + "b", ".txt")
    assert one != other
