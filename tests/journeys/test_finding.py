"""Commands find the journal of the daemon that serves their configuration, whoever types them."""

import os
import re
import tempfile
from pathlib import Path

import pytest

from journeys import preforked
from journeys.bay import open_bay
from patience import patient

COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("jobs",),
    ("show", "some"),
    ("logs", "some"),
    ("pause",),
    ("resume",),
    ("retry", "--failed", "--yes"),
    ("recover", "--yes"),
    ("cancel", "some", "--yes"),
    ("approve", "some", "--yes"),
    ("attach", "some", "task", "--yes"),
)
STRANGER = 54_321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def derived(template):
    """Yield a bay whose configuration names no journal; the daemon has its own state folder.

    It lies where other users may go: pytest's own folders are closed to them.
    """
    with tempfile.TemporaryDirectory(prefix="clipspool-") as folder:
        Path(folder).chmod(0o755)
        with open_bay(Path(folder, "one"), template) as bay:
            yield without_journal(bay)
            if bay.daemon is not None:
                assert bay.stop() == 0, bay.lately()


def without_journal(bay):
    text = re.sub(r"\[journal\]\npath = .*\n", "", bay.config.read_text())
    bay.config.write_text(text)
    bay.journal = bay.home / "s" / "journal.sqlite3"
    bay.journal.parent.mkdir()
    (bay.home / "h").mkdir()
    bay.env["HOME"] = str(bay.home / "h")
    bay.env.pop("XDG_STATE_HOME", None)
    bay.state = {"STATE_DIRECTORY": str(bay.journal.parent)}
    return bay


def test_a_broken_file_keeps_nobody_from_pausing_the_daemon_that_read_it_before(derived):
    bay = derived
    bay.start(**bay.state)
    good = bay.config.read_text()
    for bad in (good.replace("[provider]", "[provider"), good + "[models.x]\nnonsense = 1\n"):
        bay.config.write_text(bad)
        for command, is_on in (("pause", True), ("resume", False)):
            done = bay.call(command)
            assert done.returncode == 0, done.stderr
            assert "config.toml" in done.stderr
            assert "The running daemon goes on with what it read before." in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1
            assert bool(bay.query("SELECT 1 FROM facts WHERE name = 'paused' AND value != '[]'")) is is_on
        assert "there is no inbox other" in bay.call("pause", "other").stderr
        assert bay.told("status")["daemon"]["running"]
    bay.config.write_text(good.replace("[provider]", "[provider"))
    assert "The running daemon goes on" in bay.call("status").stderr
    assert bay.stop() == 0
    assert bay.call("pause").returncode == 78
    bay.config.write_text(good)


def test_a_pause_is_heard_by_the_daemon_that_has_its_journal_elsewhere(derived):
    bay = derived
    bay.start(**bay.state)
    assert bay.told("status")["daemon"]["running"]
    assert "takes effect" not in bay.call("pause").stdout
    bay.drop("shot.mp4")
    bay.until(bay.jobs)
    assert bay.told("jobs")[0]["held"] == "paused"
    assert bay.paid == 0
    assert bay.call("resume").returncode == 0
    bay.until_retired()
    assert list((bay.home / "h").rglob("*")) == []


@pytest.mark.parametrize("home", ["another", None])
def test_without_a_daemon_the_journal_that_served_last_is_found(derived, home):
    bay = derived
    bay.start(**bay.state)
    bay.drop("shot.mp4")
    bay.until_retired()
    assert bay.stop() == 0
    if home is None:
        del bay.env["HOME"]
    else:
        bay.env["HOME"] = str(bay.home / home)
    assert len(bay.told("jobs")) == 1
    assert bay.told("status")["jobs"]["delivered"] == 1
    done = bay.call("pause")
    assert (done.returncode, done.stderr) == (0, "")
    assert "No daemon is running: this takes effect when it starts." in done.stdout
    assert bay.query("SELECT value FROM facts WHERE name = 'paused'")
    assert not (bay.home / "another").exists()


def test_a_daemon_without_its_state_folder_goes_on_with_the_journal_it_had(derived):
    bay = derived
    bay.start(**bay.state)
    bay.drop("shot.mp4")
    bay.until_retired()
    assert bay.stop() == 0
    assert bay.run_until_idle() == 0
    assert [one["journal"] for one in bay.events("started")] == [str(bay.journal)] * 2
    assert list((bay.home / "h").rglob("*")) == []


def test_where_there_is_no_journal_every_command_says_so_and_makes_none(derived):
    before = sorted(derived.home.rglob("*"))
    for words in COMMANDS:
        done = derived.call(*words)
        assert done.returncode == 1, words
        assert "There is no journal at" in done.stderr
        assert ("No inbox holds clips to take over." in done.stderr) == (words[0] == "recover")
        assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(derived.home.rglob("*")) == before


def test_what_nobody_heard_is_not_reported_as_done(derived):
    bay = derived
    bay.start(**bay.state)
    elsewhere = {"CLIPSPOOL_JOURNAL__PATH": str(bay.home / "mine.sqlite3")}
    done = bay.call("pause", **elsewhere)
    assert done.returncode == 1
    assert f"process {bay.daemon.pid}" in done.stderr
    assert str(bay.journal) in done.stderr
    assert not (bay.home / "mine.sqlite3").exists()


def test_a_second_daemon_on_the_configuration_is_refused_in_one_sentence(derived):
    bay = derived
    first = bay.start(**bay.state)
    done = bay.call("run", STATE_DIRECTORY=str(bay.home / "other"))
    assert done.returncode == 1
    assert f"is served already, by process {first.pid}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (bay.home / "other").exists()
    assert bay.told("status")["daemon"]["pid"] == first.pid


def as_stranger(bay, *words, home="/root"):
    """Run a command as a user who has no part in it."""
    env = bay.env | {"HOME": home}
    return preforked.run(list(words), patient(60), env=env, cwd="/", user=STRANGER)


@as_root
@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize("words", [("status", "--json"), ("jobs",), ("pause",)], ids=" ".join)
def test_whoever_may_not_read_the_journal_is_told_so_in_a_sentence(derived, words, is_running):
    bay = derived
    bay.start(**bay.state)
    if not is_running:
        bay.stop()
    bay.journal.parent.chmod(0o750)
    done = as_stranger(bay, *words, "-c", str(bay.config))
    assert done.returncode == 1, done
    assert "may not use the journal" in done.stderr
    assert "as root" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@as_root
def test_a_key_file_that_one_may_not_read_keeps_nobody_from_looking(derived):
    bay = derived
    key = bay.home / "key"
    key.write_text("sk-secret-of-the-daemon\n")
    key.chmod(0o600)
    bay.config.write_text(bay.config.read_text().replace("[provider]", f'[provider]\napi_key_file = "{key}"'))
    del bay.env["CLIPSPOOL_PROVIDER__API_KEY"]
    bay.start(**bay.state)
    for path in (bay.journal.parent, *bay.journal.parent.iterdir()):
        path.chmod(0o777)
    done = as_stranger(bay, "status", "-c", str(bay.config))
    assert (done.returncode, done.stderr) == (0, "")
    done = as_stranger(bay, "check", "--offline", "-c", str(bay.config))
    assert done.returncode == 78
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


@as_root
def test_another_users_home_and_a_folder_that_is_gone_are_borne(derived, tmp_path):
    bay = derived
    (tmp_path / "closed").mkdir(mode=0o700)
    done = as_stranger(bay, "status", home=str(tmp_path / "closed"))
    assert done.returncode == 78
    assert "may not look at" in done.stderr
    assert "Traceback" not in done.stderr
