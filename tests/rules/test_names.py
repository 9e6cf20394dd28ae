"""What names in an inbox mean."""

from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.intake.kinds import is_conflict_copy
from clipspool.intake.names import Kind, Names
from clipspool.system.redaction import readable

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
        ("shot.txt", Kind.PROMPT),
        ("shot.mp4.part", Kind.TEMPORARY),
        (".shot.mp4.Xa12bC", Kind.TEMPORARY),
        ("shot.mp4.filepart", Kind.TEMPORARY),
        (".syncthing.shot.mp4.tmp", Kind.TEMPORARY),
        ("~syncthing~shot.mp4.tmp", Kind.TEMPORARY),
        ("shot.toml.part", Kind.COMING),
        ("shot.txt.filepart", Kind.COMING),
        (".shot.mp4.toml.Xa12bC", Kind.COMING),
        (".syncthing.shot.toml.tmp", Kind.COMING),
        (".shot.toml.swp", Kind.COMING),
        ("._shot.toml", Kind.IGNORED),
        (".shot.toml", Kind.IGNORED),
        ("shot.part", Kind.IGNORED),
        ("_defaults.toml.part", Kind.NEAR_SETTINGS),
        ("_defaults.toml.bak", Kind.IGNORED),
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
        (".shot.mp4.toml.swp", None),
        ("shot.mp4.aria2", "shot.mp4"),
        ("shot.mp4.lftp-pget-status", "shot.mp4"),
        ("shot.mp4.st", "shot.mp4"),
        ("SHOT.MOV.!qB", "SHOT.MOV"),
        ("shot.mp4.!sync", "shot.mp4"),
        ("shot.mp4.!ut", "shot.mp4"),
        ("shot.mp4.opdownload", "shot.mp4"),
        ("shot.mp4.dtapart", "shot.mp4"),
        ("shot.mp4.xltd.cfg", "shot.mp4"),
        ("shot.mp4.1a2b3c4d.partial", "shot.mp4"),
        ("shot.mp4.ocTransferId77.part", "shot.mp4"),
        ("shot.mp4.part-Frag12", "shot.mp4"),
        (".shot.mp4.icloud", "shot.mp4"),
        (".shot.mp4.~1a2b3c", "shot.mp4"),
        ("shot.mp4.xmp", None),
        ("shot.mp4.md5", None),
        ("shot.aria2", None),
        ("notes.st", None),
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


@pytest.mark.parametrize("folder", ["", "day 1", "a/b"])
@pytest.mark.parametrize(
    "name",
    [
        *("@Recycle", "#Recycle", "#SYNORECYCLE", "RECYCLER", "Recycled", "$Recycle.Bin", "Recycle Bin"),
        *("#snapshot", "@Recently-Snapshot", "~snapshot", ".snapshot", "system volume information"),
        *("@eadir", ".@__thumb", "@tmp", "@sharebin", "@SynologyDrive", "@SynoFinder-log", "FOUND.000"),
        *("Network Trash Folder", "Temporary Items", "TheVolumeSettingsFolder", "TheFindByContentFolder"),
        *(".sync", ".stversions", ".dropbox.cache", ".Trash-1000", ".zfs", "LOST+FOUND", "_gsdata_"),
        *("shot.mp4.download", "shot.mp4.sb-1a2b3c4d-xYzUvW"),
    ],
)
def test_bins_snapshots_and_indexes_are_not_entered_at_any_depth(name, folder):
    assert not NAMES.enters(name, folder)
    assert not NAMES.passes_by(name, folder)


@pytest.mark.parametrize("name", ["#1 hero", "@night", "@NewNasBin", "#"])
def test_what_looks_like_a_nas_folder_is_passed_by_at_the_top_and_is_a_folder_further_down(name):
    assert not NAMES.enters(name)
    assert NAMES.passes_by(name)
    assert NAMES.enters(name, "day 1")
    assert not NAMES.passes_by(name, "day 1")


@pytest.mark.parametrize(
    "name", ["Temporary", "trash scene", "snapshots of rome", "found.footage", "recycle"]
)
def test_a_studios_own_folder_is_entered(name):
    assert NAMES.enters(name)


@pytest.mark.parametrize("typed", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_name_is_ignored_however_its_accents_are_encoded(typed, stored):
    names = Names({".mov"}, ignore=[normalize(typed, glob) for glob in ("*_übersicht.mov", "Büro/*")])
    assert names.kind(normalize(stored, "a_übersicht.mov")) is Kind.IGNORED
    assert names.kind(normalize(stored, "a_übersicht.mov"), "day") is Kind.IGNORED
    assert names.kind("b.mov", normalize(stored, "Büro")) is Kind.IGNORED
    assert names.kind(normalize(stored, "ü.mov"), normalize(stored, "Bü")) is Kind.CLIP


def test_a_control_file_that_the_operator_ignores_is_not_asked_for():
    assert "a.mp4.part" in NAMES.controls("a.mp4")
    assert "a.mp4.part" not in Names({".mp4"}, ignore=("*.part",)).controls("a.mp4")
    assert NAMES.controls("x" * 252 + ".mp4") == []


@pytest.mark.parametrize(
    "stem",
    [
        "x.sync-conflict-20261129-120000-ABCDEFG",
        "x (conflicted copy 2026-11-29 120000)",
        "x (Anna's conflicted copy 2026-11-29)",
        "x (Case Conflict)",
        "x_conflict-20261129-120000",
        "x (SFConflict anna@studio.tv 2026-11-29-12-00-00)",
        "x (In Konflikt stehende Kopie von Anna 2026-11-29)",
        "x_DiskStation_Nov-29-1200-2026_Conflict",
    ],
)
def test_a_copy_that_a_synchronising_tool_put_aside_is_known_by_its_name(stem):
    assert is_conflict_copy(stem)


@pytest.mark.parametrize(
    "stem", ["the conflict", "x (1)", "x - Copy", "conflict_2026", "sc12_conflict_v3", "x"]
)
def test_a_film_about_a_conflict_is_no_such_copy(stem):
    assert not is_conflict_copy(stem)


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
