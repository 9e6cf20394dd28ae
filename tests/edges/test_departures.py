"""What outlives the process of requests that were about to leave."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from clipspool.departures import Departures, still_waiting

DIES = """
import os, sys
from pathlib import Path
from clipspool.departures import Departures
departures = Departures(Path(sys.argv[1]))
with departures.of("left", 1) as left, departures.of("waits", 2) as waits:
    with departures.of("ended", 3) as ended:
        ended()
    left()
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.leaving"


def die(path):
    assert subprocess.run([sys.executable, "-c", DIES, str(path)], check=False).returncode == -9


def test_after_kill_9_it_tells_what_had_not_left(path):
    die(path)
    assert still_waiting(path) == {("waits", 2)}


def test_after_another_boot_it_tells_nothing(path):
    die(path)
    assert still_waiting(path, lambda: "another") == frozenset()
    assert Departures(path, {("waits", 2)}, lambda: "another").waiting == frozenset()
    assert still_waiting(path) == frozenset()


@pytest.mark.parametrize("boot", ["", " "])
def test_where_the_boot_has_no_name_it_tells_nothing(path, boot):
    departures = Departures(path, boot=lambda: boot)
    with departures.of("waits", 1):
        assert still_waiting(path, lambda: boot) == frozenset()


def test_what_is_still_asked_after_is_kept_until_the_next_start_and_the_rest_let_go(path):
    die(path)
    departures = Departures(path, {("waits", 2), ("left", 1)})
    assert departures.waiting == {("waits", 2)}
    with departures.of("new", 1) as leave:
        assert still_waiting(path) == {("waits", 2), ("new", 1)}
        leave()
        assert still_waiting(path) == {("waits", 2)}
    assert Departures(path).waiting == frozenset()
    assert still_waiting(path) == frozenset()


def test_many_at_once_keep_apart(path):
    departures = Departures(path)

    def submit(number):
        for _ in range(50):
            with departures.of(f"job{number}", number) as leave:
                assert (f"job{number}", number) in still_waiting(path)
                leave()
                assert (f"job{number}", number) not in still_waiting(path)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(submit, range(16)))
    assert still_waiting(path) == frozenset()


def test_a_file_that_is_damaged_or_cut_tells_nothing_and_is_made_anew(path):
    for damage in (b"\xff" * 7000, b"w " * 500, b"w boot job many".ljust(79) + b"\n", b"w"):
        path.write_bytes(damage)
        departures = Departures(path, {("w", 1)}, lambda: "boot")
        assert departures.waiting == frozenset()
        with departures.of("waits", 1):
            assert still_waiting(path, lambda: "boot") == {("waits", 1)}


def test_no_file_tells_nothing(path):
    assert still_waiting(path) == frozenset()


def test_a_link_in_its_place_is_not_followed(path):
    precious = path.with_name("precious")
    precious.write_text("nobody may touch this")
    path.symlink_to(precious)
    with pytest.raises(OSError, match="symbolic"):
        Departures(path)
    assert precious.read_text() == "nobody may touch this"


def test_more_at_once_than_there_is_room_for_are_refused_not_forgotten(path):
    departures = Departures(path)
    with ExitStack() as stack:
        for number in range(256):
            stack.enter_context(departures.of("job", number))
        with pytest.raises(OSError, match="too many"):
            stack.enter_context(departures.of("job", 256))
        assert len(still_waiting(path)) == 256
    assert still_waiting(path) == frozenset()
    with departures.of("job", 1):
        pass


def test_what_cannot_be_noted_is_not_let_go(path):
    departures = Departures(path)
    with departures.of("job", 1) as leave:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, departures._file)  # the disk that takes nothing more
        os.close(full)
        with pytest.raises(OSError, match="cannot be noted"):
            leave()
    with pytest.raises(OSError, match="No space"), departures.of("job", 1):
        pass
