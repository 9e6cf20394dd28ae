"""A claim that meets trouble leaves the clip whole: in the inbox, or in work and told of."""

import errno
import itertools
import os
import threading

import pytest

from clipspool.intake.names import Kind, Names
from clipspool.spool import claims
from clipspool.spool.claims import clip_id_of, settle_stray
from clipspool.spool.root import Root
from clipspool.spool.workfolder import Manifest, read_manifest
from clipspool.system import moves
from clipspool.system.atomic import claimed_name
from fakes import a_clip, a_job
from inboxes import CLIP, SIDECAR, Bench


@pytest.fixture
def bench(tmp_path):
    one = Bench(tmp_path / "bay", journal="journal-1")
    yield one
    one.inbox.stop()


def work_folders(bench):
    folder = bench.path / ".clipspool/work"
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_the_manifest_holds_what_was_told(bench):
    bench.drop("day/a.mp4", sidecar=SIDECAR + "seed = 4\n[[variant]]\n[[variant]]\nseed = 5\n")
    bench.settle()
    (accepted,) = bench.accepted
    manifest = read_manifest(bench.root, accepted.clip.id)
    assert (manifest.clip, manifest.jobs, manifest.journal) == (accepted.clip, accepted.jobs, "journal-1")
    names = {path.name for path in (bench.path / ".clipspool/work" / accepted.clip.id).iterdir()}
    assert names >= {"manifest.toml", "clip.mp4", "sidecar.toml"}


@pytest.mark.parametrize("name", ["a.mp4", "a.mp4.toml", "w.png"])
def test_what_goes_away_at_the_last_instant_leaves_no_half_claim(bench, monkeypatch, name):
    """The clip, its sidecar or its image vanishes while the work folder is being made."""
    real = Root.create_in

    def vanish(self, file, folder, **options):
        (bench.path / name).unlink(missing_ok=True)
        return real(self, file, folder, **options)

    bench.write("w.png", b"png")
    bench.drop("a.mp4", sidecar=SIDECAR + 'references = ["w.png"]\n')
    bench.look()
    monkeypatch.setattr(Root, "create_in", vanish)
    bench.look(3.0)
    monkeypatch.setattr(Root, "create_in", real)
    assert bench.paths == []
    assert work_folders(bench) == []
    bench.write("w.png", b"png")
    bench.drop("a.mp4", sidecar=SIDECAR + 'references = ["w.png"]\n')
    bench.settle()
    assert bench.paths == ["a.mp4"]
    assert len(work_folders(bench)) == 1


@pytest.mark.parametrize("name", ["a.mp4", "a.mp4.toml"])
@pytest.mark.parametrize("by", ["file", "link", "folder"])
def test_what_is_exchanged_while_the_work_folder_is_made_is_not_taken_for_what_was_examined(
    bench, monkeypatch, tmp_path, name, by
):
    """Making the folder takes a sync: a race of renames won some of these before the last look was there."""
    real = Root.create_in
    (tmp_path / "precious.mp4").write_bytes(b"precious")

    def exchange(self, file, folder, **options):
        old = bench.path / name
        if old.exists() and not old.is_symlink() and old.is_file():
            old.rename(bench.path / "_kept")
            match by:
                case "file":
                    old.write_bytes((bench.path / "_kept").read_bytes() + b"\n" * 8)
                case "link":
                    old.symlink_to(tmp_path / "precious.mp4")
                case "folder":
                    old.mkdir()
        return real(self, file, folder, **options)

    bench.drop("a.mp4")
    bench.look()
    monkeypatch.setattr(Root, "create_in", exchange)
    bench.look(3.0)
    monkeypatch.setattr(Root, "create_in", real)
    assert bench.accepted == []
    assert work_folders(bench) == []
    assert (bench.path / "a.mp4").exists()
    assert (tmp_path / "precious.mp4").read_bytes() == b"precious"


def test_while_it_is_unknown_what_became_of_a_claim_no_other_one_is_begun(bench, monkeypatch):
    """Each leaves a work folder, and a disk may be broken for long."""

    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    bench.drop("a.mp4")
    with monkeypatch.context() as patched:
        patched.setattr("clipspool.spool.claims._bring_in", broken)
        patched.setattr("clipspool.spool.claims.is_claimed", broken)
        bench.settle()
        for _ in range(4):
            bench.look(30.0)
        assert len(work_folders(bench)) == 1
        assert "it will be tried again" in bench.note("a.mp4")
    bench.look(30.0)
    bench.look(30.0)
    assert bench.paths == ["a.mp4"]
    assert len(work_folders(bench)) == 1


def test_a_node_that_leads_no_more_claims_nothing(bench):
    """It could not record the clip, and the next leader has read the work folders already."""
    bench.leads = False
    clip = bench.drop("shot.mp4")
    bench.settle()
    assert bench.accepted == []
    assert clip.exists()
    assert list((bench.path / ".clipspool/work").iterdir()) == []
    bench.leads = True
    bench.settle()
    assert bench.paths == ["shot.mp4"]


def test_a_sidecar_that_goes_after_its_clip_was_taken_does_not_undo_the_claim(bench, monkeypatch):
    real = claims.rename_to_own

    def vanish(name, *rest):
        real(name, *rest)
        (bench.path / "a.mp4.toml").unlink(missing_ok=True)

    monkeypatch.setattr(claims, "rename_to_own", vanish)
    bench.drop("a.mp4")
    bench.settle()
    assert bench.paths == ["a.mp4"]


@pytest.mark.parametrize("trouble", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE])
def test_trouble_of_the_disk_leaves_the_clip_where_it_was_and_is_tried_again(bench, monkeypatch, trouble):
    real = claims.rename_to_own

    def refuse(*_args):
        raise OSError(trouble, "trouble")

    bench.drop("a.mp4")
    monkeypatch.setattr(claims, "rename_to_own", refuse)
    bench.settle()
    assert bench.accepted == []
    assert work_folders(bench) == []
    assert bench.waiting()["a.mp4"].problem
    assert (bench.path / "a.mp4").exists()
    monkeypatch.setattr(claims, "rename_to_own", real)
    bench.look(30.0)
    assert bench.paths == ["a.mp4"]
    assert bench.lying() == []


@pytest.fixture
def pooled(monkeypatch):
    """Refuse each rename between two folders, as a pool of disks or a nested mount does."""
    real = os.rename

    def refuse(name, to_name, *, src_dir_fd, dst_dir_fd):
        if not os.path.samestat(os.fstat(src_dir_fd), os.fstat(dst_dir_fd)):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(name, to_name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", refuse)


@pytest.mark.usefixtures("pooled")
def test_a_clip_on_another_disk_than_its_work_folder_is_copied_and_leaves_nothing_behind(bench):
    source = bench.drop("card/a.mp4")
    there = source.stat()
    bench.settle()
    (accepted,) = bench.accepted
    home = bench.path / ".clipspool/work" / accepted.clip.id
    assert (home / "clip.mp4").stat().st_mtime_ns == there.st_mtime_ns == accepted.clip.mtime_ns
    assert (home / "clip.mp4").stat().st_ino != there.st_ino
    assert (home / "sidecar.toml").read_text() == SIDECAR
    assert bench.lying() == []
    assert not list(bench.path.rglob("*.tmp"))


@pytest.mark.usefixtures("pooled")
def test_of_many_who_claim_a_clip_that_must_be_copied_one_has_it(bench):
    names = [f"{number}.mp4" for number in range(12)]
    for name in names:
        bench.drop(name)
    rivals = [bench, *(Bench(bench.path, journal=f"journal-{n}") for n in (2, 3))]
    for rival in rivals:
        rival.look()
    looks = [threading.Thread(target=rival.look, args=(3.0,)) for rival in rivals]
    for look in looks:
        look.start()
    for look in looks:
        look.join()
    for rival in rivals:
        rival.look(30.0)
    assert sorted(name for rival in rivals for name in rival.paths) == sorted(names)
    assert bench.lying() == []
    assert len(list(bench.path.glob(".clipspool/work/*/clip.mp4"))) == len(names)


@pytest.mark.usefixtures("pooled")
def test_a_clip_that_somebody_writes_to_while_it_is_copied_is_back_in_the_inbox(bench, monkeypatch):
    real = moves.copy_bytes

    def write_more(*args):
        digest = real(*args)
        for path in bench.path.glob(".claimed-*.mp4"):
            with path.open("ab") as file:
                file.write(b"\0\0\0\x08free")
        return digest

    monkeypatch.setattr(moves, "copy_bytes", write_more)
    bench.drop("a.mp4")
    bench.settle()
    assert bench.accepted == []
    assert bench.lying() == ["a.mp4", "a.mp4.toml"]
    assert work_folders(bench) == []
    monkeypatch.setattr(moves, "copy_bytes", real)
    bench.settle()
    assert bench.paths == ["a.mp4"]
    assert bench.accepted[0].clip.size > len(CLIP)


@pytest.mark.usefixtures("pooled")
@pytest.mark.parametrize(
    ("name", "call"), [*(("fsync", call) for call in range(1, 13)), ("unlink", 1), ("unlink", 2)]
)
@pytest.mark.parametrize("is_done", [False, True])
def test_a_call_that_fails_anywhere_in_a_claim_by_copying_loses_no_clip(
    bench, monkeypatch, name, call, is_done
):
    """Also one that did its work before it failed: a file server whose answer was lost."""
    real, calls = getattr(os, name), itertools.count(1)
    source = bench.drop("card/a.mp4")
    whole = source.read_bytes()

    def fail(*args, **more):
        is_due = next(calls) == call
        if not is_due or is_done:
            real(*args, **more)
        if is_due:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    bench.look()
    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        bench.look(3.0)
    found = [path for path in bench.path.rglob("*") if path.is_file() and path.read_bytes() == whole]
    assert found
    for _ in range(3):
        bench.look(30.0)
    assert bench.paths == ["card/a.mp4"]
    (home,) = work_folders(bench)
    assert (bench.path / ".clipspool/work" / home / "clip.mp4").read_bytes() == whole
    assert bench.lying() == []


@pytest.mark.parametrize("trouble", [errno.EIO, errno.EACCES, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_folder_in_which_nothing_can_be_renamed_is_told_of_with_the_calls_that_failed(
    bench, monkeypatch, trouble
):
    def refuse(*_args, **_more):
        raise OSError(trouble, os.strerror(trouble))

    real = os.rename
    bench.drop("card/a.mp4")
    bench.look()
    monkeypatch.setattr(os, "rename", refuse)
    bench.look(3.0)
    monkeypatch.setattr(os, "rename", real)
    note = bench.note("card/a.mp4")
    assert "rename from card into .clipspool/work: " + os.strerror(trouble).lower() in note.lower()
    assert "rename within card: " + os.strerror(trouble).lower() in note.lower()
    assert bench.lying() == ["card/a.mp4", "card/a.mp4.problem.txt", "card/a.mp4.toml"]
    bench.look(30.0)
    assert bench.paths == ["card/a.mp4"]
    assert bench.lying() == []


def test_what_lies_under_a_hidden_name_without_a_work_folder_is_found_and_taken(bench):
    """Its daemon died, and somebody cleared its work folders away."""
    (bench.path / "card").mkdir()
    (bench.path / "card" / claimed_name("0123456789ab", "a.mp4")).write_bytes(CLIP)
    bench.write("card/a.mp4.toml", SIDECAR)
    bench.settle()
    bench.look(30.0)
    assert bench.accepted == []
    bench.look(60.0)
    bench.settle()
    assert bench.paths == ["card/a.mp4"]
    assert bench.lying() == []


def test_what_lies_under_a_hidden_name_goes_beside_a_newer_clip_of_its_name(bench):
    (bench.path / claimed_name("0123456789ab", "a.mp4")).write_bytes(CLIP)
    bench.drop("a.mp4", sidecar=None)
    bench.look()
    bench.look(61.0)
    assert {"a.mp4", "a-2.mp4"} <= set(bench.lying())


def test_what_another_daemon_is_about_to_copy_is_left_to_it(bench):
    clip = a_clip("0123456789ab", path="a.mp4", sidecar=None)
    bench.root.create(
        f".clipspool/work/{clip.id}/manifest.toml",
        Manifest(clip, (a_job(clip.id, path=clip.path),), "other").to_toml(),
    )
    (bench.path / claimed_name(clip.id, "a.mp4")).write_bytes(CLIP)
    bench.settle()
    for _ in range(3):
        bench.look(100.0)
    assert bench.lying() == [claimed_name(clip.id, "a.mp4")]


@pytest.mark.parametrize("is_in_work", [True, False])
def test_what_is_left_of_a_claim_of_ours_goes_once_its_clip_is_in_work(bench, is_in_work):
    clip = a_clip("0123456789ab", path="a.mp4", sidecar=None)
    work, hidden = f".clipspool/work/{clip.id}", claimed_name(clip.id, "a.mp4")
    bench.root.create(f"{work}/manifest.toml", Manifest(clip, (a_job(clip.id),), "j1").to_toml())
    (bench.path / hidden).write_bytes(CLIP)
    if is_in_work:
        (bench.path / work / clip.source).write_bytes(CLIP)
    settle_stray(bench.root, "", hidden, "j1", 0.0)
    assert bench.lying() == ([] if is_in_work else ["a.mp4"])


def test_what_a_newer_clipspool_is_about_to_copy_is_left_to_it_for_a_day(bench):
    hidden = claimed_name("0123456789ab", "a.mp4")
    bench.root.create(".clipspool/work/0123456789ab/manifest.toml", b"unknown = [")
    (bench.path / hidden).write_bytes(CLIP)
    changed = (bench.path / hidden).stat().st_ctime
    settle_stray(bench.root, "", hidden, "j1", changed + 86_300)
    assert bench.lying() == [hidden]
    settle_stray(bench.root, "", hidden, "j1", changed + 86_500)
    assert bench.lying() == ["a.mp4"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mov.mp4.toml", "." * 40 + "b.mp4", "ü" * 120 + ".mov"])
def test_a_hidden_name_is_short_enough_tells_its_clip_and_is_no_business_of_intake(name):
    hidden = claimed_name("0123456789ab", name)
    assert len(os.fsencode(hidden)) <= 255
    assert clip_id_of(hidden) == "0123456789ab"
    assert Names({".mp4", ".mov"}).kind(hidden) is Kind.IGNORED


def test_a_sidecar_that_cannot_be_moved_does_not_undo_the_claim_of_its_clip(bench, monkeypatch):
    real = claims.rename_to_own

    def refuse(name, *rest):
        if name.endswith(".toml"):
            raise PermissionError(errno.EACCES, "open on another machine")
        real(name, *rest)

    monkeypatch.setattr(claims, "rename_to_own", refuse)
    bench.drop("a.mp4")
    bench.settle()
    bench.settle()
    assert bench.paths == ["a.mp4"]
    assert bench.lying() == ["a.mp4.toml"]


def test_an_id_that_is_taken_is_drawn_again_and_the_other_clip_is_not_touched(bench, monkeypatch):
    ids = iter(["taken", "taken", "free"])
    monkeypatch.setattr("clipspool.intake.accept.new_id", lambda _now: next(ids))
    bench.drop("a.mp4")
    bench.drop("b.mp4")
    bench.settle()
    assert bench.paths == ["a.mp4", "b.mp4"]
    assert sorted(work_folders(bench)) == ["free", "taken"]
    assert all((bench.path / ".clipspool/work" / name / "clip.mp4").exists() for name in ("taken", "free"))


def test_a_clip_that_was_replaced_after_it_settled_settles_anew(bench):
    bench.drop("a.mp4", sidecar=None)
    bench.settle()
    bench.write("a.toml", SIDECAR)
    bench.look()
    bench.seconds += 3.0
    (bench.path / "a.mp4").write_bytes(bench.drop("b.mp4", sidecar=None).read_bytes() + b"\0\0\0\x08free")
    bench.inbox.run_pass(bench.seconds)
    assert bench.accepted == []
    bench.settle()
    assert bench.paths == ["a.mp4"]
    assert bench.accepted[0].clip.size > (bench.path / "b.mp4").stat().st_size
