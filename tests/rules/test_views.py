"""What people and scripts are shown: stable JSON, and for each job that waits a reason."""

import json
from dataclasses import replace

import pytest

from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.hours import read_hours
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import Error, Held, Paid, State
from clipspool.jobs.records import HistoryEntry, Spend, Tally
from clipspool.jobs.text import iso, local_time, text
from clipspool.jobs.working import Working
from clipspool.reporting.status import (
    InboxView,
    balance_lines,
    entry_json,
    evidence_lines,
    job_json,
    status_json,
)
from fakes import NO_CREDITS, NOON, RESULT, a_job, a_request, a_task
from repository import DOCS

NOW = Conditions(NOON)
ODD = "day/caf\udce9.mp4"


def test_a_job_is_shown_in_the_keys_that_scripts_rely_on():
    job = a_job(state=State.RUNNING, variant="_v2", task=a_task(2), progress=0.5, credits_estimated=15.0)
    shown = job_json(job, NOW)
    assert set(shown) >= {
        *("id", "inbox", "clip", "variant", "state", "held", "reason", "task_id", "attempts", "progress"),
        *("request", "credits_estimated", "created_at", "updated_at", "results", "error"),
    }
    assert (shown["variant"], shown["task_id"], shown["attempts"]) == ("v2", "task-2", 2)
    assert shown["created_at"] == "2027-01-15T12:00:00Z"
    assert shown["error"] is None
    assert json.loads(json.dumps(shown)) == shown


def test_the_page_about_the_upgrade_names_every_field_that_0_1_lacks():
    of_0_1 = {
        *("id", "inbox", "clip", "variant", "state", "held", "reason", "task_id", "attempts", "progress"),
        *("rendering_since", "request", "credits_estimated", "credits", "paid", "reused_from", "created_at"),
        *("updated_at", "results", "error", "name", "detect", "waiting", "waiting_count", "day"),
        *("submissions", "credits_per_day", "submissions_per_day", "blocked", "until"),
    }
    status = status_json({}, NOW, [InboxView("bay", "watching", "events")], {})
    shown = [job_json(a_job(), NOW), status["inboxes"][0], status["spend"], status["provider"]]
    section = (DOCS / "upgrade.md").read_text().partition("### New fields in JSON")[2].partition("\n###")[0]
    new = {name for one in shown for name in one} - of_0_1
    assert {name for name in new if f"`{name}`" not in section} == set()


def test_what_is_done_to_a_job_at_this_moment_is_its_reason_and_its_progress():
    now = replace(NOW, working={"clip1": Working("converting the clip", 0.4)})
    shown = job_json(a_job(), now)
    assert (shown["doing"], shown["progress"]) == ("converting the clip", 0.4)
    assert (shown["held"], shown["reason"]) == (None, "converting the clip, 40%")
    shown = job_json(a_job(state=State.RENDERED, progress=1.0, task=a_task()), now)
    assert (shown["progress"], shown["reason"]) == (0.4, "converting the clip, 40%")
    assert job_json(a_job(), NOW)["doing"] is None
    unknown = replace(NOW, working={"clip1": Working("downloading the result")})
    shown = job_json(a_job(), unknown)
    assert (shown["progress"], shown["reason"]) == (None, "downloading the result")


def test_a_failed_job_says_what_to_do():
    error = Error("SAFETY.INPUT", "it was moderated", "Change the prompt.", retryable=False, paid=Paid.YES)
    shown = job_json(a_job(state=State.FAILED, error=error, paid=Paid.YES), NOW)
    assert shown["error"] == {
        "code": "SAFETY.INPUT",
        "message": "it was moderated",
        "what_to_do": "Change the prompt.",
        "retryable": False,
    }
    assert shown["paid"] == "yes"


def test_results_are_shown_once_they_have_a_name_in_the_outbox():
    assert job_json(a_job(results=(RESULT,)), NOW)["results"] == []


def test_names_that_are_not_utf8_are_shown_escaped():
    assert text(ODD) == "day/caf\\xe9.mp4"
    assert job_json(a_job(), NOW)["clip"] == "day/shot.mp4"
    json.dumps(job_json(a_job(results=()), NOW), ensure_ascii=False).encode()


def test_times_are_utc_to_the_second():
    assert iso(NOON + 0.9) == "2027-01-15T12:00:00Z"


def test_an_entry_of_history_is_shown_whole():
    entry = HistoryEntry(NOON, "clip1", "task_created", "submitting", "running", {"task_id": "task-1"})
    assert entry_json(entry) == {
        "at": "2027-01-15T12:00:00Z",
        "event": "task_created",
        "from": "submitting",
        "to": "running",
        "facts": {"task_id": "task-1"},
    }


# --- why a job waits ------------------------------------------------------------------------------------


def test_status_says_when_an_inbox_continues_sending():
    limits = Limits(hours={"bay": read_hours(("UTC Mon-Fri 19:00-07:00",))})
    (bay,) = shown(Conditions(NOON, limits=limits), [InboxView("bay", "watching", "events")])["inboxes"]
    assert bay["hours"] == {"times": ["UTC Mon-Fri 19:00-07:00"], "opens_at": "2027-01-15T19:00:00Z"}
    assert bay["reason"].startswith("outside its hours")


BLOCKED = Brake(1, NOON + 60, NO_CREDITS)
MOVED = Limits(inboxes=frozenset({"hall"}))
SPENT = {"spend": Spend(500, 10.0), "limits": Limits()}


@pytest.mark.parametrize(
    ("job", "conditions", "held", "words"),
    [
        (a_job(), NOW, None, "waits for its turn"),
        (a_job(reason="Too many requests"), NOW, None, "Too many requests"),
        (a_job(held=Held.BUDGET, reason="too dear"), NOW, "budget", "too dear"),
        (a_job(), Conditions(NOON, paused=frozenset({"*"})), "paused", "`clipspool resume`"),
        (a_job(), Conditions(NOON, paused=frozenset({"bay"})), "paused", "`clipspool resume`"),
        (a_job(), Conditions(NOON, paused=frozenset({"other"})), None, "waits for its turn"),
        (a_job(due_at=NOON + 60), NOW, "not_before", f"scheduled: not before {local_time(NOON + 60)}"),
        (a_job(), Conditions(NOON, **SPENT), "budget", "continues tomorrow"),
        (a_job(approved=True), Conditions(NOON, **SPENT), None, "waits for its turn"),
        (a_job(), Conditions(NOON, brake=BLOCKED), "provider", "Not enough credits; next retry"),
        (a_job(state=State.RUNNING), Conditions(NOON, paused=frozenset({"*"})), None, ""),
        (
            a_job(state=State.RENDERED),
            Conditions(NOON, limits=MOVED),
            "inbox",
            "the inbox bay is not configured",
        ),
        (a_job(state=State.DELIVERED), Conditions(NOON, limits=MOVED), None, ""),
        (a_job(state=State.RUNNING, held=Held.LOST, reason="unknown"), NOW, "lost", "unknown"),
    ],
)
def test_a_job_that_waits_says_what_for(job, conditions, held, words):
    was_held, reason = conditions.why_waiting(job)
    assert was_held == held
    assert words in reason


# --- status ---------------------------------------------------------------------------------------------


def shown(conditions=NOW, inboxes=()):
    return status_json({State.RUNNING: 2}, conditions, inboxes, {"running": True, "pid": 1, "since": None})


def test_status_counts_every_state_also_those_nobody_is_in():
    assert shown()["jobs"] == {**{state.value: 0 for state in State}, "running": 2}


def test_status_has_the_keys_that_scripts_rely_on():
    status = shown(Conditions(NOON, spend=Spend(3, 45.0)), [InboxView("bay", "watching", "events")])
    assert status["daemon"] == {"running": True, "pid": 1, "since": None}
    assert status["provider"] == {"blocked": False, "reason": "", "until": None, "models": []}
    assert status["spend"] == {
        "day": "2027-01-15",
        "credits": 45.0,
        "submissions": 3,
        "credits_per_day": None,
        "submissions_per_day": 500,
        "models": {},
        "queued_credits": 0.0,
        "queued_unknown": 0,
        "balance": None,
    }
    assert status["inboxes"] == [
        {
            "name": "bay",
            "state": "watching",
            "detect": "events",
            "reason": "",
            "hours": None,
            "limits": None,
            "waiting": [],
            "waiting_count": 0,
            "peers": [],
        }
    ]
    assert status["lanes"] == []


def test_status_says_why_the_provider_is_blocked_and_until_when():
    blocked = shown(Conditions(NOON, brake=BLOCKED))["provider"]
    assert blocked == {
        "blocked": True,
        "reason": "Not enough credits. Buy credits.",
        "until": "2027-01-15T12:01:00Z",
        "models": [],
    }


def test_an_inbox_that_is_paused_says_so():
    views = [InboxView("bay", "watching", "events"), InboxView("other", "offline", "rescan", "unmounted")]
    paused = shown(Conditions(NOON, paused=frozenset({"bay"})), views)["inboxes"]
    assert [view["state"] for view in paused] == ["paused", "offline"]


def test_an_inbox_that_is_offline_says_so_though_it_is_paused():
    views = [InboxView("bay", "offline", "rescan", "unmounted")]
    (view,) = shown(Conditions(NOON, paused=frozenset({"*"})), views)["inboxes"]
    assert (view["state"], view["reason"]) == ("offline", "unmounted")


def test_a_request_is_shown_in_the_sidecars_keys():
    shown_request = job_json(a_job(request=a_request(ratio="1280:720")), NOW)["request"]
    assert shown_request == {"prompt": "deep winter", "model": "gen4_aleph", "seed": 42, "ratio": "1280:720"}


def test_what_is_known_of_a_lost_answer_is_told_in_sentences():
    evidence = {
        "sent_at": "2026-11-22T10:00:00.000+00:00",
        "bytes_written": 4096,
        "bytes_total": 9000,
        "http_status": 502,
        "answer": "<html>sorry</html>",
        "balance_before": {"at": "2026-11-22T09:58:00+00:00", "amount": 1000.0, "unit": "credits"},
        "balance_after": {"at": "2026-11-22T10:00:04+00:00", "amount": 985.0, "unit": "credits"},
        "other_submissions": 2,
        "maybe_task_ids": ["task 1", "other"],
    }
    assert evidence_lines(None, evidence, "clip1") == [
        "request sent at 2026-11-22T10:00:00.000+00:00",
        "sent 4,096 of 9,000 bytes",
        "answer: HTTP 502; <html>sorry</html>",
        "the answer contains the id task 1: `clipspool attach clip1 'task 1'`",
        "the answer contains the id other: `clipspool attach clip1 other`",
        "account balance before: 1000 credits (2026-11-22T09:58:00+00:00)",
        "account balance after: 985 credits (2026-11-22T10:00:04+00:00); 2 other submissions in between",
    ]
    assert evidence_lines("2026-11-22T10:00:00Z", {"message": "clipspool ended"}, "clip1") == [
        "request sent at 2026-11-22T10:00:00Z",
        "answer: clipspool ended",
    ]
    assert evidence_lines(None, {}, "clip1") == []


@pytest.mark.parametrize(
    ("amount", "words"),
    [(1_234_567.0, "1234567 USD"), (1_234_522.5, "1234522.5 USD"), (0.04, "0.04 USD"), (0, "0 USD")],
)
def test_a_balance_is_told_to_the_last_digit_for_one_task_is_little_of_it(amount, words):
    look = {"at": "2026-11-22T10:00:04Z", "amount": amount, "unit": "USD"}
    assert (
        evidence_lines(None, {"balance_after": look}, "clip1")[-1]
        == f"account balance now: {words} (2026-11-22T10:00:04Z)"
    )


def doubt(before, after, *, others=0, other_credits=0.0, price=45.0):
    balance = {"at": "2027-01-15T12:00:00Z", "unit": "credits"}
    evidence = {
        "balance_before": balance | {"amount": before},
        "balance_after": balance | {"amount": after},
        "other_submissions": others,
        "other_credits": other_credits,
    }
    task = a_task(evidence=evidence)
    return balance_lines(a_job(state=State.IN_DOUBT, task=task, credits_estimated=price))


def test_what_the_balance_says_of_a_lost_answer_is_said_with_the_sum_done():
    (said,) = doubt(1000, 865, others=2, other_credits=90.0)
    assert said == (
        "The account's balance fell by 135 credits between the readings before and after it; "
        "2 other requests explain about 90. This one, about 45, was probably charged."
    )
    assert doubt(1000, 910, others=1, other_credits=90.0)[0].endswith("was probably not charged.")
    assert "did not fall" in doubt(1000, 1000)[0]
    assert doubt(1000, 1000)[0].endswith("was probably not charged.")


@pytest.mark.parametrize(
    ("fell", "others", "known"), [(135, 2, 30.0), (12, 2, 30.0), (20, 0, 0.0), (67, 1, 45.0)]
)
def test_a_sum_that_does_not_add_up_calls_nothing_free(fell, others, known):
    assert (
        "do not tell whether it was charged"
        in doubt(1000, 1000 - fell, others=others, other_credits=known)[0]
    )


def test_without_two_readings_nothing_is_said_of_the_balance():
    assert balance_lines(a_job(state=State.IN_DOUBT, task=a_task(evidence={}))) == []
    assert balance_lines(a_job()) == []


REFUSING = Conditions(NOON, Brake(fault=NO_CREDITS, until=NOON + 9))
SITUATIONS = {
    "held": (NOW, {"held": Held.BUDGET}),
    "restored": (Conditions(NOON, is_restored=True, paused=frozenset({"bay-1"})), {}),
    "paused": (Conditions(NOON, paused=frozenset({"bay-1"})), {"due_at": NOON + 60}),
    "later": (REFUSING, {"due_at": NOON + 60}),
    "tried again": (NOW, {"due_at": NOON + 60, "attempts": 1, "reason": "busy"}),
    "spent": (replace(REFUSING, spend=Spend(submissions=9), limits=Limits(submissions_per_day=9)), {}),
    "blocked": (REFUSING, {}),
    "turn": (NOW, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", SITUATIONS)
def test_several_jobs_wait_for_the_reason_that_each_of_them_has(name):
    conditions, changes = SITUATIONS[name]
    job = a_job(inbox="bay-1", due_at=changes.pop("due_at", NOON), **changes)
    conditions = replace(conditions, limits=replace(conditions.limits, inboxes=frozenset({"bay-1"})))
    held = None if job.held is None else job.held.value
    tally = Tally("bay-1", job.state, held, job.due_at > NOON, bool(job.attempts), 3)
    assert conditions.why_several_wait(tally) == (conditions.why_waiting(job)[0] or "turn")
