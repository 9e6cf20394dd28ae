"""A command's patience with the daemon: what asks a file server clip by clip may take long."""

import threading
from contextlib import contextmanager
from functools import partial

import pytest

from clipspool.app import control
from clipspool.app.settings import load
from clipspool.cli.offline import without_daemon
from clipspool.journal import Lock


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
    with slow_daemon(tmp_path / "journal.db"):
        assert control.ask(tmp_path / "journal.db", "recover", journals=[]) is False
        with pytest.raises(control.CommandFailed, match="does not answer"):
            control.ask(tmp_path / "journal.db", "status")


@pytest.mark.parametrize("answer", [None, hang])
def test_an_order_that_is_not_answered_in_time_may_still_be_carried_out_and_that_is_said(
    tmp_path, monkeypatch, answer
):
    monkeypatch.setattr(control, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setitem(control.OTHER_SECONDS, "look", 0.3)
    with slow_daemon(tmp_path / "journal.db", answer):
        ask = partial(control.ask, tmp_path / "journal.db")
        for do, given in (("status", {}), ("look", {"most": 9}), ("again", {"dry_run": True})):
            with pytest.raises(control.CommandFailed, match=r"^the daemon runs, but does not answer$"):
                ask(do, **given)
        with pytest.raises(control.CommandFailed, match="it may still do this, so look before you order"):
            ask("retry", ids=["a"])


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

    assert reasons() == ("no daemon runs", "no daemon runs")
    lock = Lock(tmp_path / "j.db")
    assert lock.take()
    try:
        assert reasons() == ("the daemon does not answer", "the daemon does not answer")
    finally:
        lock.release()
