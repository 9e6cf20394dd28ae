"""What `[retention]` removes, on real folders and a real journal, through weeks of simulated time."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from clipspool.app import housekeeping as daily
from clipspool.jobs.events import AnswerLost, Failed
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import Error, State
from clipspool.journal.looks import Window
from clipspool.scheduler import commands as operator
from clipspool.scheduler.housekeeping import Housekeeping, Retention
from clipspool.spool.claims import claim
from clipspool.spool.pruning import files_of, remove
from clipspool.spool.root import Root
from clipspool.spool.timelines import Plan, keep, note_left
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import Manifest
from clipspool.stages import retire as retiring
from fakes import NOON, Desk, Workshop, a_clip, a_job, always

DAY = 86_400.0
ALL = Retention(done_days=10.0, failed_days=20.0, journal_days=30.0, posters_days=5.0)
REFUSED = Failed(Error("X", "refused"))


class Archive(Workshop):
    """A workshop that really moves sources to `_done` and `_failed`."""

    def __init__(self, folders):
        super().__init__()
        self.folders = folders

    def retire(self, clip, jobs):
        super().retire(clip, jobs)
        return retiring.retire(clip, jobs, self.folders, always), ""

    def sweep(self, clip):
        retiring.sweep(clip, self.folders)


class House:
    """An inbox with its archive, a scheduler turned by hand, and the housekeeping."""

    def __init__(self, path):
        self.path = path / "bay"
        self.path.mkdir()
        (path / "out").mkdir()
        self.root = Root(self.path)
        self.folders = Folders("bay", self.root, Root(path / "out"), "5eed", "{stem}", keeps_sources=True)
        self.desk = Desk(path, inboxes=("bay", "other"), shop=Archive(self.folders))
        self.window = Window(path / "journal.db")
        self.house = Housekeeping(self.call, self.window.look, self.desk.clock)
        self.desk.turn()

    def call(self, command):
        return self.desk.order(command)

    def accept(self, clip_id, name, data=b"film", sidecar=b'prompt = "deep winter"\n', inbox="bay"):
        """Drop a clip and claim it as intake does."""
        file = self.path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_bytes(data)
        file.with_suffix(".toml").write_bytes(sidecar)
        os.utime(file.with_suffix(".toml"), (self.desk.clock.now,) * 2)
        there = file.stat()
        clip = a_clip(
            clip_id,
            inbox=inbox,
            path=name,
            sidecar=str(Path(name).with_suffix(".toml")),
            source="clip.mp4",
            size=there.st_size,
            mtime_ns=there.st_mtime_ns,
            accepted_at=self.desk.clock.now,
        )
        job = a_job(clip_id, inbox=inbox, created_at=clip.accepted_at)
        claim(self.root, Manifest(clip, (job,), "5eed"))
        self.desk.scheduler.enqueue(Accepted(clip, (job,)))

    def passes(self, days):
        self.desk.turn(days * DAY)

    def prune(self, retention=ALL, **options):
        return self.house.run(retention, {"bay": self.root}, **options)["bay"]

    def files(self):
        return sorted(str(one.relative_to(self.path)) for one in self.path.rglob("*") if one.is_file())


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.window.close()
    house.desk.close()


def ended(house, clip_id, name, *, fails=False, **how):
    if fails:
        house.desk.shop.say[Stage.PREPARE].append(REFUSED)
    house.accept(clip_id, name, **how)
    house.desk.turns(12, 60.0)
    assert house.desk.state(clip_id) is (State.FAILED if fails else State.DELIVERED)
    house.desk.turns(3)


def test_sources_go_when_they_are_old_enough_with_what_lies_beside_them(house):
    ended(house, "done00000001", "day/shot.mp4")
    ended(house, "fail00000001", "day/other.mp4", fails=True)
    assert house.files() == [
        "_done/day/shot.mp4",
        "_done/day/shot.toml",
        "_failed/day/other.mp4",
        "_failed/day/other.mp4.error.toml",
        "_failed/day/other.toml",
    ]
    house.passes(9)
    assert (house.prune().done.files, len(house.files())) == (0, 5)
    house.passes(2)
    report = house.prune()
    assert (report.done.files, report.done.bytes) == (2, 4 + len(b'prompt = "deep winter"\n'))
    assert house.files() == [
        f"_failed/day/{name}" for name in ("other.mp4", "other.mp4.error.toml", "other.toml")
    ]
    assert not (house.path / "_done/day").exists()
    assert (house.path / "_done").is_dir()
    house.passes(10)
    assert house.prune().failed.files == 3
    assert house.files() == []
    assert [entry.event for entry in house.desk.journal.history(house.desk.job("done00000001"))][
        -1
    ] == "pruned"


def test_a_sidecar_that_was_edited_beside_its_source_stays_and_is_reported(house):
    ended(house, "done00000001", "shot.mp4")
    house.passes(11)
    sidecar = house.path / "_done/shot.toml"
    sidecar.write_text('prompt = "for the next try"\n')
    os.utime(sidecar, (house.desk.clock.now,) * 2)
    assert house.prune(dry_run=True).left == ["_done/shot.toml"]
    report = house.prune()
    assert (report.done.files, report.left) == (1, ["_done/shot.toml"])
    assert house.files() == ["_done/shot.toml"]
    assert house.prune().left == []


def test_nothing_is_removed_that_is_not_set(house):
    ended(house, "done00000001", "shot.mp4")
    ended(house, "fail00000001", "other.mp4", fails=True)
    house.passes(1000)
    before = house.files()
    house.prune(Retention(failed_days=1.0, journal_days=1e4))
    assert house.files() == [name for name in before if name.startswith("_done")]
    house.prune(Retention())
    assert house.files() == ["_done/shot.mp4", "_done/shot.toml"]


def test_a_dry_run_counts_the_same_and_removes_nothing(house):
    ended(house, "done00000001", "shot.mp4")
    house.passes(40)
    before = house.files()
    counted = house.prune(dry_run=True)
    assert house.files() == before
    assert [entry.event for entry in house.desk.journal.history(house.desk.job("done00000001"))][
        -1
    ] == "retired"
    assert counted == house.prune()
    assert counted.done.files == 2


def test_what_others_put_there_stays(house):
    ended(house, "done00000001", "day/shot.mp4")
    theirs = ["_done/day/own.mp4", "_done/day/notes.txt", "_done/shot.txt", "_failed/x/keep.mov"]
    for name in theirs:
        (house.path / name).parent.mkdir(exist_ok=True, parents=True)
        (house.path / name).write_text("mine")
    house.passes(100)
    house.prune()
    assert house.files() == sorted(theirs)


@pytest.mark.parametrize("change", ["replaced", "touched", "linked", "folder"])
def test_a_source_that_is_not_what_was_put_there_stays_and_is_reported(house, change, tmp_path):
    ended(house, "done00000001", "shot.mp4")
    file = house.path / "_done/shot.mp4"
    match change:
        case "replaced":
            file.write_bytes(b"another film")
        case "touched":
            os.utime(file, (NOON, NOON))
        case "linked":
            file.rename(tmp_path / "precious.mp4")
            file.symlink_to(tmp_path / "precious.mp4")
        case "folder":
            file.unlink()
            file.mkdir()
    house.passes(100)
    report = house.prune()
    assert report.left == ["_done/shot.mp4"]
    assert os.path.lexists(file)
    assert (house.path / "_done/shot.toml").exists()


def test_a_prompt_file_goes_with_its_clip_if_it_holds_that_prompt(house):
    ended(house, "done00000001", "shot.mp4")
    (house.path / "_done/shot.txt").write_text("deep winter\n")
    house.passes(100)
    assert house.prune().done.files == 3
    assert house.files() == []


def test_a_job_that_is_retried_meanwhile_keeps_its_source(house):
    ended(house, "fail00000001", "shot.mp4", fails=True)
    house.passes(100)
    call = house.call

    def retried_first(command):
        house.house._call = call
        house.desk.order(operator.retry, ["fail00000001"], "ann")
        return call(command)

    house.house._call = retried_first
    assert house.prune(Retention(failed_days=1.0)).failed.files == 0
    assert (house.path / "_failed/shot.mp4").exists()


def test_a_clip_that_is_being_moved_loses_neither_source_nor_history(house):
    ended(house, "done00000001", "shot.mp4")
    house.passes(100)
    house.call(lambda scheduler: scheduler.retiring._inboxes.update(done00000001="bay"))
    house.prune(Retention(done_days=1.0, journal_days=1.0))
    assert (house.path / "_done/shot.mp4").exists()
    assert "delivered" in [e.event for e in house.desk.journal.history(house.desk.job("done00000001"))]


def test_a_crash_between_the_record_and_the_removal_leaves_nothing_behind(house, monkeypatch):
    ended(house, "done00000001", "shot.mp4")
    house.passes(100)
    monkeypatch.setattr(
        "clipspool.scheduler.housekeeping.remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        house.prune()
    assert house.files() == ["_done/shot.mp4", "_done/shot.toml"]
    monkeypatch.undo()
    house.prune()
    assert house.files() == []


def test_what_one_inbox_could_not_remove_goes_later_also_where_another_was_pruned_meanwhile(
    house, monkeypatch
):
    ended(house, "done00000001", "shot.mp4")
    ended(house, "done00000002", "other.mp4", inbox="other")
    house.passes(100)
    refuse = [OSError(5, "the NAS is gone")]

    def fails_once(*given):
        if refuse:
            raise refuse.pop()
        remove(*given)

    monkeypatch.setattr("clipspool.scheduler.housekeeping.remove", fails_once)
    both = {"bay": house.root, "other": house.root}
    assert house.house.run(ALL, both)["bay"].trouble == "the NAS is gone"
    assert house.files() == ["_done/shot.mp4", "_done/shot.toml"]
    house.house.run(ALL, both)
    assert house.files() == []


def left(house, name, *files):
    """Have a timeline that ended now and left these files, which are as they were put there."""
    plan = Plan(id=name, path="day/cut.edl")
    keep(house.root, plan, b"EDL", b"")
    for rel in files:
        there = house.path / rel
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(b"EDL")
    note_left(house.root, plan, files)
    assert house.prune(ALL).done.files == 0, "it still waits for its clips"
    note_left(house.root, plan, [], ended_at=house.desk.clock.now)


def test_a_timeline_goes_on_its_day_with_the_clips_that_it_showed_unmarked_and_all_memory_of_it(house):
    left(house, "whole", "_done/day/cut.edl", "_done/day/unmarked.mov", "_done/edited.mov")
    left(house, "failed", "_failed/cut.edl", "_failed/cut.edl.error.toml", "_done/shown.mov")
    (house.path / "_done/edited.mov").write_bytes(b"another")
    house.passes(9.0)
    assert house.prune().done.files == 0
    house.passes(1.5)
    assert house.prune(dry_run=True).done.files == 3
    report = house.prune()
    assert (report.done.files, report.failed.files, report.left) == (3, 0, ["_done/edited.mov"])
    there = house.files()
    assert [one for one in there if one.startswith("_")] == [
        "_done/edited.mov",
        "_failed/cut.edl",
        "_failed/cut.edl.error.toml",
    ]
    assert not any("whole" in one for one in there)
    assert any("timelines/failed" in one for one in there), "a job of it may be retried"
    house.passes(10.0)
    assert house.prune().failed.files == 2
    assert not any("timelines" in one for one in house.files())


@pytest.mark.parametrize("rel", ["shot.mov", "../../etc/x", "_done/../x", "/etc/passwd"])
def test_a_record_of_what_a_timeline_left_that_somebody_else_wrote_removes_nothing(house, rel):
    left(house, "evil", "_done/cut.edl")
    record = house.path / ".clipspool/timelines/evil/left.json"
    record.write_text(json.dumps({"ended_at": 0, "files": [[rel.encode().hex(), 3, 0]]}))
    house.passes(50.0)
    assert house.prune().done.files == 0
    assert record.exists()


def test_history_goes_and_what_money_depends_on_stays(house):
    ended(house, "paid00000001", "shot.mp4")
    ended(house, "free00000001", "other.mp4", fails=True)
    desk = house.desk
    before = desk.journal.last_event()
    spent = desk.journal.spent(0.0)
    house.passes(31)
    assert house.prune().histories == 2
    assert desk.journal.last_event() >= before
    assert desk.journal.spent(0.0) == spent
    kept = desk.job("paid00000001")
    assert (kept.state, kept.task.task_id) == (State.DELIVERED, "task-paid00000001-0")
    assert desk.job("free00000001") is None
    assert desk.journal.counts == desk.journal.count()
    assert house.prune().histories == 0


def test_a_failed_clip_whose_source_still_lies_there_is_not_forgotten(house):
    ended(house, "free00000001", "other.mp4", fails=True)
    house.passes(100)
    house.prune(Retention(journal_days=1.0))
    assert house.desk.job("free00000001").state is State.FAILED
    house.prune(Retention(failed_days=1.0))
    assert house.files() == []


def test_posters_go_by_their_jobs_and_those_of_others_stay(house):
    ended(house, "done00000001", "shot.mp4")
    posters = house.path / ".clipspool/posters"
    posters.mkdir(parents=True)
    for name in ("done00000001.jpg", "done00000001-2.jpg", "0ther0000001.jpg", "own.jpg"):
        (posters / name).write_bytes(b"jpeg")
    house.passes(4)
    assert house.prune().posters.files == 0
    house.passes(2)
    assert house.prune().posters.files == 2
    assert sorted(one.name for one in posters.iterdir()) == ["0ther0000001.jpg", "own.jpg"]


def test_the_poster_of_a_job_that_waits_for_a_person_stays_however_long_that_takes(house):
    house.desk.shop.say[Stage.SUBMIT].append(lambda _job: AnswerLost("no answer came", {}))
    house.accept("doubt0000001", "shot.mp4")
    house.desk.until(State.IN_DOUBT, "doubt0000001")
    poster = house.path / ".clipspool/posters/doubt0000001.jpg"
    poster.parent.mkdir(parents=True)
    poster.write_bytes(b"jpeg")
    house.passes(100)
    house.prune()
    assert poster.exists()
    assert house.desk.job("doubt0000001").state is State.IN_DOUBT


def test_an_inbox_that_is_offline_loses_nothing_and_says_so(house):
    ended(house, "done00000001", "shot.mp4")
    house.passes(100)
    house.path.rename(house.path.with_name("away"))
    report = house.prune()
    assert "No such file" in report.trouble
    assert house.desk.journal.clip("done00000001").lies_at == "_done/shot.mp4"


def test_through_a_season_of_days_each_thing_goes_on_its_day(house):
    gone = {}
    for day in range(14):
        if day < 3:
            ended(house, f"done0000000{day}", f"shot{day}.mp4")
        house.passes(1)
        house.prune()
        lying = {name for name in house.files() if name.endswith(".mp4")}
        for clip in range(min(day + 1, 3)):
            if f"_done/shot{clip}.mp4" not in lying:
                gone.setdefault(clip, day)
    assert gone == {0: 9, 1: 10, 2: 11}


def test_a_file_that_came_under_the_name_of_another_meanwhile_stays(house):
    ended(house, "done00000001", "shot.mp4")
    clip = house.desk.journal.clip("done00000001")
    found = files_of(house.root, clip, ["deep winter"])
    (house.path / "_done/shot.toml").write_text("# an editor's own")
    remove(house.root, found)
    assert house.files() == ["_done/shot.toml"]


def test_a_clip_whose_work_folder_is_still_there_is_not_forgotten(house):
    ended(house, "free00000001", "shot.mp4", fails=True)
    (house.path / "_failed/shot.mp4").unlink()
    left = house.path / ".clipspool/work/free00000001"
    left.mkdir(parents=True)
    house.passes(100)
    assert house.prune().histories == 0
    assert house.desk.job("free00000001").state is State.FAILED
    left.rmdir()
    assert house.prune().histories == 1
    assert house.desk.job("free00000001") is None


def test_a_clock_that_jumps_begins_no_run_and_delays_none(house, monkeypatch):
    ran, desk = [], house.desk
    monkeypatch.setattr(daily, "start_thread", lambda _run, name: ran.append(name))
    settings = SimpleNamespace(retention={"done_days": 10.0})
    runs = daily.DailyHousekeeping(desk.scheduler, house.prune, lambda: settings)
    desk.clock.passes(700)
    runs.start_if_due()
    assert len(ran) == 1
    for jump in (400 * DAY, -500 * DAY):
        desk.clock.is_set(jump)
        runs.start_if_due()
        assert len(ran) == 1
    desk.clock.passes(DAY)
    runs.start_if_due()
    assert len(ran) == 2
