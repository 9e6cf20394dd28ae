"""An inbox is checked before each scan, together with the journal's scheduler."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from clipspool.app import binding
from clipspool.app.binding import Binding
from clipspool.app.build import inspection_of
from clipspool.jobs.events import TaskCreated
from clipspool.jobs.model import State
from clipspool.journal import JournalError
from clipspool.spool import recovery
from clipspool.spool.guard import Unavailable
from clipspool.spool.ledger import note
from clipspool.spool.peers import own_mark
from fakes import PROFILE, Bench, Desk, a_task


class Ending:
    """A scheduler whose journal's disk is full."""

    def call(self, *_command, **_how):
        raise JournalError("The journal cannot be written (database or disk is full).")

    def call_soon(self, _command):
        pass

    enqueue = call_soon


class Proven:
    def prove(self, _inbox, _root):
        pass


def test_a_journal_that_cannot_be_written_is_no_mistake_of_the_inbox(tmp_path):
    bench = Bench(tmp_path)
    own = own_mark("j1", tmp_path / "journal.db")
    bind = Binding(bench.bay, Ending(), Proven(), (), own, cut_short=(), known={"clip1"})
    with pytest.raises(Unavailable, match="cannot be written") as raised:
        bind()
    assert raised.value.strerror == "The journal cannot be written (database or disk is full)."
    bind.end()[-1].join()


def test_a_request_that_was_cut_short_is_not_in_doubt_before_its_inbox_is_there(tmp_path):
    """After a power cut the file server may be mounted late: its ledger knows the task."""
    bench = Bench(tmp_path)
    note(bench.bay.inbox, "clip1", "clip1", "intent", number=1, profile=PROFILE)
    note(bench.bay.inbox, "clip1", "clip1", "task", number=1, task_id="task-7", profile=PROFILE)
    job = replace(bench.job, state=State.SUBMITTING, task=a_task(task_id=None, created_at=None))
    settled = []
    scheduler = SimpleNamespace(
        call_soon=lambda do: do(SimpleNamespace(cut_short=SimpleNamespace(settle=settled.append))),
        call=lambda _do, **_: {"clip1"},
        enqueue=lambda _message: None,
    )
    own = own_mark("j1", tmp_path / "journal.db")
    bind = Binding(bench.bay, scheduler, Proven(), (), own, cut_short=[job], known={"clip1"})
    bench.path.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(Unavailable):
            bind()
    assert settled == []
    (tmp_path / "away").rename(bench.path)
    bind()
    assert settled == [{"clip1": TaskCreated("task-7")}]
    bind.end()[-1].join()


def test_what_a_former_leader_claimed_after_it_lost_its_lead_is_entered_by_the_next(tmp_path, monkeypatch):
    """It had been frozen in the middle of a claim: it could not record the clip, and nobody saw it."""
    monkeypatch.setattr(binding, "_LATE_SECONDS", 0.0)
    bench, desk = Bench(tmp_path), Desk(tmp_path)
    monkeypatch.setattr(desk.scheduler, "call", lambda command, _seconds=0.0, **_: desk.order(command))
    looked_into = []

    def claimed_late(inbox, root, journal_id, names):
        looked_into.append(names)
        return recovery.claimed_late(inbox, root, journal_id, names)

    monkeypatch.setattr(binding, "claimed_late", claimed_late)
    own = own_mark("j1", tmp_path / "journal.db", epoch=2)
    bind = Binding(bench.bay, desk.scheduler, Proven(), (), own, cut_short=(), known={"clip1"})
    bind()
    bind._recorded.discard("clip1")
    desk.drop("clip1")
    desk.turn()
    bench.drop("late", "late.mp4", b"another clip")
    (bench.path / ".clipspool/work/empty").mkdir()
    bind()
    desk.turn()
    assert desk.journal.known(["late"]) == set(), "it may be a claim that is being made"
    bind()
    desk.turn()
    assert desk.job("late").path == "late.mp4"
    assert looked_into == [set(), set(), {"late", "empty"}]
    assert (bench.path / ".clipspool/work/empty").exists()
    bind.end()[-1].join()
    desk.close()


def test_a_clip_is_claimed_only_while_a_request_might_be_sent():
    stages = SimpleNamespace(
        check=None, inspect=None, decoder=SimpleNamespace(warm=None), complete=None, price=None
    )
    for may_send in (True, False):
        stages.may_send = lambda may_send=may_send: may_send
        assert inspection_of(stages).may_claim() is may_send
