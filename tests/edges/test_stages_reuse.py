"""Taking an earlier result over, on a real disk."""

import hashlib
import os
from dataclasses import replace

import pytest

from clipspool.jobs.events import JobHeld, Reused
from clipspool.jobs.model import Held, Result, Reuse, State
from clipspool.spool.recovery import survey
from clipspool.stages.deliver import deliver
from clipspool.stages.reuse import reuse
from fakes import NOON, Bench, always, lying

FILM = b"a film that was paid for"
GIVEN = Reuse(
    "clip0", "bay", (Result("clip0-1.mp4", ".mp4", len(FILM), hashlib.sha256(FILM).hexdigest(), "old.mp4"),)
)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    (bench.results / "old.mp4").write_bytes(FILM)
    return bench


def take_over(bench, given=GIVEN):
    return reuse(bench.job, bench.clip, {"bay": bench.bay}, given, attempt="a1")


def test_the_result_is_copied_compared_and_delivered_with_word_of_where_it_is_from(bench):
    event = take_over(bench)
    assert isinstance(event, Reused)
    job = replace(bench.job, results=event.results, reuse=GIVEN)
    deliver(job, bench.clip, bench.bay, NOON, always)
    found = lying(bench.results)
    assert found["day/shot.mp4"] == found["old.mp4"] == FILM
    paper = found["day/shot.mp4.toml"].decode()
    assert 'reused_from = "clip0"' in paper
    assert 'paid = "no"' in paper


def test_it_is_copied_anew_after_a_crash(bench):
    assert take_over(bench) == take_over(bench)


def test_a_journal_that_is_lost_leads_to_no_payment_for_what_was_taken_over(bench):
    take_over(bench)
    (found,) = survey("bay", bench.bay.inbox, "another journal", set()).foreign
    (job,) = found.jobs
    assert (job.state, job.held) == (State.QUEUED, Held.DUPLICATE)
    assert "clip0" in job.reason


@pytest.mark.parametrize("other", [b"something else", FILM[:-1] + b"X", None])
def test_a_result_that_is_gone_or_another_serves_nobody_and_leaves_nothing(bench, other):
    (bench.results / "old.mp4").unlink()
    if other is not None:
        (bench.results / "old.mp4").write_bytes(other)
    before = lying(bench.path, ours=True)
    event = take_over(bench)
    assert isinstance(event, JobHeld)
    assert event.held is Held.DUPLICATE
    assert "old.mp4" in event.reason
    assert lying(bench.path, ours=True) == before


def test_a_link_in_the_place_of_the_result_is_not_followed(bench, tmp_path):
    (tmp_path / "secret").write_bytes(FILM)
    (bench.results / "old.mp4").unlink()
    (bench.results / "old.mp4").symlink_to(tmp_path / "secret")
    assert isinstance(take_over(bench), JobHeld)


def test_a_fifo_in_the_place_of_the_result_does_not_block(bench):
    (bench.results / "old.mp4").unlink()
    os.mkfifo(bench.results / "old.mp4")
    assert isinstance(take_over(bench), JobHeld)


def test_an_inbox_that_is_not_configured_any_more_serves_nobody(bench):
    assert "west" in take_over(bench, replace(GIVEN, inbox="west")).reason
