"""Ends the scheduler: waits for stages under way here, and leaves others to the next start or leader."""

from __future__ import annotations

import time
from collections.abc import Callable

from clipspool.jobs.lifecycle import Stage
from clipspool.journal import JournalError
from clipspool.scheduler.loop import Scheduler
from clipspool.scheduler.mailbox import Command
from clipspool.scheduler.selection import InFlight
from clipspool.scheduler.workers import MAY_RUN_TWICE, AtGate, Done

_REPEATED_SECONDS = 5.0
"""How long a farm's leader waits at its end for stages that another node may run again."""
_LOOK_SECONDS = 0.05


def drain(scheduler: Scheduler, seconds: float, *, each_turn: Callable[[], object]) -> None:
    """Hand out nothing more, and wait at most `seconds` for what is under way here."""
    scheduler.is_draining = True
    _leave_to_heir(scheduler, lambda flying: flying.is_elsewhere)
    begun = scheduler.seconds_since_boot()
    while scheduler.has_work_here and (passed := scheduler.seconds_since_boot() - begun) < seconds:
        scheduler.turn()
        each_turn()
        if scheduler.workers.elsewhere is not None and passed > _REPEATED_SECONDS:
            # A download may stall for minutes; the farm must not wait for it without a leader that sends.
            _leave_to_heir(scheduler, lambda flying: flying.stage in MAY_RUN_TWICE)
        if scheduler.has_work_here:
            scheduler.wait(0.2)
    with scheduler.journal.turn():
        scheduler.suspects.note({})
    scheduler.workers.stop()


def _leave_to_heir(scheduler: Scheduler, which: Callable[[InFlight], bool]) -> None:
    """Stop waiting for stages that may run twice: the next leader hands them out again."""
    for job_id in [job_id for job_id, flying in scheduler.in_flight.items() if which(flying)]:
        del scheduler.in_flight[job_id]


def await_answers(scheduler: Scheduler, seconds: float, *, each_turn: Callable[[], object]) -> None:
    """Wait for answers to requests on their way where the journal cannot be written: ledgers record them.

    At most `seconds`; nothing more is sent.
    """
    until = time.monotonic() + seconds
    while any(f.stage is Stage.SUBMIT for f in scheduler.in_flight.values()) and time.monotonic() < until:
        each_turn()
        scheduler.mailbox.sleep(_LOOK_SECONDS)
        for message in scheduler.mailbox.receive():
            match message:
                case Done(job_id=job_id, attempt=attempt):
                    if (flying := scheduler.in_flight.get(job_id)) and flying.attempt == attempt:
                        del scheduler.in_flight[job_id]
                case AtGate(gate=gate):
                    gate.set_result(False)
                case Command(reply=reply):
                    reply.set_exception(JournalError("The journal cannot be written; clipspool ends."))
