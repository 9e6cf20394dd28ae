"""Answers what the scheduler, the commands and the page ask of a journal. Nothing here changes it.

Most statements choose ids, and one reads the jobs with these ids.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from clipspool.jobs.model import STILL_TRIED, TERMINAL, Clip, Held, Job, State
from clipspool.jobs.records import ClipCost, HistoryEntry, OpenJobs, Spend, Tally, current_name
from clipspool.jobs.render_times import Seen
from clipspool.journal.database import Database, Row
from clipspool.journal.rows import Candidate, read_candidate, read_clip, read_counts, read_job

OPEN = [state.value for state in State if state not in TERMINAL]
_FOR_DISK = sorted(held.value for held in STILL_TRIED)
_ALL = sys.maxsize
_SAME_MAX = 20
_PRICED_MAX = 10_000
_SEEN_EVENTS_MAX = 50_000
_FOUND_AT_ONCE = 500
_AGE_SECONDS_MAX = 14 * 86_400.0
"""A job accepted longer ago is not looked for among those that ended lately."""


class Questions:
    """Asks over one connection; `counts` spares the questions about states that no job is in."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.counts: Counter[State] = Counter()
        """Jobs by state, without the parts of long clips."""
        self.present: Counter[State] = Counter()  # parts included
        self.running: Counter[tuple[str, str]] = Counter()
        """Tasks under way by inbox and model, those included whose request is on its way."""
        self.for_disk = 0
        """Queued jobs that wait for a disk."""

    def count_jobs(self) -> None:
        """Fill `counts`, `present`, `running` and `for_disk` from the journal."""
        self.present = read_counts(self._database.rows("count_by_state"))
        self.counts = self.count()
        self.running = self.count_running()
        self.for_disk = self._database.value("count_for_disk", held=_FOR_DISK)

    # --- jobs and clips -------------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job | None:
        """Return one job, None where there is none."""
        return self._jobs([job_id]).get(job_id)

    def load(self, ids: Collection[str]) -> dict[str, Job]:
        """Return jobs by their ids, in the order of the ids; unknown ones are left out."""
        return self._jobs(ids)

    def clip(self, clip_id: str) -> Clip | None:
        """Return one clip, None where there is none."""
        rows = self._database.rows("clips", ids=[clip_id])
        return read_clip(rows[0]) if rows else None

    def _jobs(self, ids: Collection[str]) -> dict[str, Job]:
        if not ids:
            return {}
        found = {row["id"]: read_job(row) for row in self._database.rows("jobs", ids=list(ids))}
        return {job_id: found[job_id] for job_id in ids if job_id in found}

    def _chosen(self, statement: str, **values: Any) -> list[Job]:
        return list(self._jobs(self._database.column(statement, **values)).values())

    def jobs_of(self, clip_id: str) -> list[Job]:
        """Return all jobs of a clip, in the order of their variants."""
        return self._chosen("jobs_of_clips", ids=[clip_id])

    def parts_of(self, job: Job) -> list[Job]:
        """Return the jobs of a split job's parts, in their order; none for any other job."""
        return sorted(self.load(job.part_ids).values(), key=lambda one: one.part)

    def chosen(self, clip: Clip) -> list[Job]:
        """Return the jobs whose results are marked as chosen, of all clips with this clip's name."""
        return self._chosen("chosen_jobs", inbox=clip.inbox, path=os.fsencode(clip.path))

    def newest_version(self, clip: Clip, variant: str, but: str = "") -> int:
        """Return the newest version of a clip's variant under its name, job `but` left out; 0 for none."""
        asked = {"clip_id": clip.id, "sha256": clip.sha256, "inbox": clip.inbox}
        found: int = self._database.value(
            "newest_version", **asked, path=os.fsencode(clip.path), variant=variant, but=but
        )
        return found

    def ids(
        self,
        *,
        states: Collection[State] = (),
        inbox: str | None = None,
        most: int | None = None,
        parts: bool = False,
    ) -> list[str]:
        """Return the ids of jobs, newest first; those of the parts of long clips where `parts` is set."""
        limits = {"inbox": inbox, "most": _ALL if most is None else most, "parts": parts}
        if states:
            return self._database.column("newest_jobs_in", states=[state.value for state in states], **limits)
        return self._database.column("newest_jobs", **limits)

    def find(self, *, states: Collection[State] = (), code: str | None = None) -> Iterator[Job]:
        """Iterate over jobs, parts included, newest first; `code` is the beginning of an error's code."""
        ids = self.ids(states=states, parts=True)
        for begin in range(0, len(ids), _FOUND_AT_ONCE):
            for job in self._jobs(ids[begin : begin + _FOUND_AT_ONCE]).values():
                if code is None or (job.error and job.error.code.startswith(code)):
                    yield job

    def folders(self, inbox: str) -> set[str]:
        """Return the ids of an inbox's clips that have not retired: those with a work folder."""
        return set(self._database.column("clips_not_retired", inbox=inbox))

    def retired_before(self, which: str, inbox: str, until: float, after: str, most: int) -> list[str]:
        """Return ids of an inbox's clips that retired by a moment, in their order, from behind `after` on.

        `which` is `clips_with_sources` for those whose source lies in the inbox, or `clips_with_history`.
        """
        return self._database.column(which, inbox=inbox, until=until, after=after, most=most)

    def clips_with(self, fingerprints: Collection[str]) -> Counter[str]:
        """Count the clips whose jobs have each of the fingerprints."""
        rows = self._database.rows("clips_by_fingerprint", fingerprints=list(fingerprints))
        return Counter({row["fingerprint"]: row["number"] for row in rows})

    def same_request(self, job: Job, apart_from: Collection[str]) -> list[Job]:
        """Return other clips' jobs that asked for the same and are open, delivered or paid; oldest first."""
        asked = {"fingerprint": job.fingerprint, "clip_id": job.clip_id, "most": _SAME_MAX}
        return self._chosen("same_request", **asked, apart_from=list(apart_from))

    def duplicates_of(self, job: Job) -> list[Job]:
        """Return the jobs that are held because they ask for the same as this one."""
        return self._chosen("duplicates", fingerprint=job.fingerprint, clip_id=job.clip_id)

    # --- what is due ----------------------------------------------------------------------------------------

    def queue(
        self,
        inbox: str,
        now: float,
        most: int,
        *,
        approved_only: bool = False,
        but_models: Collection[str] = (),
    ) -> list[Candidate]:
        """Return an inbox's jobs that may go next: highest priority first, oldest first within."""
        asked = {"inbox": inbox, "now": now, "most": most, "approved": approved_only}
        asked["but_models"] = list(but_models)
        found = [read_candidate(row) for row in self._database.rows("queue", **asked)]
        if self.for_disk:
            rows = self._database.rows("queue_for_disk", held=_FOR_DISK, **asked)
            found += [read_candidate(row) for row in rows]
            found.sort(key=lambda one: -one.priority)
        return found

    def queued_of(self, model: str, most: int) -> list[str]:
        """Return the ids of queued jobs that ask for a model and that nothing holds, in their order."""
        return self._database.column("queued_of_model", model=model, most=most)

    def due(self, state: State, now: float, most: int, inbox: str | None = None) -> list[str]:
        """Return the ids of jobs in a state that are due, longest due first; of one inbox, or of all."""
        if not self.present[state]:
            return []
        ids = self._database.value("due", state=state.value, now=now, most=most, inbox=inbox)
        return ids.split(",") if ids else []

    def next_due(self, state: State, now: float) -> float | None:
        """Return when the next job in a state falls due, after `now`."""
        if not self.present[state]:
            return None
        due_at: float | None = self._database.value("next_due", state=state.value, now=now)
        return due_at

    def to_retire(
        self, inbox: str, now: float, most: int, *, but: Collection[str] = ()
    ) -> list[tuple[Clip, list[Job], int]]:
        """Return an inbox's clips whose jobs have all ended, their jobs, and the tries so far."""
        ids = self._database.value("due_to_retire", inbox=inbox, now=now, most=most + len(but))
        chosen = [clip_id for clip_id in ids.split(",") if clip_id not in but][:most] if ids else []
        if not chosen:
            return []
        found = {row["id"]: row for row in self._database.rows("clips", ids=chosen)}
        ended: dict[str, list[Job]] = {clip_id: [] for clip_id in chosen}
        for job in self._chosen("jobs_of_clips", ids=chosen):
            ended[job.clip_id].append(job)
        return [(read_clip(found[one]), ended[one], found[one]["retire_attempts"]) for one in chosen]

    def next_retire(self, now: float) -> float | None:
        """Return when the next clip is due to retire, after `now`."""
        due_at: float | None = self._database.value("next_retirement", now=now)
        return due_at

    # --- counts and tasks -----------------------------------------------------------------------------------

    def count(self) -> Counter[State]:
        """Count the jobs by state, without the parts of long clips."""
        of_parts = read_counts(self._database.rows("count_parts_by_state"))
        return read_counts(self._database.rows("count_by_state")) - of_parts

    def _count_job(self, job: Job, number: int) -> None:
        """Count a job in its state, and its task where it has one under way."""
        self.present[job.state] += number
        if not job.part:
            self.counts[job.state] += number
        if job.state in {State.SUBMITTING, State.RUNNING} and not job.is_split:
            self.running[job.inbox, job.request.model] += number

    def count_running(self) -> Counter[tuple[str, str]]:
        """Count the tasks under way by inbox and model."""
        rows = self._database.rows("count_at_provider")
        return Counter({(row["inbox"], row["model"]): row["number"] for row in rows})

    def tallies(self, now: float) -> list[Tally]:
        """Count the open jobs by inbox, state and what holds them."""
        return [
            Tally(
                row["inbox"],
                State(row["state"]),
                row["held"],
                bool(row["is_later"]),
                bool(row["is_tried_again"]),
                row["number"],
            )
            for row in self._database.rows("count_open_alike", now=now, open=OPEN)
        ]

    def open_jobs(self, inbox: str | None = None) -> OpenJobs:
        """Count the open jobs, of one inbox or of all."""
        counted = OpenJobs(Counter(), Counter())
        for row in self._count_open():
            if inbox is not None and row["inbox"] != inbox:
                continue
            if row["held"] is None:
                counted.by_state[State(row["state"])] += row["number"]
            else:
                counted.held[Held(row["held"])] += row["number"]
        return counted

    def open_by_inbox(self) -> Counter[str]:
        """Count the open jobs of each inbox."""
        counted: Counter[str] = Counter()
        for row in self._count_open():
            counted[row["inbox"]] += row["number"]
        return counted

    def _count_open(self) -> Sequence[Row]:
        return self._database.rows("count_open", open=OPEN)

    def open_tasks(self) -> dict[str, str]:
        """Return the job of each task that is still to be followed or fetched."""
        return {row["task_id"]: row["job_id"] for row in self._database.rows("followed_tasks")}

    def follower(self, task_id: str, but: str) -> str | None:
        """Return the job, other than `but`, whose current task this is; None without."""
        found: str | None = self._database.value("follower", task_id=task_id, but=but)
        return found

    def durations(self, most: int = 200) -> list[Seen]:
        """Return when the last tasks were last known to be open, and seen done; oldest first.

        Looks that showed nothing new are not in the history, so a task may have been open for longer.
        """
        rows = self._database.rows("render_times", most=most, events_max=_SEEN_EVENTS_MAX)
        return [
            Seen(
                row["profile"],
                row["model"],
                max((row["open_at"] or row["created_at"]) - row["created_at"], 0.0),
                row["done_at"] - row["created_at"],
            )
            for row in reversed(rows)
        ]

    # --- money ----------------------------------------------------------------------------------------------

    def spent(self, since: float) -> Spend:
        """Add up what was submitted since a moment, lost answers included: they may have been paid."""
        rows = self._database.rows("spent", since=since)
        by = {(row["inbox"], row["model"]): row["credits"] for row in rows}
        return Spend(sum(row["submissions"] for row in rows), sum(by.values(), 0.0), by)

    def queued_prices(self) -> tuple[float, int]:
        """Return what the queued jobs cost that nothing holds, in credits, and how many have no price."""
        (row,) = self._database.rows("queued_prices", most=_PRICED_MAX)
        return float(row["credits"]), row["unknown"]

    def clip_cost(self, clip_id: str) -> ClipCost:
        """Add up what a clip's jobs cost."""
        spent: float = self._database.value("spent_on_clip", clip_id=clip_id)
        return ClipCost(spent, tuple(self._database.column("estimates_of_clip", clip_id=clip_id)))

    def has_money_moved(self, since: float, but: str) -> bool:
        """Whether another job than `but` was sent, followed or ended since a moment (Unix seconds)."""
        return bool(self._database.value("money_moved", since=since, but=but))

    # --- history and facts ----------------------------------------------------------------------------------

    def history(self, job: Job) -> list[HistoryEntry]:
        """Return everything that happened to a job and to its clip, oldest first."""
        return [
            HistoryEntry(**{**row, "event": current_name(row["event"]), "facts": json.loads(row["facts"])})
            for row in self._database.rows("history", job_id=job.id, clip_id=job.clip_id)
        ]

    def last_event(self) -> int:
        """Return the number of the newest event; it never goes back. 0 in an empty journal."""
        return self._database.value("last_event") or 0

    def last_written(self) -> float | None:
        """Return when the last event was written, by the clock at that time."""
        rows = self._database.rows("last_event")
        return rows[0]["at"] if rows else None

    def fact(self, name: str) -> Any:
        """Return a remembered fact, None where there is none."""
        text = self._database.value("fact", name=name)
        return None if text is None else json.loads(text)

    def facts_below(self, prefix: str) -> list[str]:
        """Return the names of all facts that begin with `prefix`, in their order."""
        return self._database.column("facts_below", prefix=prefix, until=prefix + chr(0x7F))

    # --- what status and status files show ------------------------------------------------------------------

    def held_jobs(self, most: int, inbox: str | None = None) -> list[Job]:
        """Return jobs that wait for a person, oldest first."""
        return self._chosen("held_jobs", open=OPEN, most=most, inbox=inbox)

    def jobs_under_way(
        self, most: int, inbox: str | None = None, *, states: Collection[State] = tuple(State)
    ) -> list[Job]:
        """Return open jobs that nothing holds: the nearest to their end first, queued ones in their order."""
        by_life = [state.value for state in State if state in states and state not in TERMINAL]
        return self._chosen("jobs_under_way", states=by_life, most=most, inbox=inbox)

    def ended_jobs(self, state: State, since: float, most: int, inbox: str | None = None) -> list[Job]:
        """Return jobs that ended in this state since a moment (Unix seconds), the last to end first."""
        asked = {"since": since, "accepted_since": since - _AGE_SECONDS_MAX, "most": most, "inbox": inbox}
        if state is State.FAILED:  # few fail, and an index finds them
            return self._chosen("failed_jobs", **asked)
        return sorted(self._chosen("ended_jobs", state=state.value, **asked), key=lambda job: -job.updated_at)
