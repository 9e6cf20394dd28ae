"""`clipspool status`, once or every second: asks the daemon or reads the journal, and draws the answer."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group

from clipspool.app import control
from clipspool.cli.output import console
from clipspool.cli.screen import View, draw
from clipspool.cli.sections import BLOCKS_MAX
from clipspool.jobs.faults import OperatorError

if TYPE_CHECKING:
    from clipspool.app.settings import Settings
    from clipspool.cli.offline import Offline

_SECONDS = 1.0
_WALK_SECONDS = 5.0
"""Without a daemon the folders are walked no more often than this."""


class CannotLook(OperatorError):
    """The journal cannot be read; the message says why."""


class Looker:
    """Asks the daemon, else reads the journal and the folders; remembers its last answer."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        now: Callable[[], float] = time.time,
        *,
        served: Path | None = None,
        program: str = "clipspool",
        expects_journal: bool = False,
    ) -> None:
        """Load nothing yet: settings and the journal's driver take long, and a daemon may answer.

        `served` is the journal of the daemon that runs, which can be asked without the settings. Suggested
        commands begin with `program`. `expects_journal`: where there is none yet, no look succeeds.
        """
        self._settings = settings
        self._now = now
        self._journal = served
        self._program, self._expects_journal = program, expects_journal
        self._offline: Offline | None = None
        self._status: Mapping[str, Any] = {}
        self._walked_at = 0.0

    def close(self) -> None:
        """Close the journal."""
        if self._offline is not None:
            self._offline.close()

    def look(self, most: int) -> View:
        """Return what is to be drawn, at most `most` jobs of each kind; trouble is part of it.

        Raises CannotLook when the first look at the journal fails.
        """
        if self._journal is None:
            self._journal = self._settings().journal.path
        try:
            answer = control.ask(self._journal, "look", most=most)
        except control.NoDaemon:
            return self._look_offline(most, "")
        except control.CommandFailed as error:
            return self._look_offline(most, str(error))
        self._status = answer["status"]
        return View(answer["status"], self._now(), program=self._program, **answer["jobs"])

    def _look_offline(self, most: int, trouble: str) -> View:
        """Look without a daemon, or beside one that is in trouble."""
        if self._offline is None:
            from clipspool.cli.offline import Offline

            self._offline = Offline(self._settings(), expects_journal=self._expects_journal)
        now, known = self._now(), self._status
        if not known or (
            not trouble and (known["daemon"]["running"] or now - self._walked_at >= _WALK_SECONDS)
        ):
            status, unreadable = self._offline.status(most)
            if not known and unreadable:
                raise CannotLook(unreadable)
            self._walked_at = now
            self._status, trouble = status or known, trouble or unreadable
        jobs, unreadable = self._offline.jobs(now, most)
        trouble = trouble or unreadable
        return View(self._status, now, trouble=trouble, program=self._program, **jobs)


def print_once(looker: Looker) -> None:
    """Draw the status once, in full length."""
    out = console()
    view = looker.look(BLOCKS_MAX)
    out.print(Group(*draw(view, out.width, ascii_only=out.options.ascii_only)), crop=False)


def keep_drawing(looker: Looker) -> None:
    """Draw the status every second until Ctrl-C or SIGTERM; then the terminal is restored."""
    from rich.live import Live

    terminal = Console()
    with _ended_by_signals():
        try:
            with Live(console=terminal, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
                while True:
                    width, height = terminal.size
                    lines = draw(looker.look(height), width, height, ascii_only=terminal.options.ascii_only)
                    live.update(Group(*lines), refresh=True)
                    time.sleep(_SECONDS)
        except KeyboardInterrupt:
            return


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
