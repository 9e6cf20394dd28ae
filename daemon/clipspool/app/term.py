"""One term of the scheduler: its journal, and what says whether it may still spend or has to end.

On a machine alone a term lasts as long as the process. In a farm it lasts while the node leads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clipspool.app.build import open_send_marks, take_over
from clipspool.app.settings import Settings
from clipspool.journal import Journal
from clipspool.spool.send_marks import SendMarks
from clipspool.system.signals import Signals

DRAIN_SECONDS = 35.0
"""Within the 60 s that SIGTERM may take (promise 12): all other waits at the end add up to 22 s, where
folders, decoders, the page and a receiver of notifications hang at once."""


def _nothing(*_: Any) -> None:
    return


@dataclass(frozen=True, slots=True)
class Term:
    """What the daemon is given for one term."""

    journal: Journal
    send_marks: SendMarks
    signals: Signals
    may_send: Callable[[], bool]
    """Asked after a request's line is in the ledger, right before its first byte, and right before a result
    gets its name or a source is moved; any thread."""
    is_excused: bool = False
    """Whether the last term ended for a fault of the journal, and no clip is to blame."""
    is_over: Callable[[], bool] = field(default=lambda: False)
    """Asked each turn: whether to finish what is under way and end this term."""
    drain_seconds: Callable[[], float] = field(default=lambda: DRAIN_SECONDS)
    """How many seconds work under way gets to finish at the end of the term."""
    excuse: Callable[[], None] = _nothing
    """Records that no clip is to blame for this term's end."""
    pass_excuse_on: Callable[[], None] = _nothing
    """Called where the term ends before it has read what the last one recorded about its end."""
    lost_lead: tuple[str, float] | None = None
    """The node that lost its lead of the farm, and the seconds within which its requests are answered."""
    node: str = ""
    """This node's name in a farm."""
    epoch: int = 0
    """Of its lead in a farm."""
    nodes: Callable[[], Sequence[Mapping[str, Any]]] | None = None
    """Returns the farm's nodes for `status`; None where there is no farm."""
    has_page: Callable[[], bool] = field(default=lambda: True)
    """Returns whether anybody can see posters."""
    each_turn: Callable[[], None] = _nothing
    """Called in each turn."""
    close: Callable[[bool], None] = _nothing
    """Ends the term, its journal closed; told whether requests are still under way."""


def alone(settings: Settings, signals: Signals) -> Term:
    """Open the journal for the one daemon of this machine that serves it; raises CannotStart."""
    journal, lock, announcement = take_over(settings)
    marks = open_send_marks(settings.journal.path)

    def close(is_sending: bool) -> None:
        if not is_sending:
            marks.remove()
        lock.release()
        announcement.close()

    return Term(
        journal,
        marks,
        signals,
        may_send=lambda: True,  # nobody else has this journal
        is_excused=lock.was_excused,
        excuse=lock.excuse,
        pass_excuse_on=lock.pass_excuse_on,
        has_page=lambda: settings.web.listen is not None,
        close=close,
    )
