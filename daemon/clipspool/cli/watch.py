"""`status`, once or every second until Ctrl-C: looks at the daemon and the journal, and has it drawn."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from clipspool import control
from clipspool.cli.reading import without_daemon
from clipspool.cli.screen import BLOCKS_MAX, View, draw
from clipspool.job import State
from clipspool.journal import JournalError
from clipspool.journal.looks import NoJournal, Window, ended_jobs, held_jobs, jobs_under_way, tally
from clipspool.looking import DAY_SECONDS, conditions_in
from clipspool.parts import limits_of
from clipspool.settings import Settings
from clipspool.views import job_json

_SECONDS = 1.0
_WALK_SECONDS = 5.0
"""Without a daemon the folders are looked through no more often than this."""
_ON_THE_WAY = (State.SUBMITTING, State.RUNNING, State.RENDERED, State.FETCHED)


class Looker:
    """Looks at the daemon and the journal, and remembers what it last saw of them."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        """Take the settings that say where everything is, and the clock, Unix seconds."""
        self._settings = settings
        self._now = now
        self._window = Window(settings.journal.path)
        self._status: Mapping[str, Any] | None = None
        self._walked_at = 0.0

    def close(self) -> None:
        """Let go of the journal."""
        self._window.close()

    def look(self, most: int) -> View:
        """Gather what is to be drawn, at most so many of each kind; trouble is a part of it."""
        trouble = ""
        try:
            status = self._look_at_daemon(most)
        except control.Failed as error:
            status, trouble = self._status or without_daemon(self._settings, most), str(error)
        except JournalError as error:
            if self._status is None:
                raise
            status, trouble = self._status, str(error)
        self._status = status
        now = self._now()
        try:
            return self._with_jobs(status, now, most, trouble)
        except NoJournal:
            return View(status, now, trouble=trouble)
        except JournalError as error:
            return View(status, now, trouble=trouble or str(error))

    def _look_at_daemon(self, most: int) -> Mapping[str, Any]:
        try:
            return dict(control.ask(self._settings.journal.path, "status", waiting_max=most))
        except control.NoDaemon:
            now = self._now()
            known = self._status
            if known is None or known["daemon"]["running"] or now - self._walked_at >= _WALK_SECONDS:
                self._walked_at = now
                return without_daemon(self._settings, most)
            return known

    def _with_jobs(self, status: Mapping[str, Any], now: float, most: int, trouble: str) -> View:
        with self._window.look() as journal:
            conditions = conditions_in(journal, limits_of(self._settings), now)
            told = tally(journal)
            running = jobs_under_way(journal, most, states=_ON_THE_WAY)
            queued = jobs_under_way(journal, most, states=(State.QUEUED,))
            return View(
                status,
                now,
                running=[job_json(job, conditions) for job in running],
                running_count=sum(told.by_state[state] for state in _ON_THE_WAY),
                queued=[job_json(job, conditions) for job in queued],
                queued_count=told.by_state[State.QUEUED],
                held=[job_json(job, conditions) for job in held_jobs(journal, most)],
                held_count=told.held.total(),
                failed=[
                    job_json(job, conditions)
                    for job in ended_jobs(journal, State.FAILED, now - DAY_SECONDS, most)
                ],
                trouble=trouble,
            )


def print_once(settings: Settings) -> None:
    """Draw it once, as long as it is."""
    console = Console()
    view = Looker(settings).look(BLOCKS_MAX)
    console.print(Group(*draw(view, console.width, ascii_only=console.options.ascii_only)))


def watch(settings: Settings) -> None:
    """Draw it every second, until Ctrl-C or SIGTERM; the terminal is left as it was."""
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
