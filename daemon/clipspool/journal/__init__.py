"""The journal: jobs as they are now, and everything that ever happened to them.

`journal.py` writes, `questions.py` answers, `looks.py` and `lookup.py` read beside the daemon; `place.py`
opens one of the two databases that `database.py` describes, `sqlite.py` and `postgres.py`. These run
statements by name: those of `statements.sql`, and where the two differ those of `sqlite.sql` or
`postgres.sql`; `rows.py` turns jobs into rows and back, `migrations/` makes and changes the tables, and
`files.py` has the lock.
"""

from clipspool.journal.database import Address, Place
from clipspool.journal.files import JournalError, JournalUnreachable, Lock, NoJournal
from clipspool.journal.journal import Journal
from clipspool.journal.lookup import SORTED_MAX, UNDER_WAY, DaySpent, Filter, Look, Lookup, Page, SortBy
from clipspool.journal.rows import Candidate, candidate

__all__ = [
    "SORTED_MAX",
    "UNDER_WAY",
    "Address",
    "Candidate",
    "DaySpent",
    "Filter",
    "Journal",
    "JournalError",
    "JournalUnreachable",
    "Lock",
    "Look",
    "Lookup",
    "NoJournal",
    "Page",
    "Place",
    "SortBy",
    "candidate",
]
