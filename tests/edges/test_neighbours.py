"""Daemons that share an inbox: who lives, whose clips lie there, and who took them over; on a real disk."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from clipspool.jobs.events import TakenOver
from clipspool.jobs.records import Life
from clipspool.spool.guard import Unavailable
from clipspool.spool.handover import claim_manifest, take_over, taker_of
from clipspool.spool.layout import TAKEN
from clipspool.spool.ledger import note
from clipspool.spool.neighbours import LOOK_SECONDS, JournalAnswers, Neighbours, takers_in
from clipspool.spool.peers import (
    DAEMONS,
    KEEP_SECONDS,
    SILENT_SECONDS,
    Mark,
    SeenMark,
    life_of,
    mark_name,
    marks_in,
    own_mark,
    server_time,
)
from clipspool.spool.recovery import adoptable, survey
from clipspool.spool.root import Root
from clipspool.spool.workfolder import read_manifest
from fakes import NOON, Bench, Clock

FAR = Mark("j9", "edit-9", place="there", boot="another", pids="1", pid=1, begun="5")
"""A daemon of another machine."""


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def own(tmp_path):
    return own_mark("j2", tmp_path / "journal.db")


class Told:
    """A journal that remembers what it was told."""

    def __init__(self, known=(), is_open=()):
        self.known, self.open, self.gone, self.lost = set(known), set(is_open), {}, []

    def port(self):
        return JournalAnswers(
            lambda: self.known,
            lambda ids: self.open & set(ids),
            self.gone.update,
            lambda peer, silence: self.lost.append((peer.journal, peer.clips, silence)),
        )


@pytest.fixture
def two(bench, own):
    """Return the second daemon of an inbox, where clip1 is the first one's, and its clock."""
    told = Told()
    clock = Clock(0.0)
    found = Neighbours("bay", bench.bay.inbox, own, told.port(), now=lambda: NOON, monotonic=clock)
    return found, told, clock


def leave(root, mark, age=0.0):
    """Have a daemon leave its mark, so long ago."""
    root.replace(mark_name(mark.journal), mark.to_toml())
    here = root.path / mark_name(mark.journal)
    at = here.stat().st_mtime - age
    os.utime(here, (at, at))


def ended_process():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


# --- who lives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "life"),
    [(0.0, Life.LIVING), (SILENT_SECONDS - 1, Life.LIVING), (SILENT_SECONDS + 1, Life.SILENT)],
)
def test_a_daemon_of_another_machine_lives_as_long_as_its_mark_is_young(own, age, life):
    assert life_of(SeenMark(FAR, NOON - age), own, NOON) is life


def test_a_process_of_this_machine_is_asked_for_at_once(own):
    here = replace(own, journal="j9", place="other")
    assert life_of(SeenMark(here, NOON - 9_999), own, NOON) is Life.LIVING
    assert life_of(SeenMark(replace(here, pid=ended_process()), NOON), own, NOON) is Life.ENDED
    assert life_of(SeenMark(replace(here, begun="1"), NOON), own, NOON) is Life.ENDED, (
        "its number serves another"
    )


def test_a_process_of_a_container_beside_this_one_is_judged_by_its_mark(own):
    beside = replace(own, journal="j9", place="other", pids="another space", pid=ended_process())
    assert life_of(SeenMark(beside, NOON), own, NOON) is Life.LIVING


def test_whoever_used_our_journal_file_before_us_has_ended(own):
    assert life_of(SeenMark(replace(FAR, place=own.place), NOON), own, NOON) is Life.ENDED


def test_one_that_said_so_has_stopped_and_one_without_a_mark_is_unknown(own):
    assert life_of(SeenMark(replace(FAR, is_stopped=True), NOON), own, NOON) is Life.STOPPED
    assert life_of(None, own, NOON) is Life.UNKNOWN


def test_the_age_of_a_mark_is_told_by_the_file_servers_clock_alone(bench, own, monkeypatch):
    root = bench.bay.inbox
    leave(root, FAR, age=SILENT_SECONDS + 30)
    monkeypatch.setattr("time.time", lambda: 1.0)
    assert life_of(marks_in(root)["j9"], own, server_time(root)) is Life.SILENT
    leave(root, FAR)
    assert life_of(marks_in(root)["j9"], own, server_time(root)) is Life.LIVING
    assert [name for name in root.names(".clipspool") if name.endswith(".tmp")] == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0",
        b"journal = 'j9'",
        b"journal = 'other'\nhost = 'x'",
        b"journal = 'j9'\nhost = 5",
        b"x" * 9000,
    ],
)
def test_what_is_no_mark_is_passed_over(bench, content):
    root = bench.bay.inbox
    root.replace(mark_name("j9"), content)
    (root.path / DAEMONS / "j8.toml").symlink_to("/etc/passwd")
    os.mkfifo(root.path / DAEMONS / "j7.toml")
    assert marks_in(root) == {}


# --- a copy of a journal ---------------------------------------------------------------------------------


def test_a_copy_of_a_journal_that_another_machine_serves_keeps_the_inbox_offline_until_that_one_is_silent(
    bench, two, own
):
    found, _, clock = two
    root = bench.bay.inbox
    other = replace(FAR, journal=own.journal)
    leave(root, other)
    with pytest.raises(Unavailable, match=r"edit-9: both would pay"):
        found.serve_alone()
    found.end()
    assert marks_in(root)[own.journal].mark == other, "the other's mark is left as it was"
    leave(root, other, age=SILENT_SECONDS + 1)
    found.serve_alone()
    assert marks_in(root)[own.journal].mark == own
    # The other one was only cut off, and is back.
    leave(root, other)
    clock.now += KEEP_SECONDS
    with pytest.raises(Unavailable, match=r"edit-9: both would pay"):
        found.serve_alone()
    assert marks_in(root)[own.journal].mark == other


@pytest.mark.parametrize(
    "change",
    [
        {"is_stopped": True},
        {"pid": 0, "begun": "1"},  # the process of an earlier start, killed
        {"boot": "another", "pid": 1},  # and the machine was started again
    ],
)
def test_whoever_served_a_journal_before_keeps_nobody_from_it_once_it_has_ended(bench, two, own, change):
    found, _, _ = two
    if "pid" in change and not change["pid"]:
        change = change | {"pid": ended_process()}
    leave(bench.bay.inbox, replace(own, **change))
    found.serve_alone()
    assert marks_in(bench.bay.inbox)[own.journal].mark == own


def test_a_node_that_leads_a_farm_takes_over_the_inbox_of_the_one_before_it_at_once(bench, two, own):
    found, _, _ = two
    found._own = replace(own, epoch=7)
    leave(bench.bay.inbox, replace(FAR, journal=own.journal, epoch=6))
    found.serve_alone()
    assert marks_in(bench.bay.inbox)[own.journal].mark.epoch == 7


@pytest.mark.parametrize("epoch", [7, 8])
def test_a_node_that_finds_its_own_epoch_or_a_later_one_in_an_inbox_sends_nothing_from_it(
    bench, two, own, epoch
):
    """Another database, a copy of this one, leads there; or this node was replaced and does not know."""
    found, _, _ = two
    found._own = replace(own, epoch=7)
    leave(bench.bay.inbox, replace(FAR, journal=own.journal, epoch=epoch))
    with pytest.raises(Unavailable, match=r"edit-9: both would pay"):
        found.serve_alone()


def test_a_node_that_was_replaced_leaves_the_mark_of_the_one_that_leads_now(bench, two, own):
    found, _, _ = two
    found._own = replace(own, epoch=7)
    found.serve_alone()
    other = replace(FAR, journal=own.journal, epoch=8)
    leave(bench.bay.inbox, other)
    found.end()
    assert marks_in(bench.bay.inbox)[own.journal].mark == other


def test_a_disk_that_takes_no_file_does_not_keep_a_daemon_from_its_own_journal(bench, two, own, monkeypatch):
    found, _, _ = two
    leave(bench.bay.inbox, replace(own, pid=ended_process(), begun="1"))

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Root, "create_in", full)
    found.serve_alone()


# --- what is said ---------------------------------------------------------------------------------------


def test_the_mark_is_written_once_a_minute_and_says_at_the_end_that_it_stopped(bench, two, own):
    found, _, clock = two
    found.refresh()
    mark = bench.path / mark_name("j2")
    first = mark.stat().st_ino
    clock.passes(KEEP_SECONDS - 1)
    found.refresh()
    assert mark.stat().st_ino == first
    clock.passes(1)
    found.refresh()
    assert mark.stat().st_ino != first
    assert marks_in(bench.bay.inbox)["j2"].mark == own
    found.end()
    assert marks_in(bench.bay.inbox)["j2"].mark.is_stopped


def test_a_peer_that_falls_silent_while_its_clips_lie_there_is_told_once_and_again_if_it_returns(bench, two):
    found, told, clock = two
    leave(bench.bay.inbox, FAR)
    bench.drop("clip2", "day/two.mp4", b"another clip")
    for name in ("clip1", "clip2"):
        _belongs(bench.bay.inbox, name, "j9")
    found.refresh()
    assert told.lost == []
    assert [(peer.journal, peer.is_living) for peer in found.peers] == [("j9", True)]
    leave(bench.bay.inbox, FAR, age=SILENT_SECONDS + 60)
    for _ in range(3):
        clock.passes(LOOK_SECONDS)
        found.refresh()
    assert [one[:2] for one in told.lost] == [("j9", 2)]
    (peer,) = found.peers
    assert (peer.host, peer.clips, peer.life, peer.command) == (
        "edit-9",
        2,
        Life.SILENT,
        "clipspool recover --from j9",
    )
    assert NOON - SILENT_SECONDS - 120 < peer.seen_at < NOON - SILENT_SECONDS
    leave(bench.bay.inbox, FAR)
    clock.passes(LOOK_SECONDS)
    found.refresh()
    leave(bench.bay.inbox, FAR, age=SILENT_SECONDS + 60)
    clock.passes(LOOK_SECONDS)
    found.refresh()
    assert len(told.lost) == 2


def test_clips_of_a_journal_that_left_no_mark_are_told_at_once(two):
    found, told, _ = two
    found.refresh()
    assert [one[:2] for one in told.lost] == [("j1", 1)]


def test_a_work_folder_without_a_clip_is_left_to_recover_where_clips_are_moved(bench, two):
    (bench.work / "clip.mp4").unlink()
    os.utime(bench.work, (1.0, 1.0))
    assert two[0].refresh() == ()
    assert (bench.work / "manifest.toml").exists()


def test_what_is_the_journals_own_is_nobody_elses(bench, own):
    told = Told(known={"clip1"})
    found = Neighbours("bay", bench.bay.inbox, own, told.port(), monotonic=Clock(0.0))
    found.refresh()
    assert (told.lost, found.peers) == ([], ())


def test_the_status_file_of_one_that_died_goes_and_that_of_one_that_stopped_stays_with_its_clips(bench, two):
    found, _, clock = two
    root = bench.bay.inbox
    _belongs(root, "clip1", "j9aaaaaa")
    bench.drop("clip2", "day/two.mp4", b"another clip")
    _belongs(root, "clip2", "j8bbbbbb")
    leave(root, replace(FAR, journal="j9aaaaaa"), age=SILENT_SECONDS + 1)
    leave(root, replace(FAR, journal="j8bbbbbb", is_stopped=True))
    for journal in ("j9aaaa", "j8bbbb", "j7cccc"):
        text = f"This file is kept by clipspool ({journal}): how things stood.\n"
        (bench.path / f"_status-{journal}.txt").write_text(text)
    (bench.path / "_status-mine.txt").write_text("an editor's own\n")
    found.refresh()
    left = sorted(path.name for path in bench.path.glob("_status*"))
    assert left == ["_status-j7cccc.txt", "_status-j8bbbb.txt", "_status-mine.txt"]
    adoptable("bay", root, "j2", set(), lambda _: set(), {"j8bbbbbb"})
    clock.passes(LOOK_SECONDS)
    found.refresh()
    assert not (bench.path / "_status-j8bbbb.txt").exists()
    assert sorted(root.names(DAEMONS)) == ["j2.toml", "j9aaaaaa.toml"]


# --- what was taken over --------------------------------------------------------------------------------


def test_what_was_taken_over_is_let_go_at_the_next_look_and_asked_until_its_request_has_ended(bench, own):
    told = Told(known={"clip1"}, is_open={"clip1"})
    root, clock = bench.bay.inbox, Clock(0.0)
    found = Neighbours("bay", root, replace(own, journal="j1"), told.port(), monotonic=clock)
    found.refresh()
    leave(root, replace(FAR, journal="j2"))
    take_over(root, "clip1", "j2")
    found.refresh()
    assert told.gone == {"clip1": TakenOver("j2", "edit-9")}
    told.gone.clear()
    found.refresh()
    assert told.gone, "its request is under way still"
    told.open.clear()
    told.gone.clear()
    for _ in range(3):
        found.refresh()
    assert told.gone == {}
    take_over(root, "clip1", "j3")
    told.open.add("clip1")
    found.refresh()
    assert takers_in(root, "j1", lambda ids: told.open & set(ids))["clip1"].journal == "j3"


def test_a_folder_that_the_file_servers_client_believes_missing_is_made_and_looked_into(bench):
    """The name was looked for before another machine made it."""
    assert taker_of(bench.bay.inbox, "clip1", "j1") == ""
    assert (bench.path / TAKEN).is_dir()


def test_of_two_that_take_over_the_same_clip_one_has_it(bench):
    root = bench.bay.inbox
    before = survey("bay", root, "j2", set())
    assert [one.journal for one in before.foreign] == ["j1"]
    assert claim_manifest(root, "clip1", "j1", "j3")
    assert not claim_manifest(root, "clip1", "j1", "j2")
    assert adoptable("bay", root, "j2", set(), lambda _: set(), {"j1"}) == []
    assert [one.clip.id for one in adoptable("bay", root, "j3", set(), lambda _: set(), {"j1"})] == ["clip1"]
    assert read_manifest(root, "clip1").journal == "j3"
    # Whole by now, under the name that it had: it is not taken from the one that was faster.
    assert not claim_manifest(root, "clip1", "j1", "j2")
    assert (read_manifest(root, "clip1").journal, taker_of(root, "clip1", "j1")) == ("j3", "j3")


def test_a_take_over_that_was_cut_short_is_finished_and_the_ledger_read_after_its_daemon_was_told(bench):
    root = bench.bay.inbox
    assert claim_manifest(root, "clip1", "j1", "j2")
    assert read_manifest(root, "clip1").journal == "j2"
    assert taker_of(root, "clip1", "j1") == ""
    note(root, "clip1", "clip1", "intent", number=1)
    (found,) = survey("bay", root, "j2", set()).ours
    assert found.jobs[0].state == "in_doubt"
    assert taker_of(root, "clip1", "j1") == "j2"
    assert sorted(root.names(".clipspool/work/clip1")) == [
        "clip.mp4",
        "ledger.jsonl",
        "manifest.toml",
        "sidecar.toml",
    ]


def test_a_dead_takers_claim_can_be_taken_over_in_its_turn(bench):
    root = bench.bay.inbox
    assert claim_manifest(root, "clip1", "j1", "j2")
    assert [one.journal for one in survey("bay", root, "j3", set()).foreign] == ["j2"]
    assert [one.clip.id for one in adoptable("bay", root, "j3", set(), lambda _: set(), {"j2"})] == ["clip1"]
    assert (taker_of(root, "clip1", "j1"), read_manifest(root, "clip1").journal) == ("j3", "j3")


def test_only_the_journals_that_were_chosen_are_taken_over(bench):
    root = bench.bay.inbox
    bench.drop("clip2", "day/two.mp4", b"another clip")
    _belongs(root, "clip2", "j9")
    assert [one.clip.id for one in adoptable("bay", root, "j2", set(), lambda _: set(), {"j9"})] == ["clip2"]
    assert (taker_of(root, "clip1", "j1"), read_manifest(root, "clip1").journal) == ("", "j1")


def _belongs(root: Root, clip_id, journal):
    manifest = replace(read_manifest(root, clip_id), journal=journal)
    root.replace(f".clipspool/work/{clip_id}/manifest.toml", manifest.to_toml())
