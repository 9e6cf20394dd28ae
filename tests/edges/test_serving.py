"""Which daemon serves a configuration: the kernel's own names, and whose word counts."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from clipspool.app.serving import AlreadyServed, Announcement, is_trusted, serving

LISTEN = """
import os, sys, time
from pathlib import Path
from clipspool.app.serving import Announcement
os.setuid(int(sys.argv[2]))
held = Announcement(Path(sys.argv[1]), Path("/nowhere/of/theirs.sqlite3"))
print("ready", flush=True)
time.sleep(60)
"""
STRANGER = 54_321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("")
    return file


@contextmanager
def announced_by_another(config, user=None):
    user = os.geteuid() if user is None else user
    command = [sys.executable, "-c", LISTEN, str(config), str(user)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_daemon_is_found_by_every_name_of_its_configuration(config, tmp_path):
    (tmp_path / "link.toml").symlink_to(config)
    (tmp_path / "folder").symlink_to(tmp_path)
    journal = tmp_path / "journal.sqlite3"
    held = Announcement(tmp_path / "link.toml", journal)
    try:
        for name in (config, tmp_path / "link.toml", tmp_path / "folder" / "config.toml"):
            found = serving(name)
            assert (found.pid, found.user, found.journal) == (os.getpid(), os.geteuid(), journal)
            assert abs(found.since - time.time()) < 60
    finally:
        held.close()
    assert serving(config) is None


def test_a_configuration_that_is_saved_anew_is_the_same_one(config, tmp_path):
    held = Announcement(config, tmp_path / "j")
    (tmp_path / "new").write_text("# changed")
    (tmp_path / "new").replace(config)
    assert serving(config).pid == os.getpid()
    held.close()


def test_two_configurations_in_one_folder_have_a_daemon_each(config, tmp_path):
    held = [Announcement(config, tmp_path / "a"), Announcement(tmp_path / "other.toml", tmp_path / "b")]
    assert serving(tmp_path / "other.toml").journal == tmp_path / "b"
    for one in held:
        one.close()


def test_a_second_daemon_is_refused_in_a_sentence_that_names_the_first(config, tmp_path):
    with announced_by_another(config) as first:
        with pytest.raises(AlreadyServed) as refused:
            Announcement(config, tmp_path / "mine")
        sentence = str(refused.value)
        for word in (str(config), f"process {first.pid}", "since 20", "/nowhere/of/theirs.sqlite3"):
            assert word in sentence
        assert os.uname().nodename in sentence


def test_a_daemon_that_is_stopped_still_has_its_configuration(config, tmp_path):
    with announced_by_another(config) as first:
        os.kill(first.pid, signal.SIGSTOP)
        while " T " not in Path(f"/proc/{first.pid}/stat").read_text():
            time.sleep(0.01)
        assert serving(config).pid == first.pid
        assert serving(config).journal is None
        with pytest.raises(AlreadyServed):
            Announcement(config, tmp_path / "mine")


def test_the_name_is_free_at_once_when_a_daemon_is_killed(config, tmp_path):
    with announced_by_another(config) as first:
        first.kill()
        first.wait()
        Announcement(config, tmp_path / "mine").close()


@as_root
def test_a_stranger_who_took_the_name_keeps_no_daemon_from_its_work(open_path, tmp_path):
    config = open_path / "config.toml"
    with announced_by_another(config, STRANGER):
        found = serving(config)
        assert found.user == STRANGER
        assert not is_trusted(found, config, [])
        Announcement(config, tmp_path / "mine").close()


@as_root
def test_who_owns_the_work_folders_is_trusted_to_serve_them(open_path, tmp_path):
    config = open_path / "config.toml"
    ours = tmp_path / "in" / ".clipspool"
    ours.mkdir(parents=True)
    os.chown(ours, STRANGER, STRANGER)
    with announced_by_another(config, STRANGER), pytest.raises(AlreadyServed):
        Announcement(config, Path("/mine"), [ours])
