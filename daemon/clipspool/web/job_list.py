"""Reads which list of jobs an address asks for, and writes the addresses of the lists beside it; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from clipspool.jobs.model import TERMINAL, State
from clipspool.journal import UNDER_WAY, Filter, Page, SortBy
from clipspool.web.context import JOB_ID

PAGE_SIZE = 50
_WORD_MAX = 200
_STATES: Mapping[str, tuple[State, ...]] = {
    "open": tuple(state for state in State if state not in TERMINAL),
    "under_way": UNDER_WAY,
    **{state.value: (state,) for state in State},
}
CHOICES = (
    *(("open", "open"), ("under_way", "under way"), ("held", "needs attention")),
    *((state.value, state.value.replace("_", " ")) for state in State),
)
"""States to choose from, each with its words."""
_SKIP = re.compile(r"[0-9]{1,7}")


@dataclass(frozen=True, slots=True)
class ListAsked:
    """Which list of jobs an address asks for."""

    word: str
    state: str
    inbox: str
    by: SortBy | None
    """None: newest first."""
    is_down: bool
    before: str
    """Where a list that is not sorted goes on."""
    skip: int
    """How many rows of a sorted list come before."""

    @classmethod
    def read(cls, request: Request) -> ListAsked | None:
        """Read the address; None where no such list exists."""
        query = request.query_params
        state, before, skip = query.get("state", ""), query.get("before", ""), query.get("skip", "0")
        by = "folder" if query.get("group") == "folder" else query.get("sort", "")
        if (state and state not in {*_STATES, "held"}) or (before and not JOB_ID.fullmatch(before)):
            return None
        if not _SKIP.fullmatch(skip) or (by and by not in [*SortBy]):
            return None
        word = query.get("q", "").strip()[:_WORD_MAX]
        is_down = query.get("order") == "down"
        return cls(
            word, state, query.get("inbox", ""), SortBy(by) if by else None, is_down, before, int(skip)
        )

    @property
    def filter(self) -> Filter:
        """What the journal is asked for."""
        waits = self.state == "held"
        states = _STATES["open" if waits else self.state] if self.state else ()
        return Filter(states, self.inbox or None, self.word, waits)

    def address(self, **changes: Any) -> str:
        """Return the address of the same list, changed; a value that is empty is left out."""
        is_group = self.by is SortBy.FOLDER
        kept = {
            "q": self.word,
            "state": self.state,
            "inbox": self.inbox,
            "group": "folder" if is_group else "",
            "sort": "" if is_group or self.by is None else self.by.value,
            "order": "down" if self.is_down else "",
            **changes,
        }
        query = urlencode({key: value for key, value in kept.items() if value})
        return f"/jobs?{query}" if query else "/jobs"

    def sorted_by(self, column: str) -> tuple[str, str]:
        """Return a column's `aria-sort` now, and the address of the list sorted by it, or turned round."""
        is_newest = self.by is None and column == SortBy.ACCEPTED
        if self.by == column or is_newest:
            is_down = self.is_down or is_newest
            now, is_next_down = ("descending" if is_down else "ascending"), not is_down
        else:
            now, is_next_down = "", column == SortBy.CREDITS
        order = {"sort": column, "order": "down" if is_next_down else "", "group": ""}
        if column == SortBy.ACCEPTED and (is_next_down or not now):
            order["sort"] = order["order"] = ""  # the newest first is how the list is without sorting
        return now, self.address(**order)

    def pages(self, found: Page) -> tuple[str | None, str | None]:
        """Return the addresses of the pages before and after; None where there is none."""
        if self.by is None:
            older = None if found.before is None else self.address(before=found.before)
            return (self.address() if self.before else None), older
        newer = self.address(skip=self.skip - PAGE_SIZE) if self.skip >= PAGE_SIZE else None
        return newer, (self.address(skip=self.skip + PAGE_SIZE) if found.has_more else None)
