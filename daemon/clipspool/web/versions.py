"""A clip's versions and variants side by side: run it again changed, play any two in step, choose one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from clipspool.jobs.consequences import credits_in_words
from clipspool.jobs.model import Job
from clipspool.web.actions import read_form
from clipspool.web.context import ClipDoors
from clipspool.web.security import name_of
from clipspool.web.threads import LOOK_SECONDS, InboxThreads
from clipspool.web.views import Views

_TWO = 2


class VersionPages:
    """Draws and carries out what concerns the versions of one clip."""

    def __init__(self, views: Views, doors: ClipDoors, threads: InboxThreads) -> None:
        self._views, self._doors, self._threads = views, doors, threads

    def sheet(self, request: Request) -> Response:
        """Show all versions and variants of a job's clip, with prompt, seed and price."""
        job = self._views.find(request)
        return self._views.keep(request, "versions.html", lambda: self._about(job))

    def _about(self, job: Job) -> dict[str, Any]:
        with self._views.lookup.look() as look:
            jobs = [one for one in look.jobs_of(job.clip_id) if not one.part]
        rows = sorted(
            (self._views.row(one) for one in jobs), key=lambda row: (row["version"], row["variant"])
        )
        charged = [row["cost"] for row in rows if row["cost"] is not None]
        return {"job": self._views.row(job), "rows": rows, "credits": sum(charged)}

    def compare(self, request: Request) -> Response:
        """Play two results of one clip in step."""
        ids = request.query_params.getlist("pick")
        found = self._views.find(request)
        with self._views.lookup.look() as look:
            picked = look.load(ids[:_TWO])
        rows = [self._views.row(job) for job in picked.values() if job.clip_id == found.clip_id]
        films = [(row, next((one for one in row["results"] if one["is_video"]), None)) for row in rows]
        films = [(row, one) for row, one in films if one is not None]
        if len(films) < _TWO:
            said = "Choose two versions that have a film as their result."
            return self._views.say(request, "Compare", said, f"/jobs/{found.id}/versions")
        return self._views.draw(request, "compare_two.html", job=self._views.row(found), films=films)

    # --- once more, changed -----------------------------------------------------------------------------

    async def ask_again(self, request: Request) -> Response:
        """Show the form in which a clip is run once more."""
        job = await run_in_threadpool(self._views.find, request)
        draw = partial(self._draw_again, request, job, {"prompt": job.request.prompt}, {}, "")
        return cast("Response", await self._threads.run(job.inbox, draw, seconds=LOOK_SECONDS))

    async def again(self, request: Request) -> Response:
        """Show what the next version would cost; order it once that was seen."""
        form = await read_form(request)
        job = await run_in_threadpool(self._views.find, request)
        return cast("Response", await self._threads.run(job.inbox, self._again, request, job, form))

    def _again(self, request: Request, job: Job, form: Mapping[str, str]) -> Response:
        is_dry = form.get("sure") != "1"
        arguments: dict[str, Any] = {
            "ids": [job.id],
            "by": name_of(request),
            "dry_run": is_dry,
            "set": _keys(job, form),
            "prompt": form.get("prompt", ""),
            "preset": form.get("preset") or None,
        }
        if not is_dry and form.get("version", "").isdecimal():
            arguments["versions"] = {job.id: int(form["version"])}  # a second click orders nothing more
        answers, why = self._views.daemon.order("again", arguments, name_of(request))
        answer = answers[0] if answers and not why else {}
        if is_dry or not answer:
            return self._draw_again(request, job, form, answer, why)
        return RedirectResponse(f"/jobs/{answer['new']}", 303)

    def _draw_again(
        self, request: Request, job: Job, form: Mapping[str, str], answer: Mapping[str, Any], why: str
    ) -> Response:
        price = credits_in_words(answer.get("credits_estimated")) if answer else ""
        held = f"It would be held: {answer['reason']}." if answer.get("held") else ""
        return self._views.draw(
            request,
            "again.html",
            status=409 if why else 200,
            job=self._views.row(job),
            form=form,
            answer=answer,
            price=price,
            held=held,
            why=why,
            models=[str(one["name"]) for one in self._doors.models()],
            presets=presets_of(self._views, job.inbox),
        )


def presets_of(views: Views, inbox: str) -> list[Mapping[str, Any]]:
    """Return the presets of an inbox that can be used."""
    with suppress(Exception):  # its folder cannot be read now: the form goes without them
        return [one for one in views.daemon.command("presets", {"inbox": inbox}) if not one["problem"]]
    return []


def _keys(job: Job, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the sidecar keys that the form changes; without a seed another one is drawn."""
    seed, model = form.get("seed", "").strip(), form.get("model", "")
    keys: dict[str, Any] = {"seed": int(seed) if seed.isascii() and seed.isdigit() else seed or None}
    if model and model != job.request.model:
        keys |= {"model": model, "ratio": None}
    return keys
