"""A command's patience with the daemon: what asks a file server clip by clip may take long."""

import os
import socket
import threading
from contextlib import closing, contextmanager
from functools import partial
from types import SimpleNamespace

import pytest

from clipspool.app import control
from clipspool.app.serving import Announcement
from clipspool.app.settings import load
from clipspool.cli.check.page import look_at_daemon, look_at_page
from clipspool.cli.look import _status
from clipspool.cli.offline import without_daemon
from clipspool.journal import Journal, JournalError, Lock


@contextmanager
def slow_daemon(path, answer=None):
    """Listen for commands that are answered once they were given up."""
    done = threading.Event()
    listener = control.ControlSocket(control.socket_of(path), answer or (lambda *_: done.wait(1.5)))
    listener.start()
    try:
        yield
    finally:
        done.set()
        listener.stop()


def hang(_do, _arguments):
    """Answer as a daemon whose scheduler takes no turn."""
    raise TimeoutError


def test_a_take_over_that_goes_on_for_long_is_waited_for_and_other_commands_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setitem(control.OTHER_SECONDS, "status", 0.3)
    with slow_daemon(tmp_path / "journal.db"):
        assert control.ask(tmp_path / "journal.db", "recover", journals=[]) is False
        with pytest.raises(control.CommandFailed, match="does not answer"):
            control.ask(tmp_path / "journal.db", "status")


@pytest.mark.parametrize("answer", [None, hang])
def test_an_order_that_is_not_answered_in_time_may_still_be_carried_out_and_that_is_said(
    tmp_path, monkeypatch, answer
):
    monkeypatch.setattr(control, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setitem(control.OTHER_SECONDS, "status", 0.3)
    monkeypatch.setitem(control.OTHER_SECONDS, "look", 0.3)
    with slow_daemon(tmp_path / "journal.db", answer):
        ask = partial(control.ask, tmp_path / "journal.db")
        for do, given in (("status", {}), ("look", {"most": 9}), ("again", {"dry_run": True})):
            with pytest.raises(control.CommandFailed, match=r"^the daemon runs, but does not answer$"):
                ask(do, **given)
        with pytest.raises(control.CommandFailed, match="it may still do this, so look before you order"):
            ask("retry", ids=["a"])


def test_an_order_that_may_take_an_hour_is_not_given_to_a_daemon_that_hangs(tmp_path):
    asked = []

    def answer(do, arguments):
        asked.append(do)
        hang(do, arguments)

    with slow_daemon(tmp_path / "journal.db", answer):
        for do in ("others", "recover", "prune", "choose"):
            with pytest.raises(control.CommandFailed, match=r"^the daemon runs, but does not answer$"):
                control.ask(tmp_path / "journal.db", do)
    assert set(asked) == {"look"}


def test_a_daemon_that_hangs_is_found_by_check_and_status_still_is_json(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as page:
        listen = f"127.0.0.1:{page.getsockname()[1]}"
        config = tmp_path / "config.toml"
        config.write_text(
            f'[journal]\npath = "j.db"\n[provider]\nbase_url = "https://api.example.com/v1"\n'
            f'[web]\nlisten = "{listen}"\n[[inbox]]\npath = "in"\noutbox = "out"\n'
        )
        settings = load(config, {})
        Journal.open(tmp_path / "j.db").close()
        assert list(look_at_daemon(settings)) == []
        with slow_daemon(tmp_path / "j.db", hang), closing(Announcement(config, tmp_path / "j.db")):
            (found,) = look_at_daemon(settings)
            assert found.level == "bad"
            assert f"does not answer (process {os.getpid()} of user" in found.why
            assert next(look_at_page(settings)).level == "ok"
            assert next(look_at_page(settings, is_silent=True)).level == "bad"
            lock = Lock(tmp_path / "j.db")
            assert lock.take()
            told = _status(lambda: settings, None)["daemon"]
            lock.release()
            assert (told["running"], told["pid"]) == (True, os.getpid())
            assert told["troubles"] == ["the daemon runs, but does not answer"]


def test_of_a_daemon_that_may_not_be_asked_nothing_is_reported_and_check_passes_it_over(
    tmp_path, monkeypatch
):
    def refuse(*_given, **_more):
        raise control.CommandFailed("run this as the daemon's user") from PermissionError()

    monkeypatch.setattr(control, "ask", refuse)
    settings = SimpleNamespace(journal=SimpleNamespace(path=tmp_path / "j.db"), file=None)
    with pytest.raises(control.CommandFailed, match="run this as"):
        _status(lambda: settings, None)
    assert list(look_at_daemon(settings)) == []


def test_beside_a_daemon_that_hangs_no_clip_is_said_to_wait_for_one(tmp_path):
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "in/shot.mp4").touch()
    config = tmp_path / "config.toml"
    config.write_text(
        '[journal]\npath = "j.db"\n[provider]\nbase_url = "https://api.example.com/v1"\n'
        '[[inbox]]\nname = "bay"\npath = "in"\noutbox = "out"\n'
    )
    settings = load(config, {})

    def reasons():
        (inbox,) = without_daemon(settings)["inboxes"]
        return inbox["reason"], inbox["waiting"][0]["reason"]

    with pytest.raises(JournalError, match=r"There is no journal at .* yet"):
        reasons()
    assert without_daemon(settings, expects_journal=False)["jobs"]
    Journal.open(tmp_path / "j.db").close()
    assert reasons() == ("no daemon runs", "no daemon runs")
    lock = Lock(tmp_path / "j.db")
    assert lock.take()
    try:
        assert reasons() == ("the daemon does not answer", "the daemon does not answer")
    finally:
        lock.release()
