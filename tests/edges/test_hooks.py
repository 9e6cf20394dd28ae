"""Hooks in the scheduler, turned by hand: beside the paid path, and never in it."""

import pytest

from clipspool.app.settings import load
from clipspool.cli.check.setup import look_at_hooks
from clipspool.jobs.events import Failed, JobHeld, NotSubmitted, Postponed, StageFailed, Vetted
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Error, Held, State
from clipspool.jobs.records import HookRun
from clipspool.scheduler import commands as operator
from clipspool.stages.hooks import HookTools, vet
from fakes import NO_CREDITS, Bench, Desk, Workshop


class Hooked(Workshop):
    """A workshop whose hooks say what they are told to, else that all is well."""

    def __init__(self):
        super().__init__()
        self.ran = []
        self.runs = []
        self.lay_at = []

    def work(self, given, gate):
        if given.stage is Stage.VET and not self.say[Stage.VET] and Stage.VET not in self.held:
            self.done.append((given.stage, given.job.id))
            return Vetted(0.1, "fine")
        return super().work(given, gate)

    def run_hook(self, name, job, clip):
        self.ran.append((name, job.id, job.state))
        self.lay_at.append(clip.lies_at)
        return self.runs.pop(0) if self.runs else HookRun(name, 0.1, "tagged")


@pytest.fixture
def open_desk(tmp_path):
    desks = []

    def open_desk():
        desk = Desk(tmp_path, shop=Hooked())
        desk.scheduler.hooks.use(["before_submit", "after_delivery", "on_failure"])
        lane = desk.scheduler.workers.after_hooks
        begin = lane.begin
        lane.begin = lambda work: (setattr(desk, "_owed", desk._owed + 1), begin(work))
        desks.append(desk)
        return desk

    yield open_desk
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(open_desk):
    return open_desk()


def events(desk, job_id="clip1"):
    return [entry.event for entry in desk.journal.history(desk.job(job_id))]


def test_before_submit_is_asked_once_before_anything_of_the_request_begins(desk):
    desk.drop()
    desk.until(State.DELIVERED)
    stages = [stage for stage, _ in desk.shop.done]
    assert stages[:3] == [Stage.PREPARE, Stage.VET, Stage.SUBMIT]
    assert desk.shop.paid == ["clip1"]
    assert events(desk).index("vetted") < events(desk).index("connected")


def test_a_veto_holds_its_clip_with_the_hooks_words_and_nothing_is_paid(desk):
    desk.shop.say[Stage.VET].append(JobHeld(Held.VETO, "no faces in this project"))
    desk.drop()
    desk.drop("clip2")
    desk.until(State.DELIVERED, "clip2")
    job = desk.job()
    assert (job.held, job.reason, job.task) == (Held.VETO, "no faces in this project", None)
    assert desk.shop.paid == ["clip2"]
    assert desk.order(operator.approve, ["clip1"], "ann")[0]["done"]
    desk.until(State.DELIVERED)
    assert [stage for stage, job in desk.shop.done if job == "clip1"].count(Stage.VET) == 1
    assert desk.job().approved is False, "who approves against a hook approves no price"


def test_what_a_person_let_pass_is_not_asked_about_again_after_a_restart(open_desk):
    desk = open_desk()
    desk.shop.say[Stage.VET].append(JobHeld(Held.VETO, "no faces in this project"))
    desk.drop()
    desk.turns(4)
    assert desk.job().held is Held.VETO
    desk.scheduler.is_draining = True
    assert desk.order(operator.approve, ["clip1"], "ann")[0]["done"]
    desk.close()
    again = open_desk()
    again.shop.say[Stage.VET].append(JobHeld(Held.VETO, "no faces in this project"))
    again.until(State.DELIVERED)
    assert again.shop.paid == ["clip1"]
    assert again.journal.facts_below("hook_approved:") == []


def test_a_hook_that_fails_is_asked_again_later_and_holds_nobody_else(desk):
    desk.shop.say[Stage.VET].append(StageFailed("HOOK", "the before_submit hook failed: exit 127"))
    desk.drop()
    desk.drop("clip2")
    desk.until(State.DELIVERED)
    desk.until(State.DELIVERED, "clip2")
    assert [e for one in ("clip1", "clip2") for e in events(desk, one) if e == "stage_failed"] == [
        "stage_failed"
    ]
    assert sorted(desk.shop.paid) == ["clip1", "clip2"]


def test_hooks_that_hang_hold_only_their_own_clips(desk):
    held = desk.shop.hold(Stage.VET)
    for number in range(5):
        desk.drop(f"hangs{number}")
    desk.turns(3)
    del desk.shop.held[Stage.VET]
    desk.drop("clip1")
    desk.until(State.DELIVERED)
    assert desk.shop.paid == ["clip1"]
    desk.shop.say[Stage.VET].extend([StageFailed("HOOK", "it took longer than 30 s")] * 5)
    desk.release(held)
    desk.turns(2)
    assert desk.state("hangs0") is State.QUEUED


def test_a_job_that_is_run_again_is_asked_again(desk):
    desk.shop.say[Stage.SUBMIT].append(lambda _job: Failed(Error("X", "refused")))
    desk.drop()
    desk.until(State.FAILED)
    desk.order(operator.retry, ["clip1"], "ann")
    desk.until(State.DELIVERED)
    assert [stage for stage, _ in desk.shop.done].count(Stage.VET) == 2


def test_no_slot_of_the_provider_is_taken_while_a_hook_runs(desk):
    held = desk.shop.hold(Stage.VET)
    desk.drop()
    desk.turns(3)
    assert desk.journal.counts[State.SUBMITTING] == 0
    assert desk.scheduler.spending.today.submissions == 0
    desk.release(held)


def test_a_crash_between_the_hook_and_the_request_asks_again(open_desk):
    desk = open_desk()
    desk.drop()
    while Stage.VET not in {stage for stage, _ in desk.shop.done}:
        desk.turn()
    desk.scheduler.is_draining = True
    desk.turn()
    desk.close()
    again = open_desk()
    again.until(State.DELIVERED)
    assert [stage for stage, _ in again.shop.done][:2] == [Stage.VET, Stage.SUBMIT]
    assert again.shop.paid == ["clip1"]


def test_a_job_that_ended_has_its_hook_once_with_its_words_in_the_history(desk):
    desk.drop()
    desk.shop.say[Stage.PREPARE].append(Failed(Error("X", "refused")))
    desk.drop("bad")
    desk.turns(15, 60.0)
    assert sorted(desk.shop.ran) == [
        ("after_delivery", "clip1", State.DELIVERED),
        ("on_failure", "bad", State.FAILED),
    ] or sorted(desk.shop.ran) == [
        ("after_delivery", "bad", State.DELIVERED),
        ("on_failure", "clip1", State.FAILED),
    ]
    job_id = next(job_id for name, job_id, _ in desk.shop.ran if name == "after_delivery")
    assert events(desk, job_id)[-1] in {"hook_ran", "retired"}
    (entry,) = [e for e in desk.journal.history(desk.job(job_id)) if e.event == "hook_ran"]
    assert (entry.facts["hook"], entry.facts["output"]) == ("after_delivery", "tagged")
    assert desk.scheduler.is_idle


def test_a_hook_after_an_end_that_a_crash_cut_short_is_run_again(open_desk):
    desk = open_desk()
    desk.shop.runs.append(HookRun("after_delivery", was_stopped=True))
    desk.drop()
    desk.until(State.DELIVERED)
    desk.turns(2)
    assert len(desk.shop.ran) == 1
    assert not desk.scheduler.is_idle
    desk.close()
    again = open_desk()
    again.turns(3)
    assert [name for name, _, _ in again.shop.ran] == ["after_delivery"]
    assert again.scheduler.is_idle


def test_a_hook_after_an_end_finds_its_source_where_it_was_moved(desk):
    held = desk.shop.hold("retire")
    desk.drop()
    desk.until(State.DELIVERED)
    desk.turns(2)
    assert desk.shop.ran == []
    desk.release(held)
    desk.turns(3)
    assert desk.shop.lay_at == ["_done/day/shot.mp4"]


def test_a_source_that_cannot_be_moved_keeps_no_hook_waiting_for_long(desk):
    desk.shop.say["retire"].extend([OSError(5, "Input/output error")] * 20)
    desk.drop()
    desk.until(State.DELIVERED)
    desk.turns(5)
    assert desk.shop.ran == []
    desk.turns(2, 61.0)
    assert [name for name, _, _ in desk.shop.ran] == ["after_delivery"]


def test_the_hook_of_one_variant_does_not_wait_for_another_that_is_held(desk):
    desk.shop.say[Stage.VET].append(JobHeld(Held.VETO, "no faces in this project"))
    desk.drop(variants=("_v1", "_v2"))
    desk.turns(12, 2.0)
    assert [name for name, _, _ in desk.shop.ran] == ["after_delivery"]
    assert desk.shop.lay_at == [None]


def test_no_more_hooks_are_handed_out_than_run_at_once(desk):
    lane = desk.scheduler.workers.after_hooks
    lane.size, busy, run_hook = 1, [], desk.shop.run_hook
    desk.shop.run_hook = lambda *of: (busy.append(lane.busy), run_hook(*of))[1]
    for number in range(3):
        desk.drop(f"clip{number}")
    desk.turns(20, 60.0)
    assert busy == [1, 1, 1]


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("echo looked", Vetted),
        ("echo no faces >&2; exit 1", JobHeld),
        ("echo no such tool >&2; exit 127", StageFailed),
        ("kill -9 $$", StageFailed),
    ],
)
def test_exit_1_alone_is_a_veto(tmp_path, script, outcome):
    bench = Bench(tmp_path)
    tools = HookTools({"before_submit": ("/bin/sh", "-c", script)})
    assert isinstance(vet(bench.job, bench.clip, bench.bay, tools, lambda: False), outcome)


def test_a_hook_that_clipspools_own_end_cuts_short_decides_nothing(tmp_path):
    bench = Bench(tmp_path)
    tools = HookTools({"before_submit": ("/bin/sh", "-c", "sleep 600")})
    assert isinstance(vet(bench.job, bench.clip, bench.bay, tools, lambda: True), Postponed)


def test_a_hook_that_is_configured_no_more_is_not_waited_for(open_desk):
    desk = open_desk()
    desk.scheduler.hooks.use([])
    desk.drop()
    desk.until(State.DELIVERED)
    desk.turns(3)
    assert desk.shop.ran == []
    assert Stage.VET not in {stage for stage, _ in desk.shop.done}


def test_while_the_provider_is_blocked_no_hook_is_asked(desk):
    desk.shop.say[Stage.SUBMIT].append(NotSubmitted(NO_CREDITS))
    desk.drop()
    desk.turns(6)
    asked = [stage for stage, _ in desk.shop.done].count(Stage.VET)
    desk.drop("clip2")
    desk.turns(4)
    assert [stage for stage, _ in desk.shop.done].count(Stage.VET) == asked


def test_check_names_a_hook_whose_program_is_missing_and_runs_none(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "own.sh").write_text("#!/bin/sh\ntouch was-run\n")
    (tmp_path / "own.sh").chmod(0o755)
    file = tmp_path / "config.toml"
    hooks = (
        'before_submit = ["/nowhere/python3", "x.py"]\nafter_delivery = ["sh"]\non_failure = ["./own.sh"]\n'
    )
    file.write_text(f'[hooks]\n{hooks}[[inbox]]\npath = "in"\noutbox = "out"\n')
    (found,) = look_at_hooks(load(file, {"HOME": str(tmp_path)}))
    assert (found.level, found.what) == ("bad", "hooks.before_submit")
    assert "/nowhere/python3 is no program that can be run; nothing would be sent" in found.why
    assert not (tmp_path / "was-run").exists()
