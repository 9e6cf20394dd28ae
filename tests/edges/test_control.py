"""A command's patience with the daemon: what asks a file server clip by clip may take long."""

import threading
from contextlib import contextmanager

import pytest

from clipspool.app import control


@contextmanager
def slow_daemon(path):
    """Listen for commands that are answered once they were given up."""
    done = threading.Event()
    listener = control.ControlSocket(control.socket_of(path), lambda _do, _arguments: done.wait(1.5))
    listener.start()
    try:
        yield
    finally:
        done.set()
        listener.stop()


def test_a_take_over_that_goes_on_for_long_is_waited_for_and_other_commands_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "_ANSWER_SECONDS", 0.3)
    with slow_daemon(tmp_path / "journal.db"):
        assert control.ask(tmp_path / "journal.db", "recover", journals=[]) is False
        with pytest.raises(control.CommandFailed, match="does not answer"):
            control.ask(tmp_path / "journal.db", "status")
