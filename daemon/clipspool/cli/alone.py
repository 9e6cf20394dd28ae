"""What `status` sees where no daemon answers: the journal and the folders, looked at by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clipspool.app.build import limits_of
from clipspool.app.settings import Settings
from clipspool.cli.offline import without_daemon
from clipspool.journal import JournalError
from clipspool.journal.looks import NoJournal, Window
from clipspool.reporting.looking import jobs_in_view


@dataclass(frozen=True, slots=True)
class Found:
    """What there was to see; empty where there was nothing, or trouble."""

    value: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""


class Alone:
    """Looks again and again; for one thread."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings that say where everything is; nothing is opened before the first look."""
        self._settings = settings
        self._window = Window(settings.journal.path)

    def close(self) -> None:
        """Let go of the journal."""
        self._window.close()

    def status(self, most: int) -> Found:
        """Give what `status --json` prints without a daemon."""
        try:
            return Found(without_daemon(self._settings, most))
        except JournalError as error:
            return Found(trouble=str(error))

    def jobs(self, now: float, most: int) -> Found:
        """Give the jobs to draw; none where there is no journal yet."""
        try:
            with self._window.look() as journal:
                return Found(jobs_in_view(journal, limits_of(self._settings), now, most))
        except NoJournal:
            return Found()
        except JournalError as error:
            return Found(trouble=str(error))
