"""`clipspool status`, once or every second: asks the daemon or reads the journal, and draws the answer."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live

from clipspool.app import control
from clipspool.app.settings import Settings
from clipspool.cli.screen import BLOCKS_MAX, View, draw

if TYPE_CHECKING:
    from clipspool.cli.alone import Alone

_SECONDS = 1.0
_WALK_SECONDS = 5.0
"""Without a daemon the folders are looked through no more often than this."""


class CannotLook(Exception):
    """The journal cannot be read; the message says why."""


class Looker:
    """Asks the daemon, else reads the journal and the folders; remembers its last answer."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        """`now` returns Unix seconds."""
        self._settings = settings
        self._now = now
        self._alone: Alone | None = None
        self._status: Mapping[str, Any] = {}
        self._walked_at = 0.0

    def close(self) -> None:
        """Close the journal."""
        if self._alone is not None:
            self._alone.close()

    def look(self, most: int) -> View:
        """Return what is to be drawn, at most `most` jobs of each kind; trouble is part of it.

        Raises CannotLook when the first look at the journal fails.
        """
        try:
            told = control.ask(self._settings.journal.path, "look", most=most)
        except control.NoDaemon:
            return self._look_alone(most, "")
        except control.Failed as error:
            return self._look_alone(most, str(error))
        self._status = told["status"]
        return View(told["status"], self._now(), **told["jobs"])

    def _look_alone(self, most: int, trouble: str) -> View:
        """Look without a daemon, or beside one that is in trouble."""
        if self._alone is None:
            # Late: it loads the database's library, which a daemon that answers spares us.
            from clipspool.cli.alone import Alone

            self._alone = Alone(self._settings)
        now, known = self._now(), self._status
        if not known or (
            not trouble and (known["daemon"]["running"] or now - self._walked_at >= _WALK_SECONDS)
        ):
            found = self._alone.status(most)
            if not known and found.trouble:
                raise CannotLook(found.trouble)
            self._walked_at = now
            self._status, trouble = found.value or known, trouble or found.trouble
        jobs = self._alone.jobs(now, most)
        return View(self._status, now, trouble=trouble or jobs.trouble, **jobs.value)


def print_once(settings: Settings) -> None:
    """Draw the status once, in full length."""
    console = Console()
    view = Looker(settings).look(BLOCKS_MAX)
    console.print(Group(*draw(view, console.width, ascii_only=console.options.ascii_only)))


def watch(settings: Settings) -> None:
    """Draw the status every second until Ctrl-C or SIGTERM; then the terminal is restored."""
    looker = Looker(settings)
    console = Console()
    with _ended_by_signals():
        try:
            with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
                while True:
                    width, height = console.size
                    lines = draw(looker.look(height), width, height, ascii_only=console.options.ascii_only)
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
