"""Journals in each database that clipspool can keep them in, for tests that run on all of them."""

import itertools
import os
import sqlite3
from contextlib import closing

from clipspool.jobs.lifecycle import advance
from clipspool.jobs.model import Error, Held, Missing, Paid, Reference, Result, Reuse, State
from clipspool.journal import Journal, Lookup
from fakes import NOON, PACE, RESULT, a_clip, a_job, a_request, a_task


class InFile:
    """A journal in a file of SQLite."""

    opens = "Journal.open(Path(sys.argv[2]))"

    def __init__(self, folder):
        self.place = folder / "journal.db"

    def open(self):
        return Journal.open(self.place)

    def read(self):
        return Journal.read(self.place)

    def look(self):
        return Lookup(self.place).look()

    def run(self, sql, *rows):
        """Run a statement beside the journal, for each row."""
        with closing(sqlite3.connect(self.place)) as beside, beside:
            beside.executemany(sql, rows)

    def ask(self, sql):
        """Ask beside the journal."""
        with closing(sqlite3.connect(self.place)) as beside:
            return beside.execute(sql).fetchall()


class InServer:
    """A journal in a schema of the session's PostgreSQL."""

    opens = "Journal.open(Address(sys.argv[2]))"
    _numbers = itertools.count()

    def __init__(self, _folder):
        import postgres  # noqa: PLC0415 - most tests need none

        self.schema = f"journal_{os.getpid()}_{next(self._numbers)}"
        self.address = postgres.shared().schema(self.schema)
        self.place = self.address.url
        self._connect = postgres.shared().connect

    def open(self):
        return Journal.open(self.address)

    def read(self):
        return Journal.read(self.address)

    def look(self):
        return Lookup(self.address).look()

    def run(self, sql, *rows):
        """Run a statement beside the journal, for each row."""
        with self._connect(self.schema) as beside:
            beside.cursor().executemany(sql.replace("?", "%s"), rows)

    def ask(self, sql):
        """Ask beside the journal."""
        with self._connect(self.schema) as beside:
            return beside.execute(sql).fetchall()


DRIVERS = {"sqlite": InFile, "postgres": InServer}

ODD = "caf\udce9/sh\udcf6t.mp4"
ERROR = Error("SAFETY.INPUT", "it was moderated", "Change it.", retryable=True, paid=Paid.YES)
CLIP = a_clip(path=ODD, sidecar=None, media={"seconds": 2.5}, sha256="cd" * 32, size=3 << 32, lies_at=None)
FULL = a_job(
    request=a_request(
        ratio="1280:720",
        references=(Reference("https://images.test/w.png"), Reference(name="w.png", file="ref-1.png")),
        content_moderation={"public_figure_threshold": "low"},
        extra={"deep": [1, {"er": None}]},
        priority=3,
        not_before=NOON + 60,
    ),
    variant="_v2",
    state=State.FETCHED,
    priority=13,
    held=Held.OUTBOX,
    reason="No space left",
    prepared=True,
    approved=True,
    cancel_by="ann",
    attempts=3,
    doubts=1,
    progress=0.5,
    rendering_since=NOON,
    task=a_task(2, credits=14.0, succeeded=True, evidence={"message": "x"}),
    credits_estimated=15.0,
    error=ERROR,
    results=(Result("clip1-1.mp4", ".mp4", 6, "ab" * 32, ODD), RESULT),
    missing=(Missing(2, "it was not there"),),
    path=ODD,
    paid=Paid.YES,
    fingerprint="ef" * 32,
    reuse=Reuse("clip0", "bay", (RESULT,)),
)


def accept(journal, job=None, clip=None):
    """Enter a job with its clip."""
    job = job or a_job()
    with journal.turn():
        journal.accept(clip or a_clip(job.clip_id, inbox=job.inbox), [job])
    return job


def happen(journal, job, event, now=NOON):
    """Record what an event makes of a job."""
    after = advance(job, event, now, PACE)
    with journal.turn():
        journal.record(job, after, event)
    return after
