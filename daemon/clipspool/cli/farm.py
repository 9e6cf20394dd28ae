"""`clipspool farm`: several machines with one journal in PostgreSQL."""

from __future__ import annotations

from clipspool.cli.group import clipspool


@clipspool.group()
def farm() -> None:
    """Commands about a journal in PostgreSQL, which several machines can share."""
