"""What outlives the process of requests that were about to leave."""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from clipspool.app.build import open_send_marks
from clipspool.spool import send_marks
from clipspool.spool.send_marks import SendMarks, left_waiting, send_marks_file, still_waiting

DIES = """
import os, sys
from pathlib import Path
from clipspool.spool.send_marks import SendMarks
send_marks = SendMarks(Path(sys.argv[1]))
with send_marks.mark() as left, send_marks.mark() as waits:
    with send_marks.mark() as ended:
        ended.set_sending()
    left.set_sending()
    print(waits.token, left.token, ended.token, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clipspool.leaving"


def die(path):
    """Die with one that waits and one that left; gives the token of the first."""
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == -9, done.stderr
    tokens = done.stdout.split()
    assert len(set(tokens)) == 3
    return tokens[0]


def test_after_kill_9_it_tells_what_had_not_left(path):
    waited = die(path)
    assert still_waiting(path) == {waited}
    assert SendMarks(path).waiting == {waited}


def test_it_is_told_once_more_should_the_next_start_be_cut_short_and_then_never(path):
    waited = die(path)
    SendMarks(path)
    again = die(path)
    assert still_waiting(path) == {again}
    assert SendMarks(path).waiting == {again}
    assert SendMarks(path).waiting == {again}
    assert SendMarks(path).waiting == set()
    assert waited != again


def test_each_waits_until_it_leaves_or_ends(path):
    send_marks = SendMarks(path)
    with send_marks.mark() as one:
        assert still_waiting(path) == {one.token}
        with send_marks.mark() as two:
            assert still_waiting(path) == {one.token, two.token}
        one.set_sending()
        assert still_waiting(path) == set()


def test_many_at_once_keep_apart(path):
    send_marks = SendMarks(path)

    def submit(_):
        for _ in range(50):
            with send_marks.mark() as one:
                assert one.token in still_waiting(path)
                one.set_sending()
                assert one.token not in still_waiting(path)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(submit, range(16)))
    assert still_waiting(path) == set()


@pytest.mark.parametrize("damage", [b"\xff" * 7000, b"w " * 500, b"w", b"w\xff\xfe".ljust(32), bytes(4096)])
def test_a_file_that_is_damaged_does_no_harm(path, damage):
    path.write_bytes(damage)
    send_marks = SendMarks(path)
    send_marks = SendMarks(path)
    with send_marks.mark() as one:
        assert one.token in still_waiting(path)


def test_after_a_clean_end_there_is_no_file(path):
    send_marks = SendMarks(path)
    send_marks.remove()
    assert not path.exists()
    assert still_waiting(path) == set()


def test_what_is_not_ours_is_neither_read_nor_touched(path):
    precious = path.with_name("precious")
    precious.write_bytes(b"wtoken".ljust(32))
    path.symlink_to(precious)
    send_marks = SendMarks(path)
    assert send_marks.waiting == still_waiting(path) == set()
    with send_marks.mark() as one:
        one.set_sending()
        assert one.token == ""
    send_marks.remove()
    assert path.is_symlink()
    assert precious.read_bytes() == b"wtoken".ljust(32)


def test_a_file_that_somebody_else_makes_at_that_moment_is_not_taken_for_ours(path, monkeypatch):
    path.write_bytes(b"wtoken".ljust(32))
    monkeypatch.setattr(send_marks, "_is_of", lambda _path, _user: False)
    monkeypatch.setattr(os.path, "lexists", lambda _path: False)
    assert SendMarks(path).waiting == set()
    assert path.read_bytes() == b"wtoken".ljust(32)


def test_without_such_memory_it_does_without(tmp_path):
    journal = tmp_path / "journal.sqlite3"
    journal.touch()
    assert send_marks_file(journal, {"RUNTIME_DIRECTORY": "/proc"}) is None
    assert send_marks_file(journal, {"RUNTIME_DIRECTORY": str(tmp_path / "nowhere")}) is None
    assert SendMarks(None).waiting == still_waiting(None) == set()
    with SendMarks(None).mark() as one:
        one.set_sending()


def test_a_memory_that_others_filled_keeps_no_daemon_from_its_start(tmp_path, monkeypatch):
    journal, full = tmp_path / "journal.sqlite3", tmp_path / "full"
    journal.touch()
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(full)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(full))
    try:
        with pytest.raises(OSError, match="No space"):
            (full / "another's").write_bytes(bytes(1 << 20))
        assert send_marks_file(journal, os.environ).parent == full
        with open_send_marks(journal).mark() as one:
            assert one.token == ""
    finally:
        subprocess.run(["umount", "--lazy", str(full)], check=True)


def test_each_journal_has_its_own_and_another_in_its_place_too(tmp_path):
    journal, other = tmp_path / "journal.sqlite3", tmp_path / "other"
    journal.touch()
    other.touch()
    before = send_marks_file(journal, {})
    if before is None:
        pytest.skip("no shared memory here")
    assert before == send_marks_file(journal, {})
    assert send_marks_file(other, {}) != before
    journal.unlink()
    other.rename(journal)
    assert send_marks_file(journal, {}) != before


def test_more_at_once_than_there_is_room_for_are_refused(path):
    send_marks = SendMarks(path)
    with ExitStack() as stack:
        for _ in range(128):
            stack.enter_context(send_marks.mark())
        with pytest.raises(OSError, match="too many"):
            stack.enter_context(send_marks.mark())
        assert len(still_waiting(path)) == 128
    assert still_waiting(path) == set()


def test_what_cannot_be_noted_is_not_let_go(path):
    send_marks = SendMarks(path)
    with send_marks.mark() as one:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, send_marks._file)
        os.close(full)
        with pytest.raises(OSError, match="the send mark cannot be written"):
            one.set_sending()
    with pytest.raises(OSError, match="No space"), send_marks.mark():
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_marks_that_another_user_left_prove_nothing(path):
    """Anybody may write into shared memory: who is believed there can make a paid request be sent again."""
    waited = die(path)
    os.chown(path, 12345, 12345)
    assert still_waiting(path) == frozenset()
    assert still_waiting(path, 12345) == {waited}
    assert SendMarks(path).waiting == set()


def test_a_command_reads_the_marks_of_a_service_in_its_runtime_directory(tmp_path):
    journal = tmp_path / "journal.sqlite3"
    journal.touch()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        env = {"RUNTIME_DIRECTORY": memory}
        waited = die(send_marks_file(journal, env))
        assert left_waiting(journal, env) == {waited}
    assert left_waiting(journal, {}) == frozenset()
