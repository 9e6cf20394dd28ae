"""Draws the pages: the overview, the list of jobs, one job, and source and result side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from clipspool.jobs.account import Account
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.model import Job, State
from clipspool.jobs.text import DAY_SECONDS, iso, text
from clipspool.journal import SORTED_MAX, Look, Lookup, Page, SortBy
from clipspool.reporting.eta import Timing
from clipspool.reporting.history import story_json
from clipspool.reporting.status import balance_lines, evidence_lines, film_in_words
from clipspool.spool.watchfolder import fold
from clipspool.stages.provenance import as_sent
from clipspool.system.redaction import readable, redact_value
from clipspool.web.cache import BalanceCache, DaemonAnswer, DaemonState, Pages, WaitingJobs, waits
from clipspool.web.context import JOB_ID, AccessRules, DaemonHandle, Right
from clipspool.web.job_list import CHOICES, PAGE_SIZE, ListAsked
from clipspool.web.media import delivered
from clipspool.web.plot import DAYS, RecentSpend, plot
from clipspool.web.rows import APPROVED_TOGETHER, at_work, problems_first, row_of, tiles_of
from clipspool.web.security import address_of, may, root_of, token_of
from clipspool.web.templates_env import environment, flat, relative

_WAITING_SHOWN = 12
_UNDER_WAY_SHOWN = 30
_DONE_SHOWN = 8
_LYING_SHOWN = 4
_FAILED_SHOWN = 50
_FAILED_COUNTED = 200
_HELD_LOOKED_AT = 2000
_HISTORY_SHOWN = 200
_PLOTS: Mapping[str, Mapping[str, int]] = {
    "wide": {"days": DAYS, "width": 1000, "height": 170},
    "narrow": {"days": 14, "width": 360, "height": 170},
}


class Views:
    """Draws pages from the journal and the daemon's state, in worker threads."""

    def __init__(
        self,
        daemon: DaemonHandle,
        access: AccessRules,
        lookup: Lookup,
        waiting: WaitingJobs,
        version: Callable[[], int],
    ) -> None:
        self.daemon = daemon
        self.lookup = lookup
        self.snapshot = DaemonState(daemon, version)
        self.waiting = waiting
        self._access = access
        self._pages = Pages(version)
        self._timing = Timing()
        self._ledger = RecentSpend()
        self._env = environment()
        self.balance = BalanceCache(daemon)

    # --- drawing --------------------------------------------------------------------------------------

    def draw(self, request: Request, name: str, *, status: int = 200, **values: Any) -> Response:
        """Draw a page that is not cached."""
        return _sent(request, self._text(request, name, **values), status)

    def draw_bare(self, request: Request, name: str, *, status: int = 200, **values: Any) -> Response:
        """Draw a page without any facts about the daemon."""
        text = self._env.get_template(name).render(path=request.url.path, **values)
        return _sent(request, text, status)

    def _text(self, asked: Request, name: str, /, **values: Any) -> str:
        try:
            seen: DaemonAnswer | None = self.snapshot.get()
        except TimeoutError:
            seen = None
        return self._env.get_template(name).render(
            seen=seen,
            daemon=self._state(seen),
            is_known=token_of(asked) is not None,
            can_decide=may(asked, Right.DECIDE),
            can_add=may(asked, Right.ADD),
            has_token=bool(self._access.tokens),
            path=asked.url.path,
            here=address_of(asked.scope),
            now=self.daemon.now(),
            iso=iso,
            **values,
        )

    def _state(self, seen: DaemonAnswer | None) -> tuple[str, str]:
        """Return the daemon's state as a tone and a few words."""
        if seen is None or seen.is_late:
            return "warn", "the daemon is slow to answer"
        if seen.status["provider"]["blocked"]:
            return "bad", "provider blocked"
        if any(inbox["state"] == "offline" for inbox in seen.status["inboxes"]):
            return "bad", "an inbox is offline"
        if "*" in seen.conditions.paused:
            return "warn", "paused"
        return "good", "running"

    def keep(self, request: Request, name: str, gather: Callable[[], dict[str, Any]]) -> Response:
        """Draw a page once for all who view it with the same rights."""
        token = token_of(request)
        key = (request.url.path, request.url.query, None if token is None else token.rights)
        return _sent(request, self._pages.get(key, lambda: self._text(request, name, **gather())))

    def _conditions(self) -> Conditions:
        return self.snapshot.get().conditions

    def row(self, job: Job, conditions: Conditions | None = None) -> dict[str, Any]:
        """Return what a row about a job shows."""
        row = row_of(job, conditions or self._conditions(), self._timing)
        folders = self.daemon.folders().get(job.inbox)
        for result, known in zip(row["results"], delivered(job), strict=True):
            outbox = "" if folders is None else f"{folders.outbox.path}/"
            where = outbox + text(known.name)
            result["where"] = where if folders is None else folders.places.path(where)
        return row

    # --- pages ----------------------------------------------------------------------------------------

    def overview(self, request: Request) -> Response:
        """Show inboxes, what needs attention, what is under way, what was delivered, and what it cost."""

        def gather() -> dict[str, Any]:
            seen = self.snapshot.get()
            conditions, status = seen.conditions, seen.status
            ids = self.waiting.ids(self.lookup)
            with self.lookup.look() as look:
                self._timing.refresh(look)
                counts = look.open_jobs()
                # Whatever else waits, a doubt comes first: its task may be rendering, paid for and unseen.
                doubts = [job.id for job in look.newest(State.IN_DOUBT, _WAITING_SHOWN // 2)]
                held = self.waiting.jobs(look, list(dict.fromkeys([*doubts, *ids]))[:_WAITING_SHOWN])
                since = conditions.now - DAY_SECONDS
                failed_lately = look.ended_jobs(State.FAILED, since, _FAILED_COUNTED + 1)
                under_way = look.under_way(_UNDER_WAY_SHOWN)
                done = look.newest(State.DELIVERED, _DONE_SHOWN)
                failed = look.newest(State.FAILED, 1)
                spent = self._ledger.spent(look, conditions.now)
            limits = conditions.limits
            waiting = [self.row(job, conditions) for job in held]
            kinds = sorted({row["kind"] for row in waiting}, key=lambda kind: (kind != "in doubt", kind))
            return {
                "inboxes": [self._inbox(inbox) for inbox in status["inboxes"]],
                "is_paused": "*" in conditions.paused,
                "held": waiting,
                "held_by_kind": [(kind, [row for row in waiting if row["kind"] == kind]) for kind in kinds],
                "held_counts": {kind.value: counts.held[kind] for kind in APPROVED_TOGETHER},
                "held_count": counts.held.total(),
                "at_work": at_work(status["lanes"]),
                "tiles": tiles_of(counts, len(failed_lately), status["jobs"]),
                "failed": [self.row(job, conditions) for job in failed_lately[:_FAILED_SHOWN]],
                "failed_count": min(len(failed_lately), _FAILED_COUNTED),
                "failed_more": len(failed_lately) > _FAILED_COUNTED,
                "under_way": [self.row(job, conditions) for job in under_way if not waits(job)],
                "done": [self.row(job, conditions) for job in done],
                "last_failed": self.row(failed[0], conditions) if failed else None,
                "plots": [
                    (
                        kind,
                        plot(
                            spent, conditions.now, limits.credits_per_day, limits.submissions_per_day, **how
                        ),
                    )
                    for kind, how in _PLOTS.items()
                ],
                "limits": limits,
                "account": account if (account := Account.from_dict(status["spend"])).in_words() else None,
                "day_is_spent": limits.day_is_spent(conditions.spend),
            }

        return self.keep(request, "overview.html", gather)

    def _inbox(self, inbox: Mapping[str, Any]) -> dict[str, Any]:
        tones = {"offline": "bad", "paused": "warn", "watching": "good"}
        first = problems_first(inbox["waiting"])[:_LYING_SHOWN]
        lying = [{**one, "path": readable(one["path"])} for one in first]
        return {
            **inbox,
            "tone": tones.get(inbox["state"], "plain"),
            "lying": lying,
            "lying_more": inbox["waiting_count"] - len(lying),
        }

    def jobs(self, request: Request) -> Response:
        """List jobs a page at a time: newest first, sorted by a column, or by folder."""
        asked = ListAsked.read(request)
        if asked is None:
            return PlainTextResponse("There is no such list.\n", 400)

        def gather() -> dict[str, Any]:
            with self.lookup.look() as look:
                self._timing.refresh(look)
                found = self._listed(look, asked)
                rows = self._rows(look, found.jobs, asked)
            newer, older = asked.pages(found)
            return {
                "rows": rows,
                "asked": asked,
                "newer": newer,
                "older": older,
                "is_partial": found.is_partial,
                "sorted_max": SORTED_MAX,
                "choices": CHOICES,
                "inbox_names": [one["name"] for one in self.snapshot.get().status["inboxes"]],
            }

        return self.keep(request, "jobs.html", gather)

    def _listed(self, look: Look, asked: ListAsked) -> Page:
        wanted = asked.filter
        if asked.by is not None:
            return look.sorted_page(wanted, asked.by, asked.skip, PAGE_SIZE, is_down=asked.is_down)
        if wanted.waits:
            return self._held_page(look, asked.before, asked.inbox, fold(asked.word))
        return look.page(wanted, asked.before or None, PAGE_SIZE)

    def _rows(self, look: Look, jobs: Sequence[Job], asked: ListAsked) -> list[dict[str, Any]]:
        conditions = self._conditions()
        rows = [self.row(job, conditions) for job in jobs]
        folder = None
        for job, row in zip(jobs, rows, strict=True) if asked.by is SortBy.FOLDER else ():
            if folder != (folder := (job.inbox, job.path.rpartition("/")[0])):
                row["heading"] = row["clip"].rpartition("/")[0]
                if not asked.word and not asked.filter.waits:
                    row["heading_count"] = look.count_in_folder(job, asked.filter.states)
        return rows

    def _held_page(self, look: Look, before: str, inbox: str, word: str) -> Page:
        ids = [job_id for job_id in self.waiting.ids(self.lookup) if not before or job_id < before]
        found: list[Job] = []
        for begin in range(0, min(len(ids), _HELD_LOOKED_AT), PAGE_SIZE):
            for job in self.waiting.jobs(look, ids[begin : begin + PAGE_SIZE]):
                is_it = word in fold(f"{job.id} {job.path} {job.request.prompt}")
                if is_it and (not inbox or job.inbox == inbox):
                    found.append(job)
                    if len(found) == PAGE_SIZE:
                        return Page(tuple(found), job.id if job.id != ids[-1] else None)
        is_partial = len(ids) > _HELD_LOOKED_AT
        return Page(tuple(found), ids[_HELD_LOOKED_AT - 1] if is_partial else None, is_partial)

    def job(self, request: Request) -> Response:
        """Show everything about one job."""
        found = self.find(request)
        return self.keep(request, "job.html", lambda: self._about(found))

    def compare(self, request: Request) -> Response:
        """Show source and result side by side, playing in step."""
        found = self.find(request)
        number = request.path_params["number"]
        row = self.row(found)
        result = next((one for one in row["results"] if one["number"] == number), None)
        if result is None or not result["is_video"]:
            raise HTTPException(404)
        request_ = found.request
        starts = request_.start_seconds if request_.long_clips == "trim" or request_.length_seconds else 0.0
        fps = delivered(found)[number - 1].fps
        frame = float(1 / Fraction(fps)) if fps else ""
        return self.draw(request, "compare.html", job=row, result=result, starts=starts, frame=frame)

    def _about(self, job: Job) -> dict[str, Any]:
        conditions = self._conditions()
        with self.lookup.look() as look:
            self._timing.refresh(look)
            clip = look.clip(job.clip_id)
            fresh = look.job(job.id) or job
            others = [one for one in look.jobs_of(job.clip_id) if one.id != job.id and not one.part]
            parts = look.parts_of(fresh)
            history = look.history(fresh)
        return {
            "job": self.row(fresh, conditions),
            "parts_of_it": [self.row(one, conditions) for one in parts],
            "whole_id": fresh.whole_id,
            "request": flat(as_sent(fresh.request)),
            "doubt": balance_lines(fresh),
            "known": evidence_lines(*_lost(fresh)),
            "evidence": flat(redact_value(fresh.task.evidence) if fresh.task else {}),
            "sent_at": fresh.task.intent_at if fresh.task else None,
            "film": film_in_words(clip.media if clip else {}),
            "media": flat(clip.media if clip else {}),
            "clip_size": clip.size if clip else None,
            "lies_at": readable(clip.lies_at) if clip and clip.lies_at else None,
            "others": [self.row(one, conditions) for one in others],
            "history": [_entry(one) for one in story_json(history[-_HISTORY_SHOWN:])],
            "history_more": max(len(history) - _HISTORY_SHOWN, 0),
        }

    def find(self, request: Request) -> Job:
        """Return the job that an address names; raises HTTPException (404) where there is none."""
        job_id = request.path_params["job"]
        with self.lookup.look() as look:
            found = look.job(job_id) if JOB_ID.fullmatch(job_id) else None
        if found is None:
            raise HTTPException(404)
        return found

    def missing(self, request: Request) -> Response:
        """Answer that nothing exists at this address."""
        if self._access.must_log_in and token_of(request) is None:
            return PlainTextResponse("Not found.\n", 404)
        return self.say(request, "Not found", "This address does not exist (any more).", "/jobs", status=404)

    def say(self, request: Request, title: str, said: str, back: str, *, status: int = 409) -> Response:
        """Answer with a page of one sentence, and a way back."""
        return self.draw(request, "said.html", status=status, title=title, said=[said], back=back)

    def fingerprint(self) -> str:
        """Return a text that differs when the state of inboxes or provider differs, or work has gone on."""
        try:
            seen = self.snapshot.get()
        except TimeoutError:
            return "late"
        status, working = seen.status, seen.conditions.working
        return repr(
            (status["inboxes"], status["provider"], status["jobs"], sorted(working.items(), key=repr))
        )


def _sent(request: Request, page: str, status: int = 200) -> Response:
    return HTMLResponse(relative(page, root_of(request.scope)), status)


def _lost(job: Job) -> tuple[str | None, Mapping[str, Any], str]:
    """Return what is recorded of an answer that may have been lost: when it was sent, and what is known."""
    if job.task is None:
        return None, {}, job.id
    return iso(job.task.intent_at), job.task.evidence, job.id


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**entry, "facts": flat(entry["facts"])}
