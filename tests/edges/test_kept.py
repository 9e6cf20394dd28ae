"""Clips of an inbox that is only read: copied, remembered, accepted once; nothing is written there."""

import errno
import hashlib
import os
import threading
from dataclasses import replace

import pytest

from clipspool.intake.inbox import Inbox
from clipspool.intake.types import Inspection
from clipspool.jobs.messages import Accepted
from clipspool.spool import kept
from clipspool.spool.guard import MountGuard, Unavailable
from clipspool.spool.kept import Known, claim_by_copy, gone_since, open_source_of, return_copy
from clipspool.spool.layout import KEPT
from clipspool.spool.neighbours import JournalAnswers, Neighbours
from clipspool.spool.peers import Mark, mark_name, own_mark
from clipspool.spool.recovery import adoptable, left_behind
from clipspool.spool.root import Root
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of, read_manifest
from clipspool.web.uploads import NotTaken, Uploads
from inboxes import CLIP, EPOCH, SIDECAR, Bench
from numbered import fill


class KeptBench(Bench):
    """An inbox that is only read, and its outbox."""

    def __init__(self, path, **rules):
        self.home = Root(path.with_name("results"))
        self.home.path.mkdir(exist_ok=True)
        super().__init__(path, **{"journal": "journal-1", **rules})

    def begin(self, home=None, tell=None):
        self.inbox = Inbox(
            self.root,
            self.rules,
            home=home or self.home,
            bind=self.bind,
            inspection=Inspection(self._check, self._inspect, self.expect),
            on_message=tell or self.tell,
            now=lambda: EPOCH + self.seconds,
            monotonic=lambda: self.seconds,
        )
        return self.inbox

    def note(self, name):
        path = self.home.path / f"{name}.problem.txt"
        return path.read_text() if path.exists() else None

    @property
    def remembered(self):
        return sorted(path.name for path in (self.home.path / KEPT).iterdir())

    def looked(self):
        """Describe all that lies in the inbox, as it would change by any write."""
        found = {}
        for path in (self.path, *self.path.rglob("*")):
            there = path.lstat()
            found[path] = (there.st_mtime_ns, there.st_ctime_ns, there.st_ino)
        return found


@pytest.fixture
def bench(tmp_path):
    one = KeptBench(tmp_path / "bay")
    yield one
    one.inbox.stop()


def test_a_clip_is_accepted_once_as_a_copy_and_nothing_is_written_into_the_inbox(bench):
    bench.write("look.png", b"png")
    bench.drop("day/a.mp4", sidecar=SIDECAR + 'references = ["look.png"]\n')
    bench.drop("wrong.mp4", sidecar="promt = 1\n")
    before = bench.looked()
    bench.settle()
    bench.look(100.0)
    bench.look(100.0)
    assert bench.paths == ["day/a.mp4"]
    assert bench.looked() == before
    (accepted,) = bench.accepted
    home = bench.home.path / folder_of(accepted.clip.id)
    assert (home / "clip.mp4").read_bytes() == CLIP
    assert (home / "ref-0.png").read_bytes() == b"png"
    assert (home / "clip.mp4").stat().st_mtime_ns == (bench.path / "day/a.mp4").stat().st_mtime_ns
    assert accepted.clip.sidecar is None, "it is never moved"
    assert set(bench.waiting()) == {"wrong.mp4"}
    assert "unknown key `promt`" in bench.note("wrong.mp4")
    assert bench.inbox.is_idle


def test_what_was_accepted_is_remembered_after_a_restart(bench):
    bench.drop("a.mp4")
    bench.settle()
    bench.begin()
    bench.settle()
    bench.look(100.0)
    assert bench.paths == ["a.mp4"]
    assert len(bench.remembered) == 1


@pytest.mark.parametrize("what", ["clip", "sidecar", "date"])
def test_a_clip_or_a_sidecar_that_changed_is_accepted_anew(bench, what):
    bench.drop("a.mp4")
    bench.settle()
    match what:
        case "clip":
            bench.drop("a.mp4", CLIP + CLIP[-808:], sidecar=None)
        case "sidecar":
            bench.write("a.mp4.toml", SIDECAR + "seed = 4\n")
        case "date":
            os.utime(bench.path / "a.mp4", ns=(1, 1_700_000_000_000_000_000))
    bench.settle()
    bench.look(100.0)
    assert bench.paths == ["a.mp4", "a.mp4"]
    assert len(bench.remembered) == 2


@pytest.mark.parametrize("sidecar", ["required", "optional"])
def test_a_sidecar_that_goes_afterwards_asks_for_nothing(tmp_path, sidecar):
    layers = {"defaults": {"model": "gen4_aleph", "prompt": "by default"}}
    b = KeptBench(tmp_path / "bay", sidecar_required=sidecar == "required", layers=layers)
    b.drop("a.mp4")
    b.settle()
    (b.path / "a.mp4.toml").unlink()
    b.look()
    b.look(100.0)
    b.begin()
    b.settle()
    b.look(100.0)
    assert b.paths == ["a.mp4"]
    assert b.note("a.mp4") is None
    assert b.waiting() == {}


def test_a_date_that_differs_below_a_microsecond_is_the_same_one(bench):
    """SMB counts in 100 ns, NFS in one: a farm's nodes may see the folder by either."""
    clip = bench.drop("a.mp4")
    os.utime(clip, ns=(0, 1_700_000_000_123_456_789))
    bench.settle()
    os.utime(clip, ns=(0, 1_700_000_000_123_456_700))
    bench.settle()
    bench.look(100.0)
    assert bench.paths == ["a.mp4"]


def test_of_two_daemons_that_read_one_inbox_exactly_one_accepts_a_clip(bench, monkeypatch):
    """Both have their copy whole before either decides."""
    both = threading.Barrier(2, timeout=20)
    real = Root.create

    def together(self, rel, data, **how):
        if rel.startswith(KEPT):
            both.wait()
        real(self, rel, data, **how)

    monkeypatch.setattr(Root, "create", together)
    bench.drop("a.mp4")
    accepted = []
    one, two = bench.inbox, bench.begin(Root(bench.home.path), accepted.append)
    for each in (one, two):
        each.run_pass(0.0)
    bench.seconds = 3.0
    threads = [threading.Thread(target=each.run_pass, args=(3.0,)) for each in (one, two)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    found = bench.accepted + [told for told in accepted if isinstance(told, Accepted)]
    assert [told.clip.path for told in found] == ["a.mp4"]
    assert [p.name for p in (bench.home.path / ".clipspool/work").iterdir()] == [found[0].clip.id]
    for each in (one, two):
        each.run_pass(200.0)
    assert len(bench.accepted + [told for told in accepted if isinstance(told, Accepted)]) == 1
    assert bench.waiting() == {}


class Killed(BaseException):
    pass


def die_in_a_claim(bench, monkeypatch, place):
    """Drop a clip, and end the daemon at a place of its claim."""

    def die(name):
        if name == place:
            raise Killed

    bench.drop("a.mp4")
    bench.look()
    monkeypatch.setattr(kept, "reach", die)
    with pytest.raises(Killed):
        bench.look(3.0)
    monkeypatch.undo()


@pytest.mark.parametrize("place", ["copying", "remembered", "kept"])
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_crash_in_a_claim_neither_loses_a_clip_nor_accepts_it_twice(bench, monkeypatch, place, is_lost):
    """Also where the journal was lost with it, so that another one takes over."""

    die_in_a_claim(bench, monkeypatch, place)
    mine = "journal-2" if is_lost else "journal-1"
    if is_lost:
        found = adoptable("bay", bench.home, mine, set(), lambda _ids: set(), {"journal-1"})
    else:
        found = left_behind("bay", bench.home, mine, set())
    assert len(found) == (place == "kept")
    bench.begin()
    bench.settle()
    bench.look(100.0)
    assert [told.clip.path for told in (*found, *bench.accepted)] == ["a.mp4"]
    assert len(bench.remembered) == 1


@pytest.mark.parametrize(
    ("place", "is_living", "hours", "gone", "is_removed"),
    [
        ("copying", False, 25, "", True),
        ("copying", False, 23, "", False),
        ("copying", True, 25, "", False),
        ("remembered", False, 25, "", False),
        ("kept", False, 25, "", False),
        ("kept", False, 25, f"{KEPT}/*", False),  # forgotten by [retention]
        ("kept", False, 25, ".clipspool/work/*/clip.mp4", False),  # retired, and not swept yet
    ],
)
def test_a_copy_that_was_never_accepted_goes_once_its_daemon_is_gone(
    bench, monkeypatch, tmp_path, place, is_living, hours, gone, is_removed
):
    die_in_a_claim(bench, monkeypatch, place)
    (work,) = (bench.home.path / ".clipspool/work").iterdir()
    for file in bench.home.path.glob(gone) if gone else ():
        file.unlink()
    before = sorted(work.iterdir())
    at = work.stat().st_mtime - hours * 3600
    os.utime(work, (at, at))
    if is_living:
        mark = Mark("journal-1", "edit-9", place="there", boot="another", pids="1", pid=1, begun="5")
        bench.home.replace(mark_name("journal-1"), mark.to_toml())
    own = own_mark("journal-2", tmp_path / "journal.db")
    ask = JournalAnswers(tuple, lambda _ids: (), lambda _gone: None, lambda *_: None)
    Neighbours("bay", bench.home, own, ask).refresh()
    assert (sorted(work.iterdir()) if work.exists() else []) == ([] if is_removed else before)


def test_the_work_folder_of_a_retired_clip_does_not_have_it_forgotten(bench):
    """A crash came between the removal of its copy and that of the folder."""
    bench.drop("a.mp4")
    bench.settle()
    (accepted,) = bench.accepted
    (bench.home.path / folder_of(accepted.clip.id) / "clip.mp4").unlink()
    assert left_behind("bay", bench.home, "journal-1", set()) == []
    assert len(bench.remembered) == 1
    bench.begin()
    bench.settle()
    bench.look(100.0)
    assert bench.paths == ["a.mp4"]


def test_a_clip_that_changes_while_it_is_copied_is_not_accepted(bench, monkeypatch):
    real = kept.bring_copy

    def write_on(origin, root, clip, name):
        real(origin, root, clip, name)
        with (bench.path / clip.path).open("ab") as writer:
            writer.write(b"more")

    bench.drop("a.mp4")
    bench.look()
    monkeypatch.setattr(kept, "bring_copy", write_on)
    bench.look(3.0)
    assert bench.accepted == []
    assert list((bench.home.path / ".clipspool/work").iterdir()) == []
    assert not (bench.home.path / KEPT).exists() or bench.remembered == []


def test_a_disk_without_room_for_the_copy_is_told_of_and_tried_again(bench, monkeypatch):
    bench.drop("a.mp4")
    bench.look()
    with monkeypatch.context() as full:
        full.setattr(Root, "space", lambda _self: 10)
        bench.look(3.0)
    assert "no room for its copy" in bench.note("a.mp4")
    bench.look(1.0)
    assert bench.paths == ["a.mp4"]
    assert bench.note("a.mp4") is None


def test_notes_of_an_earlier_run_go_when_their_files_do(bench):
    bench.drop("gone.mp4", sidecar="promt = 1\n")
    bench.drop("day/mended.mp4", sidecar="promt = 1\n")
    bench.drop("old/lost.mp4", sidecar="promt = 1\n")
    bench.settle()
    assert bench.note("gone.mp4")
    assert bench.note("old/lost.mp4")
    for name in ("gone.mp4", "gone.mp4.toml", "old/lost.mp4", "old/lost.mp4.toml"):
        (bench.path / name).unlink()
    (bench.path / "old").rmdir()
    bench.write("day/mended.mp4.toml", SIDECAR)
    (bench.home.path / "kept.mp4.problem.txt").write_text("an editor's own words")
    bench.begin()
    bench.settle()
    assert bench.paths == ["day/mended.mp4"]
    notes = sorted(str(p.relative_to(bench.home.path)) for p in bench.home.path.rglob("*.problem.txt"))
    assert notes == ["kept.mp4.problem.txt"]


def test_a_clip_that_left_the_inbox_is_forgotten_after_its_time_and_no_other(bench):
    for name in ("gone.mp4", "here.mp4", "changed.mp4"):
        bench.drop(name)
    bench.settle()
    (bench.path / "gone.mp4").unlink()
    os.utime(bench.path / "changed.mp4", ns=(0, 10**18))
    assert list(gone_since(bench.home, bench.root, EPOCH)) == []
    found = list(gone_since(bench.home, bench.root, EPOCH + 10))
    assert len(found) == 2
    for one in found:
        bench.home.remove(one.rel)
    bench.drop("gone.mp4")
    bench.settle()
    bench.look(100.0)
    assert sorted(bench.paths) == ["changed.mp4", "changed.mp4", "gone.mp4", "gone.mp4", "here.mp4"]


def test_an_inbox_that_is_not_mounted_has_nothing_forgotten(bench):
    bench.drop("a.mp4")
    bench.settle()
    other = Root(bench.path, guard=MountGuard("nfs4 nas:/bay /", lambda _found: None))
    with pytest.raises(Unavailable, match=r"not the inbox it was \(nfs4 nas:/bay /\)"):
        list(gone_since(bench.home, other, EPOCH + 1e9))


def test_a_folder_is_recognised_by_its_file_system_and_its_place_there(tmp_path):
    known = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    Root(tmp_path / "one", guard=MountGuard(None, known.append)).bind()
    assert len(known) == 1
    assert str(tmp_path / "one").endswith(known[0].rpartition(" ")[2])
    guard = MountGuard(known[0], known.append)
    Root(tmp_path / "one", guard=guard).bind()
    with pytest.raises(Unavailable, match="not the inbox it was"):
        Root(tmp_path / "two", guard=guard).bind()
    guard.adopt()
    Root(tmp_path / "two", guard=guard).bind()
    assert len(known) == 2


def test_a_note_that_somebody_removes_from_the_outbox_is_back_after_the_next_rescan(bench):
    bench.drop("day/a.mp4", sidecar="nonsense")
    bench.settle()
    said = bench.note("day/a.mp4")
    (bench.home.path / "day/a.mp4.problem.txt").unlink()
    bench.look(30.0)
    assert said
    assert bench.note("day/a.mp4") == said


def test_a_manifest_whose_name_leads_elsewhere_is_none_of_ours(bench):
    bench.drop("a.mp4")
    bench.settle()
    clip_id = bench.accepted[0].clip.id
    path = bench.home.path / folder_of(clip_id) / "manifest.toml"
    path.write_text(path.read_text().replace(f'kept = "{bench.remembered[0]}"', 'kept = "../inbox.toml"'))
    with pytest.raises(ValueError, match="no name of ours"):
        read_manifest(bench.home, clip_id)


def test_a_clip_that_another_daemon_has_is_not_even_copied(bench):
    bench.drop("a.mp4")
    bench.settle()
    manifest = read_manifest(bench.home, bench.accepted[0].clip.id)
    other = replace(manifest, clip=replace(manifest.clip, id="other0000001"))
    with pytest.raises(Known):
        claim_by_copy(bench.root, bench.home, other, (), lambda: None)
    assert not bench.home.exists(folder_of("other0000001"))


@pytest.mark.parametrize("what", ["date", "bytes", "gone"])
def test_a_clip_that_is_not_what_was_accepted_is_not_copied_for_another_run(bench, what):
    source = bench.drop("a.mp4")
    bench.settle()
    clip = replace(bench.accepted[0].clip, sha256=hashlib.sha256(CLIP).hexdigest())
    work = bench.home.path / folder_of(clip.id) / "clip.mp4"
    work.unlink()
    return_copy(bench.root, bench.home, clip)
    assert work.read_bytes() == CLIP
    work.unlink()
    match what:
        case "date":
            os.utime(source, ns=(0, 10**18))
        case "bytes":
            source.write_bytes(CLIP[:-1] + b"!")
            os.utime(source, ns=(0, clip.mtime_ns))
        case "gone":
            source.unlink()
    with pytest.raises(FileNotFoundError):
        return_copy(bench.root, bench.home, clip)
    assert not any(path.name.startswith((".ret", "clip")) for path in work.parent.iterdir())


def test_the_note_of_a_failure_is_no_consent_to_pay_again_and_goes_with_the_next_try(bench):
    """In any other inbox a note without its clip says that somebody moved the clip back."""
    note = bench.home.path / "_failed/a.mp4.error.toml"
    note.parent.mkdir()
    note.write_text('code = "X"\npaid = "yes"\n')
    bench.drop("a.mp4")
    bench.settle()
    (accepted,) = bench.accepted
    assert not accepted.jobs[0].request.was_put_back
    assert not note.exists()


@pytest.mark.parametrize("trouble", [OSError(errno.EIO, "trouble"), Unavailable(errno.ESTALE, "stale")])
def test_trouble_right_after_the_decision_does_not_lose_the_clip(bench, monkeypatch, trouble):
    def refuse(*_args):
        raise trouble

    bench.drop("a.mp4")
    bench.look()
    with monkeypatch.context() as once:
        once.setattr(kept, "settle_copy", refuse)
        bench.look(3.0)
    assert bench.accepted == []
    bench.look(10.0)
    bench.look(10.0)
    bench.look(10.0)
    assert bench.paths == ["a.mp4"]
    assert len(bench.remembered) == 1
    assert bench.note("a.mp4") is None


def test_a_timeline_in_an_inbox_that_is_only_read_is_not_taken_and_holds_back_no_clip(bench):
    bench.write(
        "cut.edl",
        "TITLE: cut\n001  A001     V     C        01:00:00:00 01:00:02:00 01:00:00:00 01:00:02:00\n",
    )
    bench.drop("a.mp4")
    before = bench.looked()
    bench.settle()
    bench.look(100.0)
    assert bench.paths == ["a.mp4"]
    assert "timelines are not taken from an inbox that is only read" in bench.note("cut.edl")
    assert bench.looked() == before


def test_a_folder_of_pictures_in_an_inbox_that_is_only_read_is_answered_and_not_taken(bench):
    bench.write("seq.toml", SIDECAR)
    fill(bench.path / "seq")
    bench.settle()
    bench.look(400.0)
    assert bench.paths == []
    assert "no folders of pictures are taken" in bench.waiting()["seq"].reason


def test_the_page_takes_no_clip_and_no_sidecar_for_an_inbox_that_is_only_read(bench):
    folders = Folders("bay", bench.home, bench.home, origin=bench.root)
    uploads = Uploads(lambda: {"bay": folders}, lambda: {"bay": bench.rules}, lambda: EPOCH)
    with pytest.raises(NotTaken, match="only read") as refused:
        uploads.begin("bay", "", "a.mp4", 100)
    assert (refused.value.status, refused.value.code) == (409, "INBOX.READ_ONLY")


def test_the_page_shows_a_clip_where_it_stayed_while_it_is_what_was_accepted(bench):
    source = bench.drop("a.mp4")
    bench.settle()
    (accepted,) = bench.accepted
    clip, request = accepted.clip, accepted.jobs[0].request
    (bench.home.path / folder_of(clip.id) / "clip.mp4").unlink()
    folders = Folders("bay", bench.home, bench.home, origin=bench.root)
    with open_source_of(folders, clip, request) as file:
        assert file.read() == CLIP
    os.utime(source, ns=(0, 10**18))
    with pytest.raises(FileNotFoundError):
        open_source_of(folders, clip, request)


def test_a_folder_of_pictures_in_an_inbox_that_is_only_read_gets_a_note_and_stays(bench):
    for number in range(3):
        bench.write(f"shot/shot.{number:04}.png", b"png")
    bench.write("shot.toml", SIDECAR)
    before = bench.looked()
    bench.settle()
    bench.look(100.0)
    assert bench.accepted == []
    assert "only read" in bench.note("shot")
    assert bench.looked() == before
