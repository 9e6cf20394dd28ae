"""Notes in a clip's ledger which of its jobs are not to be sent: `recover` must not have them paid for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import structlog

from clipspool.jobs import events as on
from clipspool.jobs.messages import Happened, News
from clipspool.jobs.model import Held, Job, State
from clipspool.jobs.text import text
from clipspool.scheduler.lane import Lane
from clipspool.spool.handover import taker_of
from clipspool.spool.ledger import note, note_followed
from clipspool.spool.watchfolder import Folders
from clipspool.system.redaction import redact

log = structlog.get_logger()


class LedgerNotes:
    """A listener that notes how jobs end, retries, and holds of duplicates, once the journal has them."""

    def __init__(
        self,
        folders_of: Callable[[], Mapping[str, Folders]],
        journal_id: str,
        begin: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """`folders_of` returns the folders by inbox; `begin` runs a piece of work, else a thread does."""
        self._folders_of, self._journal_id = folders_of, journal_id
        # A file server that hangs keeps this one thread, and no other.
        self._lane = Lane("ledger", 1)
        self._begin = begin or self._lane.hand_out

    def stop(self) -> None:
        """End the thread once it has written what is in its queue."""
        self._lane.stop()

    def on_news(self, news: News) -> None:
        """Have a line written for an order or a hold that decides whether a job is sent."""
        match news:
            case Happened(event=on.Cancelled(), after=job):
                self._begin(partial(self._note, job, "cancelled"))
            case Happened(event=on.Failed(error=error), after=job):
                facts = {"code": error.code, "message": redact(text(error.message))}
                self._begin(partial(self._note, job, "failed", **facts))
            case Happened(event=on.Retried(), after=job):
                self._begin(partial(self._note, job, "retried"))
            case Happened(event=on.JobHeld(held=Held.DUPLICATE), after=job):
                self._begin(partial(self._note, job, "duplicate"))
            case _:
                pass

    def _note(self, job: Job, what: str, **facts: str) -> None:
        folders = self._folders_of().get(job.inbox)
        if folders is None:
            return
        try:
            if taker_of(folders.inbox, job.clip_id, self._journal_id):
                return
            note(folders.inbox, job.clip_id, job.id, what, **facts)
            if what == "retried" and job.state is not State.QUEUED:
                # Of a long clip that was cut anew only some parts are sent again.
                note_followed(folders.inbox, job)
        except FileNotFoundError:
            pass  # its clip has retired: nothing is left to be sent
        except OSError as error:
            log.warning("ledger_not_written", job=job.id, inbox=job.inbox, why=str(error))
