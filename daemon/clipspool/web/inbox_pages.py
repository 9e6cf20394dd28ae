"""The page of one inbox, for its editors: send clips, correct those that wait, see how others ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from clipspool.intake.names import Names
from clipspool.jobs.model import TERMINAL, Job, State
from clipspool.journal import Filter, Look
from clipspool.reporting.status_file.text import for_editors
from clipspool.system.redaction import readable
from clipspool.web.actions import read_form
from clipspool.web.api.sidecars import SidecarRoutes
from clipspool.web.context import ClipDoors
from clipspool.web.rows import problems_first
from clipspool.web.security import LARGE_FORM_BYTES_MAX, name_of
from clipspool.web.threads import LOOK_SECONDS, InboxThreads
from clipspool.web.upload_rules import NotTaken
from clipspool.web.versions import presets_of
from clipspool.web.views import Views

_WAITING_SHOWN = 200
_UNDER_WAY_SHOWN = 50
_ENDED_SHOWN = 24
_FOLDERS_SHOWN = 200
_OPEN = tuple(state for state in State if state not in TERMINAL)


class InboxPages:
    """Draws the editors' pages."""

    def __init__(
        self, views: Views, doors: ClipDoors, sidecars: SidecarRoutes, threads: InboxThreads
    ) -> None:
        self._views, self._doors, self._sidecars, self._threads = views, doors, sidecars, threads

    def choose(self, request: Request) -> Response:
        """Redirect to the inbox where there is only one; otherwise list all of them."""
        inboxes = self._views.snapshot.get().status["inboxes"]
        if len(inboxes) == 1:
            return RedirectResponse(f"/inbox/{quote(inboxes[0]['name'])}", 303)
        return self._views.draw(request, "choose.html", inboxes=inboxes)

    async def inbox(self, request: Request) -> Response:
        """Show one inbox: a form for clips, what waits, what is under way, and what ended lately."""
        name = request.path_params["inbox"]
        return cast("Response", await self._threads.run(name, self._draw, request, seconds=LOOK_SECONDS))

    def _draw(self, request: Request) -> Response:
        known = self._known(request)
        mend = request.query_params.get("mend", "")
        if not mend:
            return self._views.keep(request, "inbox.html", lambda: self._about(known))
        found, why = self._mendable(known["name"], mend)
        about = self._about(known)
        return self._views.draw(request, "inbox.html", **{**about, "mending": found, "why": why})

    def _known(self, request: Request) -> Mapping[str, Any]:
        name = request.path_params["inbox"]
        for one in self._views.snapshot.get().status["inboxes"]:
            if one["name"] == name:
                return dict(one)
        raise HTTPException(404)

    def _mendable(self, inbox: str, path: str) -> tuple[dict[str, Any] | None, str]:
        try:
            return {"clip": path, **self._sidecars.sidecar(inbox, path)}, ""
        except (NotTaken, OSError) as error:
            return None, str(error)

    def _about(self, inbox: Mapping[str, Any]) -> dict[str, Any]:
        name = inbox["name"]
        with self._views.lookup.look() as look:
            under_way = look.page(Filter(_OPEN, name), None, _UNDER_WAY_SHOWN)
            done = look.page(Filter((State.DELIVERED,), name), None, _ENDED_SHOWN)
            failed = look.page(Filter((State.FAILED,), name), None, _ENDED_SHOWN)
            folders = _folders(look, name)
        rules = self._doors.rules().get(name)
        folders_here = self._views.daemon.folders().get(name)
        names = Names(rules.extensions) if rules else None
        waiting = problems_first(inbox["waiting"])[:_WAITING_SHOWN]
        return {
            "inbox": inbox,
            "is_read_only": folders_here is not None and folders_here.origin is not None,
            "waiting": [
                {
                    **one,
                    "shown": readable(one["path"]),
                    "has_sidecar": names is not None and names.is_clip(one["path"]),
                }
                for one in waiting
            ],
            "waiting_more": max(inbox["waiting_count"] - len(waiting), 0),
            "under_way": [self._row(job) for job in under_way.jobs],
            "under_way_more": under_way.before is not None,
            "done": [self._row(job) for job in done.jobs],
            "failed": [self._row(job) for job in failed.jobs],
            "folders": folders,
            "models": [_model(one) for one in self._doors.models()],
            "presets": presets_of(self._views, name),
            "accepts": ",".join(sorted(rules.extensions)) if rules else "",
            "mending": None,
            "why": "",
        }

    def _row(self, job: Job) -> dict[str, Any]:
        folders = self._views.daemon.folders().get(job.inbox)
        conditions = self._views.snapshot.get().conditions
        row = self._views.row(job)
        if folders is not None:
            row["reason"] = for_editors(job, conditions, folders.places)
        return {**row, "acts": []}

    async def mend(self, request: Request) -> Response:
        """Save the sidecar of a clip that waits; with a mistake in it the form is shown again."""
        form = await read_form(request, LARGE_FORM_BYTES_MAX)
        name = request.path_params["inbox"]
        return cast("Response", await self._threads.run(name, self._save, request, form))

    def _save(self, request: Request, form: Mapping[str, str]) -> Response:
        known = self._known(request)
        if not form.get("path"):
            raise HTTPException(404)
        name, path, text = known["name"], form["path"], form.get("text", "")
        try:
            self._sidecars.write(name, path, text, form.get("version", ""), name_of(request))
        except (NotTaken, OSError) as error:
            found = {
                "clip": path,
                "path": form.get("sidecar", ""),
                "text": text,
                "version": form.get("version", ""),
            }
            about = {**self._about(known), "mending": found, "why": str(error)}
            return self._views.draw(request, "inbox.html", status=409, **about)
        back = f"/inbox/{quote(name)}?{urlencode({'saved': path})}"
        return RedirectResponse(f"{back}#waiting", 303)


def _folders(look: Look, inbox: str) -> list[str]:
    """Return the folders that clips of an inbox came from lately."""
    jobs = look.page(Filter((), inbox), None, _FOLDERS_SHOWN).jobs
    return sorted(
        {folder for job in jobs if (folder := job.path.rpartition("/")[0]) and folder.isprintable()}
    )


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the form needs of a model, as text for an attribute."""
    kept = (
        "name",
        "fields",
        "ratios",
        "target_aspects",
        "output_formats",
        "prompt_utf16_max",
        "references_max",
        "seconds_max",
        "credits_per_second",
    )
    return {"name": model["name"], "json": json.dumps({key: model.get(key) for key in kept})}
