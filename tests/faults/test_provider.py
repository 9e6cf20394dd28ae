"""Faults of the provider against the running daemon: what is lost is in doubt, and nothing is paid twice."""

import socket

import pytest

from faults.oracle import Oracle
from journeys.bay import ENDED

UNCLEAR = (
    "500-after",
    "502-after:shape=html",
    "408-after",
    "409-after",
    "524-after",
    "drop-after",
    "drop-in-answer:bytes=20",
    "html-after",
    "garbage-after",
    "no-id-after",
    "nothing-after",
    "huge-after:bytes=3000000",
    "deep-after",
)
NOT_MADE = ("500", "503", "garbage", "html", "drop")
REFUSED = ("400", "413", "422")
WAITING = ("429:retry_after=0", "429:retry_after=garbage", "429:retry_after=-5", "429:retry_after=date+1")


def put(bay, on, faults, times):
    """Drop a clip for each fault, which meets that clip's requests only."""
    for number, fault in enumerate(faults):
        bay.box.misbehave(f"{on}:{fault}:prompt=<{number}>:times={times}")
        bay.drop(f"n{number}.mp4", f'prompt = "<{number}>"\n')


def states(bay, faults):
    rows = bay.query("SELECT c.path AS path, j.state AS state FROM jobs j JOIN clips c ON c.id = j.clip_id")
    by_name = {bytes(row["path"]).decode(): row["state"] for row in rows}
    return {fault: by_name.get(f"n{number}.mp4") for number, fault in enumerate(faults)}


def test_an_answer_that_is_lost_after_the_task_was_made_is_in_doubt_and_never_sent_again(bay):
    bay.configure(provider="running_max = 40")
    bay.start()
    put(bay, "create", UNCLEAR, 5)
    bay.until(lambda: set(states(bay, UNCLEAR).values()) <= {"in_doubt", *ENDED}, 20)
    assert states(bay, UNCLEAR) == dict.fromkeys(UNCLEAR, "in_doubt")
    assert bay.paid == len(UNCLEAR)
    assert bay.stop() == 0
    bay.run_until_idle()
    assert bay.paid == len(UNCLEAR)


def test_unclear_answers_without_a_task_are_in_doubt_refusals_fail_and_429_waits(bay):
    bay.configure(provider="running_max = 40")
    faults = NOT_MADE + REFUSED
    bay.start()
    put(bay, "create", faults, 5)
    bay.until(lambda: set(states(bay, faults).values()) <= {"in_doubt", *ENDED}, 20)
    found = states(bay, faults)
    assert {fault: found[fault] for fault in REFUSED} == dict.fromkeys(REFUSED, "failed")
    assert set(found.values()) <= {"in_doubt", "failed"}
    assert bay.paid == 0


def test_429_with_any_retry_after_is_tried_again_and_never_doubted(bay):
    bay.start()
    put(bay, "create", WAITING, 1)
    bay.until_retired(len(WAITING), 30)
    assert bay.paid == len(WAITING)


def test_a_429_with_a_monstrous_retry_after_is_waited_for_until_the_operator_resumes(bay):
    bay.box.misbehave("create:429:retry_after=1000000000:times=1")
    bay.start()
    bay.drop()
    bay.until(lambda: bay.events("provider_blocked"))
    until = bay.told("status")["provider"]["until"]
    assert until
    assert bay.call("resume").returncode == 0
    bay.until_retired()


def test_a_provider_out_of_reach_leaves_nothing_in_doubt_and_work_goes_on_once_it_is_back(open_bays):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with open_bays() as bay:
        bay.configure(base_url=f"http://127.0.0.1:{port}/runwayml/v1")
        bay.start()
        for number in range(5):
            bay.drop(f"n{number}.mp4")
        bay.until(lambda: bay.events("provider_blocked"))
        assert set(bay.jobs().values()) == {"queued"}
        with open_bays("back", port=port) as back:
            back.is_checked = False
            bay.ledger, bay.box = back.ledger, back.box
            bay.until_retired(5, 30)
            assert bay.stop() == 0
            assert bay.paid == 5
            assert Oracle(bay).violations() == []


@pytest.mark.parametrize("fault", ["drop-before-body", "drop-in-body:bytes=2000"])
def test_a_request_that_is_cut_is_never_paid_twice(bay, fault):
    bay.box.misbehave(f"create:{fault}:times=1")
    bay.start()
    bay.drop()
    bay.until(lambda: bay.jobs() and bay.job()["state"] in {"in_doubt", "delivered"}, 20)
    assert bay.paid <= 1


def test_a_lost_answer_is_sent_again_once_where_the_operator_chose_so(bay):
    bay.configure(provider='ambiguous_submit = "resubmit"')
    bay.consents = 1
    bay.box.misbehave("create:500-after")
    bay.start()
    bay.drop()
    bay.until_states("in_doubt", seconds=20)
    assert bay.paid == 2


POLLS = (
    "500",
    "503:shape=html",
    "drop",
    "drop-in-answer:bytes=10",
    "html",
    "garbage",
    "nothing",
    "huge:bytes=3000000",
    "deep",
    "redirect:to=private:status=302",
    "redirect:to=loop",
    "not-exist",
    "status:word=REHEARSING",
    "wrong-id",
    "progress:value=-1",
    "progress:value=1e999",
    "no-url",
    "429:retry_after=1",
    "401",
    "403",
    "404",
    "slow:seconds=0.3",
)


def test_whatever_a_poll_answers_the_task_is_followed_to_its_end(bay):
    bay.configure(provider="running_max = 40")
    bay.start()
    put(bay, "poll", POLLS, 2)
    bay.until_retired(len(POLLS), 40)
    assert states(bay, POLLS) == dict.fromkeys(POLLS, "delivered")
    assert bay.paid == len(POLLS)


def test_a_task_that_ends_at_the_provider_ends_here_and_is_not_made_again(bay):
    faults = ("failure:code=INTERNAL.BAD_OUTPUT.CODE01", "cancelled", "failure:code=SAFETY.INPUT.TEXT")
    bay.start()
    put(bay, "task", faults, 1)
    bay.until_retired(len(faults), 20)
    assert list(states(bay, faults).values()) == ["failed", "cancelled", "failed"]
    assert bay.paid == len(faults)


DOWNLOADS = (
    "cut:bytes=3000",
    "cut:bytes=0:how=close",
    "cut-close:bytes=3000",
    "no-length",
    "wrong-length",
    "wrong-length:delta=-7",
    "stall:bytes=100:seconds=0.5",
    "html",
    "nothing",
    "etag-changed",
    "weak-etag",
    "ignore-range",
    "gzip-bomb:bytes=3000000",
    "403",
    "404",
    "500",
    "redirect:to=private",
    "redirect:to=loop",
    "redirect:to=self",
    "drop",
    "drop-in-answer:bytes=500",
)


def test_whatever_a_download_does_only_the_whole_result_is_delivered(bay):
    bay.configure(provider="running_max = 40")
    bay.start()
    put(bay, "download", DOWNLOADS, 1)
    bay.until_retired(len(DOWNLOADS), 60)
    assert states(bay, DOWNLOADS) == dict.fromkeys(DOWNLOADS, "delivered")
    whole = {(bay.outbox / f"n{n}.mp4").stat().st_size for n in range(len(DOWNLOADS))}
    assert len(whole) == 1
    assert bay.paid == len(DOWNLOADS)


RESUMES = ("etag-changed", "weak-etag", "wrong-offset", "ignore-range", "cut:bytes=10", "drop")


def test_a_download_resumed_into_a_trap_still_gives_the_whole_result(bay):
    bay.start()
    for number, fault in enumerate(RESUMES):
        bay.box.misbehave(
            f"download:cut:bytes=40000:prompt=<{number}>:times=1",
            f"download:{fault}:prompt=<{number}>:times=1",
        )
        bay.drop(f"n{number}.mp4", f'prompt = "<{number}>"\n')
    bay.until_retired(len(RESUMES), 60)
    whole = {(bay.outbox / f"n{n}.mp4").read_bytes() for n in range(len(RESUMES))}
    assert len(whole) == 1


def test_a_task_with_many_odd_or_no_outputs_is_delivered_or_held_with_a_reason(bay):
    faults = ("outputs:count=0", "outputs:count=3", "same-twice", "content:kind=mov", "content:kind=webm")
    bay.start()
    put(bay, "task", faults, 1)
    waiting = "SELECT held, reason FROM jobs WHERE state != 'delivered'"

    def all_are_settled():
        rest = bay.query(waiting)
        delivered = list(states(bay, faults).values()).count("delivered")
        return delivered >= 3 and delivered + sum(bool(job["held"]) for job in rest) == len(faults)

    bay.until(all_are_settled, 30)
    assert all(job["reason"] for job in bay.query(waiting))
