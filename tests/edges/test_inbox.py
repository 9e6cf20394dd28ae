"""Clips dropped into a real folder: each is accepted exactly once, whatever way it came."""

import itertools
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import unicodedata
import warnings
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import tomli_w

from clipspool.intake.types import InboxPaused
from clipspool.intake.watch import Watch
from clipspool.jobs.faults import Unsure
from clipspool.jobs.messages import InboxChanged
from clipspool.jobs.model import Problem, Reference
from clipspool.jobs.path_map import Places
from clipspool.jobs.records import Life, Peer
from clipspool.spool.guard import Unavailable
from clipspool.spool.layout import PROMPT
from clipspool.spool.recovery import left_behind, survey
from clipspool.spool.root import Root
from clipspool.spool.workfolder import Manifest, folder_of
from fakes import a_clip, a_job
from inboxes import CLIP, EPOCH, SIDECAR, Bench, benches

MODEL = {"clipspool's own defaults": {"model": "m"}}


@pytest.fixture
def bench(tmp_path):
    with benches(tmp_path / "bay") as make:
        yield make


# --- the plain way --------------------------------------------------------------------------------------


def test_a_clip_with_its_sidecar_is_accepted_once_it_has_settled(bench):
    b = bench(priority=10)
    b.drop("day1/shot.mp4", sidecar='prompt = "x"\nmodel = "m"\nseed = 7\npriority = 3\n')
    b.look()
    b.look(2.9)
    assert b.paths == []
    assert b.waiting()["day1/shot.mp4"].reason == "it is still changing"
    b.look(0.1)
    (accepted,) = b.accepted
    clip, (job,) = accepted.clip, accepted.jobs
    assert (clip.path, clip.sidecar, clip.source) == ("day1/shot.mp4", "day1/shot.mp4.toml", "clip.mp4")
    assert (clip.size, clip.accepted_at, clip.media) == (len(CLIP), EPOCH + 3.0, {"seconds": 2.0})
    assert (job.id, job.priority, job.due_at, job.request.seed) == (clip.id, 13, EPOCH + 3.0, 7)
    assert b.lying() == []
    assert b.waiting() == {}
    b.look(100.0)
    assert len(b.accepted) == 1


def test_a_clip_that_is_held_lies_in_the_inbox_until_its_time_and_says_until_when(bench):
    b = bench(hold_seconds=20.0)
    b.drop("a.mp4")
    b.settle()
    assert b.accepted == []
    assert (b.path / "a.mp4").exists()
    until = f"{datetime.fromtimestamp(EPOCH + 20.0, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
    assert until in b.waiting()["a.mp4"].reason
    assert not b.waiting()["a.mp4"].problem
    assert not b.inbox.is_idle
    b.seconds = 19.9
    b.look()
    assert b.accepted == []
    assert b.look(0.1) > b.seconds
    assert b.paths == ["a.mp4"]
    assert b.accepted[0].jobs[0].due_at == EPOCH + 20.0


def test_removing_a_clip_that_is_held_takes_it_back(bench):
    b = bench(hold_seconds=20.0)
    clip = b.drop("a.mp4")
    b.settle()
    clip.unlink()
    b.look(30.0)
    assert b.accepted == []
    assert "a.mp4" not in b.waiting()


def test_a_sidecar_saved_anew_begins_the_hold_anew_and_its_mistakes_are_told_at_once(bench):
    b = bench(hold_seconds=20.0)
    b.drop("a.mp4")
    b.settle()
    b.write("a.mp4.toml", "promt = 1")
    b.look(12.0)
    b.look(3.0)
    assert b.note("a.mp4") is not None
    b.write("a.mp4.toml", SIDECAR)
    b.look(1.0)
    b.look(19.9)
    assert b.accepted == []
    assert b.note("a.mp4") is None
    b.look(0.1)
    assert b.paths == ["a.mp4"]


def test_other_users_are_looked_for_often_where_there_are_any_or_another_machine_may_be_one(bench):
    alone, shared = (bench(detect="events", rescan_seconds=1000.0) for _ in range(2))
    elsewhere = bench(detect="rescan", rescan_seconds=1000.0)
    shared.peers = (Peer("bay", "j2", "host", Life.LIVING, clips=1),)
    assert [b.look() for b in (alone, shared, elsewhere)] == [30.0, 10.0, 10.0]


def test_it_tells_that_a_clip_will_be_inspected_while_it_still_settles(bench):
    b = bench()
    b.look()
    assert b.expected == 0
    b.drop("a.mp4")
    b.look()
    assert b.expected == 1
    b.look(3.0)
    assert len(b.accepted) == 1
    b.look(100.0)
    assert b.expected == 1


def test_a_film_with_a_part_of_a_box_behind_it_is_waited_for_longer_and_then_taken_as_it_is(bench):
    """A writer may pause before the last bytes; or a recorder left them behind."""
    b = bench(sidecar_wait_seconds=60.0)
    whole = CLIP + struct.pack(">I4s", 8 + 4, b"free") + b"name"
    slow, left = b.drop("slow.mp4", whole[:-3]), b.drop("left.mp4", whole[:-2])
    b.look()
    b.look(3.0)
    assert b.paths == []
    assert "what follows the film" in b.waiting()["slow.mp4"].reason
    assert not b.inbox.is_idle
    slow.write_bytes(whole)
    b.look()
    b.look(3.0)
    assert b.paths == ["slow.mp4"]
    b.look(60.0)
    assert b.paths == ["slow.mp4", "left.mp4"]
    assert not left.exists()
    assert b.note("left.mp4") is None


def test_it_says_when_it_wants_to_look_again(bench):
    b = bench(settle_seconds=0.2)
    b.drop("a.mp4")
    due = b.look()
    while not b.accepted:
        b.seconds = due
        due = b.inbox.run_pass(due)
    assert b.seconds == 0.2
    assert due == pytest.approx(10.0), "for others that share it; the rescan is later"


def test_each_variant_is_a_job_with_a_seed_of_its_own(bench):
    b = bench()
    b.drop(
        "a.mp4",
        sidecar=SIDECAR
        + "[[variant]]\n[[variant]]\nseed = 5\n[[variant]]\nnot_before = 2040-01-01T00:00:00Z\n",
    )
    b.settle()
    (accepted,) = b.accepted
    assert [job.id for job in accepted.jobs] == [accepted.clip.id + v for v in ("-v1", "-v2", "-v3")]
    seeds = [job.request.seed for job in accepted.jobs]
    assert seeds[1] == 5
    assert len(set(seeds)) == 3
    assert accepted.jobs[2].due_at == 2208988800.0


def test_sidecar_and_clip_may_come_in_either_order(bench):
    b = bench()
    b.drop("a.mp4", sidecar=None)
    b.write("b.toml", SIDECAR)
    b.settle()
    b.look(20.0)
    assert b.accepted == []
    b.write("a.toml", SIDECAR)
    b.drop("b.mp4", sidecar=None)
    b.settle()
    assert sorted(b.paths) == ["a.mp4", "b.mp4"]


def test_a_growing_clip_is_left_alone_until_it_stands_still(bench):
    b = bench()
    path = b.drop("a.mp4", data=b"")
    for piece in range(0, len(CLIP), 100):
        with path.open("ab") as file:
            file.write(CLIP[piece : piece + 100])
        b.look(2.0)
    assert b.accepted == []
    b.look(3.0)
    assert b.paths == ["a.mp4"]


def test_a_copy_that_pauses_for_longer_than_settling_is_found_incomplete(bench):
    b = bench()
    path = b.drop("a.mp4", data=CLIP[:300])
    b.settle()
    assert "bytes are missing" in b.waiting()["a.mp4"].reason
    assert b.note("a.mp4") is None
    b.look(60.0)
    assert "bytes are missing" in b.note("a.mp4")
    path.write_bytes(CLIP)
    b.settle()
    assert b.paths == ["a.mp4"]
    assert b.note("a.mp4") is None


def test_a_preallocated_clip_is_not_accepted_before_it_is_filled(bench):
    b = bench()
    path = b.drop("a.mp4", data=bytes(len(CLIP)))
    b.settle()
    assert b.accepted == []
    path.write_bytes(CLIP)
    b.settle()
    assert b.paths == ["a.mp4"]


def tells_of_holes(path):
    with path.open("wb") as file:
        file.truncate(1 << 20)
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 0


def test_a_copy_in_several_streams_that_pauses_is_waited_for_while_its_middle_is_missing(bench, tmp_path):
    if not tells_of_holes(tmp_path / "file"):
        pytest.skip("this file system does not tell of holes")
    b = bench()
    head = CLIP[: CLIP.index(b"mdat") - 4] + struct.pack(">I4s", 8 + (1 << 20), b"mdat")
    for name in ("a.mp4", "b.mp4"):
        with b.drop(name, data=head + b"first").open("rb+") as copy:
            copy.seek(len(head) + (1 << 20) - 4)
            copy.write(b"last")
    b.settle()
    assert b.accepted == []
    assert "was never written" in b.waiting()["a.mp4"].reason
    assert not b.waiting()["a.mp4"].problem
    with (b.path / "a.mp4").open("rb+") as copy:
        copy.seek(len(head))
        copy.write(b"m" * ((1 << 20) - 4))
    b.settle()
    assert b.paths == ["a.mp4"]
    b.look(10_000.0)
    assert b.paths == ["a.mp4"]
    assert "was never written" in b.note("b.mp4")
    assert "if not, copy it here again" in b.note("b.mp4")


def test_a_clip_that_changes_while_it_is_looked_into_is_not_accepted_then(bench):
    def meddle(_fd):
        if not meddled:
            meddled.append(True)
            with (b.path / "a.mp4").open("ab") as file:
                file.write(b"\0\0\0\x08free")
        return {}, []

    meddled = []
    b = bench(inspect=meddle)
    b.drop("a.mp4")
    b.settle()
    assert b.accepted == []
    b.look(3.0)
    assert b.paths == ["a.mp4"]
    assert b.accepted[0].clip.size == len(CLIP) + 8


def test_a_sidecar_that_is_mended_counts_as_it_is_then(bench):
    b = bench()
    b.drop("a.mp4", sidecar='promt = "x"\nmodel = "m"\n')
    b.settle()
    assert "a.mp4.toml, line 1: unknown key `promt`, did you mean `prompt`?" in b.note("a.mp4")
    b.write("a.mp4.toml", 'prompt = ""\nmodel = "m"\n')
    b.settle()
    assert "promt" not in b.note("a.mp4")
    assert "`prompt` is empty" in b.note("a.mp4")
    b.write("a.mp4.toml", SIDECAR)
    b.settle()
    assert b.paths == ["a.mp4"]
    assert b.lying() == []


def test_what_the_catalogue_and_the_probe_find_is_told_together(bench):
    b = bench(
        check=lambda _request, _media: [Problem("is none of 1280:720", key="ratio")],
        inspect=lambda _fd: ({}, [Problem("it has no video stream")]),
    )
    b.drop("a.mp4", sidecar=SIDECAR + '\nratio = "1:1"\n')
    b.settle()
    assert "it has no video stream" in b.note("a.mp4")
    assert "a.mp4.toml, line 4: `ratio` is none of 1280:720" in b.note("a.mp4")


def test_a_text_file_beside_a_clip_is_its_prompt_and_goes_with_it(bench):
    b = bench(layers=MODEL)
    b.write("a.txt", "  Deep winter\r\nat dusk \n\n")
    b.drop("a.mp4", sidecar=None)
    b.write("readme.txt", "what this folder is for")
    b.settle()
    (accepted,) = b.accepted
    assert accepted.jobs[0].request.prompt == "Deep winter at dusk"
    assert b.lying() == ["readme.txt"]
    assert b.root.read(f"{folder_of(accepted.clip.id)}/{PROMPT}", 99).startswith(b"  Deep")
    b.look(100.0)
    assert len(b.accepted) == 1


def test_a_text_file_adds_the_prompt_to_a_sidecar_that_has_none(bench):
    b = bench(layers=MODEL)
    b.write("a.txt", "from the text")
    b.drop("a.mp4", sidecar='model = "m"\nseed = 5\n')
    b.write("b.txt", "from the text")
    b.drop("b.mp4")
    b.settle()
    requests = {one.clip.path: one.jobs[0].request for one in b.accepted}
    assert (requests["a.mp4"].prompt, requests["a.mp4"].seed) == ("from the text", 5)
    assert requests["b.mp4"].prompt == "deep winter"
    assert b.lying() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('prompt = "snow"\nseed = 5\n', "rename it to `a.toml`"),
        ("[[variant]]\n", "rename it to `a.toml`"),
        ('{"prompt": "snow"}', "rename it to `a.toml`"),
        ('{\n  "text": "snow"\n}\n', "rename it to `a.toml`"),
        ("---\nprompt: snow\nseed: 5\n", "rename it to `a.toml`"),
        ("Prompt = snow", "rename it to `a.toml`"),
        ("x" * 1001, "1"),
        (" \n\n", "empty"),
        ("{\\rtf1\\ansi snow}", "rich text"),
        ("<html><p>snow", "web page"),
    ],
)
def test_a_text_file_that_is_no_prompt_is_a_problem_and_never_sent(bench, text, said):
    b = bench(layers=MODEL)
    b.write("a.txt", text)
    b.drop("a.mp4", sidecar=None)
    b.settle()
    assert b.accepted == []
    assert said in b.note("a.mp4")


def test_settings_in_a_folders_prompt_belong_in_its_defaults(bench):
    b = bench(sidecar_required=False, layers=MODEL)
    b.write("day/_prompt.txt", 'prompt = "snow"\nseed = 5\n')
    b.drop("day/a.mp4", sidecar=None)
    b.settle()
    b.look(10.0)
    assert b.accepted == []
    assert "rename it to `_defaults.toml`" in b.note("day/a.mp4")


def test_a_prompt_with_dashes_braces_or_a_keys_word_in_it_is_a_prompt(bench):
    b = bench(layers=MODEL)
    text = "- make it snow\n- a model train, at dusk: blue\n{soft light}"
    b.write("a.txt", text)
    b.drop("a.mp4", sidecar=None)
    b.settle()
    assert [one.jobs[0].request.prompt for one in b.accepted] == [text.replace("\n", " ")]


def test_a_text_file_whose_clip_comes_later_serves_it_then(bench):
    b = bench(layers=MODEL)
    b.write("a.txt", "snow")
    b.settle()
    b.drop("a.mp4", sidecar=None)
    b.settle()
    assert b.paths == ["a.mp4"]


def test_a_sidecar_that_is_spelled_with_a_hyphen_keeps_a_clip_from_the_defaults(bench):
    b = bench(sidecar_required=False, layers={"[defaults]": {"prompt": "x", "model": "m"}})
    b.drop("e10_shot.mp4", sidecar=None)
    b.write("e10-shot.toml", SIDECAR)
    b.settle()
    b.look(60.0)
    assert b.accepted == []
    assert "did you mean `e10-shot.toml`" in b.note("e10_shot.mp4")
    assert "did you mean `e10_shot.mp4`" in b.note("e10-shot.toml")
    (b.path / "e10-shot.toml").rename(b.path / "e10_shot.toml")
    b.settle()
    assert b.paths == ["e10_shot.mp4"]
    assert b.lying() == []


@pytest.mark.parametrize(
    "name", ["shot (1).toml", "shot - Copy.toml", "shot .toml", "shot.mp4 (1).toml", "shto.toml"]
)
def test_a_sidecar_of_nearly_the_name_is_asked_about_on_both_sides(bench, name):
    b = bench()
    b.drop("shot.mp4", sidecar=None)
    b.write(name, SIDECAR)
    b.settle()
    b.look(60.0)
    assert f"did you mean `{name}`" in b.note("shot.mp4")
    assert "did you mean `shot.mp4`" in b.note(name)


def test_shots_that_differ_in_a_number_are_not_asked_about(bench):
    b = bench()
    b.drop("shot001.mp4", sidecar=None)
    b.write("shot002.toml", SIDECAR)
    b.settle()
    b.look(60.0)
    assert "did you mean" not in b.note("shot001.mp4") + b.note("shot002.toml")


@pytest.mark.parametrize(
    "name", ["a.toml.filepart", ".syncthing.a.toml.tmp", ".a.toml.Xk39ab", ".a.toml.swp"]
)
def test_defaults_do_not_serve_a_clip_whose_sidecar_is_on_its_way(bench, name):
    b = bench(sidecar_required=False, layers={"own": {"model": "m", "prompt": "the house's"}})
    b.drop("a.mp4", sidecar=None)
    b.write(name, SIDECAR[:9])
    b.settle()
    b.look(50.0)
    assert b.paths == []
    assert b.lying() == sorted(["a.mp4", name])
    b.look(10.0)
    assert f"`{name}` shows that one is being copied or written" in b.note("a.mp4")
    (b.path / name).rename(b.path / "a.toml")
    b.write("a.toml", SIDECAR)
    b.settle()
    assert b.accepted[0].jobs[0].request.prompt == "deep winter"
    assert b.lying() == []


@pytest.mark.parametrize(
    "name",
    [
        "_defaults.toml.txt",
        "_default.toml",
        "_defaults.toml ",
        "_defaults.toml.part",
        "_defaults (1).toml",
        "defaults.toml",
        "_promt.txt",
        "_prompt.rtf",
    ],
)
def test_a_near_miss_of_a_folders_settings_makes_its_clips_wait(bench, name):
    b = bench(layers={"own": {"model": "m", "prompt": "x"}})
    b.write(f"day/{name}", "seed = 6")
    b.drop("day/below/a.mp4", sidecar="seed = 1" if "pro" in name else SIDECAR)
    b.drop("other/b.mp4")
    b.settle()
    b.look(60.0)
    assert b.paths == ["other/b.mp4"]
    note = b.note("day/below/a.mp4")
    assert f"`day/{name}` is not read under that name" in note
    assert ("save it as plain text" in note) == name.endswith("rtf")
    (b.path / "day" / name).unlink()
    b.look()
    assert b.paths == ["other/b.mp4", "day/below/a.mp4"]
    assert b.note("day/below/a.mp4") is None


def test_a_near_miss_of_a_folders_prompt_holds_back_only_clips_that_have_none_of_their_own(bench):
    b = bench(sidecar_required=False, layers={"own": {"model": "m", "prompt": "x"}})
    b.write("prompt.txt", "winter")
    b.drop("a.mp4")
    b.drop("b.mp4", sidecar="seed = 5")
    b.drop("c.mp4", sidecar=None)
    b.settle()
    b.look(60.0)
    assert b.paths == ["a.mp4"]
    assert all("`prompt.txt` is not read under that name" in b.note(name) for name in ("b.mp4", "c.mp4"))


def test_a_lone_defaults_file_in_other_letters_is_taken_and_two_are_not(bench):
    b = bench()
    b.write("_Defaults.toml", "seed = 6")
    b.drop("a.mp4")
    b.settle()
    assert b.accepted[0].jobs[0].request.seed == 6
    b.write("_defaults.toml", "seed = 7")
    b.drop("b.mp4")
    b.settle()
    assert b.paths == ["a.mp4"]
    assert "in the same folder" in b.waiting()["b.mp4"].reason


def test_a_folders_prompt_serves_those_below_and_yields_to_what_is_nearer(bench):
    b = bench(sidecar_required=False)
    b.write("_prompt.txt", "winter\nat dusk")
    b.write("day/_PROMPT.txt", "summer")
    b.drop("a.mp4", sidecar=None)
    b.drop("day/b.mp4", sidecar='model = "m"')
    b.drop("day/c.mp4")
    b.write("_defaults.toml", 'model = "m"')
    b.settle()
    b.look(10.0)
    prompts = {one.clip.path: one.jobs[0].request.prompt for one in b.accepted}
    assert prompts == {"a.mp4": "winter at dusk", "day/b.mp4": "summer", "day/c.mp4": "deep winter"}


def test_new_rules_serve_from_the_next_look_on(bench):
    b = bench()
    b.drop("a.mxf", sidecar=None)
    b.settle()
    b.rules = type(b.rules)(
        "bay", extensions=frozenset({".mxf"}), sidecar_required=False, detect="rescan",
        layers={"config": {"prompt": "x", "model": "m"}}, optional_wait_seconds=1.0,
    )  # fmt: skip
    b.inbox.use_rules(b.rules)
    b.settle()
    assert b.paths == ["a.mxf"]
    assert b.accepted[0].clip.sidecar is None


# --- defaults and references ----------------------------------------------------------------------------


def test_defaults_are_laid_over_each_other_from_the_root_down(bench):
    b = bench(
        layers={"own": {"model": "m"}, "config": {"priority": 1}, "inbox": {"priority": 2, "ratio": "1:1"}}
    )
    b.write("_defaults.toml", 'prompt = "root"\nratio = "2:1"\n')
    b.write("x/y/_defaults.toml", 'prompt = "deep"\n')
    b.drop("x/y/a.mp4", sidecar="seed = 1")
    b.drop("x/b.mp4", sidecar="seed = 1")
    b.settle()
    requests = {told.clip.path: told.jobs[0].request for told in b.accepted}
    assert (requests["x/y/a.mp4"].prompt, requests["x/b.mp4"].prompt) == ("deep", "root")
    assert {(r.ratio, r.priority, r.model) for r in requests.values()} == {("2:1", 2, "m")}
    assert b.lying() == ["_defaults.toml", "x/y/_defaults.toml"]


def test_defaults_serve_a_clip_without_a_sidecar_where_it_is_optional(bench):
    b = bench(sidecar_required=False)
    b.write("_defaults.toml", SIDECAR)
    b.drop("a.mp4", sidecar=None)
    b.look()
    b.look(9.9)
    assert b.accepted == []
    assert not b.inbox.is_idle
    b.look(0.1)
    assert b.paths == ["a.mp4"]
    assert b.inbox.is_idle


def test_a_mistake_in_defaults_is_told_beside_every_clip_below_and_mended_once(bench):
    b = bench()
    b.write("_defaults.toml", 'model = "m"\nsead = 1\n')
    b.drop("a.mp4", sidecar='prompt = "x"')
    b.drop("deep/er/b.mp4", sidecar='prompt = "x"')
    b.settle()
    for name in ("a.mp4", "deep/er/b.mp4"):
        assert "_defaults.toml, line 2: unknown key `sead`, did you mean `seed`?" in b.note(name)
    b.write("_defaults.toml", 'model = "m"\n')
    b.settle()
    assert sorted(b.paths) == ["a.mp4", "deep/er/b.mp4"]
    assert b.lying() == ["_defaults.toml"]


def test_reference_images_are_copied_and_stay_where_they_are(bench):
    b = bench()
    b.write("looks/winter.PNG", b"png")
    b.write("beside.jpg", b"jpg")
    b.drop(
        "day/a.mp4",
        sidecar=SIDECAR + 'references = ["looks/winter.PNG", "https://example.com/x.png", "b.webp"]\n',
    )
    b.write("day/b.webp", b"webp")
    b.settle()
    (accepted,) = b.accepted
    assert accepted.jobs[0].request.references == (
        Reference(name="looks/winter.PNG", file="ref-0.png"),
        Reference(uri="https://example.com/x.png"),
        Reference(name="day/b.webp", file="ref-1.webp"),
    )
    work = b.path / ".clipspool/work" / accepted.clip.id
    assert ((work / "ref-0.png").read_bytes(), (work / "ref-1.webp").read_bytes()) == (b"png", b"webp")
    assert b.lying() == ["beside.jpg", "day/b.webp", "looks/winter.PNG"]


def test_a_reference_is_found_by_the_path_that_the_editors_machine_has_for_it(tmp_path):
    b = Bench(tmp_path / "bay", places=Places({str(tmp_path / "bay"): "Z:\\bay"}))
    b.write("refs/look one.jpg", b"image")
    for name, entry in [
        ("a", r"refs\look one.jpg"),
        ("b", r"z:\bay\refs\look one.jpg"),
        ("c", "refs/look%20one.jpg"),
    ]:
        b.drop(f"{name}.mp4", sidecar=SIDECAR + f"references = ['{entry}']\n")
    b.settle()
    assert sorted(b.paths) == ["a.mp4", "b.mp4", "c.mp4"]
    for accepted in b.accepted:
        assert accepted.jobs[0].request.references[0].name == "refs/look one.jpg"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (r"C:\Users\me\look.jpg", r"put the image into `Z:\bay` and write its name alone"),
        # The beginning is not in [path_map], and the end of the path lies in the inbox.
        (r"\\nas\bay\refs\look.jpg", "which is not inside this inbox; did you mean `refs/look.jpg`?"),
        (r"C:\Users\me\REFS\look.jpg", "did you mean `refs/look.jpg`?"),
        ("LOOK.jpg", "did you mean `refs/look.jpg`?"),
        ("{home}/refs/look.jpg", "write it from this inbox on: `refs/look.jpg`"),
    ],
)
def test_a_reference_elsewhere_is_told_with_the_folder_that_is_right(tmp_path, entry, said):
    b = Bench(tmp_path / "bay", places=Places({str(tmp_path / "bay"): "Z:\\bay"}))
    b.write("refs/look.jpg", b"image")
    b.drop("a.mp4", sidecar=SIDECAR + f"references = ['{entry.format(home=tmp_path / 'bay')}']\n")
    b.settle()
    assert said in b.note("a.mp4")
    b.inbox.stop()


def test_a_missing_reference_is_a_problem_until_it_comes(bench):
    b = bench()
    b.drop("a.mp4", sidecar=SIDECAR + 'references = ["w.png"]\n')
    b.settle()
    assert "`references` names `w.png`, which is not in the inbox" in b.note("a.mp4")
    b.write("w.png", b"x")
    b.settle()
    assert b.paths == ["a.mp4"]
    assert b.lying() == ["w.png"]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_that_a_mac_spelled_otherwise_are_found(bench, forms):
    """An archive that a Mac packed holds é as two letters, and what is typed holds it as one."""
    typed, named = (unicodedata.normalize(form, "caf\u00e9") for form in forms)
    b = bench()
    b.write(f"{named}.png", b"png")
    b.write(f"{typed}.toml", SIDECAR + f'references = ["{typed}.png"]\n')
    b.drop(f"{named}.mp4", sidecar=None)
    b.settle()
    assert b.paths == [f"{named}.mp4"]
    assert b.accepted[0].clip.sidecar == f"{typed}.toml"
    assert b.accepted[0].jobs[0].request.references[0].name == f"{named}.png"
    assert b.lying() == [f"{named}.png"]


def test_a_reference_too_large_for_any_image_is_not_copied_and_keeps_no_other_clip_waiting(bench):
    b = bench()
    with b.write("w.png", b"png").open("rb+") as image:
        image.truncate(1 << 40)
    b.drop("a.mp4", sidecar=SIDECAR + 'references = ["w.png"]\n')
    b.drop("b.mp4")
    b.settle()
    assert b.paths == ["b.mp4"]
    assert "`references` names `w.png`, which is larger than 256 MB" in b.note("a.mp4")
    b.write("w.png", b"a smaller one")
    b.settle()
    assert b.paths == ["b.mp4", "a.mp4"]


def test_a_reference_image_that_is_cut_is_waited_for(bench):
    """A copy that stalled or broke off: it settled, was sent, and was paid for."""
    b = bench()
    image = b"\x89PNG\r\n\x1a\n" + bytes(5000) + b"\0\0\0\0IEND\xaeB`\x82"
    b.write("w.png", image[:4000])
    b.drop("a.mp4", sidecar=SIDECAR + 'references = ["w.png"]\n')
    b.settle()
    assert b.paths == []
    assert b.note("a.mp4") is None
    b.look(60.0)
    assert "its reference image `w.png` is not whole, its end is missing" in b.note("a.mp4")
    b.write("w.png", image)
    b.settle()
    b.look(3.0)
    assert b.paths == ["a.mp4"]


@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "linked folder"])
def test_a_reference_is_only_ever_a_regular_file_beneath_the_inbox(bench, tmp_path, kind):
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "w.png").write_bytes(b"secret")
    b = bench()
    match kind:
        case "link":
            (b.path / "w.png").symlink_to(secret / "w.png")
        case "folder":
            (b.path / "w.png").mkdir()
        case "fifo":
            os.mkfifo(b.path / "w.png")
        case "linked folder":
            (b.path / "looks").symlink_to(secret)
    name = "looks/w.png" if kind == "linked folder" else "w.png"
    b.drop("a.mp4", sidecar=SIDECAR + f'references = ["{name}"]\n')
    b.settle()
    assert b.accepted == []
    assert "`references` names" in b.note("a.mp4")


# --- the many ways a clip comes -------------------------------------------------------------------------


def test_a_part_file_is_nothing_until_it_is_renamed(bench):
    b = bench()
    b.write("a.mp4.toml", SIDECAR)
    part = b.write("a.mp4.part", CLIP)
    b.settle()
    assert "still being copied" in b.waiting()["a.mp4.toml"].reason
    part.rename(b.path / "a.mp4")
    b.settle()
    assert b.paths == ["a.mp4"]


def test_a_hard_link_and_its_original_are_two_clips(bench, tmp_path):
    elsewhere = tmp_path / "elsewhere.mp4"
    elsewhere.write_bytes(CLIP)
    b = bench()
    os.link(elsewhere, b.path / "a.mp4")
    b.write("a.toml", SIDECAR)
    b.settle()
    assert b.paths == ["a.mp4"]
    assert elsewhere.read_bytes() == CLIP


def test_names_may_be_any_bytes(bench):
    nfc, nfd = (unicodedata.normalize(form, "zürich.mp4") for form in ("NFC", "NFD"))
    names = [
        nfc, nfd, "Shot.mp4", "shot.mp4", "n" * 246 + ".mp4", "new\nline.mp4", "\x1b[31mred.mp4",
        "evil\u202egpj.mp4", " leading.mp4", "CON.mp4", "a:b.mp4", os.fsdecode(b"raw\xff\xfe.mp4"),
        "-rf.mp4", "💥.mp4",
    ]  # fmt: skip
    b = bench()
    for name in names:
        b.drop(name)
    b.settle()
    assert sorted(b.paths) == sorted(names)
    assert b.lying() == []


def test_a_clip_that_came_back_under_the_same_name_is_another_clip(bench):
    b = bench()
    for _ in range(2):
        b.drop("a.mp4")
        b.settle()
    assert b.paths == ["a.mp4", "a.mp4"]
    assert len({told.clip.id for told in b.accepted}) == 2


@pytest.mark.parametrize(("name", "most"), [("d", 65), ("d" * 250, 14)])
def test_folders_nested_too_deep_are_said_and_what_lies_above_them_is_taken(bench, name, most):
    b = bench()
    deepest = "/".join([name] * most)
    b.drop(f"{deepest}/a.mp4")
    b.drop(f"{deepest}/{name}/b.mp4")
    b.settle()
    assert b.paths == [f"{deepest}/a.mp4"]
    assert "nested too deep" in b.waiting()[deepest].reason
    shutil.rmtree(b.path / deepest / name)
    b.look(30.0)
    assert deepest not in b.waiting()


def test_what_lies_in_our_own_folders_is_never_looked_at(bench):
    b = bench()
    for folder in ("_done", "_failed/x", ".clipspool/work/abc", "@eaDir", "#recycle"):
        b.drop(f"{folder}/a.mp4")
    b.settle()
    assert b.accepted == []
    assert b.waiting() == {}


# --- what is refused ------------------------------------------------------------------------------------


def test_only_regular_files_are_ever_opened(bench, tmp_path):
    b = bench()
    (tmp_path / "real.mp4").write_bytes(CLIP)
    (b.path / "absolute.mp4").symlink_to(tmp_path / "real.mp4")
    (b.path / "dangling.mp4").symlink_to("nowhere.mp4")
    (b.path / "loop.mp4").symlink_to("loop.mp4")
    (b.path / "up.mp4").symlink_to("../real.mp4")
    os.mkfifo(b.path / "fifo.mp4")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(b.path / "sock.mp4"))
    for name in ("absolute", "dangling", "loop", "up", "fifo", "sock"):
        b.write(f"{name}.toml", SIDECAR)
    b.drop("good.mp4")
    b.settle()
    assert b.paths == ["good.mp4"]
    for name in ("absolute", "dangling", "loop", "up", "fifo", "sock"):
        assert "not a file but a link or a device" in b.note(f"{name}.mp4")


def test_a_sidecar_that_is_a_link_or_fifo_is_never_read(bench, tmp_path):
    (tmp_path / "secret.toml").write_text('prompt = "secret"')
    b = bench()
    b.drop("a.mp4", sidecar=None)
    (b.path / "a.toml").symlink_to(tmp_path / "secret.toml")
    b.drop("b.mp4", sidecar=None)
    os.mkfifo(b.path / "b.toml")
    b.settle()
    assert b.accepted == []
    for name in ("a", "b"):
        assert f"its sidecar `{name}.toml` is not a file" in b.note(f"{name}.mp4")


def test_a_linked_folder_is_not_entered_and_a_folder_named_like_a_clip_is(bench, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.mp4").write_bytes(CLIP)
    (elsewhere / "x.toml").write_text(SIDECAR)
    b = bench()
    (b.path / "linked").symlink_to(elsewhere)
    b.drop("clip.mp4/inner.mp4")
    b.settle()
    assert b.paths == ["clip.mp4/inner.mp4"]
    assert (elsewhere / "x.mp4").exists()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"#EXTM3U\nhttp://example.com/x.ts\n", "playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "only names other files"),
        (b"just some text\n", "text file"),
        (b"<MPD><x/></MPD>  ", "DASH"),
        (b"PK\x05\x06" + bytes(18), "ZIP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "image"),
    ],
)  # fmt: skip
def test_what_is_no_video_is_told_so(bench, data, word):
    b = bench()
    b.drop("a.mp4", data=data)
    b.drop("good.mp4")
    b.settle()
    assert b.paths == ["good.mp4"]
    assert word in b.note("a.mp4")


def test_empty_files_and_a_sparse_terabyte_harm_nobody(bench):
    b = bench()
    b.drop("empty.mp4", data=b"")
    b.drop("noside.mp4", sidecar="")
    sparse = b.drop("sparse.mp4", data=b"")
    with sparse.open("r+b") as file:
        file.truncate(1 << 40)
    big = b.drop("big.mp4", sidecar=None)
    with (b.path / f"{big.name}.toml").open("wb") as file:
        file.truncate(1 << 30)
    b.drop("good.mp4")
    b.settle()
    assert b.paths == ["good.mp4"]
    assert "64 KiB" in b.note("big.mp4")
    b.look(60.0)
    assert "it is empty (0 bytes)" in b.note("empty.mp4")
    assert "its sidecar `noside.mp4.toml` is empty" in b.note("noside.mp4")
    assert "zeros" in b.note("sparse.mp4")


def test_a_bug_with_one_clip_keeps_no_other_out(bench):
    def check(request, _media):
        if request.prompt == "bug":
            raise ZeroDivisionError
        return []

    b = bench(check=check)
    b.drop("a.mp4", sidecar='prompt = "bug"\nmodel = "m"')
    b.drop("b.mp4")
    b.settle()
    assert b.paths == ["b.mp4"]


def test_two_sidecars_for_one_clip_the_full_name_wins(bench):
    b = bench()
    b.drop("a.mp4", sidecar='prompt = "full"\nmodel = "m"')
    b.write("a.toml", 'prompt = "stem"\nmodel = "m"')
    b.settle()
    assert b.accepted[0].jobs[0].request.prompt == "full"
    assert b.lying() == ["a.toml"]


# --- offline --------------------------------------------------------------------------------------------


def test_a_vanished_folder_is_offline_and_comes_back_by_itself(bench):
    b = bench()
    b.drop("a.mp4", sidecar=None)
    b.settle()
    b.fault = Unavailable(5, "bay is not mounted")
    b.look(1.0)
    assert (b.inbox.state, b.inbox.reason, b.waiting()) == ("offline", "bay is not mounted", {})
    b.write("a.toml", SIDECAR)
    b.look(10.0)
    b.look(10.0)
    assert b.accepted == []
    b.fault = None
    b.settle()
    assert b.paths == ["a.mp4"]
    assert [t.state for t in b.told if isinstance(t, InboxChanged)] == ["watching", "offline", "watching"]


def test_another_folder_in_its_place_is_not_touched(bench, tmp_path):
    b = bench()
    b.root = Root(b.path)
    b.begin()
    b.look()
    b.path.rename(tmp_path / "unmounted")
    b.path.mkdir()
    b.fault = None
    b.drop("a.mp4")
    b.inbox._bind = lambda: None
    b.inbox._root.folder = _refuse
    b.look(3.0)
    assert b.inbox.state == "offline"
    assert b.accepted == []
    assert not (b.path / ".clipspool").exists()


def _refuse(*_args, **_kwargs):
    raise Unavailable(19, "another folder than it was")


def test_a_clip_whose_claim_was_cut_off_by_a_vanishing_mount_is_told_of_when_it_is_back(bench, monkeypatch):
    b = bench()
    real = sys.modules["clipspool.intake.accept"].claim

    def cut(*claimed):
        real(*claimed)
        raise Unavailable(116, "stale")

    monkeypatch.setattr("clipspool.intake.accept.claim", cut)
    b.drop("a.mp4")
    b.settle()
    assert b.accepted == []
    assert b.inbox.state == "offline"
    monkeypatch.setattr("clipspool.intake.accept.claim", real)
    b.look(10.0)
    assert b.paths == ["a.mp4"]
    b.settle()
    assert b.paths == ["a.mp4"]


def test_a_listener_that_fails_hears_of_the_clip_again(bench):
    b = bench()
    b.drop("a.mp4")
    b.look()
    told, b.inbox._on_message = b.inbox._on_message, _refuse
    with pytest.raises(Unavailable):
        b.look(3.0)
    b.inbox._on_message = told
    b.look()
    assert b.paths == ["a.mp4"]


# --- the real thread, the real events -------------------------------------------------------------------


@pytest.fixture
def running(bench):
    def run(**rules):
        b = bench(**{"detect": "events", "settle_seconds": 0.05, "rescan_seconds": 60.0, **rules})
        b.begin(now=time.time, monotonic=time.monotonic).start()
        b.until(lambda: b.inbox.state == "watching" and b.inbox.last_scan > 0)
        assert b.inbox.detect == rules.get("detect", "events")
        return b

    return run


def test_events_alone_bring_in_what_is_written_moved_linked_and_renamed_in_new_folders_too(running, tmp_path):
    b = running()
    source = tmp_path / "source"
    (source / "tree/inner").mkdir(parents=True)
    for name in ("moved", "linked", "tree/one", "tree/inner/two"):
        (source / f"{name}.mp4").write_bytes(CLIP)
        (source / f"{name}.toml").write_text(SIDECAR)
    b.drop("written.mp4")
    shutil.copytree(source / "tree", b.path / "copied")
    for suffix in (".toml", ".mp4"):
        (source / f"moved{suffix}").rename(b.path / f"moved{suffix}")
        os.link(source / f"linked{suffix}", b.path / f"linked{suffix}")
    (source / "tree").rename(b.path / "tree")
    b.write("renamed.toml", SIDECAR)
    b.write("renamed.mp4.part", CLIP).rename(b.path / "renamed.mp4")
    (b.path / "made").mkdir()
    b.drop("made/late.mp4")
    expected = [
        "copied/inner/two.mp4", "copied/one.mp4", "linked.mp4", "made/late.mp4", "moved.mp4",
        "renamed.mp4", "tree/inner/two.mp4", "tree/one.mp4", "written.mp4",
    ]  # fmt: skip
    b.until(lambda: len(b.paths) >= len(expected))
    assert sorted(b.paths) == expected
    assert b.lying() == []
    alive, wanted = b.inbox.emitters
    assert alive == wanted > 0


def test_a_clip_is_accepted_right_when_it_has_settled_even_after_others_were_moved_away(running):
    b = running(settle_seconds=0.1)
    late = []
    for number in range(6):
        b.drop(f"{number}.mp4")
        written = time.monotonic()
        b.until(lambda n=number: len(b.paths) > n)
        late.append(time.monotonic() - written - 0.1)
    assert sorted(late)[3] < 0.15  # half a second each if moves were waited for, as watchdog does by itself


def test_thousands_at_once_are_each_accepted_once(running):
    b = running()
    for number in range(400):
        b.drop(f"{number:04}.mp4", sidecar=SIDECAR)
    b.until(lambda: len(b.paths) >= 400, seconds=15.0)
    assert sorted(b.paths) == [f"{number:04}.mp4" for number in range(400)]
    assert len({told.clip.id for told in b.accepted}) == 400
    b.until(lambda: b.lying() == [])


def test_without_events_a_rescan_finds_everything(running):
    b = running(detect="rescan", rescan_seconds=0.1)
    b.drop("x/a.mp4")
    b.until(lambda: b.paths == ["x/a.mp4"])


def test_a_note_goes_when_its_clip_is_taken_away(running):
    b = running()
    b.drop("a.mp4", sidecar="nonsense")
    b.until(lambda: b.note("a.mp4") is not None)
    (b.path / "a.mp4").unlink()
    b.until(lambda: b.note("a.mp4") is None)


def test_a_folder_that_was_deleted_and_made_again_is_watched_again(running):
    b = running()
    for number in range(3):
        b.drop(f"day/{number}.mp4")
        b.until(lambda n=number: len(b.paths) > n)
        shutil.rmtree(b.path / "day")


def test_dead_events_are_begun_anew_at_the_next_rescan(running):
    b = running(rescan_seconds=0.2)
    b.inbox._watch._observer.stop()
    b.until(lambda: b.inbox._watch.is_alive() and b.inbox.detect == "events")


def test_events_that_cannot_be_had_are_done_without(bench, monkeypatch):
    def refuse(*_args):
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr(Watch, "begin", refuse)
    b = bench(detect="events")
    b.drop("a.mp4")
    b.settle()
    assert (b.inbox.detect, b.paths) == ("rescan", ["a.mp4"])


def test_what_watchdog_says_of_its_own_race_is_not_logged(tmp_path):
    """It did so for folders made while they were being added, with all that it watches in each line."""
    watch = Watch(tmp_path, threading.Event())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch.begin(())
        watch.end()
        warnings.warn("Callback with id '1' already exists for watch <Watch>.", RuntimeWarning, stacklevel=1)


def test_more_folders_than_threads_are_watched_as_one(running):
    b = running()
    for number in range(40):
        (b.path / f"day{number}").mkdir()
    b.until(lambda: b.inbox._watch._is_whole)
    b.drop("day39/a.mp4")
    b.until(lambda: b.paths == ["day39/a.mp4"])
    assert threading.active_count() < 20


def test_it_stops_in_the_middle_of_many(running):
    b = running()
    for number in range(300):
        b.drop(f"{number:04}.mp4")
    b.until(lambda: b.paths != [])
    assert b.inbox.stop(2.0)
    left = [name for name in b.lying() if name.endswith(".mp4")]
    assert len(left) + len(b.paths) == 300


def test_a_clip_copied_slowly_by_another_process_is_accepted_whole(running, tmp_path):
    b = running(settle_seconds=0.15)
    (tmp_path / "whole.mp4").write_bytes(CLIP)
    b.write("a.toml", SIDECAR)
    copy = """
import sys, time
data = open(sys.argv[1], "rb").read()
with open(sys.argv[2], "wb", buffering=0) as file:
    for start in range(0, len(data), 200):
        file.write(data[start : start + 200])
        time.sleep(0.08)
"""
    subprocess.run([sys.executable, "-c", copy, tmp_path / "whole.mp4", b.path / "a.mp4"], check=True)
    b.until(lambda: b.paths == ["a.mp4"])
    assert b.accepted[0].clip.size == len(CLIP)


def test_what_a_crash_left_half_written_is_cleared_away_after_an_hour_and_nothing_else(bench):
    b = bench()
    (b.path / "day").mkdir()
    names = {"ours": ".0123456789abcdef.tmp", "theirs": ".0123.tmp", "fresh": ".fedcba9876543210.tmp"}
    for name in names.values():
        (b.path / "day" / name).write_bytes(b"half")
        os.utime(b.path / "day" / name, (EPOCH, EPOCH))
    (b.path / "day" / ".aaaaaaaaaaaaaaaa.tmp").mkdir()
    os.utime(b.path / "day" / names["fresh"], (EPOCH + 3000, EPOCH + 3000))
    b.look()
    b.look(3605)
    assert not (b.path / "day" / names["ours"]).exists()
    assert (b.path / "day" / names["theirs"]).exists()
    assert (b.path / "day" / names["fresh"]).exists()


def test_a_clip_on_which_the_decoder_gave_up_is_looked_at_again_by_itself_more_and_more_rarely(bench):
    looks = []

    def inspect(_file):
        looks.append(b.seconds)
        if b.seconds < 100:
            raise Unsure("the decoder crashed on this file.")
        return {"seconds": 2.0}, []

    b = bench(rescan_seconds=1.0)
    b._inspect = inspect
    b.begin()
    b.drop("a.mp4")
    b.look()
    for _ in range(200):
        b.look(1.0)
    assert b.paths == ["a.mp4"]
    assert len(looks) == 5
    assert b.note("a.mp4") is None


@pytest.mark.parametrize(
    "more",
    [
        {"source": "../../../precious.mp4"},
        {"path": "../../precious.mp4"},
        {"path": "/etc/passwd"},
        {"sidecar": "../precious.toml"},
        {"id": "another"},
        {"size": "big"},
        {"size": 1 << 70},
        {"accepted_at": float("nan")},
        {"lies_at": "../../precious.mp4"},
        {"media": "none"},
        {"job": {"id": "another"}},
        {"accepted_at": 1e12},
        {"job": {"due_at": float("inf")}},
        {"job": {"due_at": 1e12}},
        {"job": {"variant": "/../x"}},
        {"job": {"request": {"prompt": 5, "model": "m", "seed": 1}}},
        {"job": {"request": {"prompt": "x", "model": "m", "seed": 1 << 70}}},
        {"job": {"request": {"prompt": "x", "model": "m", "seed": 1, "not_before": 1e12}}},
        {"job": {"request": {"prompt": "x", "model": "m", "seed": 1, "references": [{"file": "../../x"}]}}},
    ],
    ids=str,
)
def test_a_manifest_that_is_none_of_ours_is_told_of_and_leads_nowhere(tmp_path, more):
    clip = {"id": "abc", "inbox": "bay", "path": "a.mp4", "source": "clip.mp4", "size": 1, "mtime_ns": 1}
    clip |= {"accepted_at": 1.0, "media": "{}"}
    request = {"prompt": "x", "model": "m", "seed": 1}
    job = {"id": "abc", "variant": "", "priority": 0, "due_at": 0.0, "request": request}
    home = tmp_path / ".clipspool/work/abc"
    home.mkdir(parents=True)
    (home / "clip.mp4").write_bytes(CLIP)

    def told(clip, job):
        (home / "manifest.toml").write_text(tomli_w.dumps({"journal": "j", "clip": clip, "job": [job]}))
        return survey("bay", Root(tmp_path), "j", set())

    assert [one.clip.path for one in told(clip, job).ours] == ["a.mp4"]
    clip |= {key: value for key, value in more.items() if key != "job"}
    assert told(clip, job | more.get("job", {})).damaged == ["abc"]
    assert (home / "clip.mp4").exists()


@pytest.mark.parametrize(
    ("name", "is_moved"),
    [("a.txt", True), ("A.TXT", True), ("other.mp4", False), ("day/a.txt", False), ("../a.txt", False)],
)
def test_a_crash_right_after_the_claim_leaves_the_prompt_behind_and_the_start_fetches_it(
    tmp_path, name, is_moved
):
    bay = tmp_path / "bay"
    clip, job = a_clip("abc", path="a.mp4", sidecar=None), a_job("abc")
    home = bay / folder_of("abc")
    home.mkdir(parents=True)
    (home / clip.source).write_bytes(CLIP)
    (home / "ledger.jsonl").write_bytes(b"")
    (home / "manifest.toml").write_bytes(Manifest(clip, (job,), "j", name).to_toml())
    (bay / name).parent.mkdir(exist_ok=True)
    (bay / name).write_text("snow")
    assert len(survey("bay", Root(bay), "j", set()).ours) == 1
    assert (bay / name).exists() != is_moved
    assert (home / PROMPT).exists() == is_moved


@pytest.mark.parametrize(
    ("journal", "put_back", "lies_there", "goes"),
    [
        ("j", True, False, True),
        ("j", True, True, False),
        ("j", False, False, False),
        ("k", True, False, False),
    ],
)
def test_the_note_of_a_clip_that_was_moved_back_goes_also_where_a_kill_cut_its_acceptance(
    tmp_path, journal, put_back, lies_there, goes
):
    """While it stays, a copy of the clip that comes later counts as moved back, too, and is paid for."""
    job = a_job("abc")
    job = replace(job, request=replace(job.request, was_put_back=put_back))
    clip = a_clip("abc")
    home, failed = tmp_path / ".clipspool/work/abc", tmp_path / "_failed" / clip.path
    home.mkdir(parents=True)
    failed.parent.mkdir(parents=True)
    (home / "clip.mp4").write_bytes(CLIP)
    (home / "manifest.toml").write_bytes(Manifest(clip, (job,), journal).to_toml())
    note = failed.with_name(failed.name + ".error.toml")
    note.write_text('code = "TASK.FAILED"\npaid = "unknown"\n')
    if lies_there:
        failed.write_bytes(CLIP)
    left_behind("bay", Root(tmp_path), "j", set())
    assert note.exists() != goes


def test_a_manifest_that_names_another_inbox_reaches_nothing_there(tmp_path):
    job = a_job("abc", inbox="theirs")
    clip = a_clip("abc", inbox="theirs")
    home = tmp_path / ".clipspool/work/abc"
    home.mkdir(parents=True)
    (home / "clip.mp4").write_bytes(CLIP)
    (home / "manifest.toml").write_bytes(Manifest(clip, (job,), "j").to_toml())
    (found,) = left_behind("ours", Root(tmp_path), "j", set())
    assert found.clip.inbox == "ours"
    assert [job.inbox for job in found.jobs] == ["ours"]


def test_odd_things_among_the_work_folders_keep_no_inbox_from_its_work(tmp_path):
    work = tmp_path / ".clipspool/work"
    work.mkdir(parents=True)
    (work / "a-file").write_text("x")
    (work / "a-link").symlink_to(tmp_path)
    (work / "fifo").mkdir()
    os.mkfifo(work / "fifo" / "manifest.toml")
    (work / "folder").mkdir()
    (work / "folder" / "manifest.toml").mkdir()
    (work / "folder" / "clip.mp4").write_bytes(CLIP)
    (work / "deep").mkdir()
    (work / "deep" / "manifest.toml").write_text("x = " + "[" * 5000)
    assert survey("bay", Root(tmp_path), "j", set()).damaged == ["folder"]
    assert (work / "folder" / "clip.mp4").exists()


def test_a_clip_from_beyond_the_year_2262_is_told_so_for_no_journal_holds_its_date(bench):
    b = bench()
    path = b.drop("a.mp4")
    os.utime(path, ns=(1 << 63, 1 << 63))
    if path.stat().st_mtime_ns < 1 << 63:
        pytest.skip("this file system knows no such date")
    b.settle()
    assert b.paths == []
    assert "2262" in b.note("a.mp4")
    os.utime(path)
    b.settle()
    assert b.paths == ["a.mp4"]


def test_without_threads_clips_are_claimed_one_after_the_other(bench, monkeypatch):
    b = bench()

    def refused(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    for number in range(3):
        b.drop(f"n{number}.mp4")
    b.settle()
    assert len(b.accepted) == 3


# --- _pause ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["_pause", "_PAUSE", "_paused", "_pause.txt", "_pause (1).txt"])
def test_while_pause_lies_in_an_inbox_clips_stay_in_it_and_its_queue_is_told_of_first(bench, name):
    b = bench()
    b.write(name, "")
    b.drop("day/a.mp4")
    b.settle()
    assert b.told[0] == InboxPaused("bay", name)
    assert b.accepted == []
    assert f"`{name}`; remove it" in b.waiting()["day/a.mp4"].reason
    assert not b.waiting()["day/a.mp4"].problem
    assert b.inbox.is_idle
    (b.path / name).unlink()
    b.look()
    assert b.paths == ["day/a.mp4"]
    assert InboxPaused("bay", "") in b.told


@pytest.mark.parametrize("name", ["pause", "pause.txt", "-pause"])
def test_a_pause_that_lacks_its_underscore_pauses_as_well(bench, name):
    b = bench()
    b.write("day/" + name, "")
    b.drop("day/a.mp4")
    b.settle()
    assert b.accepted == []
    assert f"`day/{name}`; remove it" in b.waiting()["day/a.mp4"].reason
    (b.path / "day" / name).unlink()
    b.look()
    assert b.paths == ["day/a.mp4"]


def test_the_prompt_of_a_clip_named_pause_pauses_nothing(bench):
    b = bench()
    b.write("pause.txt", "snow")
    b.drop("a.mp4")
    b.settle()
    assert b.accepted == []
    b.drop("pause.mp4")
    b.settle()
    assert sorted(b.paths) == ["a.mp4", "pause.mp4"]


@pytest.mark.parametrize("name", ["_defaults.toml", "_prompt.txt"])
def test_a_folder_with_the_name_of_settings_is_told_of(bench, name):
    b = bench()
    (b.path / "day" / name).mkdir(parents=True)
    b.drop("day/a.mp4")
    b.settle()
    assert b.accepted == []
    assert f"day/{name} is a folder instead of a file" in b.waiting()["day/a.mp4"].reason
    (b.path / "day" / name).rmdir()
    b.look()
    assert b.paths == ["day/a.mp4"]


def test_a_name_that_would_be_one_of_our_notes_is_not_advised(bench):
    b = bench()
    b.write("x.error.mp4", CLIP)
    b.settle()
    b.look(60.0)
    note = (b.path / "x.error.mp4.problem.txt").read_text()
    assert "x.error.mp4.toml" in note
    assert "x.error.toml" not in note


def test_a_folder_named_pause_pauses_too_and_one_below_holds_back_what_lies_there(bench):
    b = bench()
    b.look()
    assert b.told[0] == InboxPaused("bay", "")
    (b.path / "_pause").mkdir()
    b.write("_pause/a.mp4", CLIP)
    b.look()
    assert b.told[-1] == InboxPaused("bay", "_pause")
    (b.path / "_pause" / "a.mp4").unlink()
    (b.path / "_pause").rmdir()
    b.write("day/_pause", "")
    b.drop("day/below/a.mp4")
    b.drop("b.mp4")
    b.settle()
    assert b.paths == ["b.mp4"]
    assert "the inbox contains `day/_pause`" in b.waiting()["day/below/a.mp4"].reason


def test_who_else_uses_an_inbox_is_looked_for_every_ten_seconds_however_rarely_it_is_rescanned(tmp_path):
    bench = Bench(tmp_path / "bay", rescan_seconds=600.0)
    looked = []
    plain = bench.bind
    bench.bind = lambda: (looked.append(bench.seconds), plain())[1]
    bench.begin()
    while bench.seconds < 60:
        bench.seconds = max(bench.inbox.run_pass(bench.seconds), bench.seconds + 0.1)
    assert max(later - earlier for earlier, later in itertools.pairwise(looked)) <= 11.0
    assert looked[-1] >= 49.0
