"""Whether a folder has room for a result."""

import errno
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clipspool.spool import space
from clipspool.spool.root import Root
from clipspool.spool.space import lacking


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_many_that_look_for_room_at_once_do_not_take_it_from_each_other(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", tmp_path], check=True)
    try:
        root = Root(tmp_path)
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: lacking(root, 12 << 20, tries=True), range(400)))
        assert set(found) == {""}
        assert lacking(root, 20 << 20, tries=True)
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_trial_holds_for_some_seconds_for_this_folder_and_for_no_more_bytes(tmp_path, monkeypatch):
    root, other = Root(tmp_path), Root(tmp_path / "other")
    other.path.mkdir()
    assert lacking(root, 12 << 20, tries=True) == ""

    def refuse(*_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(space, "_try", refuse)
    assert lacking(root, 12 << 20, tries=True) == ""
    assert "quota" in lacking(root, 13 << 20, tries=True)
    assert "quota" in lacking(other, 12 << 20, tries=True)
    later = time.monotonic() + 5.1
    monkeypatch.setattr(space, "monotonic", lambda: later)
    assert "quota" in lacking(root, 12 << 20, tries=True)


@pytest.mark.parametrize("rel", ["day", "day/below", "n" * 300])
def test_a_folder_that_has_to_be_made_yet_is_looked_at_where_it_will_be(tmp_path, rel):
    assert lacking(Root(tmp_path), 1, rel, tries=True) == ""
    assert not list(tmp_path.iterdir())


def test_the_folder_that_is_named_is_the_deepest_that_is_there(tmp_path):
    (tmp_path / "day").mkdir()
    assert f"{tmp_path}/day needs" in lacking(Root(tmp_path), 1 << 60, "day/two/three")
