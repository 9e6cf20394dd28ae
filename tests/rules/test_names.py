"""What names in an inbox mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.intake.names import Kind, Names, readable

NAMES = Names({".mp4", ".m4v", ".mov", ".webm", ".mkv"}, ignore=("proxy_*", "raw/*"))


@pytest.mark.parametrize(
    "name",
    [
        "shot.mp4",
        "SHOT.MP4",
        "a.b.MoV",
        " leading space.mkv",
        "CON.mp4",
        "a:b.mp4",
        "x\ny.webm",
        "ü.m4v",
        "-.mp4",
    ],
)
def test_a_clip_is_known_by_its_suffix_in_any_letter_case(name):
    assert NAMES.kind(name) is Kind.CLIP


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.mp4",
        "_draft.mp4",
        "._shot.mp4",
        ".DS_Store",
        "Thumbs.db",
        "@eaDir",
        "#recycle",
        ".smbdelete123",
        ".nfs0000abc",
        "x.part",
        "x.partial",
        "x.tmp",
        "X.CRDOWNLOAD",
        "x.filepart",
        "~x.mp4",
        "_status.txt",
        "shot.mp4.error.toml",
        "proxy_1.mp4",
        ".mp4",
        ".toml",
        "~$shot.toml",
    ],
)
def test_what_is_no_business_of_ours_is_ignored(name):
    assert NAMES.kind(name) is Kind.IGNORED


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("shot.toml", Kind.SIDECAR),
        ("shot.mp4.TOML", Kind.SIDECAR),
        ("_defaults.toml", Kind.DEFAULTS),
        ("shot.mp4.problem.txt", Kind.NOTE),
        ("winter.png", Kind.IMAGE),
        ("mp4", Kind.OTHER),
        ("shot.txt", Kind.OTHER),
        ("shot.mp4.part", Kind.TEMPORARY),
        (".shot.mp4.Xa12bC", Kind.TEMPORARY),
        ("shot.mp4.filepart", Kind.TEMPORARY),
        (".syncthing.shot.mp4.tmp", Kind.TEMPORARY),
        ("~syncthing~shot.mp4.tmp", Kind.TEMPORARY),
    ],
)
def test_other_names_have_their_own_meaning(name, kind):
    assert NAMES.kind(name) is kind


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("shot.mp4.part", "shot.mp4"),
        (".shot.mp4.Xa12bC", "shot.mp4"),
        ("~syncthing~shot.mp4.tmp", "shot.mp4"),
        (".in.shot.mp4.", "shot.mp4"),
        ("._shot.mp4.x", None),
        ("._shot.mp4", None),
        (".shot.mp4", None),
        ("shot.part", None),
        ("shot.mp4", None),
        ("shot.mp4.toml", None),
        (".shot.toml.swp", None),
    ],
)
def test_a_temporary_sibling_says_which_clip_it_announces(name, clip):
    assert NAMES.awaited(name) == clip


@pytest.mark.parametrize(
    "name",
    ["a.mp4", "a.MOV", "a.toml", "a.mp4.toml", "a.mp4.mp4", "a.mp4.part", ".a.mp4.tmp1", "a.mp4.mp4.toml"],
)
def test_what_belongs_together_has_one_base(name):
    assert NAMES.base(name) == "a"


def test_a_glob_with_a_slash_is_about_the_path():
    assert NAMES.kind("x.mp4", "raw") is Kind.IGNORED
    assert NAMES.kind("x.mp4", "cooked") is Kind.CLIP
    assert not NAMES.enters("proxy_b")


@pytest.mark.parametrize("name", ["_done", "_failed", ".clipspool", "@eaDir", "#recycle", "lost+found"])
def test_folders_that_are_ours_or_the_systems_are_not_entered(name):
    assert not NAMES.enters(name)


def test_a_folder_named_like_a_clip_is_a_folder():
    assert NAMES.enters("clip.mp4")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.mp4", "plain name.mp4"),
        ("zürich 冬.mp4", "zürich 冬.mp4"),
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("evil\u202egpj.mp4", "evil\\u202egpj.mp4"),
        ("raw\udcff", "raw\\xff"),
        ("a\u2028b", "a\\u2028b"),
        ("\x9b", "\\x9b"),
        ("\ufeffx", "\\ufeffx"),
    ],
)
def test_what_would_deceive_a_reader_is_escaped(name, shown):
    assert readable(name) == shown


@given(st.binary(min_size=1, max_size=255))
def test_any_bytes_have_a_kind_a_base_and_a_readable_form(raw):
    name = raw.decode(errors="surrogateescape")
    NAMES.kind(name)
    NAMES.base(name)
    shown = readable(name)
    shown.encode()
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in shown)
