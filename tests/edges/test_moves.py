"""Each of a clip's moves where folders lie on several file systems, or refuse a rename with any error."""

import errno
import hashlib
import os
import shutil
import subprocess
from dataclasses import replace
from itertools import count

import pytest

from clipspool.jobs.model import Error, Paid, State
from clipspool.spool.root import Root
from clipspool.spool.workfolder import bring_back
from clipspool.stages.deliver import deliver
from clipspool.stages.retire import retire, sweep
from disks import REFUSALS, Crash, Disk
from fakes import NOON, RESULT, Bench, a_job, a_task, always, lying

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to somebody else")
needs_acl = pytest.mark.skipif(
    shutil.which("setfacl") is None, reason="there is no setfacl here (package acl)"
)

DONE = a_job(state=State.DELIVERED, task=a_task(), paid=Paid.YES)
FAILED = a_job(state=State.FAILED, task=a_task(), error=Error("X", "it failed", "", paid=Paid.YES))


def whole(bench, data):
    """Return where a file of that content lies, half-written copies left out."""
    found = lying(bench.path, ours=True) | lying(bench.results, ours=True)
    return [name for name, there in found.items() if there == data and not name.endswith(".tmp")]


def a_bench(path):
    path.mkdir()
    return Bench(path)


def until_done(step, refused, act):
    """Do something that ends at its `step`-th change, then again without; say whether it was cut."""
    try:
        with Disk(step, refused).in_place():
            act()
    except Crash:
        with Disk(0, refused).in_place():
            act()
        return True
    return False


# --- cut anywhere ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", [0, *REFUSALS])
@pytest.mark.parametrize("job", [DONE, FAILED], ids=["done", "failed"])
def test_a_retirement_that_is_cut_anywhere_ends_under_one_name_with_what_belongs_to_it(
    tmp_path, refused, job
):
    for step in count(1):
        bench = a_bench(tmp_path / str(step))
        clips = []
        was_cut = until_done(
            step, refused, lambda b=bench, c=clips: c.append(retire(b.clip, [job], b.bay, always))
        )
        clip = clips[-1]
        home = "_done/day/shot" if job is DONE else "_failed/day/shot"
        assert (clip.lies_at, clip.sidecar_lies_at) == (f"{home}.mp4", f"{home}.toml")
        note = {f"{home}.mp4.error.toml"} if job is FAILED else set()
        there = {name for name in lying(bench.path) if not name.endswith(".tmp")}
        assert there == {f"{home}.mp4", f"{home}.toml", *note}
        assert whole(bench, b"some clip") == [f"{home}.mp4"]
        sweep(clip, bench.bay)
        assert not bench.work.exists()
        if not was_cut:
            break
    assert step > (20 if refused else 4)


@pytest.mark.parametrize("refused", [0, *REFUSALS])
def test_a_clip_that_is_brought_back_and_cut_anywhere_lies_in_its_work_folder(tmp_path, refused):
    for step in count(1):
        bench = a_bench(tmp_path / str(step))
        clip = retire(bench.clip, [FAILED], bench.bay, always)
        sweep(clip, bench.bay)
        was_cut = until_done(
            step, refused, lambda b=bench, c=clip: bring_back(b.bay.inbox, c, FAILED, "journal")
        )
        assert whole(bench, b"some clip") == [".clipspool/work/clip1/clip.mp4"]
        assert whole(bench, b'prompt = "deep winter"\n') == [".clipspool/work/clip1/sidecar.toml"]
        assert {name for name in lying(bench.path) if not name.endswith(".tmp")} == set()
        if not was_cut:
            break
    assert step > (20 if refused else 6)


@pytest.mark.parametrize("refused", [0, *REFUSALS])
def test_a_result_that_is_cut_anywhere_is_published_once_and_never_partial(tmp_path, refused):
    for step in count(1):
        bench = a_bench(tmp_path / str(step))
        job = fetched(bench)
        was_cut = until_done(step, refused, lambda b=bench, j=job: deliver(j, b.clip, b.bay, NOON, always))
        found = {name for name in lying(bench.results) if not name.endswith(".tmp")}
        assert found == {"day/shot.mp4", "day/shot.mp4.toml"}
        assert whole(bench, b"a film") == ["day/shot.mp4"]
        if not was_cut:
            break
    assert step > (10 if refused else 6)


def fetched(bench):
    (bench.work / "clip1-1.mp4").write_bytes(b"a film")
    sha256 = hashlib.sha256(b"a film").hexdigest()
    result = replace(RESULT, file="clip1-1.mp4", size=6, sha256=sha256)
    return a_job(state=State.FETCHED, task=a_task(), results=(result,))


@pytest.mark.parametrize("refused", [0, errno.EXDEV])
def test_the_like_of_a_clip_that_failed_later_under_its_name_is_not_taken_for_its_leavings(tmp_path, refused):
    bench = Bench(tmp_path)
    clip = retire(bench.clip, [FAILED], bench.bay, always)
    with Disk(0, refused).in_place():
        bring_back(bench.bay.inbox, clip, FAILED, "journal")
    twin = bench.path / "_failed/day/shot.mp4"
    shutil.copy2(bench.work / "clip.mp4", twin)
    note = twin.with_name("shot.mp4.error.toml")
    note.write_text("another's")
    bring_back(bench.bay.inbox, clip, FAILED, "journal")
    assert twin.read_bytes() == b"some clip"
    assert note.exists()


# --- who may do what with a result ----------------------------------------------------------------------


def rights(path):
    there = path.stat()
    acl = subprocess.run(["getfacl", "-cEn", path], capture_output=True, text=True, check=True).stdout
    return there.st_uid, there.st_gid, oct(there.st_mode), acl


def by_hand(folder):
    """Make a file as who runs this makes one, and give its rights."""
    path = folder / "by-hand"
    path.write_bytes(b"")
    return rights(path)


@needs_root
@needs_acl
@pytest.mark.parametrize("refused", [0, errno.EXDEV], ids=["renamed", "copied"])
@pytest.mark.parametrize(
    ("inbox", "outbox"),
    [
        ("chgrp 1 {0}; chmod 2770 {0}", "chgrp 2 {0}; chmod 2775 {0}"),
        ("setfacl -m d:u:1:rw,d:g:2:---,d:m::rw {0}", "true"),
        ("true", "setfacl -m d:u:3:rwx,d:o::--- {0}"),
        ("setfacl -m d:u:1:rw {0}", "chgrp 2 {0}; chmod 2750 {0}; setfacl -m d:g:3:r,d:o::--- {0}"),
    ],
)
def test_a_result_has_the_rights_of_a_file_made_in_its_folder_by_hand(tmp_path, inbox, outbox, refused):
    bench = Bench(tmp_path)
    shutil.rmtree(bench.work)
    for folder, words in ((bench.path / ".clipspool/work", inbox), (bench.results, outbox)):
        subprocess.run(["sh", "-ec", words.format(folder)], check=True)
    bench.work.mkdir()
    (bench.work / "manifest.toml").touch()
    job = fetched(bench)
    with Disk(0, refused).in_place():
        deliver(job, bench.clip, bench.bay, NOON, always)
    wanted = by_hand(bench.results / "day")
    assert rights(bench.results / "day/shot.mp4") == wanted
    assert rights(bench.results / "day/shot.mp4.toml") == wanted
    made = bench.results / "day"
    (bench.results / "made").mkdir()
    assert rights(made) == rights(bench.results / "made")


def test_no_file_is_made_only_to_find_out_the_rights_of_a_result(tmp_path, monkeypatch):
    bench, made, create = Bench(tmp_path), [], Root.create_in
    job = fetched(bench)

    def noted(self, name, folder, **more):
        made.append(name)
        return create(self, name, folder, **more)

    monkeypatch.setattr(Root, "create_in", noted)
    deliver(job, bench.clip, bench.bay, NOON, always)
    assert whole(bench, b"a film") == ["day/shot.mp4"]
    assert len(made) == 1, "besides the provenance"


@needs_root
@needs_acl
def test_a_result_beside_another_users_provenance_has_the_rights_of_a_new_file(tmp_path):
    bench = Bench(tmp_path)
    job, may = fetched(bench), iter([True, False])
    deliver(job, bench.clip, bench.bay, NOON, lambda: next(may))
    os.chown(bench.results / "day/shot.mp4.toml", 1, 1)
    deliver(job, bench.clip, bench.bay, NOON, always)
    assert rights(bench.results / "day/shot.mp4") == by_hand(bench.results / "day")


@needs_root
def test_modes_that_are_asked_for_come_before_those_of_the_folder_and_keep_its_group(tmp_path):
    bench = Bench(tmp_path)
    os.chown(bench.results, 0, 2)
    bench.results.chmod(0o2777)
    bench.bay = replace(bench.bay, outbox=Root(bench.results, file_mode=0o640, folder_mode=0o750))
    deliver(fetched(bench), bench.clip, bench.bay, NOON, always)
    seen = {path.name: path.stat() for path in bench.results.rglob("*")}
    told = {name: (there.st_gid, oct(there.st_mode & 0o7777)) for name, there in seen.items()}
    assert told["day"] == (2, "0o2750")
    assert told["shot.mp4"] == told["shot.mp4.toml"] == (2, "0o640")


@needs_root
@needs_acl
def test_rights_that_may_not_be_given_are_those_of_a_copy(tmp_path, monkeypatch):
    """Whoever is not in the group of the folder may not give it to a file, but makes files that have it."""
    bench = Bench(tmp_path)
    job = fetched(bench)
    os.chown(bench.results, 0, 2)
    bench.results.chmod(0o2775)

    def refuse(*_args, **_more):
        raise PermissionError(errno.EPERM, "not yours to give")

    monkeypatch.setattr(os, "fchown", refuse)
    deliver(job, bench.clip, bench.bay, NOON, always)
    assert rights(bench.results / "day/shot.mp4") == by_hand(bench.results / "day")
    assert whole(bench, b"a film") == ["day/shot.mp4"]


@needs_root
@needs_acl
def test_a_source_that_is_archived_by_copying_keeps_its_owner_mode_acl_and_date(tmp_path):
    bench = Bench(tmp_path)
    source = bench.work / "clip.mp4"
    os.chown(source, 4, 5)
    source.chmod(0o640)
    subprocess.run(["setfacl", "-m", "u:3:rw", source], check=True)
    before = (*rights(source), source.stat().st_mtime_ns)
    with Disk(0, errno.EXDEV).in_place():
        clip = retire(bench.clip, [DONE], bench.bay, always)
    there = bench.path / clip.lies_at
    assert (*rights(there), there.stat().st_mtime_ns) == before
