"""Answers what the page asks of the journal, beside the scheduler: pages by index, never the whole of it.

What no index serves (a word in a prompt) is looked for in `SCAN_MAX` jobs at a time; the answer then says
from where to go on, so that no question costs more with a larger journal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from string import ascii_lowercase, ascii_uppercase
from typing import Any
from unicodedata import normalize

from clipspool.jobs.model import Job, State
from clipspool.jobs.records import HistoryEntry, current_name
from clipspool.journal.database import Place
from clipspool.journal.files import NoJournal
from clipspool.journal.place import read_database
from clipspool.journal.questions import OPEN, Questions

SCAN_MAX = 20_000
"""Jobs looked through for one page of a search."""
SORTED_MAX = 100_000
"""Jobs that are sorted for one page; of more only the newest."""
_FOLDER_COUNTED = 10_000
_FEW = 2_000
"""Up to this many jobs in a state are sorted at once; more are walked by age."""
_DAY_SECONDS = 86_400
_PAGE = 500
UNDER_WAY = (State.SUBMITTING, State.RUNNING, State.RENDERED, State.FETCHED)
_STATES_IN_ORDER = " ".join(sorted(State, key=lambda state: state is not State.IN_DOUBT))
_TOP = "~"
"""Sorts behind every id."""
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are wanted; empty means all."""

    states: tuple[State, ...] = ()
    inbox: str | None = None
    word: str = ""
    """Looked for in the clip's path, the prompt, the error's code, and the ids of job and task."""
    waits: bool = False
    """Whether only those are wanted that wait for a person; heeded by `sorted_page` alone."""


class SortBy(StrEnum):
    """What a list of jobs can be sorted by."""

    CLIP = "clip"
    INBOX = "inbox"
    STATE = "state"
    """In the order of a job's life, doubts first."""
    CREDITS = "credits"
    """What was charged, or else the estimate; unknown comes last."""
    ACCEPTED = "accepted"
    FOLDER = "folder"
    """By inbox, folder and name."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first where they are not sorted otherwise."""

    jobs: tuple[Job, ...]
    before: str | None = None
    """Where the next page begins; None when there is nothing more, or the list is sorted."""
    is_partial: bool = False
    """Whether the search stopped after `SCAN_MAX` jobs, or only `SORTED_MAX` were sorted."""
    has_more: bool = False
    """Whether a sorted list goes on."""


@dataclass(frozen=True, slots=True)
class DaySpent:
    """What was submitted from one inbox in one day (UTC)."""

    day: int
    """Days since 1970-01-01."""
    inbox: str
    submissions: int
    credits: float


class Lookup:
    """Opens the journal for reading, for any number of threads at once."""

    def __init__(self, place: Place) -> None:
        """Take the place of a journal that is there; each look is a connection of its own."""
        self._place = place

    @contextmanager
    def look(self) -> Iterator[Look]:
        """Open the journal as it is at one moment."""
        database = read_database(self._place)
        if database is None:
            raise NoJournal(self._place)
        try:
            yield Look(database)
        finally:
            database.close()


class Look(Questions):
    """The journal as it was when this look began."""

    def page(self, wanted: Filter, before: str | None, size: int) -> Page:
        """Return the newest jobs that are wanted, older than `before`."""
        states = [state.value for state in wanted.states or State]
        asked = {"states": states, "inbox": wanted.inbox, "before": before or _TOP, "most": size + 1}
        if wanted.states and not wanted.word and self._are_few(states):
            return self._page(self._database.column("page_in_states", **asked), size)
        floor = self._database.value("page_floor", before=asked["before"], scan=SCAN_MAX - 1)
        asked["floor"] = floor or ""
        if wanted.word:
            ids = self._database.column("page_with_word", **_spelled(wanted.word), **asked)
        else:
            ids = self._database.column("page", **asked)
        page = self._page(ids, size)
        if page.before is None and floor is not None:
            return Page(page.jobs, floor, is_partial=True)
        return page

    def _page(self, ids: Sequence[str], size: int) -> Page:
        jobs = tuple(self.load(ids[:size]).values())
        return Page(jobs, ids[size - 1] if len(ids) > size else None)

    def sorted_page(self, wanted: Filter, by: SortBy, skip: int, size: int, *, is_down: bool = False) -> Page:
        """Return jobs of the whole list in another order, the first `skip` of them left out."""
        states = [state.value for state in wanted.states or State]
        asked = {"states": states, "inbox": wanted.inbox, "skip": skip, "most": size + 1}
        floor = None
        if by is SortBy.FOLDER and not wanted.word and not wanted.waits and not self._are_few(states):
            ids = self._database.column("page_by_folder", **asked)
        else:
            floor = self._database.value("page_floor", before=_TOP, scan=SORTED_MAX - 1)
            asked |= {"by": by.value, "down": is_down, "order": _STATES_IN_ORDER, "floor": floor or ""}
            ids = self._database.column("page_sorted", waits=wanted.waits, **_spelled(wanted.word), **asked)
        jobs = tuple(self.load(ids[:size]).values())
        return Page(jobs, is_partial=bool(floor), has_more=len(ids) > size)

    def count_in_folder(self, job: Job, states: Sequence[State]) -> int:
        """Count the jobs in the states whose clips came from the same folder, up to `_FOLDER_COUNTED`."""
        found: int = self._database.value(
            "count_in_folder",
            inbox=job.inbox,
            path=os.fsencode(job.path),
            states=[state.value for state in states or State],
            most=_FOLDER_COUNTED,
        )
        return found

    def _are_few(self, states: list[str]) -> bool:
        return bool(self._database.value("count_in_states", states=states, most=_FEW + 1) <= _FEW)

    def newest(self, state: State, most: int) -> tuple[Job, ...]:
        """Return the jobs that reached a state of the end last."""
        return tuple(self._chosen("ended_last", state=state.value, most=most))

    def under_way(self, most: int) -> tuple[Job, ...]:
        """Return jobs between submission and delivery, oldest first."""
        states = [state.value for state in UNDER_WAY]
        newest = self._chosen("page_in_states", states=states, inbox=None, before=_TOP, most=most)
        return tuple(reversed(newest))

    def held(self) -> set[str]:
        """Return the ids of all jobs that wait for a person; looks at every open job."""
        return set(self._database.column("held_ids", open=OPEN))

    def seconds_to_result(self, most: int) -> list[tuple[str, float]]:
        """Return model and seconds from task to result for the jobs delivered last, newest first."""
        rows = self._database.rows("seconds_to_result", most=most)
        return [(str(row["model"]), row["seconds"]) for row in rows]

    def story(self, since: float | None, most: int) -> Iterator[tuple[HistoryEntry, str, str, str]]:
        """Iterate over what happened to all clips, oldest first: since a moment, or the last `most` entries.

        Each entry comes with its clip's id, inbox and path; the last two are empty where it is forgotten.
        """
        after = 0
        if since is None:
            after = min(self._database.column("newest_events", most=most), default=1) - 1
        while rows := self._database.rows("events_from", after=after, since=since or 0.0, most=_PAGE):
            for row in rows:
                fields = {name: row[name] for name in ("at", "job_id", "from_state", "to_state")}
                entry = HistoryEntry(
                    event=current_name(row["event"]), facts=json.loads(row["facts"]), **fields
                )
                path = "" if row["path"] is None else os.fsdecode(bytes(row["path"]))
                yield entry, row["clip_id"], row["inbox"] or "", path
            after = rows[-1]["id"]

    def jobs_changed_since(self, after: int, most: int) -> tuple[Job, ...]:
        """Return jobs of events above a number, as they are now, in the order of their last event."""
        return tuple(self._chosen("jobs_changed_since", after=after, most=most))

    def spent_by_day(self, since: int, until: int) -> list[DaySpent]:
        """Add up what was submitted in the days from `since` to before `until` (days since 1970)."""
        asked = {"since": since * _DAY_SECONDS, "until": until * _DAY_SECONDS}
        return [DaySpent(**row) for row in self._database.rows("spent_by_day", **asked)]


def _spelled(word: str) -> dict[str, Any]:
    """Return a word as the statements look for it: in ids and codes, and in the spellings of names and texts.

    The databases lower ASCII alone, and a Mac's names have an accent as a character of its own.
    """
    cased = {word, word.lower(), word.upper(), word.title()}
    spellings = {normalize(form, one).translate(_LOWER) for form in ("NFC", "NFD") for one in cased}
    return {"word": word.translate(_LOWER), "words": sorted(spellings)}
