"""A clip that is run once more, changed, is the next version: on a real journal, and in real folders."""

import time
from concurrent.futures import Future
from dataclasses import replace

import pytest

from clipspool.app import again as app_again
from clipspool.app.again import again
from clipspool.cli.act import balance_in_words
from clipspool.cli.client import OperatorCommands
from clipspool.jobs.events import Failed, Prepared
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import Error, Held, Reference, State
from clipspool.media.facts import Probe
from clipspool.provider.catalog import Catalog
from clipspool.provider.transport.depot import Depot
from clipspool.provider.transport.way import InRequest
from clipspool.scheduler import commands as operator
from clipspool.scheduler import versions
from clipspool.scheduler.mailbox import Command
from clipspool.spool.ledger import note
from clipspool.spool.recovery import survey
from clipspool.spool.root import Root
from clipspool.spool.workfolder import bring_back, read_manifest
from clipspool.stages.deliver import base_name
from clipspool.stages.retire import retire, sweep
from clipspool.stages.runner import Tools
from fakes import PROFILE, Bench, Desk, Studio, a_clip, a_job, a_request, a_task, always, lying

S = State
DONE = a_job(state=S.DELIVERED, task=a_task(), request=a_request(seed_is_drawn=True))
FILM = Probe("mp4", 9, "h264", 1280, 720, 1280, 720, fps="24/1", seconds=3.0).to_dict()


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path, credits_per_clip_max=40.0)
    yield desk
    desk.close()


def delivered(desk, clip_id="clip1"):
    desk.drop(clip_id)
    desk.until(S.DELIVERED, clip_id)
    desk.turns(3)
    return desk.job(clip_id)


def ask(desk, command):
    """Run a command in a turn; raises what it raises."""
    reply = Future()
    desk.scheduler.enqueue(Command(command, reply))
    desk.turn()
    return reply.result(0)


def order(desk, job_id="clip1", price=15.0, **changes):
    request = a_request(again=True, **changes)
    return ask(desk, lambda scheduler: versions.again(scheduler, job_id, request, price, "ann"))


# --- in the journal -------------------------------------------------------------------------------------


def test_a_delivered_clip_runs_once_more_and_retires_again_with_both_jobs(desk):
    first = delivered(desk)
    answer = order(desk, prompt="deep summer")
    assert (answer["new"], answer["version"], answer["done"]) == ("clip1-r2", 2, True)
    second = desk.until(S.DELIVERED, "clip1-r2")
    desk.turns(3)
    assert (second.version, second.request.prompt) == (2, "deep summer")
    assert desk.job() == first
    assert desk.shop.paid == ["clip1", "clip1-r2"]
    assert desk.shop.retired[-1] == ("clip1", [S.DELIVERED, S.DELIVERED])
    assert desk.scheduler.is_idle
    assert [entry.event for entry in desk.journal.history(second)].count("again") == 1


def test_only_what_has_ended_runs_once_more_and_each_order_is_a_version_of_its_own(desk):
    desk.drop()
    desk.turn()
    with pytest.raises(operator.NotDone, match="only a job that has ended"):
        order(desk)
    desk.until(S.DELIVERED)
    assert [order(desk, price=1.0)["version"] for _ in range(2)] == [2, 3]
    with pytest.raises(operator.NotDone, match="no such job"):
        order(desk, "nobody")


def test_the_limit_of_a_clip_counts_every_version(desk):
    delivered(desk)
    assert "held" not in order(desk)
    desk.until(S.DELIVERED, "clip1-r2")
    third = order(desk)
    assert third["held"] == Held.BUDGET
    assert "45 credits in all" in third["reason"]
    desk.turns(5, 60.0)
    assert desk.shop.paid == ["clip1", "clip1-r2"]


def test_a_version_ordered_while_its_clip_retires_waits_for_that_and_finds_the_source_there(desk):
    held = desk.shop.hold("retire")
    desk.drop()
    desk.until(S.DELIVERED)
    desk.turns(2, 60.0)
    order(desk)
    desk.turns(2)
    assert desk.shop.paid == ["clip1"]
    desk.release(held)
    desk.until(S.DELIVERED, "clip1-r2")
    assert desk.journal.clip("clip1").lies_at is None or desk.shop.paid == ["clip1", "clip1-r2"]


def test_the_same_clip_dropped_again_changed_is_the_next_version(desk):
    def prepared(job):
        return Prepared("ab" * 32, 9, 1_000, 1.0, fingerprint=f"what {job.clip_id} asks for")

    desk.shop.say[Stage.PREPARE].extend([prepared] * 4)
    delivered(desk)
    assert delivered(desk, "clip2").version == 2
    assert order(desk, price=1.0)["version"] == 3
    assert delivered(desk, "clip3").version == 4


def test_a_drop_that_failed_leaves_its_version_to_the_next(desk):
    def prepared(job):
        return Prepared("ab" * 32, 9, 1_000, 1.0, fingerprint=f"what {job.clip_id} asks for")

    desk.shop.say[Stage.PREPARE].extend([prepared] * 2)
    desk.shop.say[Stage.SUBMIT].append(lambda _: Failed(Error("X", "refused")))
    desk.drop()
    desk.until(S.FAILED)
    assert delivered(desk, "clip2").version == 1


# --- in the folders -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{stem}{variant}", "shot_v1_v002"),
        ("{stem}_{version}{variant}", "shot_v002_v1"),
        ("{{version}} {stem}", "{version} shot_v002"),
    ],
)
def test_the_version_is_where_the_operator_wants_it_else_behind_the_name(template, name):
    job = a_job("clip1-v1-r2", variant="_v1", version=2)
    assert base_name(job, a_clip(path="day/shot.mp4"), template) == name


def test_the_first_version_has_a_number_only_where_the_pattern_names_it():
    assert base_name(a_job(), a_clip(path="shot.mp4"), "{stem}{variant}") == "shot"
    assert base_name(a_job(), a_clip(path="shot.mp4"), "{stem}_{version}") == "shot_v001"


def test_a_source_comes_back_for_its_next_version_and_the_manifest_names_that_alone(tmp_path):
    bench = Bench(tmp_path)
    retired = retire(bench.clip, [DONE], bench.bay, always)
    sweep(retired, bench.bay)
    second = a_job("clip1-r2", version=2)
    bring_back(bench.bay.inbox, retired, second, "j1")
    assert [job.id for job in read_manifest(bench.bay.inbox, "clip1").jobs] == ["clip1-r2"]
    (found,) = survey("bay", bench.bay.inbox, "j1", set()).ours
    assert [(job.id, job.version, job.state) for job in found.jobs] == [("clip1-r2", 2, S.QUEUED)]


def test_a_version_ordered_before_its_clip_retired_is_in_the_manifest_too(tmp_path):
    bench = Bench(tmp_path)
    bring_back(bench.bay.inbox, bench.clip, a_job("clip1-r2", version=2), "j1")
    assert [job.id for job in read_manifest(bench.bay.inbox, "clip1").jobs] == ["clip1", "clip1-r2"]


def test_recover_knows_the_version_that_a_dropped_clip_was_sent_as(tmp_path):
    bench = Bench(tmp_path)
    note(bench.bay.inbox, "clip1", "clip1", "intent", profile=PROFILE, number=1, token="t", version=3)
    (found,) = survey("bay", bench.bay.inbox, "j1", set()).ours
    assert (found.jobs[0].version, found.jobs[0].state) == (3, S.IN_DOUBT)


def test_a_clip_whose_newest_version_failed_goes_to_failed_and_back_once_it_is_delivered(tmp_path):
    bench = Bench(tmp_path)
    failed = a_job("clip1-r2", version=2, state=S.FAILED, error=Error("X", "refused"))
    retired = retire(bench.clip, [DONE, failed], bench.bay, always)
    assert retired.lies_at == "_failed/day/shot.mp4"
    bring_back(bench.bay.inbox, retired, a_job("clip1-r3", version=3), "j1")
    third = a_job("clip1-r3", version=3, state=S.DELIVERED, task=a_task())
    retired = retire(replace(retired, lies_at=None), [DONE, failed, third], bench.bay, always)
    assert retired.lies_at == "_done/day/shot.mp4"
    assert "_failed/day/shot.mp4.error.toml" not in lying(bench.path)


# --- the order ------------------------------------------------------------------------------------------


@pytest.fixture
def bay(tmp_path, desk):
    """Return how to order: a desk, a bench with the delivered clip's source in `_done`, and the order."""
    folder = tmp_path / "folders"
    folder.mkdir()
    bench = Bench(folder)

    def run(job=DONE, **given):
        if desk.job(job.id) is None:
            desk.scheduler.enqueue(_accepted(bench, job))
            desk.turn()
        (answer,) = again(lambda do: ask(desk, do), tools_for(bench), {}, ids=[job.id], by="ann", **given)
        return answer

    return desk, bench, run


def tools_for(bench, bytes_max=5_000_000):
    depot = Depot((InRequest(bytes_max),), time.time)
    return Tools({"bay": bench.bay}, Studio(), Catalog.load(), depot, lambda _profile: None)


def _accepted(bench, job):
    return Accepted(replace(bench.clip, media=FILM, sha256="ab" * 32), (job,))


def test_a_dry_run_says_what_it_would_be_and_orders_nothing(bay):
    desk, _, run = bay
    answer = run(prompt="deep summer", dry_run=True)
    assert (answer["done"], answer["new"], answer["version"]) == (True, None, 2)
    assert answer["credits_estimated"] == 45.0
    assert answer["request"]["prompt"] == "deep summer"
    assert desk.journal.counts[S.QUEUED] == 0
    why = "this clip would cost about 45 credits in all, and a clip may cost 40"
    assert (answer["held"], answer["reason"]) == ("budget", why), "it is said before it is ordered"
    ordered = run(prompt="deep summer")
    assert (ordered["held"], ordered["reason"]) == (answer["held"], answer["reason"])
    assert desk.journal.job(ordered["new"]).held is Held.BUDGET


def test_of_several_that_are_ordered_at_once_the_limits_let_pass_the_first_ones(tmp_path):
    desk, bench = Desk(tmp_path, credits_per_day=100.0, credits_per_clip_max=89.0), Bench(tmp_path)
    first = versions.Priced(a_clip(), "gen4_aleph", 45.0)
    other = replace(first, clip=replace(first.clip, id="clip2"))

    def held(one, *before):
        return ask(desk, lambda scheduler: versions.would_hold(scheduler, one, before)).get("held")

    assert [held(other), held(other, first), held(other, first, first)] == [None, None, "budget"], (
        "of the day"
    )
    assert held(first, first) == "budget", "of the clip"
    desk.scheduler.enqueue(_accepted(bench, DONE))
    desk.turn()
    given = {"ids": [DONE.id, DONE.id], "by": "ann", "prompt": "summer", "dry_run": True}
    quoted = again(lambda do: ask(desk, do), tools_for(bench, bytes_max=1 << 20), {}, **given)
    assert [one.get("held") for one in quoted] == [None, "budget"]
    desk.close()


def test_the_same_order_twice_is_carried_out_once(bay):
    desk, _, run = bay
    shown = {DONE.id: run(prompt="deep summer", dry_run=True)["version"]}
    assert run(prompt="deep summer", versions=shown)["version"] == 2
    second = run(prompt="deep summer", versions=shown)
    assert (second["done"], "version 2 was ordered meanwhile" in second["why"]) == (False, True)
    assert desk.journal.newest_version(desk.journal.clip(DONE.clip_id), "") == 2
    assert run(prompt="deep autumn", versions={DONE.id: 3})["version"] == 3


def test_an_order_with_a_key_that_comes_again_is_answered_as_the_first_time(bay):
    desk, _, run = bay
    first = run(prompt="deep summer", key="take-7")
    again_ = run(prompt="deep summer", key="take-7")
    assert again_["done"]
    assert (again_["new"], again_["version"]) == (first["new"], first["version"]) == ("clip1-r2", 2)
    assert desk.journal.newest_version(desk.journal.clip(DONE.clip_id), "") == 2
    other = run(prompt="deep autumn", key="take-7")
    assert (other["done"], "used for another order" in other["why"]) == (False, True)
    assert again_ == {key: value for key, value in first.items() if key != "request"}
    assert run(prompt="deep summer", key="take-7", dry_run=True)["version"] == 3
    assert run(prompt="deep summer", key="take-8")["version"] == 3


def test_of_two_orders_with_one_key_at_the_same_moment_one_is_carried_out_and_both_answered(bay, monkeypatch):
    desk, _, run = bay
    bring, answers = app_again._References.bring, []

    def other_is_quicker(references):
        monkeypatch.setattr(app_again._References, "bring", bring)
        answers.append(run(prompt="deep summer", key="take-7"))
        bring(references)

    monkeypatch.setattr(app_again._References, "bring", other_is_quicker)
    answers.append(run(prompt="deep summer", key="take-7"))
    assert [one["new"] for one in answers] == ["clip1-r2", "clip1-r2"]
    assert desk.journal.newest_version(desk.journal.clip(DONE.clip_id), "") == 2


def test_keys_of_orders_are_forgotten_after_a_week(bay):
    desk, _, run = bay
    run(prompt="deep summer", key="take-7")
    desk.clock.passes(8 * 86_400.0)
    run(prompt="deep autumn", key="take-8")
    assert len(desk.journal.facts_below("order:")) == 1


def test_of_two_orders_at_the_same_moment_one_is_carried_out(bay, monkeypatch):
    desk, _, run = bay
    bring = app_again._References.bring

    def other_is_quicker(references):
        monkeypatch.setattr(app_again._References, "bring", bring)
        assert run(prompt="deep summer")["done"]
        bring(references)

    monkeypatch.setattr(app_again._References, "bring", other_is_quicker)
    assert run(prompt="deep summer")["done"] is False
    assert desk.journal.counts[S.QUEUED] <= 1


def test_a_seed_that_nobody_chose_is_drawn_anew(bay):
    _, _, run = bay
    assert run(dry_run=True)["request"]["seed"] != 42


def test_a_seed_that_was_named_stays_unless_it_is_taken_back(bay):
    _, _, run = bay
    named = a_job(state=S.DELIVERED)
    assert run(named, dry_run=True)["request"]["seed"] == 42
    assert run(named, set={"seed": None}, dry_run=True)["request"]["seed"] != 42
    assert run(named, set={"seed": 7}, dry_run=True)["request"]["seed"] == 7


def test_the_model_that_was_asked_for_is_tried_again_after_a_fallback(bay):
    _, _, run = bay
    request = a_request(model="aleph2", instead_of="gen4_aleph")
    answer = run(a_job(state=S.DELIVERED, request=request), dry_run=True)
    assert answer["request"]["model"] == "gen4_aleph"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"set": {"promt": "x"}}, "did you mean `prompt`"),
        ({"set": {"model": "gen9"}}, "unknown model `gen9`"),
        ({"set": {"ratio": "1:1"}}, "is not accepted"),
        ({"set": {"references": ["none.png"]}}, "`none.png`, which is not in the inbox"),
        ({"set": {"references": ["../../etc/passwd.png"]}}, "a plain path inside the inbox"),
        ({"set": {"variant": [{"seed": 1}]}}, "once for each variant"),
        ({"set": {"not_before": "soon"}}, "has to be a date and time"),
        ({"prompt": ""}, "is empty"),
    ],
)
def test_a_change_that_cannot_be_sent_is_refused_as_in_a_sidecar(bay, given, why):
    desk, _, run = bay
    answer = run(**given)
    assert not answer["done"]
    assert why in answer["why"]
    assert desk.journal.counts[S.QUEUED] == 0


def test_a_clip_whose_source_is_gone_is_refused(bay):
    _, bench, run = bay
    (bench.work / "clip.mp4").unlink()
    assert "its source day/shot.mp4 is gone" in run()["why"]


def test_a_reference_image_is_the_copy_from_before_else_copied_from_the_inbox(bay):
    desk, bench, run = bay
    bench.bay.inbox.create(".clipspool/work/clip1/ref-0.png", b"as it was")
    (bench.path / "look.png").write_bytes(b"another")
    request = a_request(references=(Reference(name="winter.png", file="ref-0.png"),))
    job = a_job("clip1", state=S.DELIVERED, request=request)
    run(job, set={"seed": 1})
    ordered = desk.job("clip1-r2").request
    assert ordered.references == request.references
    assert ordered.again, "an order is meant: it is never held as a duplicate"
    run(job, set={"references": ["look.png"]})
    (reference,) = desk.job("clip1-r3").request.references
    assert bench.bay.inbox.read(f".clipspool/work/clip1/{reference.file}", 99) == b"another"
    assert reference.file != "ref-0.png"


def test_the_reference_images_of_a_delivered_clip_are_kept_for_its_next_version(tmp_path):
    bench = Bench(tmp_path)
    bench.bay.inbox.create(".clipspool/work/clip1/ref-0.png", b"as it was")
    retired = retire(bench.clip, [DONE], bench.bay, always)
    sweep(retired, bench.bay)
    bring_back(bench.bay.inbox, retired, a_job("clip1-r2", version=2), "j1")
    assert Root(bench.path).read(".clipspool/work/clip1/ref-0.png", 99) == b"as it was"


# --- what the account has left ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balance", "words"),
    [
        (None, ""),
        ({"amount": 985.0, "unit": "credits"}, " The account has 985 credits."),
        ({"amount": 44.9, "unit": "credits"}, " The account has 44.9 credits, which is less than that."),
        ({"amount": 0.5, "unit": "USD"}, " The account has 0.5 USD."),
        ({"amount": 0.25, "unit": "USD"}, " The account has 0.25 USD, which is less than that."),
    ],
)
def test_a_batch_says_whether_the_account_covers_it(monkeypatch, balance, words):
    monkeypatch.setattr(OperatorCommands, "do", lambda _, name: {"balance": balance}[name])
    assert balance_in_words(None, 45.0) == words
