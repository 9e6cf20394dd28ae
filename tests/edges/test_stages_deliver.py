"""After the render: results come home whole, and appear in the outbox under names that nobody had."""

import errno
import hashlib
import os
import shutil
import subprocess
import time
import tomllib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from clipspool.jobs.assignments import Assignment
from clipspool.jobs.events import (
    Delivered,
    Failed,
    Fetched,
    PartlyFetched,
    Postponed,
    ResultGone,
    StageFailed,
)
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Held, Missing, Result, State
from clipspool.jobs.path_map import Places
from clipspool.jobs.working import Working
from clipspool.media.facts import ZEROS
from clipspool.media.reading import BLACK
from clipspool.provider.protocol import Download, TaskLook, TaskStatus
from clipspool.spool.root import Root
from clipspool.spool.watchfolder import Folders
from clipspool.stages import deliver as stages_deliver
from clipspool.stages import runner as stages_runner
from clipspool.stages.deliver import base_name, deliver, names
from clipspool.stages.fetch import CUTS_MAX, OUTPUTS_MAX, FetchTools, Probed, fetch
from clipspool.stages.runner import StageRunner, Tools
from clipspool.system import atomic as files
from clipspool.system import moves
from fakes import BUSY, NOON, Bench, Film, Studio, a_clip, a_job, a_request, a_task, always, lying

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
MOVIE = b"some rendered film"


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def studio():
    return Studio()


def look_into(file):
    data = file.read()
    for begins, suffix in ((b"JPEG", ".jpg"), (b"{}", ".json")):
        if data.startswith(begins):
            return Probed(suffix)
    return (
        Probed("", "it is no video")
        if data.startswith(b"<html")
        else Probed(".mov" if b"qt" in data else ".mp4")
    )


RENDERED = a_job(state=State.RENDERED, task=a_task())


def bring(bench, studio, *, job=RENDERED, attempt="a1", stopping=lambda: False, look=None, may_make=always):
    tools = FetchTools(studio, look_into, stopping, may_make)
    return fetch(job, bench.bay, tools, look, attempt=attempt)


def in_work(bench):
    return {path.name: path.read_bytes() for path in bench.work.iterdir() if path.name.startswith("clip1")}


# --- fetch ----------------------------------------------------------------------------------------------


def test_a_result_comes_home_whole_hashed_and_named_by_its_content(bench, studio):
    studio.finish("task-1", Film(MOVIE + b"qt"))
    event = bring(bench, studio)
    digest = hashlib.sha256(MOVIE + b"qt").hexdigest()
    assert event == Fetched((Result("clip1.a1-1.mov", ".mov", len(MOVIE) + 2, digest, number=1),))
    assert in_work(bench) == {"clip1.a1-1.mov": MOVIE + b"qt"}


def test_what_was_paid_for_is_on_the_disk_before_it_has_its_name(bench, studio, monkeypatch):
    """A power cut would leave an empty file under it, and the result expires."""
    studio.finish("task-1", Film(MOVIE))
    synced, real = [], os.fsync

    def noted(fd):
        synced.append((os.fstat(fd).st_size, sorted(name.rpartition("-")[2] for name in in_work(bench))))
        real(fd)

    monkeypatch.setattr(files.os, "fsync", noted)
    bring(bench, studio)
    assert (len(MOVIE), ["1.part"]) in synced


def test_a_download_reports_how_much_of_the_announced_size_is_here(bench, studio):
    told = []
    tools = FetchTools(studio, look_into, lambda: False, always, told.append)
    studio.finish("task-1", Film(b"0123456789", cuts=[4], etag='"v1"'), Film(b"ten more 10"))
    fetch(RENDERED, bench.bay, tools, attempt="a1")
    of = "downloading the result ({} of 2)"
    assert told == [Working(of.format(1), 0.4), Working(of.format(1), 1.0), Working(of.format(2), 1.0)]
    told.clear()
    studio.finish("task-1", Film(b"0123456789", size=0))  # no length announced
    fetch(RENDERED, bench.bay, tools, attempt="a1")
    assert told == [Working("downloading the result", None)]


def test_a_work_folder_that_is_gone_is_made_anew_by_the_leader_alone(bench, studio):
    """A worker that was frozen goes on after its heir delivered the clip and removed the folder."""
    studio.finish("task-1", Film(MOVIE))
    shutil.rmtree(bench.work)
    assert isinstance(bring(bench, studio, may_make=lambda: False), Postponed)
    assert not bench.work.exists()
    assert isinstance(bring(bench, studio), Fetched)


def test_each_output_of_a_task_is_a_result(bench, studio):
    studio.finish("task-1", Film(b"one"), Film(b"two"), Film(b"two"))
    assert [result.file for result in bring(bench, studio).results] == [
        f"clip1.a1-{n}.mp4" for n in (1, 2, 3)
    ]


def test_more_outputs_than_can_be_meant_are_cut_off_and_told_of(bench, studio):
    studio.finish("task-1", *[Film(b"x")] * 50)
    event = bring(bench, studio)
    assert len(event.results) == OUTPUTS_MAX
    assert "50 outputs" in event.warning


def test_a_cut_download_is_resumed_where_the_server_can(bench, studio):
    studio.finish("task-1", Film(MOVIE, cuts=[4, 5], etag='"v1"'))
    assert bring(bench, studio).results[0].sha256 == hashlib.sha256(MOVIE).hexdigest()
    assert [(offset, etag) for _, offset, etag in studio.asked] == [(0, ""), (4, '"v1"'), (9, '"v1"')]


def test_without_a_strong_etag_a_cut_download_begins_anew(bench, studio):
    studio.finish("task-1", Film(MOVIE, cuts=[4, 5]))
    bring(bench, studio)
    assert in_work(bench) == {"clip1.a1-1.mp4": MOVIE}
    assert [offset for _, offset, _ in studio.asked] == [0, 0, 0]


def test_a_server_that_answers_a_range_from_the_start_is_believed(bench, studio):
    studio.finish("task-1", Film(MOVIE, cuts=[4], etag='"v1"', takes_ranges=False))
    bring(bench, studio)
    assert in_work(bench) == {"clip1.a1-1.mp4": MOVIE}


def test_a_film_that_is_shorter_than_announced_is_begun_anew_and_never_counts(bench, studio):
    studio.finish("task-1", Film(MOVIE, size=99))
    event = bring(bench, studio)
    assert (event.code, event.held) == ("RESULT.CUT", Held.RESULT)
    assert "18 bytes came where 99 were announced" in event.message
    assert in_work(bench) == {}


def test_a_download_that_is_always_cut_is_given_up_for_now(bench, studio):
    studio.finish("task-1", Film(MOVIE, cuts=[1] * 100))
    assert bring(bench, studio).code == "RESULT.CUT"
    assert len(studio.asked) == CUTS_MAX
    assert in_work(bench) == {}


def test_what_is_no_film_never_counts(bench, studio):
    studio.finish("task-1", Film(b"<html>gone"))
    event = bring(bench, studio)
    assert (event.code, event.held) == ("RESULT.UNREADABLE", Held.RESULT)
    assert in_work(bench) == {}


def test_a_film_larger_than_the_disk_is_not_begun(bench, studio):
    studio.finish("task-1", Download(iter([b"x"]), 0, 1 << 60, ""))
    assert bring(bench, studio).code == "INBOX.FULL"
    assert in_work(bench) == {}


def test_a_film_of_no_known_size_leaves_room_on_the_disk(bench, studio, monkeypatch):
    room = iter([1 << 40, 1 << 20])
    monkeypatch.setattr(Root, "space", lambda _: next(room))
    studio.finish("task-1", Download((bytes(1 << 20) for _ in range(1 << 20)), 0, None, ""))
    event = bring(bench, studio)
    assert (event.code, event.held) == ("INBOX.FULL", Held.DISK)
    assert "no room for a result of no known size" in event.message
    assert in_work(bench) == {}


def test_a_refused_download_is_tried_again_later(bench, studio):
    studio.finish("task-1", Fault(FaultOf.MOMENT, "RESULT.EXPIRED", "HTTP 403"))
    assert bring(bench, studio).code == "RESULT.EXPIRED"


GONE = Fault(FaultOf.MOMENT, "RESULT.EXPIRED", "HTTP 404")


def test_an_output_that_cannot_be_had_keeps_no_other_back_and_nothing_is_fetched_twice(bench, studio):
    studio.finish("task-1", Film(MOVIE), GONE, Film(MOVIE + b"qt"))
    job, events = RENDERED, []
    for attempts in range(5):
        events.append(bring(bench, studio, job=replace(job, attempts=attempts)))
        job = replace(job, results=events[-1].results)
    assert [type(event) for event in events] == [PartlyFetched] * 4 + [Fetched]
    assert [one.number for one in events[-1].results] == [1, 3]
    assert events[-1].missing == (Missing(2, "HTTP 404"),)
    assert "2 of 3 outputs are here; output 2 could not be had: HTTP 404" in events[0].message
    asked = [url[-1] for url, _, _ in studio.asked]
    assert (asked.count("0"), asked.count("1"), asked.count("2")) == (1, 5, 1)


def test_trouble_of_the_moment_is_waited_out_for_longer_and_a_full_disk_for_ever(bench, studio, monkeypatch):
    studio.finish("task-1", Film(MOVIE), BUSY)
    for attempts, is_over in ((8, False), (11, True)):
        event = bring(bench, studio, job=replace(RENDERED, attempts=attempts))
        assert isinstance(event, Fetched) == is_over
    monkeypatch.setattr(Root, "space", lambda _root: 0)
    job = replace(RENDERED, attempts=99, results=event.results)
    studio.finish("task-1", Film(MOVIE), Film(MOVIE))
    assert isinstance(bring(bench, studio, job=job), PartlyFetched)


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENOSPC])
def test_a_quota_that_is_used_up_while_a_result_comes_raises_and_the_next_try_brings_it(
    bench, studio, monkeypatch, number
):
    def full(*_args):
        raise OSError(number, os.strerror(number))

    studio.finish("task-1", Film(MOVIE))
    monkeypatch.setattr("clipspool.stages.fetch.write_all", full)
    with pytest.raises(OSError, match=os.strerror(number)):
        bring(bench, studio)
    assert (bench.work / "clip.mp4").read_bytes() == b"some clip"
    monkeypatch.undo()
    assert isinstance(bring(bench, studio), Fetched)


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENOSPC])
def test_a_quota_of_the_outbox_that_is_used_up_raises_and_leaves_the_result_at_home(
    bench, monkeypatch, number
):
    def full(*_args, **_more):
        raise OSError(number, os.strerror(number))

    job = fetched(bench)
    for call in ("rename_new", "copy_bytes"):
        monkeypatch.setattr(moves, call, full)
    with pytest.raises(OSError, match=os.strerror(number)):
        publish(bench, job)
    assert films(bench) == {}
    assert in_work(bench) == {"clip1-1.mp4": MOVIE}
    monkeypatch.undo()
    assert publish(bench, job) == ["day/shot.mp4"]
    assert films(bench) == {"day/shot.mp4": MOVIE}


def test_a_film_is_not_given_up_for_a_picture_beside_it_while_it_may_come(bench, studio):
    studio.finish("task-1", BUSY, Film(b"JPEG"))
    event = bring(bench, studio, job=replace(RENDERED, attempts=99))
    assert isinstance(event, PartlyFetched)
    assert [one.suffix for one in event.results] == [".jpg"]
    studio.finish("task-1", GONE, Film(b"JPEG"))
    event = bring(bench, studio, job=replace(RENDERED, attempts=9))
    assert isinstance(event, Fetched), "where it is gone for good, what can be had is delivered"


def test_a_text_alone_is_no_result_and_beside_a_film_it_is_one(bench, studio):
    studio.finish("task-1", Film(b"{}"))
    assert isinstance(bring(bench, studio), StageFailed)
    studio.finish("task-1", Film(MOVIE), Film(b"{}"))
    assert [one.suffix for one in bring(bench, studio).results] == [".mp4", ".json"]


def test_an_output_that_is_gone_from_the_work_folder_is_fetched_again(bench, studio):
    studio.finish("task-1", Film(b"one"), Film(b"two"))
    first = bring(bench, studio).results
    (bench.work / first[0].file).unlink()
    again = bring(bench, studio, job=replace(RENDERED, results=first), attempt="a2")
    assert [one.file for one in again.results] == ["clip1.a2-1.mp4", "clip1.a1-2.mp4"]
    assert in_work(bench) == {"clip1.a1-2.mp4": b"two", "clip1.a2-1.mp4": b"one"}


def test_a_result_that_is_longer_than_was_announced_is_none(bench, studio):
    studio.finish("task-1", Film(MOVIE + b"more", size=len(MOVIE)))
    assert bring(bench, studio).code == "RESULT.CUT"
    assert in_work(bench) == {}


def test_a_job_that_is_to_end_fetches_nothing_more_and_gives_what_is_here(bench, studio):
    here = (Result("clip1-1.mp4", ".mp4", 1, "", number=1),)
    job = replace(RENDERED, cancel_by="ann", results=here, missing=(Missing(2, "HTTP 404"),))
    assert bring(bench, studio, job=job) == Fetched(here, missing=job.missing)
    assert studio.asked == []


def test_a_daemon_that_stops_keeps_the_outputs_that_are_whole(bench, studio):
    studio.finish("task-1", Film(MOVIE), Film(MOVIE))
    event = bring(bench, studio, stopping=lambda: len(studio.asked) > 1)
    assert isinstance(event, PartlyFetched)
    assert (len(event.results), event.is_fault) == (1, False)


def test_a_daemon_that_stops_does_not_wait_for_a_download(bench, studio):
    studio.finish("task-1", Film(MOVIE))
    assert isinstance(bring(bench, studio, stopping=lambda: True), Postponed)
    assert in_work(bench) == {}


def test_what_an_earlier_try_left_is_begun_anew(bench, studio):
    (bench.work / "clip1.a1-1.part").write_bytes(b"half")
    (bench.work / "clip1.a1-1.mp4").write_bytes(b"another")
    studio.finish("task-1", Film(MOVIE))
    bring(bench, studio)
    assert in_work(bench) == {"clip1.a1-1.mp4": MOVIE}


def test_a_machine_that_was_frozen_and_goes_on_writes_into_no_file_of_its_heir(bench, studio):
    """It thaws in the middle of its download, when the heir has fetched all: only the heir's is delivered."""
    heir = []

    def frozen():
        if not heir:
            heir.append(())
            heir[0] = bring(bench, studio, attempt="b2")
        return False

    studio.finish("task-1", Film(MOVIE))
    late = bring(bench, studio, attempt="a1", stopping=frozen)
    (fetched,) = heir
    assert [one.file for one in (*late.results, *fetched.results)] == ["clip1.a1-1.mp4", "clip1.b2-1.mp4"]
    (bench.work / "clip1.a1-1.mp4").write_bytes(b"written late, by whoever was thought dead")
    job = a_job(state=State.FETCHED, task=a_task(), results=fetched.results)
    assert isinstance(deliver(job, bench.clip, bench.bay, NOON, always), Delivered)
    assert (bench.results / "day/shot.mp4").read_bytes() == MOVIE


@pytest.mark.parametrize(
    ("look", "code"),
    [
        (BUSY, "PROVIDER.BUSY"),
        (TaskLook(TaskStatus.MISSING, "task_not_exist"), "TASK.MISSING"),
        (TaskLook(TaskStatus.SUCCEEDED, "SUCCEEDED"), "RESULT.NO_ADDRESS"),
        (TaskLook(TaskStatus.RUNNING, "RUNNING"), "RESULT.NO_ADDRESS"),
    ],
)
def test_without_an_address_it_is_tried_again_later(bench, studio, look, code):
    studio.looks["task-1"] = look
    event = bring(bench, studio)
    assert isinstance(event, StageFailed)
    assert event.code == code


def test_a_finished_task_is_given_up_only_where_it_is_called_failed_again_and_again(bench, studio):
    """A gateway contradicts itself for a moment; the result is paid for, and would be lost."""
    studio.looks["task-1"] = TaskLook(TaskStatus.FAILED, "FAILED")
    for attempts in range(7):
        event = bring(bench, studio, job=replace(RENDERED, attempts=attempts))
        assert (type(event), event.code, event.held) == (StageFailed, "RESULT.DENIED", Held.RESULT)
    assert isinstance(bring(bench, studio, job=replace(RENDERED, attempts=7)), Failed)


class Served(Film):
    """A file that is served otherwise each time."""

    def __init__(self, *films):
        self.films = list(films)

    def download(self, offset, etag):
        return self.films.pop(0).download(offset, etag)


class Full(Film):
    """A file for which there is no room a second time."""

    def download(self, *_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")


HOLED = MOVIE[:4] + bytes(4) + MOVIE[8:]
TURNED = "it is marked as turned by 37 degrees, and only quarter turns are applied"
NOTICED = {HOLED: f"{ZEROS} from byte 4 on", b"black": BLACK, b"turned": TURNED}


def look_for_zeros(file):
    film = SimpleNamespace(height=720, width=1280, seconds=1.0, frames=25, fps="25/1")
    film.noticed = NOTICED.get(file.read())
    return Probed(".mp4", film=film)


def bring_seen(bench, studio, *films):
    studio.finish("task-1", Served(*films))
    tools = FetchTools(studio, look_for_zeros, lambda: False, always)
    (result,) = fetch(RENDERED, bench.bay, tools, attempt="a1").results
    return result


def test_a_film_of_which_a_part_is_zeros_is_fetched_once_more_and_the_whole_one_is_kept(bench, studio):
    result = bring_seen(bench, studio, Film(HOLED), Film(MOVIE))
    assert (result.noticed, result.sha256) == ((), hashlib.sha256(MOVIE).hexdigest())
    assert in_work(bench) == {"clip1.a1-1.mp4": MOVIE}


@pytest.mark.parametrize("again", [Film(HOLED), Film(MOVIE, cuts=[1] * CUTS_MAX), Full(b"")])
def test_a_film_that_comes_no_better_the_second_time_is_kept_with_what_was_noticed(bench, studio, again):
    """It is paid for: no second try may cost what the first one brought."""
    result = bring_seen(bench, studio, Film(HOLED), *[again] * CUTS_MAX)
    assert "zeros from byte 4" in result.noticed[0]
    assert in_work(bench) == {"clip1.a1-1.mp4": HOLED}


@pytest.mark.parametrize("film", [b"black", b"turned"])
def test_a_film_of_which_something_else_is_noticed_is_fetched_once(bench, studio, film):
    assert bring_seen(bench, studio, Film(film)).noticed == (NOTICED[film],)


def test_a_look_of_a_moment_ago_serves(bench, studio):
    studio.finish("task-1", Film(MOVIE))
    look = studio.looks.pop("task-1")
    assert isinstance(bring(bench, studio, look=look), Fetched)


# --- deliver --------------------------------------------------------------------------------------------


def fetched(bench, *films, job=None, **changes):
    """Put films into the work folder as the fetch stage does."""
    results = []
    for number, film in enumerate(films or (MOVIE,), 1):
        file = f"clip1-{number}.mp4"
        (bench.work / file).write_bytes(film)
        results.append(Result(file, ".mp4", len(film), hashlib.sha256(film).hexdigest()))
    job = job or bench.job
    return replace(job, state=State.FETCHED, task=a_task(), results=tuple(results), **changes)


def publish(bench, job):
    event = deliver(job, bench.clip, bench.bay, NOON, always)
    assert isinstance(event, Delivered)
    return [result.name for result in event.results]


def films(bench):
    return {name: data for name, data in lying(bench.results).items() if not name.endswith(".toml")}


def test_a_result_appears_with_its_provenance_in_the_clips_own_folder(bench):
    assert publish(bench, fetched(bench)) == ["day/shot.mp4"]
    assert set(lying(bench.results)) == {"day/shot.mp4", "day/shot.mp4.toml"}
    paper = tomllib.loads(lying(bench.results)["day/shot.mp4.toml"].decode())
    assert (paper["result"]["name"], paper["prompt"]) == ("shot.mp4", "deep winter")
    assert in_work(bench) == {}


def test_the_provenance_is_there_before_the_film(bench, monkeypatch):
    seen = []
    real = Root.publish

    def move(self, rel, to, to_rel, may, **more):
        seen.append(set(lying(bench.results)))
        real(self, rel, to, to_rel, may, **more)

    monkeypatch.setattr(Root, "publish", move)
    publish(bench, fetched(bench))
    assert seen == [{"day/shot.mp4.toml"}]


def test_later_outputs_carry_their_number(bench):
    job = fetched(bench, b"one", b"two", b"two", variant="_v1")
    assert publish(bench, job) == ["day/shot_v1.mp4", "day/shot_v1_2.mp4", "day/shot_v1_3.mp4"]
    assert list(films(bench).values()) == [b"one", b"two", b"two"]


@pytest.mark.parametrize(
    ("clip", "taken"),
    [
        ("shot.mp4", "shot.mp4"),
        ("shot.mp4", "SHOT.MP4"),
        ("shot.mp4", "shot.mp4.toml"),
        ("shot.mp4", "Shot.mp4.TOML"),
        ("caf\u00e9.mp4", "cafe\u0301.mp4"),
        ("cafe\u0301.mp4", "CAF\u00c9.mp4"),
        ("stra\u00dfe.mp4", "STRASSE.mp4"),
    ],
)
def test_a_name_that_is_taken_gets_a_number(tmp_path, clip, taken):
    bench = Bench(tmp_path, name=clip)
    (bench.results / taken).write_bytes(b"precious")
    (name,) = publish(bench, fetched(bench))
    assert name == clip.replace(".mp4", "-2.mp4")
    assert lying(bench.results)[taken] == b"precious"
    assert films(bench)[name] == MOVIE


def another_machine(bench):
    """Return the bay as it is to another machine, which has listed the names in the outbox a moment ago."""
    (bench.results / "day").mkdir(exist_ok=True)
    bay = Folders("bay", Root(bench.path), Root(bench.results), "j2")
    bay.outbox_names.reserve(bay.outbox, "day", ("other.mp4",), NOON)
    return bay


def test_what_another_machine_published_since_the_names_were_listed_is_not_published_again(bench):
    theirs = another_machine(bench)
    job = fetched(bench)
    assert publish(bench, job) == ["day/shot.mp4"]
    before = lying(bench.results)
    fetched(bench)
    event = deliver(job, bench.clip, theirs, NOON, always)
    assert [result.name for result in event.results] == ["day/shot.mp4"]
    assert lying(bench.results) == before
    assert not (bench.work / "clip1-1.mp4").exists()


def test_what_another_machine_publishes_at_the_same_moment_keeps_its_provenance(bench, monkeypatch):
    theirs = another_machine(bench)
    job = fetched(bench)

    def at_the_same_moment(point):
        monkeypatch.undo()
        assert point == "paper"
        assert isinstance(deliver(job, bench.clip, theirs, NOON, always), Delivered)
        fetched(bench)

    monkeypatch.setattr(stages_deliver, "reach", at_the_same_moment)
    assert publish(bench, job) == ["day/shot.mp4"]
    assert set(lying(bench.results)) == {"day/shot.mp4", "day/shot.mp4.toml"}


@pytest.mark.parametrize("asked", [1, 2])
def test_a_leader_that_lost_its_lead_publishes_nothing_more_and_its_heir_publishes_once(bench, asked):
    job = fetched(bench)
    answers = iter([True] * (asked - 1) + [False])
    event = deliver(job, bench.clip, bench.bay, NOON, lambda: next(answers))
    assert isinstance(event, Postponed)
    assert films(bench) == {}
    assert deliver(job, bench.clip, another_machine(bench), NOON, always).results[0].name == "day/shot.mp4"
    assert films(bench) == {"day/shot.mp4": MOVIE}


def test_the_stages_of_a_daemon_that_lost_its_lead_publish_and_move_nothing(bench):
    tools = Tools({bench.bay.name: bench.bay}, None, None, None, lambda _: None, draws_posters=lambda: False)
    runner = StageRunner(tools, None, None, lambda: NOON, lambda: False)
    job = replace(fetched(bench), inbox=bench.bay.name)
    clip = replace(bench.clip, inbox=bench.bay.name)
    event = runner.work(Assignment(Stage.DELIVER, job, clip, "a1"), lambda: True)
    assert isinstance(event, Postponed)
    assert films(bench) == {}
    with pytest.raises(OSError, match="lead"):
        runner.retire(clip, [replace(job, state=State.DELIVERED)])
    assert bench.work.joinpath(clip.source).exists()


@pytest.mark.parametrize(("changes", "drawn"), [({}, 0), ({"variant": "_v1"}, 1), ({"version": 2}, 1)])
def test_each_of_several_results_of_a_clip_has_its_poster_at_once(bench, monkeypatch, changes, drawn):
    posters = []
    monkeypatch.setattr(stages_runner, "draw_posters_of", lambda _clip, job, *_: posters.append(job))
    tools = Tools({bench.bay.name: bench.bay}, None, None, None, lambda _: None)
    runner = StageRunner(tools, None, None, lambda: NOON, always)
    job = replace(fetched(bench), inbox=bench.bay.name, **changes)
    runner.work(Assignment(Stage.DELIVER, job, replace(bench.clip, inbox=bench.bay.name), "a1"), lambda: True)
    assert [bool(one.results[0].name) for one in posters] == [True] * drawn


def test_a_leader_frozen_while_it_copies_a_result_to_another_file_system_does_not_name_it(bench, monkeypatch):
    def elsewhere(*_args):
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(moves, "rename_new", elsewhere)
    answers = iter([True, True, False])
    assert isinstance(deliver(fetched(bench), bench.clip, bench.bay, NOON, lambda: next(answers)), Postponed)
    assert films(bench) == {}
    assert in_work(bench) == {"clip1-1.mp4": MOVIE}
    assert set(lying(bench.results)) == {"day/shot.mp4.toml"}


def test_a_copy_that_was_named_before_a_crash_is_not_named_once_more_on_the_next_day(bench, monkeypatch):
    def elsewhere(name, folder, to_name, to_folder):
        if folder != to_folder:
            raise OSError(errno.EXDEV, "another file system")
        os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)

    def crash(place):
        if place == "copied":
            raise KeyboardInterrupt

    job = fetched(bench)
    bench.bay = replace(bench.bay, result_name="{stem}_{date}")
    monkeypatch.setattr(moves, "rename_new", elsewhere)
    with monkeypatch.context() as patch:
        patch.setattr(moves, "reach", crash)
        with pytest.raises(KeyboardInterrupt):
            deliver(job, bench.clip, bench.bay, NOON, always)
    (first,) = films(bench)
    assert in_work(bench) == {"clip1-1.mp4": MOVIE}
    event = deliver(job, bench.clip, bench.bay, NOON + 86_400, always)
    assert [result.name for result in event.results] == [first]
    assert list(films(bench)) == [first]
    assert in_work(bench) == {}


def test_a_result_that_was_published_under_another_name_is_found_and_not_fetched_again(bench):
    """The configuration was changed between a crash and the next start."""
    job = fetched(bench)
    bench.bay = replace(bench.bay, result_name="{stem}_{date}")
    (first,) = publish(bench, job)
    bench.bay = replace(bench.bay, result_name="{stem}_new")
    event = deliver(job, bench.clip, bench.bay, NOON + 86_400, always)
    assert isinstance(event, Delivered)
    assert [result.name for result in event.results] == [first]
    assert set(lying(bench.results)) == {first, f"{first}.toml"}


def test_a_result_that_could_not_be_placed_keeps_its_name_on_the_next_day(bench, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    job = fetched(bench)
    bench.bay = replace(bench.bay, result_name="{stem}_{date}")
    with monkeypatch.context() as patch:
        patch.setattr(moves, "rename_new", full)
        with pytest.raises(OSError, match="No space left"):
            deliver(job, bench.clip, bench.bay, NOON, always)
    # Each failed try is an event of the job.
    later = replace(job, updated_at=NOON + 86_400, held=Held.OUTBOX, attempts=1)
    event = deliver(later, bench.clip, bench.bay, NOON + 86_400, always)
    (first,) = [result.name for result in event.results]
    assert set(lying(bench.results)) == {first, f"{first}.toml"}


def test_the_date_in_a_name_is_this_machines_day(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        evening = 1_800_054_000.0  # 2027-01-16 00:00 in Berlin
        job = a_job(task=a_task(created_at=evening), created_at=NOON)
        assert base_name(job, a_clip(path="shot.mp4"), "{date}") == "2027-01-16"
        assert base_name(replace(job, task=None), a_clip(path="shot.mp4"), "{date}") == "2027-01-15"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_numbers_go_on_until_a_name_is_free(bench):
    (bench.results / "day").mkdir()
    for name in ("shot.mp4", "shot-2.mp4", "Shot-3.MP4"):
        (bench.results / "day" / name).write_bytes(b"precious")
    assert publish(bench, fetched(bench)) == ["day/shot-4.mp4"]


@pytest.mark.parametrize("taken", ["folder", "link", "fifo"])
def test_whatever_has_the_name_keeps_it(bench, tmp_path, taken):
    there = bench.results / "day/shot.mp4"
    there.parent.mkdir()
    if taken == "folder":
        there.mkdir()
    elif taken == "link":
        there.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(there)
    assert publish(bench, fetched(bench)) == ["day/shot-2.mp4"]
    assert not (tmp_path / "elsewhere").exists()


def test_somebody_who_takes_the_name_at_the_last_instant_keeps_it(bench, monkeypatch):
    real, late = Root.publish, ["day/shot.mp4", "day/shot-2.mp4"]

    def move(self, rel, to, to_rel, may, **more):
        if late:
            (bench.results / late.pop(0)).write_bytes(b"precious")
        real(self, rel, to, to_rel, may, **more)

    monkeypatch.setattr(Root, "publish", move)
    assert publish(bench, fetched(bench)) == ["day/shot-3.mp4"]
    assert set(lying(bench.results)) == {
        *("day/shot.mp4", "day/shot-2.mp4", "day/shot-3.mp4", "day/shot-3.mp4.toml")
    }


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("films_count", [1, 3])
@pytest.mark.parametrize("taken", [False, True])
def test_run_again_after_a_crash_at_any_step_it_ends_as_if_there_had_been_none(
    tmp_path, monkeypatch, films_count, taken
):
    """Each lasting change in turn is the last one, or is cut right before it."""
    expected, step, was_cut = None, -1, True
    while was_cut:
        place = tmp_path / str(step + 1)
        place.mkdir()
        bench = Bench(place)
        if taken:
            (bench.results / "day").mkdir()
            (bench.results / "day/shot.mp4").write_bytes(b"precious")
        job = fetched(bench, *[b"film %d" % number for number in range(films_count)])
        was_cut = crash_after(monkeypatch, step, lambda b=bench, j=job: publish(b, j))
        for _ in range(2):
            publish(bench, job)
        found = {name: b"" if name.endswith(".toml") else data for name, data in lying(bench.results).items()}
        expected = expected or found
        assert found == expected
        assert not list(bench.results.rglob(".*"))
        step += 1
    assert len(expected) == films_count * 2 + taken
    assert step >= films_count * 4


def crash_after(monkeypatch, step, act):
    """Let an action end before its `step`-th lasting change; say whether it came so far."""
    count = 0

    def counted(real):
        def change(*arguments, **more):
            nonlocal count
            if count == step:
                raise Crash
            count += 1
            return real(*arguments, **more)

        return change

    with monkeypatch.context() as patch:
        if step >= 0:
            for name in ("rename_new", "sync_folder", "sync_and_close"):
                changed = counted(getattr(files, name))
                patch.setattr(f"clipspool.spool.root.{name}", changed)
                patch.setattr(f"clipspool.system.moves.{name}", changed)
            patch.setattr("clipspool.spool.checked_folder.sync_folder", counted(files.sync_folder))
            patch.setattr(moves, "unlink", counted(files.unlink))
            patch.setattr(Root, "remove", counted(Root.remove))
        try:
            act()
        except Crash:
            return True
    return step < 0


@needs_root
@pytest.mark.parametrize("cut", ["never", "after the copy", "before the copy"])
def test_an_outbox_on_another_file_system_gets_a_whole_copy(bench, monkeypatch, cut):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", bench.results], check=True)
    try:
        job = fetched(bench)
        if cut != "never":
            name = "unlink" if cut == "after the copy" else "copy"

            def crash(*_args, **_more):
                raise Crash

            with monkeypatch.context() as patch:
                patch.setattr(moves, name, crash)
                with pytest.raises(Crash):
                    publish(bench, job)
        assert publish(bench, job) == ["day/shot.mp4"]
        assert films(bench) == {"day/shot.mp4": MOVIE}
        assert in_work(bench) == {}
    finally:
        subprocess.run(["umount", bench.results], check=True)


@needs_root
def test_a_full_outbox_raises_and_leaves_the_result_at_home(bench):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", bench.results], check=True)
    try:
        job = fetched(bench, b"x" * 100_000)
        for _ in range(3):
            with pytest.raises(OSError, match="no room for a result"):
                publish(bench, job)
        assert films(bench) == {}
        assert in_work(bench) == {"clip1-1.mp4": b"x" * 100_000}
    finally:
        subprocess.run(["umount", bench.results], check=True)


def test_what_is_in_the_place_of_the_results_folder_is_named(bench):
    (bench.results / "day").write_bytes(b"")
    with pytest.raises(OSError, match=r"no file can be made in .*/day: a file is in the place of a folder$"):
        publish(bench, fetched(bench))


def test_a_result_that_is_gone_from_the_work_folder_is_told_of(bench):
    job = fetched(bench)
    (bench.work / "clip1-1.mp4").unlink()
    assert deliver(job, bench.clip, bench.bay, NOON, always) == ResultGone("clip1-1.mp4")
    assert films(bench) == {}


def test_a_result_that_was_cut_short_in_the_work_folder_gets_no_name_and_is_fetched_again(bench):
    job = fetched(bench)
    (bench.work / "clip1-1.mp4").write_bytes(MOVIE[:4])
    assert deliver(job, bench.clip, bench.bay, NOON, always) == ResultGone("clip1-1.mp4")
    assert films(bench) == {}


def test_what_was_delivered_already_and_is_gone_since_is_delivered_again(bench):
    """Another output was found gone meanwhile, and an editor has moved the first one away."""
    job = fetched(bench)
    named = replace(job, results=tuple(replace(one, name="day/shot.mp4") for one in job.results))
    assert publish(bench, named) == ["day/shot.mp4"]
    assert films(bench) == {"day/shot.mp4": MOVIE}


def test_a_published_film_that_somebody_changed_is_not_taken_for_ours(bench):
    job = fetched(bench)
    publish(bench, job)
    (bench.results / "day/shot.mp4").write_bytes(b"regraded          ")
    (bench.work / "clip1-1.mp4").write_bytes(MOVIE)
    assert publish(bench, job) == ["day/shot-2.mp4"]
    assert films(bench) == {"day/shot.mp4": b"regraded          ", "day/shot-2.mp4": MOVIE}


def test_two_clips_of_one_name_get_a_name_each(tmp_path):
    bench = Bench(tmp_path)
    first = fetched(bench)
    publish(bench, first)
    other = bench.drop("clip2", "day/shot.mp4", b"another clip")
    (tmp_path / "bay/.clipspool/work/clip2/clip1-1.mp4").write_bytes(MOVIE)
    job = replace(first, id="clip2", clip_id="clip2")
    event = deliver(job, other, bench.bay, NOON, always)
    assert event.results[0].name == "day/shot-2.mp4"


def test_a_name_of_255_bytes_still_has_room_for_its_provenance_and_a_number(tmp_path):
    clip = "\u00e9" * 125 + "x.mov"
    assert len(os.fsencode(clip)) == 255
    bench = Bench(tmp_path, name=clip, sidecar=None)
    (first,) = publish(bench, fetched(bench))
    assert len(os.fsencode(first)) <= 250
    other = bench.drop("clip2", clip, b"another", sidecar=None)
    (tmp_path / "bay/.clipspool/work/clip2/clip1-1.mp4").write_bytes(MOVIE)
    event = deliver(replace(fetched(bench), id="clip2", clip_id="clip2"), other, bench.bay, NOON, always)
    assert event.results[0].name.endswith("-2.mp4")
    assert len(films(bench)) == 2


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path):
    bench = Bench(tmp_path, name="caf\udce9/sh\udcf6t.mp4")
    assert publish(bench, fetched(bench)) == ["caf\udce9/sh\udcf6t.mp4"]
    assert (os.fsencode(bench.results) + b"/caf\xe9/sh\xf6t.mp4.toml") in {
        os.fsencode(path) for path in bench.results.rglob("*")
    }


# --- names ----------------------------------------------------------------------------------------------


# --- names that every machine opens -----------------------------------------------------------------------


def delivered(tmp_path, name, **bay):
    bench = Bench(tmp_path, name=name, is_portable=True, **bay)
    return bench.results / deliver_one(bench)


def deliver_one(bench):
    (name,) = publish(bench, fetched(bench))
    return name


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("CON.mp4", "CON_.mp4"),
        ("a:b?c.mp4", "a_b_c.mp4"),
        ("dot. .mp4", "dot.mp4"),
        ("day 1. /NUL/COM¹.mp4", "day 1/NUL_/COM¹_.mp4"),
        ("plain/shot.mp4", "plain/shot.mp4"),
    ],
)
def test_a_portable_result_has_a_name_that_windows_opens_and_the_provenance_keeps_the_other(
    tmp_path, name, published
):
    film = delivered(tmp_path, name)
    assert str(film.relative_to(tmp_path / "results")) == published
    facts = tomllib.loads((tmp_path / f"results/{published}.toml").read_text())["result"]
    assert facts["source"] == name
    assert facts.get("original_name", film.name) == name.rpartition("/")[2]


def test_names_that_become_one_are_kept_apart(tmp_path):
    bench = Bench(tmp_path, name="a?b.mp4", is_portable=True)
    (bench.results / "A_B.mp4").write_bytes(b"another")
    assert deliver_one(bench) == "a_b-2.mp4"
    facts = tomllib.loads((bench.results / "a_b-2.mp4.toml").read_text())["result"]
    assert facts["original_name"] == "a?b.mp4"


def test_a_folder_that_is_there_in_another_letter_case_serves(tmp_path):
    bench = Bench(tmp_path, name="day:1/shot.mp4", is_portable=True)
    (bench.results / "Day_1").mkdir()
    assert deliver_one(bench) == "Day_1/shot.mp4"


def test_the_whole_path_as_editors_see_it_has_no_more_than_windows_opens(tmp_path):
    places = Places({str(tmp_path / "results"): "Z:\\" + "x" * 150})
    film = delivered(tmp_path, f"day/{'n' * 200}.mp4", places=places)
    there = places.path(str(film) + ".toml")
    assert len(there) == 259
    facts = tomllib.loads(film.with_name(film.name + ".toml").read_text())["result"]
    assert facts["original_name"] == "n" * 200 + ".mp4"


def test_a_folder_too_deep_for_windows_is_told_of_and_the_result_is_delivered(tmp_path, capsys):
    places = Places({str(tmp_path / "results"): "Z:\\" + "x" * 250})
    film = delivered(tmp_path, "day/shot number one of the day.mp4", places=places)
    assert film.read_bytes() == MOVIE
    assert "path_not_portable" in capsys.readouterr().out


def test_names_stay_as_they_are_unless_they_are_to_be_portable(tmp_path):
    bench = Bench(tmp_path, name="a:b?.mp4")
    assert deliver_one(bench) == "a:b?.mp4"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{stem}{variant}", "shot_v2"),
        ("{stem}-{seed}-{model}", "shot-42-gen4_aleph"),
        ("{date} {job}", "2027-01-15 clip1-v2"),
        ("../../{stem}", "_.._shot"),
        ("..", "clip1-v2"),
        (".{stem}", "shot"),
    ],
)
def test_a_result_is_named_as_the_operator_wants_and_never_by_a_path(template, name):
    job = a_job("clip1-v2", variant="_v2")
    assert base_name(job, a_clip(path="day/shot.mp4"), template) == name


def test_a_model_name_in_a_result_name_leads_nowhere():
    job = a_job(request=a_request(model="../../../etc/x"))
    assert "/" not in base_name(job, a_clip(), "{model}")


def test_names_are_tried_in_order():
    tried = names("shot", ".mp4", "_2")
    assert [next(tried) for _ in range(3)] == ["shot_2.mp4", "shot_2-2.mp4", "shot_2-3.mp4"]
