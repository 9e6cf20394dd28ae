"""Folders that are full, gone, or another's: unavailable is not deleted, and nothing is paid for in vain."""

import contextlib
import os
import shutil
import subprocess

import pytest

from clipspool.system.failpoint import EXIT_CODE
from faults.oracle import Oracle


@pytest.fixture
def mount():
    """Yield a function that mounts at a folder, undone after the test; skips where it is not allowed."""
    mounted = []

    def do(*words, at):
        done = subprocess.run(["mount", *map(str, words), str(at)], capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip("mounting is not allowed here")
        mounted.append(at)

    yield do
    for at in reversed(mounted):
        subprocess.run(["umount", "-l", str(at)], capture_output=True, check=False)


def unmount(at):
    subprocess.run(["umount", "-l", str(at)], check=True, capture_output=True)


def test_an_outbox_that_fills_up_holds_the_result_back_until_there_is_room(mount, open_bays):
    with open_bays(render_seconds=2.0) as bay:
        mount("-t", "tmpfs", "-o", "size=80m", "tmpfs", at=bay.outbox)
        bay.start()
        bay.drop()
        bay.until_states("running")
        filler = bay.outbox / "._filler"
        with filler.open("wb", buffering=0) as file:  # at once, so that it is full before the render ends
            room = os.statvfs(bay.outbox)
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
            with contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass
        bay.until_states("fetched")
        bay.until(lambda: bay.job()["reason"], what="it says why")
        assert not [name for name in bay.results() if name.endswith(".mp4")]
        assert "no room for a result" in bay.job()["reason"]
        filler.unlink()
        bay.until_retired(seconds=30)
        assert bay.paid == 1
        assert Oracle(bay).violations() == []


@pytest.mark.parametrize(
    ("which", "how", "mended", "held", "words"),
    [
        ("inbox", "size=400k", "size=200m", "disk", "bytes more free space"),
        ("outbox", "size=400k", "size=200m", "outbox", "bytes more free space"),
        ("outbox", "size=200m,nr_inodes=4", "nr_inodes=400", "outbox", "no inodes are left"),
        ("outbox", "size=200m,nr_inodes=1", "nr_inodes=400", "outbox", "no file can be made"),
        ("outbox", "size=200m,ro", "rw", "outbox", "mounted read-only"),
    ],
)
def test_nothing_is_paid_while_a_folder_takes_no_result_and_the_reason_is_told_not_a_date(
    mount, bay, which, how, mended, held, words
):
    folder = getattr(bay, which)
    mount("-t", "tmpfs", "-o", how.removesuffix(",ro"), "tmpfs", at=folder)
    bay.start()
    if "nr_inodes=4" in how:
        bay.until((folder / ".clipspool/outbox.toml").exists, 20)
        (folder / "._the last one").touch()
    if how.endswith("ro"):
        bay.until((folder / ".clipspool/outbox.toml").exists, 20)
        mount("-o", "remount,ro", at=folder)
    bay.drop()
    bay.until(lambda: bay.jobs() and (bay.job()["held"] or bay.paid), 30)
    assert bay.paid == 0
    assert bay.job()["held"] == held
    assert words in bay.job()["reason"]
    screen = bay.call("status").stdout
    assert "NEEDS YOU (1)" in screen
    assert f"{held}: " in screen
    mount("-o", f"remount,{mended}", at=folder)
    bay.until_retired(seconds=60)
    assert bay.paid == 1


def test_a_vanished_outbox_gets_nothing_beneath_its_mount_point_and_the_result_when_it_is_back(
    mount, open_bays
):
    with open_bays(render_seconds=1.5) as bay:
        disk = bay.home / "disk"
        disk.mkdir()
        mount("--bind", disk, at=bay.outbox)
        bay.start()
        bay.drop()
        bay.until_states("running")
        unmount(bay.outbox)
        bay.until_states("fetched")
        bay.until(lambda: bay.job()["reason"], what="it says why")
        assert list(bay.outbox.iterdir()) == []
        mount("--bind", disk, at=bay.outbox)
        bay.until_retired(seconds=30)
        assert "shot.mp4" in bay.results()


def test_an_outbox_that_vanishes_before_its_first_result_is_not_looked_for_beneath_its_mount_point(
    mount, open_bays
):
    with open_bays() as bay:
        disk = bay.home / "disk"
        disk.mkdir()
        mount("--bind", disk, at=bay.outbox)
        bay.start()
        bay.until((disk / ".clipspool/outbox.toml").exists, 10, "the outbox is marked")
        unmount(bay.outbox)
        bay.drop()
        bay.until(lambda: bay.jobs() and bay.job()["reason"], 20, "it says why it waits")
        assert list(bay.outbox.iterdir()) == []
        assert bay.paid == 0
        mount("--bind", disk, at=bay.outbox)
        bay.until_retired(seconds=40)


def test_a_vanished_inbox_goes_offline_and_its_clips_go_on_when_it_is_back(mount, open_bays):
    with open_bays(render_seconds=1.0) as bay:
        disk = bay.home / "disk"
        disk.mkdir()
        mount("--bind", disk, at=bay.inbox)
        bay.start()
        bay.drop("one.mp4")
        bay.drop("waits.mp4", None)
        bay.until_states("running")
        unmount(bay.inbox)
        bay.until(lambda: [e for e in bay.events("inbox_changed") if e["to"] == "offline"], 20, "offline")
        assert list(bay.inbox.iterdir()) == []
        assert bay.told("status")["inboxes"][0]["state"] == "offline"
        mount("--bind", disk, at=bay.inbox)
        bay.until_retired(seconds=40)
        bay.write("waits.toml", 'prompt = "late"\n')
        bay.until_retired(2, seconds=30)
        assert bay.paid == 2


def test_another_disk_in_the_inboxs_place_is_not_touched_until_the_operator_resumes_it(mount, bay):
    bay.start()
    bay.drop("one.mp4")
    bay.until_retired()
    mount("-t", "tmpfs", "tmpfs", at=bay.inbox)
    bay.until(lambda: [e for e in bay.events("inbox_changed") if e["to"] == "offline"], 20, "offline")
    (bay.inbox / "foreign.mp4").write_bytes(b"x" * 100)
    assert bay.call("resume", "bay").returncode == 0
    bay.until((bay.inbox / ".clipspool").exists, 20, "it is taken for the inbox")
    unmount(bay.inbox)
    bay.is_checked = False


@pytest.mark.parametrize("which", ["inbox", "outbox"])
def test_another_disk_that_gets_the_same_numbers_is_not_touched(mount, open_bays, which):
    """The kernel gives a device's number again, and a file system's top folder has the same one on each."""
    with open_bays(render_seconds=1.0) as bay:
        at = getattr(bay, which)
        mine = bay.home / "mine"
        mine.mkdir()
        mount("-t", "tmpfs", "-o", "size=200m", "tmpfs", at=at)
        numbers = at.stat()
        bay.start()
        bay.drop()
        bay.until_states("running")
        shutil.copytree(at, mine, dirs_exist_ok=True)
        subprocess.run(["umount", str(at)], check=True)
        mount("-t", "tmpfs", "-o", "size=200m", "tmpfs", at=at)
        if (at.stat().st_dev, at.stat().st_ino) != (numbers.st_dev, numbers.st_ino):
            pytest.skip("the kernel gave it other numbers")
        bay.until(lambda: bay.job()["reason"] and bay.job()["state"] in {"rendered", "fetched"}, 20)
        assert list(at.iterdir()) == []
        unmount(at)
        shutil.copytree(mine, at, dirs_exist_ok=True)
        bay.until_retired(seconds=40)
        assert bay.paid == 1


def test_a_start_with_an_empty_mount_point_pays_and_deletes_nothing(mount, open_bays):
    with open_bays(render_seconds=1.0) as bay:
        disk = bay.home / "disk"
        disk.mkdir()
        mount("--bind", disk, at=bay.inbox)
        bay.start()
        bay.drop("one.mp4")
        bay.until_states("running")
        assert bay.stop() == 0
        unmount(bay.inbox)
        bay.start()
        bay.until(lambda: [e for e in bay.events("inbox_changed") if e["to"] == "offline"], 20, "offline")
        assert list(bay.inbox.iterdir()) == []
        mount("--bind", disk, at=bay.inbox)
        bay.until_retired(seconds=40)
        assert bay.paid == 1


@pytest.mark.parametrize("place", ["claimed", "copied"])
@pytest.mark.parametrize("is_lost", [False, pytest.param(True, marks=pytest.mark.heavy)])
def test_a_claim_by_copying_that_a_crash_cuts_is_put_back_or_carried_on_also_without_the_journal(
    mount, bay, place, is_lost
):
    (bay.inbox / "card").mkdir()
    mount("-t", "tmpfs", "tmpfs", at=bay.inbox / "card")
    bay.drop("card/one.mp4")
    code = bay.run_until_idle(CLIPSPOOL_FAILPOINT=f"{place}:exit", CLIPSPOOL_TESTING="1")
    assert code == EXIT_CODE
    assert [path.name[:9] for path in (bay.inbox / "card").glob(".*")] == [".claimed-"]
    if is_lost:
        for path in bay.journal.parent.glob("journal*"):
            path.unlink()
        assert bay.run_until_idle() == 0
        assert bay.call("recover", "--yes").returncode == 0
    assert bay.run_until_idle() == 0
    assert list(bay.jobs().values()) == ["delivered"]
    assert list((bay.inbox / "card").iterdir()) == []
    assert bay.paid == 1


def test_a_clip_in_a_folder_on_another_disk_is_taken_and_archived_by_copying(mount, bay):
    for name in ("card", "_done"):
        (bay.inbox / name).mkdir()
        mount("-t", "tmpfs", "tmpfs", at=bay.inbox / name)
    bay.start()
    bay.drop("card/one.mp4")
    bay.drop("two.mp4")
    bay.until_retired(2)
    bay.until(lambda: not list(bay.inbox.glob(".clipspool/work/*")), what="nothing is left of the work")
    assert sorted(path.name for path in (bay.inbox / "card").iterdir()) == []
    assert bay.paid == 2
    assert Oracle(bay).violations() == []
