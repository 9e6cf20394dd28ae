"""A source that is not what was sent any more is told of, never archived or deleted in silence."""

import os
from dataclasses import replace
from hashlib import sha256

import pytest
from structlog.testing import capture_logs

from clipspool.jobs.messages import Retired
from clipspool.jobs.model import Paid, State
from clipspool.reporting.notify.notes import Reporter
from clipspool.reporting.notify.topics import Topic
from clipspool.scheduler.log_lines import log_line
from clipspool.spool.root import Root
from clipspool.spool.workfolder import bring_back
from clipspool.stages.changed import change_of
from clipspool.stages.retire import retire
from clipspool.stages.runner import StageRunner, Tools
from fakes import Bench, a_job, a_task, always, lying

DONE = a_job(state=State.DELIVERED, task=a_task(), paid=Paid.YES)


def sent(bench):
    """The clip as it was when its request left."""
    source = bench.work / "clip.mp4"
    stat = source.stat()
    digest = sha256(source.read_bytes()).hexdigest()
    return replace(bench.clip, sha256=digest, size=stat.st_size, mtime_ns=stat.st_mtime_ns)


def write_on(bench):
    with (bench.work / "clip.mp4").open("ab") as file:
        file.write(b" and more of it")


@pytest.mark.parametrize("keeps_sources", [True, False])
def test_a_source_that_grew_on_goes_to_done_with_a_note_even_where_sources_are_deleted(
    tmp_path, keeps_sources
):
    bench = Bench(tmp_path, keeps_sources=keeps_sources)
    clip = sent(bench)
    write_on(bench)
    assert "9 bytes were sent, it now has 24 bytes" in change_of(clip, [DONE], bench.bay)
    moved = retire(clip, [DONE], bench.bay, always)
    assert moved.lies_at == "_done/day/shot.mp4"
    there = lying(bench.path)
    assert there["_done/day/shot.mp4"] == b"some clip and more of it"
    note = there["_done/day/shot.mp4.changed.txt"].decode()
    assert "shot.mp4: it changed after it was sent" in note
    assert "drop it again" in note


def test_a_source_that_grew_after_an_earlier_result_was_reused_for_it_is_not_deleted(tmp_path):
    bench = Bench(tmp_path, keeps_sources=False)
    clip = sent(bench)
    write_on(bench)
    reused = a_job(state=State.DELIVERED, paid=Paid.NO)
    assert "now has 24 bytes" in change_of(clip, [reused], bench.bay)
    assert retire(clip, [reused], bench.bay, always).lies_at == "_done/day/shot.mp4"
    assert lying(bench.path)["_done/day/shot.mp4"] == b"some clip and more of it"


def test_bytes_changed_at_equal_length_are_seen_and_a_new_date_alone_is_not(tmp_path):
    bench = Bench(tmp_path)
    clip, source = sent(bench), bench.work / "clip.mp4"
    os.utime(source, (5, 5))
    assert change_of(clip, [DONE], bench.bay) == ""
    source.write_bytes(b"other ones"[:9])
    assert "was modified after it was sent" in change_of(clip, [DONE], bench.bay)


def test_a_source_that_nothing_was_paid_for_is_not_compared(tmp_path):
    bench = Bench(tmp_path)
    clip = sent(bench)
    write_on(bench)
    cancelled = a_job(state=State.CANCELLED, paid=Paid.NO)
    assert change_of(clip, [cancelled], bench.bay) == ""
    assert change_of(replace(clip, sha256=None), [DONE], bench.bay) == ""


def test_a_crash_right_after_the_move_finds_the_changed_source_again(tmp_path):
    bench = Bench(tmp_path)
    clip = sent(bench)
    write_on(bench)
    retire(clip, [DONE], bench.bay, always)
    again = retire(clip, [DONE], bench.bay, always)
    assert again.lies_at == "_done/day/shot.mp4"


@pytest.mark.parametrize(
    ("keeps_sources", "state", "is_told"),
    [(True, State.DELIVERED, True), (False, State.DELIVERED, False), (False, State.FAILED, True)],
)
def test_a_source_that_somebody_removed_from_its_work_folder_is_told_of(
    tmp_path, keeps_sources, state, is_told
):
    bench = Bench(tmp_path, keeps_sources=keeps_sources)
    clip = replace(sent(bench), inbox=bench.bay.name)
    (bench.work / "clip.mp4").unlink()
    tools = Tools({bench.bay.name: bench.bay}, None, None, None, lambda _: None, draws_posters=lambda: False)
    runner = StageRunner(tools, None, None, lambda: 0.0, always)
    retired, change = runner.retire(clip, [replace(DONE, state=state)])
    assert retired.lies_at is None
    assert ("its source is gone" in change) == is_told


def test_the_note_goes_when_the_clip_is_run_again(tmp_path):
    bench = Bench(tmp_path)
    clip = sent(bench)
    write_on(bench)
    moved = retire(clip, [DONE], bench.bay, always)
    bring_back(Root(bench.path), moved, DONE, "j1")
    assert not [name for name in lying(bench.path) if name.endswith(".changed.txt")]


def test_log_notice_and_history_tell_of_it(tmp_path):
    news = Retired(replace(Bench(tmp_path).clip, lies_at="_done/day/shot.mp4"), "it went on changing")
    with capture_logs() as lines:
        log_line(news)
    assert [line["event"] for line in lines] == ["retired", "source_changed"]
    (note,) = Reporter().notes_for(news, 0.0)
    assert (note.topic, note.text) == (Topic.SOURCE_CHANGED, "day/shot.mp4: it went on changing")
    assert Reporter().notes_for(Retired(news.clip), 0.0) == []
