"""The journal: jobs as they are now, and everything that ever happened to them.

`journal.py` writes and asks, `looks.py` asks for those who only look, `lookup.py` answers the page,
`database.py` opens, locks and migrates, `tables.py` is the schema, `rows.py` turns nouns into rows and back,
`migrations/` holds the numbered steps.
"""

from clipspool.journal.database import JournalError, Lock
from clipspool.journal.journal import Candidate, Entry, Journal, Spend, Tally
from clipspool.journal.lookup import UNDER_WAY, DaySpent, Filter, Look, Lookup, Page

__all__ = [
    "UNDER_WAY",
    "Candidate",
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
