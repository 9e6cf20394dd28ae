"""The schema of a journal in PostgreSQL, by number: `0002.sql` makes a new one, each further file changes it.

The numbers are those of SQLite's files beside this folder. A change that concerns one database alone leaves
its number out of the other's.
"""

from __future__ import annotations

from pathlib import Path

SCRIPTS = {file.stem: file.read_bytes() for file in sorted(Path(__file__).parent.glob("[0-9]*.sql"))}
HEAD = max(SCRIPTS)
"""The newest schema's number."""
