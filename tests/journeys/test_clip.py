"""A clip's way: dropped, accepted, paid for once, delivered with its provenance, and put away."""

import os
import tomllib
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from bench import processes
from journeys.bay import make_clip
from numbered import fill, png
from patience import patient
from runway_sandbox import Render, Style


def test_a_dropped_clip_comes_back_with_its_provenance_and_its_source_is_put_away(bay):
    bay.start()
    bay.drop("shot.mp4", 'prompt = "deep winter"\nseed = 7\n')
    bay.until_retired()
    assert bay.results() == [".clipspool/outbox.toml", "shot.mp4", "shot.mp4.toml"]
    told = tomllib.loads((bay.outbox / "shot.mp4.toml").read_text())
    assert (told["prompt"], told["seed"], told["model"]) == ("deep winter", 7, "gen4_aleph")
    assert told["result"]["task"] == bay.box.ledger.creates[0].task_id
    assert bay.lying() == ["_done/shot.mp4", "_done/shot.toml"]
    assert not (bay.inbox / ".clipspool/posters").exists()  # nobody can see them: the page is off
    assert bay.paid == 1
    assert bay.stop() == 0


def test_sub_folders_are_kept_in_the_outbox_and_in_done(bay):
    bay.start()
    bay.drop("day 1/åäö/shot.mp4")
    bay.until_retired()
    assert "day 1/åäö/shot.mp4" in bay.results()
    assert "_done/day 1/åäö/shot.mp4" in bay.lying()


ARENA_BYTES = 64 << 20
"""GNU's malloc reserves this much for each further arena, at a multiple of it (arena.c, HEAP_MAX_SIZE)."""


def arenas(pid):
    """Count the arenas of a process besides its first: each begins where memory in use does."""
    lines = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    spans = [(*(int(at, 16) for at in line[0].split("-")), line[1], len(line)) for line in lines]
    return sum(
        (begin % ARENA_BYTES, rights, words) == (0, "rw-p", 5) and (then, kept) == (end, "---p")
        for (begin, end, rights, words), (then, _, kept, _) in pairwise(spans)
    )


def test_all_threads_share_one_arena_of_memory(bay):
    bay.start(before=["env"])
    bay.drop("shot.mp4")
    bay.until_retired()
    assert arenas(bay.daemon.pid) == 0


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it takes two processors to leave one")
def test_all_threads_share_one_processor_and_the_decoder_has_them_all(bay):
    bay.start(before=["env"])  # its decoder is its own child then
    bay.drop("shot.mp4")
    bay.until_retired()
    threads = {int(path.name) for path in Path(f"/proc/{bay.daemon.pid}/task").iterdir()}
    decoders = {pid for pid in processes.tree(bay.daemon.pid) if pid != bay.daemon.pid}
    assert len(threads) > 5
    assert len(set.union(*map(os.sched_getaffinity, threads))) == 1
    assert decoders
    assert {frozenset(os.sched_getaffinity(pid)) for pid in decoders} == {frozenset(os.sched_getaffinity(0))}


@pytest.mark.slow
def test_a_source_that_cannot_be_put_away_is_told_of_until_it_is(bay):
    (bay.inbox / "_done").mkdir()
    bay.write("_done/day", "a file where a folder is needed")
    bay.start()
    bay.drop("day/shot.mp4")

    def waiting():
        return [(one["path"], one["reason"]) for one in bay.told("status")["inboxes"][0]["waiting"]]

    stays = "cannot be moved out of its work folder"
    bay.until(lambda: any(stays in reason for _, reason in waiting()), what="it is told of")
    ((path, reason),) = waiting()
    assert path == "day/shot.mp4"
    assert stays in reason
    assert "_done/day" in reason
    assert stays in " ".join(bay.call("status").stdout.split())
    (bay.inbox / "_done/day").unlink()
    bay.until_retired()
    bay.until(lambda: not waiting(), what="nothing is told of any more")
    assert bay.lying() == ["_done/day/shot.mp4", "_done/day/shot.toml"]


@pytest.mark.slow
def test_a_source_that_cannot_be_put_away_is_told_of_no_more_once_its_job_runs_again(open_bays):
    with open_bays(render_seconds=15.0) as bay:
        bay.box.misbehave("task:failure:prompt=doomed")
        (bay.inbox / "_failed").mkdir()
        bay.write("_failed/day", "a file where a folder is needed")
        bay.start()
        bay.drop("day/shot.mp4", 'prompt = "doomed"\n')
        stays = "cannot be moved out of its work folder"
        bay.until(lambda: stays in bay.call("status", "--json").stdout, what="it is told of")
        assert bay.call("retry", bay.job()["id"], "--yes").returncode == 0
        bay.consents += 1
        bay.until_states("running")
        assert bay.told("status")["inboxes"][0]["waiting"] == []
        (bay.inbox / "_failed/day").unlink()
        bay.until_retired()


def test_each_variant_gives_one_result_and_the_clip_waits_for_all(bay):
    bay.start()
    bay.drop("shot.mp4", 'prompt = "winter"\n[[variant]]\nseed = 1\n[[variant]]\nprompt = "dusk"\nseed = 2\n')
    bay.until_retired()
    assert {"shot_v1.mp4", "shot_v2.mp4"} <= set(bay.results())
    assert sorted((c.prompt, c.seed) for c in bay.box.ledger.creates) == [("dusk", 2), ("winter", 1)]


def test_a_clip_with_a_failed_variant_goes_to_failed_and_its_good_result_is_kept(bay):
    bay.box.misbehave("task:failure:prompt=doomed")
    bay.start()
    bay.drop("shot.mp4", 'prompt = "fine"\n[[variant]]\n[[variant]]\nprompt = "doomed"\n')
    bay.until_retired()
    assert "shot_v1.mp4" in bay.results()
    assert {"_failed/shot.mp4", "_failed/shot.toml", "_failed/shot.mp4.error.toml"} == set(bay.lying())


def test_defaults_of_outer_and_inner_folders_are_laid_below_the_sidecar(bay):
    bay.configure(top='[defaults]\nmodel = "gen4_aleph"\nseed = 1\n')
    bay.write("_defaults.toml", 'prompt = "outer"\nseed = 2\n')
    bay.write("in/_defaults.toml", "seed = 3\n")
    bay.start()
    bay.drop("in/shot.mp4", 'prompt = "own"\n')
    bay.drop("plain.mp4", "priority = 1\n")
    bay.until_retired(2)
    assert sorted((c.prompt, c.seed) for c in bay.box.ledger.creates) == [("outer", 2), ("own", 3)]
    assert "_defaults.toml" in bay.lying()


def test_what_an_inbox_says_for_its_clips_goes_between_the_configuration_and_their_folders(bay):
    bay.configure(
        top='[defaults]\nprompt = "all"\nseed = 1\nratio = "960:960"\n',
        keys='[inbox.defaults]\nprompt = "this inbox"\nseed = 2\n',
    )
    bay.write("in/_defaults.toml", "seed = 3\n")
    bay.start()
    bay.drop("shot.mp4", "priority = 1\n")
    bay.drop("in/shot.mp4", "priority = 1\n")
    bay.until_retired(2)
    papers = [
        tomllib.loads((bay.outbox / f"{name}.toml").read_text()) for name in ("shot.mp4", "in/shot.mp4")
    ]
    assert [paper["seed"] for paper in papers] == [2, 3]
    assert {(paper["prompt"], paper["ratio"]) for paper in papers} == {("this inbox", "960:960")}


def test_a_sidecar_may_come_after_its_clip_and_the_long_name_wins(bay):
    bay.start()
    bay.drop("shot.mp4", None)
    bay.until(lambda: bay.told("status")["inboxes"][0]["waiting"], what="the clip waits")
    bay.write("shot.toml", 'prompt = "short name"\n')
    bay.until_retired()
    bay.write("next.mp4.toml", 'prompt = "long name"\n')
    bay.drop("next.mp4", None)
    bay.until_retired(2)
    assert [c.prompt for c in bay.box.ledger.creates] == ["short name", "long name"]


def test_provenance_dropped_beside_the_clip_repeats_the_request(bay):
    bay.start()
    bay.drop("shot.mp4", 'prompt = "once more"\nseed = 99\n')
    bay.until_retired()
    again = (bay.outbox / "shot.mp4.toml").read_text()
    bay.write("again.mp4.toml", again)
    bay.drop("again.mp4", None)
    bay.until_retired(2)
    first, second = bay.box.ledger.creates
    assert (first.prompt, first.seed) == (second.prompt, second.seed) == ("once more", 99)


def test_a_taken_name_in_the_outbox_is_never_overwritten(bay):
    theirs = bay.outbox / "SHOT.mp4"
    theirs.write_bytes(b"theirs")
    bay.foreign.add(theirs)
    bay.start()
    bay.drop("shot.mp4")
    bay.until_retired()
    assert theirs.read_bytes() == b"theirs"
    assert {"shot-2.mp4", "shot-2.mp4.toml"} <= set(bay.results())


def test_the_same_name_dropped_twice_gives_two_results_and_two_sources(bay):
    bay.start()
    first = bay.drop("shot.mp4")
    bay.until(lambda: not first.exists() and not first.with_suffix(".toml").exists(), what="both are in work")
    second = bay.drop("shot.mp4", data=make_clip(bay.template, "other"))
    bay.until_retired(2)
    assert not second.exists()
    assert {"shot.mp4", "shot-2.mp4"} <= set(bay.results())
    assert {"_done/shot.mp4", "_done/shot-2.mp4"} <= set(bay.lying())


def test_a_failed_render_leaves_the_source_in_failed_with_the_reason(bay):
    bay.box.misbehave("task:failure:code=SAFETY.INPUT.VIDEO")
    bay.start()
    bay.drop("shot.mp4")
    bay.until_retired()
    note = tomllib.loads((bay.inbox / "_failed/shot.mp4.error.toml").read_text())
    assert {"code", "message", "what_to_do", "retryable", "task_id", "paid"} <= set(_flat(note))
    assert "SAFETY" in str(note)
    assert bay.paid == 1


def _flat(tree):
    for key, value in tree.items():
        yield key
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield from _flat(one)


def test_sources_are_deleted_when_the_inbox_says_so_and_only_after_delivery(bay):
    bay.configure(keys='source = "delete"')
    bay.deletes_sources = True
    bay.start()
    bay.drop("shot.mp4")
    bay.until_retired()
    assert bay.lying() == []
    assert "shot.mp4" in bay.results()


def test_forty_clips_dropped_at_once_are_each_paid_once(bay):
    bay.configure(provider="running_max = 40")
    bay.start()
    for number in range(40):
        bay.drop(f"shot{number:03}.mp4")
    bay.until_retired(40, seconds=30)
    assert bay.paid == 40


def test_clips_that_lie_there_at_the_start_are_taken(bay):
    bay.drop("shot.mp4")
    assert bay.run_until_idle() == 0
    assert "shot.mp4" in bay.results()


def test_wrapped_answers_of_the_gateway_are_followed_too(open_bays):
    with open_bays(style=Style.WRAPPED, gateway_ids=True, render_seconds=0.2) as bay:
        bay.drop("shot.mp4")
        assert bay.run_until_idle() == 0
        assert "shot.mp4" in bay.results()


def test_a_clip_with_its_prompt_in_a_text_file_is_delivered_and_the_text_retires_with_it(bay):
    bay.write("day/shot.txt", "deep winter\nat dusk\n")
    bay.drop("day/shot.mp4", sidecar=None)
    bay.write("day/cut.txt", "summer")
    bay.drop("day/cut.mp4", sidecar="seed = 5")
    assert bay.run_until_idle() == 0
    prompts = {job["clip"]: job["request"]["prompt"] for job in bay.told("jobs")}
    assert prompts == {"day/shot.mp4": "deep winter at dusk", "day/cut.mp4": "summer"}
    done = sorted(path.name for path in (bay.inbox / "_done" / "day").iterdir())
    assert done == ["cut.mp4", "cut.toml", "cut.txt", "shot.mp4", "shot.txt"]
    assert not list((bay.inbox / "day").iterdir())


@pytest.mark.slow
def test_a_clip_is_held_until_its_not_before_and_goes_on_by_itself(bay):
    bay.start()
    soon = f"{datetime.now(UTC) + timedelta(seconds=patient(6)):%Y-%m-%dT%H:%M:%SZ}"
    bay.drop("shot.mp4", f'prompt = "deep winter"\nnot_before = {soon}\n')
    bay.until_states("queued")
    bay.until(lambda: bay.told("jobs")[0]["held"] == "not_before")
    bay.until_retired(seconds=40)


@pytest.mark.slow
def test_a_clip_that_is_held_is_taken_back_by_removing_it_and_else_goes_on_by_itself(bay):
    bay.configure(keys=f"hold_seconds = {patient(3)}")
    bay.start()
    kept, removed = bay.drop("kept.mp4"), bay.drop("removed.mp4")
    bay.dropped.popitem()

    def held():
        waiting = bay.told("status")["inboxes"][0]["waiting"]
        return {one["path"] for one in waiting if "take it back" in one["reason"]} == {
            "kept.mp4",
            "removed.mp4",
        }

    bay.until(held)
    assert kept.exists()
    removed.unlink()
    bay.until_retired()
    assert bay.paid == 1


def test_a_matrix_does_not_pass_a_limit_that_each_of_it_keeps_and_a_folder_is_approved_at_once(bay):
    bay.configure(top="[budget]\ncredits_per_job_max = 20\n")  # about 15 credits each
    bay.start()
    bay.drop("day/shot.mp4", 'prompt = "x"\n[matrix]\nseed = [1, 2, 3]\n')
    bay.drop("alone.mp4")
    bay.until(lambda: [job["held"] for job in bay.told("jobs")].count("budget") == 3)
    bay.until_retired(1)
    assert bay.paid == 1
    asked = bay.call("approve", "--inbox", "bay", "--folder", "day")
    assert (
        "Approve these? 3 jobs will be sent and charged: about 45 credits. The account has " in asked.stderr
    )
    nothing = bay.call("approve", "--inbox", "bay", "--folder", "elsewhere", "--yes").stdout
    assert nothing.startswith("No jobs in the folder")
    assert bay.call("approve", "--inbox", "bay", "--folder", "day", "--yes").returncode == 0
    bay.until_retired(2)
    assert bay.paid == 4


def test_a_job_that_is_too_dear_waits_for_approval(bay):
    bay.configure(top="[budget]\ncredits_per_job_max = 1\n")
    bay.start()
    bay.drop("shot.mp4")
    job = bay.until(lambda: next((j for j in bay.told("jobs") if j["held"] == "budget"), None))
    assert bay.paid == 0
    assert bay.call("approve", job["id"], "--yes").returncode == 0
    bay.until_retired()
    assert bay.paid == 1


def test_a_folder_of_numbered_pictures_is_paid_for_once_and_comes_back_as_one_film(bay):
    bay.is_checked = False  # what is paid for was made of the pictures, and has other bytes
    bay.start()
    names = fill(bay.inbox / "day/seq", range(1001, 1025), width=160, height=90)
    (bay.inbox / "day/seq.toml").write_text('prompt = "deep winter"\nframes_per_second = 12\nseed = 7\n')
    bay.until_retired()
    told = tomllib.loads((bay.outbox / "day/seq.mp4.toml").read_text())
    assert (told["frames_per_second"], told["result"]["source"]) == (12.0, "day/seq")
    assert told["result"]["conformed"][0] == (
        "made of 24 numbered pictures (PNG), `shot.1001.png` to `shot.1024.png`, at 12 frames a second"
    )
    assert bay.lying() == ["_done/day/seq.toml", *(f"_done/day/seq/{name}" for name in names)]
    assert bay.paid == 1
    (job,) = bay.told("jobs")
    assert bay.call("again", job["id"], "--set", "frames_per_second=24", "--yes").returncode == 0
    bay.until_states("delivered", "delivered")
    again = tomllib.loads((bay.outbox / "day/seq_v002.mp4.toml").read_text())
    assert (again["frames_per_second"], again["result"]["source_sha256"]) == (
        24.0,
        told["result"]["source_sha256"],
    )
    bay.until(lambda: len(bay.lying()) == 25, what="the folder is back in the archive")
    assert bay.paid == 2


def test_pictures_that_a_model_returns_as_an_archive_come_back_as_a_folder_under_the_clips_numbers(open_bays):
    with open_bays(render=Render.ECHO) as bay:
        bay.is_checked = False  # what is paid for was made of the pictures
        bay.start()
        names = fill(bay.inbox / "seq", range(1001, 1049), width=1280, height=480)  # wider than it takes
        bay.write("seq.toml", 'prompt = "deep winter"\nmodel = "aleph2"\noutput_format = "png_sequence"\n')
        bay.until_retired(seconds=60)
        made = bay.outbox / "seq"
        assert sorted(path.name for path in made.iterdir()) == names
        heads = {path.read_bytes()[:24] for path in made.iterdir()}
        assert heads == {png(width=1280, height=480)[:24]}
        told = tomllib.loads((bay.outbox / "seq.toml").read_text())["result"]
        assert (told["name"], told["frames"], told["frames_per_second"]) == ("seq", 48, 24)
        assert "black bars cut off again (1280x480 pixels are left)" in told["finished"]
        assert told["size"] == sum(path.stat().st_size for path in made.iterdir())
        assert bay.paid == 1
        assert bay.stop() == 0
