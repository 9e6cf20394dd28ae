"""What Prometheus is told: by a real scheduler and journal, and by a provider that is measured."""

import math
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clipspool.intake.types import Waiting
from clipspool.jobs.events import AnswerLost, Failed, StageFailed, TaskSeen
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.limits import Limits
from clipspool.jobs.messages import DailyLimitReached
from clipspool.jobs.model import Error, Held, State
from clipspool.jobs.shares import Share, Shares
from clipspool.provider.protocol import (
    Call,
    Created,
    Download,
    DownloadCut,
    Inline,
    NothingSent,
    Refused,
    Unclear,
    encoded_length,
)
from clipspool.reporting.metered import Measured
from clipspool.reporting.metrics import Metrics
from clipspool.reporting.snapshot import snapshot_of
from fakes import BUSY, NO_CREDITS, Clock, Desk, Film, Shelf, Studio
from patience import patient

RENDERS = TaskSeen("RUNNING", rendering=True, progress=0.5)


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    desk.metrics = Metrics(dict)
    desk.journal.on_commit(desk.metrics.committed)
    desk.scheduler.subscribe(desk.metrics.on_news)
    yield desk
    desk.close()


def read(metrics):
    """Return every sample by its name and labels, as Prometheus would read it."""
    text = metrics.text().decode()
    return {
        (sample.name.removeprefix("clipspool_"), *(value for _, value in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def pictured(desk):
    desk.metrics.snapshot = snapshot_of(desk.scheduler)
    return read(desk.metrics)


def test_a_clip_that_comes_home_is_counted_on_its_way(desk):
    desk.drop()
    desk.until(State.DELIVERED)
    seen = pictured(desk)
    assert seen["clips_accepted_total", "bay"] == 1
    assert seen["jobs_ended_total", "bay", "delivered"] == 1
    assert seen["credits_estimated_total", "bay", "gen4_aleph"] == 15
    assert seen["credits_settled_total", "bay", "gen4_aleph"] == 15
    assert {what: seen["bytes_total", "bay", what] for what in ("accepted", "prepared", "delivered")} == {
        "accepted": 9,
        "prepared": 9,
        "delivered": 6,
    }
    assert seen["events_total", "task_created"] == 1
    assert seen["task_seconds_count", "gen4_aleph"] == 1
    assert (seen["jobs", "delivered"], seen["jobs", "queued"]) == (1, 0)
    assert (seen["day_submissions",], seen["day_credits",]) == (1, 15)
    assert ("doubts_total", "bay") not in seen


def test_commits_are_timed_and_turns_without_news_are_none(desk):
    desk.drop()
    desk.until(State.DELIVERED)
    desk.turns(3, 1.0)
    before = read(desk.metrics)["journal_commit_seconds_count",]
    assert before > 0
    desk.turns(5, 1.0)
    assert read(desk.metrics)["journal_commit_seconds_count",] == before


def test_a_lost_answer_is_a_doubt_and_waits_with_its_reason(desk):
    desk.shop.say[Stage.SUBMIT].append(lambda _: AnswerLost("no answer came", {}))
    desk.drop()
    desk.until(State.IN_DOUBT)
    seen = pictured(desk)
    assert seen["doubts_total", "bay"] == 1
    assert seen["jobs", "in_doubt"] == 1
    assert seen["jobs_waiting", "bay", "in_doubt"] == 1


def test_failures_are_counted_by_the_first_word_of_their_code(desk):
    desk.shop.say[Stage.POLL].append(Failed(Error("SAFETY.INPUT.TEXT", "it was moderated"), 5.0))
    desk.shop.say[Stage.POLL].append(Failed(Error('mal"for\nmed code', "the provider's own words")))
    for clip in ("clip1", "clip2"):
        desk.drop(clip)
        desk.until(State.FAILED, clip)
    seen = pictured(desk)
    assert seen["jobs_failed_total", "SAFETY"] == seen["jobs_failed_total", "OTHER"] == 1
    assert seen["credits_settled_total", "bay", "gen4_aleph"] == 5


def test_codes_without_end_do_not_become_series_without_end(desk):
    families = {desk.metrics._family(f"CODE{number}.X") for number in range(500)}
    assert len(families) <= 41
    assert "OTHER" in families


def pause_all(scheduler):
    scheduler.pauses.set_by_operator(frozenset({"*"}))


def pause_one(scheduler):
    scheduler.pauses.set_by_operator(frozenset({"bay"}))


def block(scheduler):
    scheduler.braking.set(scheduler.brake.pressed(NO_CREDITS, scheduler.now(), lambda: 0.5))


def leave_it(_scheduler):
    pass


@pytest.mark.parametrize(
    ("change", "reason"),
    [(pause_all, "paused"), (pause_one, "paused"), (block, "provider"), (leave_it, "turn")],
)
def test_what_waits_in_the_queue_says_why(desk, change, reason):
    change(desk.scheduler)
    desk.scheduler.picker.limits = Limits(running_max=0)
    desk.drop()
    desk.turn()
    assert pictured(desk)["jobs_waiting", "bay", reason] == 1


def test_what_is_not_due_waits_for_its_time_and_a_spent_day_is_said_once(desk):
    told = []
    desk.scheduler.subscribe(told.append)
    desk.drop("clip1", due_at=desk.clock.now + 3600)
    desk.turn()
    assert pictured(desk)["jobs_waiting", "bay", "not_before"] == 1
    desk.scheduler.picker.limits = Limits(credits_per_day=20.0)
    for clip in ("clip2", "clip3"):
        desk.drop(clip)
    desk.turns(8, 1.0)
    assert [desk.state(clip) for clip in ("clip2", "clip3")] == [State.RUNNING, State.QUEUED]
    spent = [news.why for news in told if type(news).__name__ == "DailyLimitReached"]
    assert spent == ["today's 20 credits are used up (15 spent)"]
    desk.clock.passes(86_400)
    desk.drop("clip4")
    desk.drop("clip5")
    desk.turns(8, 1.0)
    assert len([news for news in told if type(news).__name__ == "DailyLimitReached"]) == 2


def test_a_job_that_is_dearer_than_any_day_is_told_of_with_its_name_beside_those_that_wait_for_tomorrow(desk):
    told = []
    desk.scheduler.subscribe(told.append)
    desk.scheduler.picker.limits = Limits(
        credits_per_day=20.0, shares=Shares({"hall": Share(credits_per_day=10.0)})
    )
    desk.scheduler.picker.inboxes = ("bay", "hall")
    for clip, inbox in (("clip1", "hall"), ("clip2", "bay"), ("clip3", "bay")):
        desk.drop(clip, inbox=inbox)
    desk.turns(8, 1.0)
    assert [desk.state(f"clip{n}") for n in (1, 2, 3)] == [State.QUEUED, State.RUNNING, State.QUEUED]
    spent = [(news.why, news.job and news.job.id) for news in told if isinstance(news, DailyLimitReached)]
    assert sorted(spent) == [
        ("it would cost about 15 credits, and a day may cost 10", "clip1"),
        ("today's 20 credits are used up (15 spent)", None),
    ]


def test_held_jobs_elsewhere_wait_too(desk):
    desk.shop.say[Stage.DELIVER].append(StageFailed("DISK", "no space left", held=Held.OUTBOX))
    desk.drop()
    desk.until(State.FETCHED)
    desk.turn()
    assert pictured(desk)["jobs_waiting", "bay", "outbox"] == 1


def test_lanes_show_what_lies_before_their_threads(desk):
    held = desk.shop.hold(Stage.PREPARE)
    for number in range(20):
        desk.drop(f"clip{number}")
    desk.scheduler.turn()
    seen = pictured(desk)
    assert seen["lane_threads", "prepares"] == 6
    assert seen["lane_busy", "prepares"] == desk.scheduler.workers.lane(Stage.PREPARE).busy > 6
    assert seen["lane_queue", "prepares"] == seen["lane_busy", "prepares"] - 6
    assert seen["lane_busy", "polls"] == 0
    held.set()


def test_a_blocked_provider_is_a_gauge_by_whose_trouble_it_is(desk):
    desk.scheduler.braking.set(desk.scheduler.brake.pressed(BUSY, desk.clock.now, lambda: 0.5))
    seen = pictured(desk)
    assert (seen["provider_blocked", "moment"], seen["provider_blocked", "account"]) == (1, 0)


def test_the_poll_budget_and_how_late_looks_are(desk):
    desk.shop.say[Stage.POLL].extend([RENDERS] * 10)
    desk.drop()
    job = desk.until(State.RUNNING)
    desk.clock.now = job.due_at + 7.0
    seen = pictured(desk)
    assert seen["poll_lag_seconds",] == pytest.approx(7.0)
    assert seen["poll_budget_per_second",] == 20
    assert 0 <= seen["poll_budget_left",] <= 20


def test_inboxes_show_themselves_and_leave_nothing_behind():
    files = (Waiting("a.mp4", "still changing", 0.0, False), Waiting("b.mp4", "no prompt", 0.0, True))
    inboxes = {
        "bay": Shelf(waiting=files),
        "far": Shelf(state="offline", emitters=(0, 0), scan_age_seconds=None),
    }
    metrics = Metrics(lambda: inboxes)
    seen = read(metrics)
    assert (seen["clips_waiting", "bay", "problem"], seen["clips_waiting", "bay", "not_ready"]) == (1, 1)
    assert (seen["inbox_watching", "bay"], seen["inbox_watching", "far"]) == (1, 0)
    assert (seen["inbox_emitters_alive", "bay"], seen["inbox_emitters_wanted", "bay"]) == (2, 2)
    assert seen["inbox_scan_age_seconds", "bay"] == 1.5
    assert ("inbox_scan_age_seconds", "far") not in seen
    del inboxes["far"]
    assert not any("far" in key for key in read(metrics))


def test_a_scrape_asks_neither_the_journal_nor_the_scheduler(desk):
    desk.drop()
    desk.until(State.DELIVERED)
    pictured(desk)
    desk.journal.close()
    texts = []
    scrape = threading.Thread(target=lambda: texts.append(desk.metrics.text()))
    scrape.start()
    scrape.join(patient(10))
    assert b'clipspool_jobs{state="delivered"} 1.0' in texts[0]


def test_a_scrape_shows_the_age_of_the_last_turn_at_that_moment():
    ages = iter((45.0, 0.0))
    metrics = Metrics(dict, lambda: next(ages))
    assert read(metrics)["turn_age_seconds",] == 45.0
    assert read(metrics)["turn_age_seconds",] == 0.0


# --- a measured provider ----------------------------------------------------------------------------------


class Told:
    def __init__(self):
        self.calls, self.bytes, self.cuts = [], {}, 0

    def call_ended(self, call, outcome, seconds):
        self.calls.append((call, outcome, seconds))

    def download_cut(self):
        self.cuts += 1

    def bytes_moved(self, direction, count):
        self.bytes[direction] = self.bytes.get(direction, 0) + count


@pytest.fixture
def measured():
    """Return a measured studio; its clock is moved by hand."""
    clock, studio, told = Clock(0.0), Studio(), Told()
    provider = Measured(studio, told, clock)
    provider.clock, provider.studio, provider.told = clock, studio, told
    return provider


def a_call():
    file = Inline(lambda: None, 1000, "video/mp4")
    return Call("video_to_video", {"videoUri": file, "references": [{"uri": "https://example.com/a.png"}]})


REFUSAL = Fault(FaultOf.CLIP, "SAFETY.INPUT", "it was moderated")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Refused(REFUSAL), "refused_clip"),
        (Refused(NO_CREDITS), "refused_account"),
        (Refused(BUSY), "refused_moment"),
        (Unclear("no answer came"), "unclear"),
        (Created("task-7"), "created"),
    ],
)
def test_a_submission_is_counted_by_its_outcome_and_its_bytes_as_sent(measured, answer, outcome):
    measured.studio.answer = answer
    assert measured.submit(a_call(), lambda _: True) == answer
    assert [call[:2] for call in measured.told.calls] == [("submit", outcome)]
    assert measured.told.bytes == {"sent": encoded_length(1000, "video/mp4")}


def test_what_did_not_leave_sent_no_bytes(measured):
    answer = measured.submit(a_call(), lambda _: False)
    assert isinstance(answer, NothingSent)
    assert measured.told.calls[0][:2] == ("submit", "not_sent")
    assert measured.told.bytes == {}


def test_waiting_at_the_gate_is_not_the_providers_time(measured):
    def gate(_is_usable):
        measured.clock.passes(30.0)
        return True

    def answers():
        measured.clock.passes(2.0)
        return Created("task-1")

    measured.studio.answer = answers
    measured.submit(a_call(), gate)
    assert measured.told.calls == [("submit", "created", 2.0)]


def test_looks_and_cancels_tell_answers_from_faults(measured):
    measured.studio.cannot_cancel = BUSY
    assert measured.look("task-9").word == "task_not_exist"
    assert measured.cancel("task-9") == BUSY
    assert [call[:2] for call in measured.told.calls] == [("look", "answered"), ("cancel", "fault_moment")]


def test_a_call_that_raises_is_counted_and_raises_on(measured):
    def breaks():
        raise RuntimeError("a bug")

    measured.studio.answer = breaks
    with pytest.raises(RuntimeError, match="a bug"):
        measured.submit(a_call(), lambda _: True)
    assert measured.told.calls[0][:2] == ("submit", "raised")


def test_a_downloads_bytes_are_counted_as_they_come_also_of_one_that_is_cut(measured):
    measured.studio.served["https://results.test/1"] = Film(b"0123456789", cuts=[4], etag='"e"')
    opened = measured.download("https://results.test/1", 0, "")
    with pytest.raises(DownloadCut):
        b"".join(opened.chunks)
    assert (measured.told.bytes, measured.told.cuts) == ({"received": 4}, 1)
    again = measured.download("https://results.test/1", 4, '"e"')
    assert (again.offset, b"".join(again.chunks)) == (4, b"456789")
    assert measured.told.bytes == {"received": 10}


def test_a_download_given_up_is_closed_to_its_end(measured):
    closed = []

    class Endless:
        def __iter__(self):
            return self

        def __next__(self):
            return b"x"

        def close(self):
            closed.append(True)

    measured.studio.download = lambda *_: Download(Endless(), 0, None, "")
    opened = measured.download("https://results.test/1", 0, "")
    assert next(opened.chunks) == b"x"
    opened.chunks.close()
    assert closed == [True]


def test_a_measured_provider_feeds_the_metrics():
    clock, studio = Clock(0.0), Studio()
    metrics = Metrics(dict)
    Measured(studio, metrics, clock).look("task-1")
    seen = read(metrics)
    assert seen["provider_calls_total", "look", "answered"] == 1
    assert seen["provider_call_seconds_bucket", "look", "0.05"] == 1
    assert not math.isnan(seen["provider_call_seconds_sum", "look"])
