"""Journals in each database that clipspool can keep them in, for tests that run on all of them."""

import sqlite3
from contextlib import closing

from clipspool.jobs.lifecycle import advance
from clipspool.journal import Journal, Lookup
from fakes import NOON, PACE, a_clip, a_job


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


DRIVERS = {"sqlite": InFile}


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
