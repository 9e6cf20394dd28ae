"""The journal: jobs as they are now, and everything that ever happened to them.

`journal.py` writes, `questions.py` asks, `looks.py` asks for those who only look, `lookup.py` for the page;
`database.py` opens, locks and migrates, `tables.py` is the schema, `rows.py` turns nouns into rows and back,
`migrations/` holds the numbered steps.
"""

from clipspool.jobs.records import ClipCost, Entry, Spend, Tally
from clipspool.journal.database import JournalError, Lock
from clipspool.journal.journal import Journal
from clipspool.journal.lookup import UNDER_WAY, DaySpent, Filter, Look, Lookup, Page
from clipspool.journal.rows import Candidate

__all__ = [
    "UNDER_WAY",
    "Candidate",
    "ClipCost",
    "DaySpent",
    "Entry",
    "Filter",
    "Journal",
    "JournalError",
    "Lock",
    "Look",
    "Lookup",
    "Page",
    "Spend",
    "Tally",
]
