"""Changes made from the page: each action first shows what it may cost, with a form to confirm it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from clipspool.jobs.consequences import consequences, price_of_all
from clipspool.jobs.model import State
from clipspool.jobs.text import sentences
from clipspool.reporting.eta import Timing
from clipspool.web.context import JOB_ID, Right
from clipspool.web.rows import APPROVED_TOGETHER, acts_of, row_of
from clipspool.web.security import (
    BODY_BYTES_MAX,
    LARGE_FORM_BYTES_MAX,
    caller_of,
    may,
    name_of,
    session_of,
    token_of,
    too_many_tries,
)
from clipspool.web.sessions import SESSION_SECONDS, Sessions
from clipspool.web.views import Views

_FIELDS_MAX = 20
_FOR_SEVERAL = {"retry": "Run these again?", "cancel": "Cancel these jobs?", "approve": "Approve these?"}
_SEVERAL_MAX = 2000
"""Jobs that one decision is about; the newest, where more are held."""
_ADDRESS = re.compile(r"/(?!/)[\w/%.~-]{0,1000}(\?[\w/%.~&=+,:*-]{0,1000})?", re.ASCII)
_TITLES = {
    "retry": "Run again?",
    "cancel": "Cancel this job?",
    "attach": "Attach a task",
    "approve": "Approve this job?",
    "choose": "Choose",
    "pause": "Pause submitting?",
    "resume": "Resume submitting?",
}
_BUTTONS = {
    "retry": "Run again",
    "cancel": "Cancel the job",
    "attach": "Attach this task",
    "approve": "Approve",
    "pause": "Pause",
    "resume": "Resume",
}


class ActionRoutes:
    """Answers log-in and every request that changes something."""

    def __init__(self, views: Views, sessions: Sessions) -> None:
        self._views = views
        self._sessions = sessions

    # --- jobs -----------------------------------------------------------------------------------------

    def confirm(self, request: Request) -> Response:
        """Show the confirmation of an action on a job, with what it may cost."""
        act = request.path_params["act"]
        job = self._views.find(request)
        if act not in {"retry", "cancel", "attach", "approve"}:
            raise HTTPException(404)
        conditions = self._views.snapshot.get().conditions
        row = row_of(job, conditions, Timing())
        if act not in acts_of(job, conditions):
            why = f"The job is now {row['word']}: there is nothing to {act}."
            return self._views.say(request, _TITLES[act], why, f"/jobs/{job.id}")
        said = consequences([job], act)
        if act in {"retry", "approve"}:
            said.append(self._budget())
        return self._ask(request, act, said, back=f"/jobs/{job.id}", job=row)

    async def do(self, request: Request) -> Response:
        """Do it."""
        act, job_id = request.path_params["act"], request.path_params["job"]
        form = await read_form(request)
        match act:
            case "retry" | "cancel" | "approve":
                arguments: dict[str, Any] = {"ids": [job_id], "by": name_of(request)}
            case "attach":
                arguments = {
                    "job_id": job_id,
                    "task_id": form.get("task_id", "").strip(),
                    "by": name_of(request),
                }
                if form.get("force"):
                    arguments["force"] = True
            case _:
                raise HTTPException(404)
        return await run_in_threadpool(self._done, request, act, arguments, f"/jobs/{job_id}")

    async def choose(self, request: Request) -> Response:
        """Mark a version as the one to use, or take that back; neither costs anything."""
        undo = (await read_form(request)).get("undo") == "1"
        job_id = request.path_params["job"]
        arguments = {"ids": [job_id], "by": name_of(request), "undo": undo}
        return await run_in_threadpool(self._done, request, "choose", arguments, f"/jobs/{job_id}/versions")

    # --- several jobs at once -------------------------------------------------------------------------

    def confirm_all(self, request: Request) -> Response:
        """Show the confirmation of an action on several jobs; jobs in doubt are decided one at a time."""
        act = request.path_params["act"]
        ids = _ids(",".join(request.query_params.getlist("ids")))
        kind, inbox = request.query_params.get("kind", ""), request.query_params.get("inbox", "")
        timeline = request.query_params.get("timeline", "")
        is_kind = act == "approve" and (kind in APPROVED_TOGETHER or bool(timeline))
        if act in _FOR_SEVERAL and not request.query_params:
            return self._views.say(request, _FOR_SEVERAL[act], "Tick the boxes of the jobs first.", "/jobs")
        if act not in _FOR_SEVERAL or not (ids or is_kind):
            raise HTTPException(404)
        conditions = self._views.snapshot.get().conditions
        waiting = self._views.waiting
        with self._views.lookup.look() as look:
            if is_kind:
                held = waiting.jobs(look, waiting.ids(self._views.lookup)[:_SEVERAL_MAX])
                held = [job for job in held if kind in {"", job.held} and inbox in {"", job.inbox}]
                jobs = [job for job in held if timeline in {"", job.request.timeline}]
            else:
                jobs = list(look.load(ids).values())
        found = [job for job in jobs if act in acts_of(job, conditions) and job.state is not State.IN_DOUBT]
        if not found:
            return self._views.say(
                request, _FOR_SEVERAL[act], f"There is nothing to {act} any more.", "/jobs"
            )
        said = [*consequences(found, act), self._budget()]
        is_told = act != "cancel" and may(request, Right.DECIDE)  # the provider is asked for nobody else
        if is_told and (balance := self._views.balance.get()) is not None:
            said.append(balance.in_words(price_of_all(found, act)))
        names = [job.path for job in found]
        title, chosen = _FOR_SEVERAL[act], ",".join(job.id for job in found)
        return self._ask(request, act, said, back="/jobs", title=title, ids=chosen, names=names)

    async def do_all(self, request: Request) -> Response:
        """Do it."""
        act = request.path_params["act"]
        ids = _ids((await read_form(request, LARGE_FORM_BYTES_MAX)).get("ids", ""))
        if act not in _FOR_SEVERAL or not ids:
            raise HTTPException(404)
        return await run_in_threadpool(self._done, request, act, {"ids": ids, "by": name_of(request)}, "/")

    # --- inboxes --------------------------------------------------------------------------------------

    def confirm_inbox(self, request: Request) -> Response:
        """Show the confirmation before submitting is paused or resumed, for one inbox or for all."""
        act, name = request.path_params["act"], request.path_params["inbox"]
        known = self._inboxes()
        if act not in {"pause", "resume"} or name not in {"*", "all", *known}:
            raise HTTPException(404)
        which = f"the inbox {name}" if name in known else "all inboxes"
        if act == "pause":
            said = [
                f"Submitting from {which} stops.",
                "Running tasks are still followed, and their results delivered. This costs nothing.",
            ]
        else:
            queued = self._views.snapshot.get().status["jobs"][State.QUEUED.value]
            said = [f"Submitting from {which} resumes."]
            many = "1 job is" if queued == 1 else f"{queued:,} jobs are"
            then = ": what resumes is sent and charged in turn." if queued else "."
            said.append(f"{many} queued in all inboxes{then}")
            if name in known and known[name]["state"] == "offline":
                said.append("Its folders are accepted as they are now, even if they were replaced.")
            said.append(self._budget())
        return self._ask(request, act, said, back="/", job=None, inbox=which)

    def do_inbox(self, request: Request) -> Response:
        """Do it."""
        act, name = request.path_params["act"], request.path_params["inbox"]
        if act not in {"pause", "resume"}:
            raise HTTPException(404)
        is_all = name == "*" or (name == "all" and name not in self._inboxes())
        return self._done(request, act, {"inbox": None if is_all else name}, "/")

    def _inboxes(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the inboxes by name; one may be named `all`, and none `*`."""
        return {one["name"]: one for one in self._views.snapshot.get().status["inboxes"]}

    # --- both -----------------------------------------------------------------------------------------

    def _ask(self, request: Request, act: str, said: list[str], **values: Any) -> Response:
        given = {"job": None, "ids": "", "names": [], "title": _TITLES[act], **values}
        return self._views.draw(request, "confirm.html", act=act, button=_BUTTONS[act], said=said, **given)

    def _budget(self) -> str:
        seen = self._views.snapshot.get()
        limits, spend = seen.conditions.limits, seen.conditions.spend
        most = "" if limits.credits_per_day is None else f" of {limits.credits_per_day:,.10g}"
        return (
            f"Today: {spend.credits:,.10g}{most} credits, {spend.submissions:,} of "
            f"{limits.submissions_per_day:,} submissions."
        )

    def _done(self, request: Request, act: str, arguments: dict[str, Any], back: str) -> Response:
        answers, why = self._views.daemon.order(act, arguments, name_of(request))
        if why:
            done = sum(bool(one["done"]) for one in answers)
            first = f"Done for {done:,} of {len(answers):,} jobs." if done else ""
            words = f"Not done for the others: {why}" if first else f"Not done: {why}"
            return self._views.say(request, _TITLES[act], sentences(first, words), back)
        return RedirectResponse(back, 303)

    # --- log-in ---------------------------------------------------------------------------------------

    def login(self, request: Request) -> Response:
        """Show the log-in form."""
        to = _within(request.query_params.get("to", ""))
        if token_of(request) is not None:
            return RedirectResponse(to, 303)
        return self._ask_token(request, to)

    def _ask_token(self, request: Request, to: str, *, wrong: bool = False) -> Response:
        return self._views.draw_bare(
            request,
            "login.html",
            status=401 if wrong else 200,
            to=to,
            wrong=wrong,
            is_possible=self._sessions.is_possible,
            # The cookie stays behind where a link on another site, such as a mail in a browser, leads here.
            is_from_elsewhere=request.headers.get("sec-fetch-site") == "cross-site",
        )

    async def log_in(self, request: Request) -> Response:
        """Start a session if the form holds the token."""
        form = await read_form(request)
        to = _within(form.get("to", ""))
        token = self._sessions.token_of(form.get("token", "").strip(), caller_of(request.scope))
        if token is None:
            if self._sessions.is_guessed_at:
                return too_many_tries()
            return await run_in_threadpool(partial(self._ask_token, request, to, wrong=True))
        answer = RedirectResponse(to, 303)
        answer.set_cookie(
            self._sessions.cookie,
            self._sessions.begin(token),
            max_age=int(SESSION_SECONDS),
            path=None,  # of the log-in's own folder: beneath a path of a site, for the page alone
            httponly=True,
            samesite="strict",
            # By the browser's own header: a proxy's could be forged.
            secure=request.headers.get("origin", "").startswith("https://"),
        )
        return answer

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        self._sessions.end(session_of(request.headers, self._sessions.cookie))
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self._sessions.cookie, max_age=0, path=None, httponly=True, samesite="strict")
        return answer


async def read_form(request: Request, bytes_max: int = BODY_BYTES_MAX) -> dict[str, str]:
    """Read a form; of a repeated field the first counts. Empty for one that is too large or malformed."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > bytes_max:
                return {}
        fields = parse_qs(body.decode("ascii"), max_num_fields=_FIELDS_MAX)
    except (ClientDisconnect, ValueError):
        return {}
    return {name: values[0] for name, values in fields.items()}


def _ids(text: str) -> list[str]:
    """Read job ids, each once; none where one of them is malformed."""
    ids = list(dict.fromkeys(text.split(",")))
    return ids if len(ids) <= _SEVERAL_MAX and all(JOB_ID.fullmatch(one) for one in ids) else []


def _within(path: str) -> str:
    """Return a path of this page to open after the log-in; the overview for anything else."""
    return path if _ADDRESS.fullmatch(path) else "/"
