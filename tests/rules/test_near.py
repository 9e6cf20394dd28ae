"""Names that are nearly those of a sidecar, of a folder's settings, or of `_pause`."""

import pytest

from clipspool.intake.kinds import Sort, sort_of
from clipspool.intake.names import Names
from clipspool.intake.near import is_bare_pause, is_pause, is_typo_of, meant_as_settings, meant_as_sidecar

NAMES = Names({".mp4", ".mov"})


@pytest.mark.parametrize(
    "name",
    [
        *("_Defaults.toml", "_DEFAULTS.TOML", "_default.toml", "_defaults.toml.txt", "_defaults"),
        *(
            "_defaults (1).toml",
            "_defaults - Copy.toml",
            "_defauts.toml",
            "_defualts.toml",
            "_defaults .toml",
        ),
        *("_defaults.toml.rtf", "_defaults.json", "defaults.toml", "Default.toml", "_defaults.toml "),
        *("_defaults.sync-conflict-20260101-120000-ABCDEFG.toml", "_defaults.tml"),
    ],
)
def test_what_was_meant_as_a_folders_settings_is_known(name):
    assert meant_as_settings(name) == "_defaults.toml"


@pytest.mark.parametrize(
    "name", ["_Prompt.txt", "_prompts.txt", "_promt.txt", "_prompt.txt.txt", "_prompt.rtf"]
)
def test_what_was_meant_as_a_folders_prompt_is_known(name):
    assert meant_as_settings(name) == "_prompt.txt"


@pytest.mark.parametrize(
    "name",
    [
        *("_done", "_failed", "_status.txt", "_draft.mp4", "_default.mp4", "_project.toml", "_details.txt"),
        *("defaults.txt", "deep.toml", "prompts.toml", "_defaults.toml.bak", "_proof.txt", "prompt.mp4"),
    ],
)
def test_other_names_are_nobodys_settings(name):
    assert meant_as_settings(name) is None


@pytest.mark.parametrize(
    "name", ["-defaults.toml", "\u2013defaults.toml", " _defaults.toml", "- Default.toml"]
)
def test_a_dash_in_place_of_the_underscore_is_a_near_miss(name):
    assert meant_as_settings(name) == "_defaults.toml"
    assert meant_as_settings(name.replace("efaults", "aylight").replace("efault", "aylight")) is None


@pytest.mark.parametrize("name", ["pause", "Pause", "PAUSED", "-pause", "pause.txt", "Pause (1).txt"])
def test_a_pause_without_its_underscore_is_known_among_files(name):
    assert is_bare_pause(name)
    assert not is_pause(name), "a folder of that name may hold clips"


@pytest.mark.parametrize(
    "name", ["pauses", "pause.toml", "pause.mp4", "pause.md", "paul", "_pause", "-", "pause 2"]
)
def test_few_names_pause_without_an_underscore(name):
    assert not is_bare_pause(name)


@pytest.mark.parametrize("name", ["_pause", "_PAUSE", "_paused", "_pause.txt", "_Pause (1).txt", "_pasue"])
def test_a_pause_is_known_however_it_was_saved(name):
    assert is_pause(name)


@pytest.mark.parametrize("name", ["pause", "_pause.mp4", "_phase", "_passed", "_status.txt"])
def test_other_names_pause_nothing(name):
    assert not is_pause(name)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("shot.toml.txt", "shot.toml"),
        ("shot.toml.docx", "shot.toml"),
        ("shot.toml.toml", "shot.toml"),
        ("shot.txt.rtf", "shot.txt"),
        ("shot.txt.txt", "shot.txt"),
        ("shot.toml.", "shot.toml"),
        ("shot.mp4.toml.txt ", "shot.mp4.toml"),
        ("shot.toml", None),
        ("shot.txt", None),
        ("shot.rtf", None),
        ("shot.toml.bak", None),
        ("shot.toml.mp4", None),
    ],
)
def test_a_sidecar_in_disguise_is_known_with_its_right_name(name, right):
    assert meant_as_sidecar(name) == right


@pytest.mark.parametrize(
    "other",
    [
        "e10-shot",
        "e10 shot",
        "e10.shot",
        "E10_SHOT",
        "e10_shot (1)",
        "e10_shot - copy",
        "e10_shot copy 2",
        "copy of e10_shot",
        "e10\u2013shot",
        "e10_shot ",
        "e10__shot",
    ],
)
def test_separators_letter_case_and_copy_marks_do_not_tell_names_apart_loosely(other):
    assert NAMES.loose(NAMES.base(f"{other}.toml")) == NAMES.loose(NAMES.base("e10_shot.mp4"))


@pytest.mark.parametrize("other", ["e11_shot", "e10_shot_2", "e1_0shot", "shot"])
def test_other_shots_are_told_apart(other):
    assert NAMES.loose(NAMES.base(f"{other}.toml")) != NAMES.loose(NAMES.base("e10_shot.mp4"))


def test_a_slip_of_the_hand_is_no_other_shot():
    assert is_typo_of("shto", "shot")
    assert not is_typo_of("shot001", "shot002")


@pytest.mark.parametrize(
    ("name", "sort"),
    [
        ("A.MXF", Sort.FILM),
        ("A001.R3D", Sort.RAW),
        ("beauty.0001.exr", Sort.PICTURE),
        ("x.tar.gz", Sort.ARCHIVE),
        ("C0001M01.XML", Sort.SILENT),
        ("cut.xml", Sort.TIMELINE),
        ("README.md", Sort.SILENT),
        ("readme", Sort.SILENT),
        ("x.unheard", Sort.UNKNOWN),
        ("x", Sort.UNKNOWN),
    ],
)
def test_a_file_is_sorted_by_its_name(name, sort):
    assert sort_of(name) is sort
