"""Requests for a reload: each gets the outcome of the reload that began after it."""

import threading

import pytest

from clipspool.app.reload import CannotReload, Reloads


def ask(reloads):
    """Ask in a thread of its own, and return the thread with what became of it."""
    came = []

    def run():
        try:
            came.append(reloads.ask())
        except CannotReload as error:
            came.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while not reloads.is_asked:
        pass
    return thread, came


def test_who_asks_waits_until_it_is_applied_or_learns_why_not():
    def cannot():
        raise CannotReload("a change of web.listen needs a restart")

    woken = []
    reloads = Reloads(lambda: woken.append(True))
    for reload, outcome in (
        (lambda: ["logs.level"], None),
        (cannot, "Nothing was changed: a change of web.listen"),
    ):
        thread, came = ask(reloads)
        reloads.answer(reload)
        thread.join(5)
        assert str(came[0]).startswith(str(outcome))
    assert len(woken) == 2


def test_who_asks_while_a_reload_is_under_way_gets_the_next_one():
    reloads, later = Reloads(), []

    def reload():
        later.append(ask(reloads))
        return []

    reloads.answer(reload)
    thread, came = later[0]
    assert thread.is_alive()
    assert reloads.is_asked
    reloads.refuse("the daemon ends")
    thread.join(5)
    assert came == ["Nothing was changed: the daemon ends"]


def test_a_daemon_that_is_busy_says_where_the_outcome_will_be(monkeypatch):
    monkeypatch.setattr("clipspool.app.reload._SECONDS", 0.01)
    with pytest.raises(CannotReload, match=r"^the daemon is busy; its log shows"):
        Reloads().ask()
