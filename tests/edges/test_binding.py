"""An inbox is checked before each scan, together with the journal's scheduler."""

import pytest

from clipspool.app.binding import Binding
from clipspool.journal import JournalError
from clipspool.spool.guard import Unavailable
from clipspool.spool.peers import own_mark
from fakes import Bench


class Ending:
    """A scheduler whose journal's disk is full."""

    def call(self, *_command, **_how):
        raise JournalError("The journal cannot be written (database or disk is full).")

    def call_soon(self, _command):
        pass

    enqueue = call_soon


class Proven:
    def prove(self, _inbox, _root):
        pass


def test_a_journal_that_cannot_be_written_is_no_mistake_of_the_inbox(tmp_path):
    bench = Bench(tmp_path)
    own = own_mark("j1", tmp_path / "journal.db")
    bind = Binding(bench.bay, Ending(), Proven(), (), own, cut_short=(), known={"clip1"})
    with pytest.raises(Unavailable, match="cannot be written") as raised:
        bind()
    assert raised.value.strerror == "The journal cannot be written (database or disk is full)."
    bind.end()[-1].join()
