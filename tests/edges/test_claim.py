"""A claim that meets trouble leaves the clip whole: in the inbox, or in work and told of."""

import errno

import pytest

from clipspool import work
from clipspool.root import Root
from clipspool.work import read_manifest
from inboxes import SIDECAR, Bench


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

    def vanish(self, file, folder):
        (bench.path / name).unlink(missing_ok=True)
        return real(self, file, folder)

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

    def exchange(self, file, folder):
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
        return real(self, file, folder)

    bench.drop("a.mp4")
    bench.look()
    monkeypatch.setattr(Root, "create_in", exchange)
    bench.look(3.0)
    monkeypatch.setattr(Root, "create_in", real)
    assert bench.accepted == []
    assert work_folders(bench) == []
    assert (bench.path / "a.mp4").exists()
    assert (tmp_path / "precious.mp4").read_bytes() == b"precious"


def test_a_sidecar_that_goes_after_its_clip_was_taken_does_not_undo_the_claim(bench, monkeypatch):
    real = work.rename_new

    def vanish(name, *rest):
        real(name, *rest)
        (bench.path / "a.mp4.toml").unlink(missing_ok=True)

    monkeypatch.setattr(work, "rename_new", vanish)
    bench.drop("a.mp4")
    bench.settle()
    assert bench.paths == ["a.mp4"]


@pytest.mark.parametrize("trouble", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE])
def test_trouble_of_the_disk_leaves_the_clip_where_it_was_and_is_tried_again(bench, monkeypatch, trouble):
    real = work.rename_new

    def refuse(*_args):
        raise OSError(trouble, "trouble")

    bench.drop("a.mp4")
    monkeypatch.setattr(work, "rename_new", refuse)
    bench.settle()
    assert bench.accepted == []
    assert work_folders(bench) == []
    assert bench.waiting()["a.mp4"].problem
    assert (bench.path / "a.mp4").exists()
    monkeypatch.setattr(work, "rename_new", real)
    bench.look(30.0)
    assert bench.paths == ["a.mp4"]
    assert bench.lying() == []


def test_a_sidecar_that_cannot_be_moved_does_not_undo_the_claim_of_its_clip(bench, monkeypatch):
    real = work.rename_new

    def refuse(name, *rest):
        if name.endswith(".toml"):
            raise PermissionError(errno.EACCES, "open on another machine")
        real(name, *rest)

    monkeypatch.setattr(work, "rename_new", refuse)
    monkeypatch.setattr("clipspool.root.rename_new", refuse)
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
    bench.inbox.look(bench.seconds)
    assert bench.accepted == []
    bench.settle()
    assert bench.paths == ["a.mp4"]
    assert bench.accepted[0].clip.size > (bench.path / "b.mp4").stat().st_size
