"""The journal: jobs as they are now, and everything that ever happened to them.

`journal.py` writes and asks, `looks.py` asks for those who only look, `database.py` opens, locks and
migrates, `tables.py` is the schema, `rows.py` turns nouns into rows and back, `migrations/` holds the
numbered steps.
"""

from clipspool.journal.database import JournalError, Lock
from clipspool.journal.journal import Candidate, Entry, Journal, Spend, Tally

__all__ = ["Candidate", "Entry", "Journal", "JournalError", "Lock", "Spend", "Tally"]
