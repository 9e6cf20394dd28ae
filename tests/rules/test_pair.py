"""Which clip goes with which sidecar, and what a file waits for."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.intake.names import Kind, Names
from clipspool.intake.pair import Entry, Matched, Waits, companion_of, pair
from clipspool.intake.types import Rules

NAMES = Names({".mp4", ".mov"})
REQUIRED = Rules("bay")
OPTIONAL = Rules("bay", sidecar_required=False)


def entry(name, **facts):
    return Entry(name, NAMES.kind(name), awaits=NAMES.awaited(name), **facts)


def judge(*entries, now=10.0, rules=REQUIRED, defaults_serve=False, pictures=()):
    entries = [e if isinstance(e, Entry) else entry(e) for e in entries]
    are_pictures = lambda name: name in pictures  # noqa: E731
    return pair(entries, now=now, rules=rules, defaults_serve=defaults_serve, are_pictures=are_pictures)


def waits(*entries, **facts):
    (answer,) = judge(*entries, **facts)
    assert isinstance(answer, Waits)
    return answer


@pytest.mark.parametrize("sidecar", ["a.toml", "a.mp4.toml", "a.TOML", "a.mp4.Toml"])
def test_a_clip_and_its_sidecar_match(sidecar):
    assert judge("a.mp4", sidecar) == [Matched("a.mp4", sidecar)]


def test_the_sidecar_with_the_clips_full_name_wins_and_the_other_is_left_over():
    match, left = judge("a.mp4", "a.toml", "a.mp4.toml")
    assert match == Matched("a.mp4", "a.mp4.toml", overlooked="a.toml")
    assert left.name == "a.toml"
    assert not left.is_problem


def test_a_lone_pair_may_differ_in_letter_case():
    assert judge("A.MP4", "a.toml") == [Matched("A.MP4", "a.toml")]
    assert judge("C0002.MP4", "C0002.mp4.toml") == [Matched("C0002.MP4", "C0002.mp4.toml")]
    assert judge("A.MP4", "a.TXT") == [Matched("A.MP4", None, prompt="a.TXT")]
    assert judge("A.MP4", "A.MP4.toml") == [Matched("A.MP4", "A.MP4.toml")]


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("style", [".toml", ".mp4.toml"])
@pytest.mark.parametrize(
    ("clip", "sidecar"),
    [
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, COMPOSED),
        ("Rec at 5.03\u202fPM", "rec at 5.03 PM"),
        ("a b", "a\u00a0b"),
    ],
)
def test_a_name_that_a_mac_spells_otherwise_is_the_same_name(clip, sidecar, style):
    assert NAMES.base(f"{clip}.mp4") == NAMES.base(f"{sidecar}{style}")
    assert judge(f"{clip}.mp4", f"{sidecar}{style}") == [Matched(f"{clip}.mp4", f"{sidecar}{style}")]


def test_of_two_spellings_each_clip_has_the_sidecar_that_is_spelled_like_it():
    both = [f"{stem}{suffix}" for stem in (COMPOSED, DECOMPOSED) for suffix in (".mp4", ".toml")]
    assert {(m.clip, m.sidecar) for m in judge(*both)} == {tuple(both[:2]), tuple(both[2:])}
    answers = {getattr(one, "clip", None) or one.name: one for one in judge(*both[:3])}
    assert answers[both[0]] == Matched(*both[:2])
    assert isinstance(answers[both[2]], Waits)
    assert all(isinstance(one, Waits) for one in judge(both[0], f"{COMPOSED}.mov", both[3]))


def test_of_two_clips_that_differ_in_letter_case_none_is_guessed_for():
    answers = judge("Shot.mp4", "SHOT.mp4", "shot.toml")
    assert [type(one) for one in answers] == [Waits] * 3
    assert all("did you mean" in one.reason for one in answers)


def test_a_text_file_of_the_clips_name_is_its_prompt():
    assert judge("a.mp4", "a.txt") == [Matched("a.mp4", None, prompt="a.txt")]
    assert judge("a.mp4", "a.mp4.txt") == [Matched("a.mp4", None, prompt="a.mp4.txt")]
    assert judge("a.mp4", "a.toml", "a.txt") == [Matched("a.mp4", "a.toml", prompt="a.txt")]
    assert judge("a.txt", "readme.txt") == []


def test_a_text_file_that_could_be_for_two_clips_is_a_problem_of_both():
    answers = judge("a.mp4", "a.mov", "a.txt")
    assert all("more than one clip" in one.reason for one in answers)
    assert "name it `a.mov.txt`" in answers[0].reason
    assert "is still changing" in waits("a.mp4", entry("a.txt", is_settled=False)).reason


@pytest.mark.parametrize(
    ("near", "right"),
    [
        ("a.toml.txt", "rename it to `a.toml`"),
        ("a.txt.txt", "rename it to `a.txt`"),
        ("a.mp4.toml.txt", "rename it to `a.toml`"),
        ("a.toml.rtf", "save it as plain text, named `a.toml`"),
        ("a.toml.docx", "save it as plain text, named `a.toml`"),
        ("a.rtf", "save it as plain text, named `a.txt`"),
        ("a.json", "`a.json`? It is not read under that name: rename it to `a.toml`"),
        ("a.tml", "rename it to `a.toml`"),
        ("a.md", "rename it to `a.txt`"),
        ("a.toml.", "rename it to `a.toml`"),
        ("a.toml ", "rename it to `a.toml`"),
    ],
)
@pytest.mark.parametrize("rules", [REQUIRED, OPTIONAL])
def test_a_sidecar_under_a_disguise_keeps_its_clip_waiting_and_is_named(near, right, rules):
    clip = entry("a.mp4", since=0.0)
    late = waits(clip, near, now=60.0, rules=rules, defaults_serve=True)
    assert late.is_problem
    assert right in late.reason
    assert near.strip(" ") in late.reason


def test_a_sidecar_beside_a_file_that_is_no_clip_names_it_and_what_is_accepted():
    late = waits(
        entry("E.toml", since=0.0),
        "E.mxf",
        now=60.0,
        rules=Rules("bay", extensions=frozenset({".mov", ".mp4"})),
    )
    assert "found `E.mxf`; .mxf is not accepted" in late.reason
    assert ".mov and .mp4" in late.reason
    assert "`E.png`" in waits(entry("E.toml", since=0.0), "E.png", now=60.0).reason
    assert "`e.MXF`" in waits(entry("E.toml", since=0.0), "e.MXF", now=60.0).reason


def test_the_first_note_shows_what_to_write():
    late = waits(entry("day 1.mp4", since=0.0), now=60.0)
    lines = late.advice.split("\n")
    assert "    day 1.txt" in lines
    assert "    day 1.toml" in lines
    assert any(line.startswith("    prompt = ") for line in lines)


def test_a_clip_waits_for_its_sidecar_in_silence_and_after_a_minute_aloud():
    clip = entry("a.mp4", since=0.0)
    assert (waits(clip, now=59.9).is_problem, waits(clip, now=59.9).look_at) == (False, 60.0)
    late = waits(clip, now=60.0)
    assert (late.is_problem, late.look_at) == (True, inf)
    assert "put `a.txt` or `a.toml` or `a.mp4.toml` beside it" in late.reason


@pytest.mark.parametrize(
    ("letters", "said"),
    [(246, "246.mp4.toml` beside"), (250, "250.toml` beside"), (251, "251.txt` beside"), (252, "shorten it")],
)
def test_only_sidecars_that_a_file_system_can_name_are_asked_for(letters, said):
    name = f"{letters}".rjust(letters, "x")
    late = waits(entry(f"{name}.mp4", since=0.0), now=60.0)
    assert said in late.reason
    assert (f"{name}.mp4.toml" in late.reason) == (letters == 246)


def test_a_sidecar_without_its_clip_waits_likewise():
    assert not waits(entry("a.toml", since=0.0), now=59.0).is_problem
    late = waits(entry("a.toml", since=0.0), now=61.0)
    assert late.is_problem
    assert late.reason == (
        "no matching clip: no clip named `a` yet; "
        "put the clip beside it, or give this file the name of its clip"
    )


def test_defaults_serve_after_ten_seconds_where_a_sidecar_is_optional():
    clip = entry("a.mp4", since=0.0)
    early = waits(clip, now=9.0, rules=OPTIONAL, defaults_serve=True)
    assert (early.look_at, early.is_problem) == (10.0, False)
    assert judge(clip, now=10.0, rules=OPTIONAL, defaults_serve=True) == [Matched("a.mp4", None)]
    assert judge(clip, "a.toml", now=10.0, rules=OPTIONAL, defaults_serve=True) == [
        Matched("a.mp4", "a.toml")
    ]


def test_defaults_without_a_prompt_do_not_serve():
    assert "the defaults have no prompt" in waits(entry("a.mp4"), now=61.0, rules=OPTIONAL).reason


def test_one_sidecar_for_two_clips_is_a_problem_of_both():
    answers = judge("a.mp4", "a.mov", "a.toml")
    assert [(a.name, a.is_problem) for a in answers] == [("a.mov", True), ("a.mp4", True)]
    assert "name it `a.mov.toml`" in answers[0].reason


def test_it_is_no_problem_once_each_has_its_own():
    assert judge("a.mp4", "a.mov", "a.toml", "a.mov.toml") == [
        Matched("a.mov", "a.mov.toml", overlooked="a.toml"),
        Matched("a.mp4", "a.toml"),
    ]


def test_a_sidecar_with_the_full_name_of_one_clip_is_not_the_stem_sidecar_of_another():
    answers = judge("a.mp4", "a.mp4.mp4", "a.mp4.toml")
    assert Matched("a.mp4", "a.mp4.toml") in answers
    assert [a.name for a in answers if isinstance(a, Waits)] == ["a.mp4.mp4"]


@pytest.mark.parametrize("temporary", ["a.mp4.part", ".a.mp4.Xyz123", "a.mp4.filepart"])
def test_a_temporary_sibling_keeps_a_clip_waiting(temporary):
    answer = waits("a.mp4", "a.toml", temporary, now=59.0)
    assert f"`{temporary}` is beside it" in answer.reason
    assert not answer.is_problem


@pytest.mark.parametrize("partner", ["a.mp4.aria2", "a.mp4.st", "a.mp4.!sync", "a.mp4.lftp-pget-status"])
def test_a_partner_that_stays_is_named_in_a_note_and_the_clip_goes_on_without_it(partner):
    late = waits(entry("a.mp4", since=0.0), "a.toml", partner, now=61.0)
    assert late.is_problem
    assert f"`{partner}` is beside it" in late.reason
    assert "remove that file" in late.reason
    assert judge(entry("a.mp4", since=0.0), "a.toml", now=61.0) == [Matched("a.mp4", "a.toml")]


def test_a_partner_that_a_mac_spells_otherwise_is_the_clips_own():
    assert waits(f"{COMPOSED}.mp4", f"{COMPOSED}.toml", f"{DECOMPOSED}.mp4.aria2").name == f"{COMPOSED}.mp4"


def test_a_conflict_copy_with_its_own_sidecar_is_asked_about():
    name = "x.sync-conflict-20261129-120000-ABCDEFG"
    answer = next(a for a in judge(f"{name}.mp4", f"{name}.toml") if a.name == f"{name}.mp4")
    assert answer.is_problem
    assert "sync tool" in answer.reason


def test_a_sidecar_whose_clip_is_being_copied_waits_in_silence():
    answer = waits(entry("a.toml", since=0.0), "a.mp4.part", now=1000.0)
    assert not answer.is_problem
    assert "still being copied" in answer.reason


def test_what_has_not_settled_waits():
    assert waits(entry("a.mp4", is_settled=False), "a.toml").reason == "it is still changing"
    assert "`a.toml` is still changing" in waits("a.mp4", entry("a.toml", is_settled=False)).reason


def test_empty_files_are_a_problem_after_a_minute():
    empty = entry("a.mp4", size=0, is_settled=False)
    assert [waits(empty, "a.toml", now=n).is_problem for n in (59.0, 60.0)] == [False, True]
    empty = entry("a.toml", size=0, is_settled=False)
    assert [waits("a.mp4", empty, now=n).is_problem for n in (59.0, 60.0)] == [False, True]


def test_links_and_devices_are_a_problem_at_once():
    assert waits(entry("a.mp4", is_regular=False), "a.toml", now=0.0).is_problem
    assert waits("a.mp4", entry("a.toml", is_regular=False), now=0.0).is_problem


PARTS = st.sampled_from(
    [
        "a.mp4",
        "a.mov",
        "a.toml",
        "a.mp4.toml",
        "a.mov.toml",
        "a.TOML",
        "a.mp4.mp4",
        "a.mp4.mp4.toml",
        "a.mp4.part",
    ]
)


@given(st.sets(PARTS), st.floats(0, 200), st.booleans())
def test_each_clip_gets_one_answer_and_no_sidecar_serves_two(names, now, is_required):
    answers = judge(*names, now=now, rules=Rules("bay", sidecar_required=is_required), defaults_serve=True)
    clips = [n for n in names if NAMES.kind(n) is Kind.CLIP]
    answered = [a.clip if isinstance(a, Matched) else a.name for a in answers]
    assert len(answered) == len(set(answered))
    assert set(clips) <= set(answered)
    served = [a.sidecar for a in answers if isinstance(a, Matched) and a.sidecar]
    assert len(served) == len(set(served))
    assert not set(served) & {a.name for a in answers if isinstance(a, Waits)}


# --- folders of pictures ------------------------------------------------------------------------------------


def folder(name):
    return Entry(name, Kind.FOLDER)


@pytest.mark.parametrize("sidecar", ["seq.toml", "Seq.TOML"])
def test_a_folder_of_pictures_is_a_clip_with_the_sidecar_of_its_name(sidecar):
    assert judge(folder("seq"), sidecar, pictures={"seq"}) == [Matched("seq", sidecar, is_folder=True)]


def test_a_text_file_of_a_folders_name_is_its_prompt_too():
    expected = Matched("seq", None, prompt="seq.txt", is_folder=True)
    assert judge(folder("seq"), "seq.txt", pictures={"seq"}) == [expected]
    expected = Matched("seq", "seq.toml", prompt="seq.txt", is_folder=True)
    assert judge(folder("seq"), "seq.txt", "seq.toml", pictures={"seq"}) == [expected]


@pytest.mark.parametrize("rules", [REQUIRED, OPTIONAL])
def test_defaults_never_make_a_clip_of_a_folder_of_pictures(rules):
    assert judge(folder("seq"), now=1000.0, rules=rules, defaults_serve=True, pictures={"seq"}) == []
    (left,) = judge(folder("seq"), "seq.toml", rules=rules, defaults_serve=True)
    assert isinstance(left, Waits)  # it holds no pictures


@pytest.mark.parametrize("clip", ["winter.mp4", "winter.mp4.part", "winter.r3d", "winter.xyz"])
def test_a_folder_beside_a_clip_of_its_name_is_no_clip(clip):
    """It may hold that clip's references, and the sidecar is the clip's."""
    answers = judge(folder("winter"), clip, "winter.toml", pictures={"winter"})
    assert not any(isinstance(one, Matched) and one.is_folder for one in answers)


def test_a_folder_whose_sidecar_still_changes_waits():
    left = waits(folder("seq"), entry("seq.toml", is_settled=False), pictures={"seq"})
    assert (left.name, "still changing" in left.reason) == ("seq", True)


def test_of_two_folders_the_one_that_is_spelled_like_the_sidecar_is_meant():
    found = judge(folder("Seq"), folder("seq"), "seq.toml", pictures={"seq", "Seq"})
    assert found == [Matched("seq", "seq.toml", is_folder=True)]
    (left,) = judge(folder("Seq"), folder("SEQ"), "seq.toml", pictures={"SEQ", "Seq"})
    assert isinstance(left, Waits)


@pytest.mark.parametrize(
    ("beside", "own"),
    [
        ("a.mp4", None),
        ("a.mp4 a.toml a.txt", "a.toml"),
        ("a.mp4 a.txt", "a.txt"),
        ("a.mp4 a.mov a.mov.toml a.mp4.toml", "a.mp4.toml"),
        ("a.mp4 a.mov a.toml", None),  # it could be for either
        ("a.mp4 A.toml", "A.toml"),
    ],
)
def test_the_file_that_is_mended_for_a_clip_is_the_one_that_it_is_paired_with(beside, own):
    assert companion_of("a.mp4", [entry(name) for name in beside.split()]) == own
