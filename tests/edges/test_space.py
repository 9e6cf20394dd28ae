"""Whether a folder has room for a result."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

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
