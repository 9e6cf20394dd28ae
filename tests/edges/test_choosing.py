"""One version of a clip is chosen: its result has a second name in the outbox, and nothing is overwritten."""

import hashlib
import os
from concurrent.futures import Future
from dataclasses import replace

import pytest

from clipspool.app.choosing import choose
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import State
from clipspool.scheduler.mailbox import Command
from fakes import RESULT, Bench, Desk, a_clip, a_job, lying

FILMS = {"clip1": b"winter", "clip1-r2": b"summer", "clip2": b"autumn"}


class Room:
    """Three delivered jobs, two of one clip and one of a later drop of it, and the order to choose."""

    def __init__(self, path):
        self.desk, self.bench = Desk(path), Bench(path)
        self.outbox = self.bench.results
        jobs = [self._delivered(job_id, data) for job_id, data in FILMS.items()]
        for clip_id in ("clip1", "clip2"):
            own = tuple(job for job in jobs if job.clip_id == clip_id)
            self.desk.scheduler.enqueue(Accepted(a_clip(clip_id), own))
        self.desk.turn()

    def _delivered(self, job_id, data):
        name = f"day/{job_id}.mp4"
        (self.outbox / "day").mkdir(exist_ok=True)
        (self.outbox / name).write_bytes(data)
        (self.outbox / f"{name}.toml").write_bytes(b"how")
        result = replace(RESULT, name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        return a_job(job_id, state=State.DELIVERED, results=(result,))

    def ask(self, command):
        reply = Future()
        self.desk.scheduler.enqueue(Command(command, reply))
        self.desk.turn()
        return reply.result(0)

    def choose(self, job_id="clip1", **how):
        (answer,) = choose(self.ask, {"bay": self.bench.bay}, [job_id], "ann", **how)
        return answer

    def chosen(self):
        return {name: data for name, data in lying(self.outbox).items() if name.startswith("_chosen/")}


@pytest.fixture
def room(tmp_path):
    room = Room(tmp_path)
    yield room
    room.desk.close()


def test_of_two_versions_chosen_at_the_same_moment_one_is(room, monkeypatch):
    ask, asked = room.ask, []

    def other_is_quicker(command):
        asked.append(command)
        answer = ask(command)
        if len(asked) == 1:
            monkeypatch.setattr(room, "ask", ask)
            assert room.choose("clip1-r2")["done"]
        return answer

    monkeypatch.setattr(room, "ask", other_is_quicker)
    room.choose("clip1")
    assert set(room.chosen().values()) == {b"winter", b"how"}
    assert [job_id for job_id in FILMS if room.desk.job(job_id).chosen] == ["clip1"]


def test_a_chosen_result_and_its_provenance_have_a_second_name(room):
    assert room.choose()["names"] == ["_chosen/day/clip1.mp4"]
    assert room.chosen() == {"_chosen/day/clip1.mp4": b"winter", "_chosen/day/clip1.mp4.toml": b"how"}
    assert (room.outbox / "_chosen/day/clip1.mp4").samefile(room.outbox / "day/clip1.mp4")
    assert room.desk.job().chosen == ("_chosen/day/clip1.mp4",)
    assert room.desk.journal.history(room.desk.job())[-1].event == "chosen"


@pytest.mark.parametrize("other", ["clip1-r2", "clip2"])
def test_choosing_another_version_takes_the_mark_from_the_one_before(room, other):
    room.choose()
    room.choose(other)
    assert sorted(room.chosen()) == [f"_chosen/day/{other}.mp4", f"_chosen/day/{other}.mp4.toml"]
    assert (room.desk.job().chosen, len(room.desk.job(other).chosen)) == ((), 1)
    assert (room.outbox / "day/clip1.mp4").exists()


def test_a_choice_is_undone_but_for_what_somebody_put_in_its_place(room):
    room.choose()
    assert room.choose(undo=True)["done"]
    assert room.chosen() == {}
    assert room.choose(undo=True)["why"] == "it is not chosen"
    room.choose()
    (room.outbox / "_chosen/day/clip1.mp4").unlink()
    (room.outbox / "_chosen/day/clip1.mp4").write_bytes(b"graded by hand")
    room.choose(undo=True)
    assert room.chosen()["_chosen/day/clip1.mp4"] == b"graded by hand"


def test_a_name_that_is_taken_stays_as_it_is_and_the_same_order_changes_nothing(room):
    (room.outbox / "_chosen/day").mkdir(parents=True)
    (room.outbox / "_chosen/day/clip1.mp4").write_bytes(b"somebody's")
    for _ in range(2):
        assert room.choose()["names"] == ["_chosen/day/clip1-2.mp4"]
    assert room.chosen()["_chosen/day/clip1.mp4"] == b"somebody's"
    assert len(room.chosen()) == 3
    assert [one.event for one in room.desk.journal.history(room.desk.job())].count("chosen") == 1


def test_where_a_file_system_has_no_second_names_the_result_is_copied(room, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(95, "not supported")))
    room.choose()
    assert room.chosen()["_chosen/day/clip1.mp4"] == b"winter"
    assert not (room.outbox / "_chosen/day/clip1.mp4").samefile(room.outbox / "day/clip1.mp4")


def test_what_has_no_result_as_it_was_delivered_cannot_be_chosen(room):
    room.desk.drop("clip3")
    room.desk.turn()
    assert "only a delivered job has a result" in room.choose("clip3")["why"]
    (room.outbox / "day/clip1.mp4").write_bytes(b"another film")
    assert "is not what was delivered" in room.choose()["why"]
    assert room.chosen() == {}
