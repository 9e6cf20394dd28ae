"""Carries out what programs decide about jobs, as the command line does."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from clipspool.jobs.text import sentences
from clipspool.web.api.jobs import job_id_of
from clipspool.web.api.operations import key_of, read_json
from clipspool.web.context import DaemonHandle
from clipspool.web.security import name_of
from clipspool.web.upload_rules import NotTaken

_WHY_MAX = 500
_NO_JOB = "there is no such job"


class Acts:
    """Answers `POST jobs/ID/…`."""

    def __init__(self, daemon: DaemonHandle) -> None:
        self._daemon = daemon

    async def order(self, request: Request, act: str) -> Any:
        """Retry, cancel or approve a job."""
        given = _why(await _given(request, "why"))
        return await self._done(request, act, {"ids": [job_id_of(request)], "by": name_of(request), **given})

    async def choose(self, request: Request) -> Any:
        """Mark a delivered job as the one to use, or take that back."""
        given = await _given(request, "undo why")
        undo = given.get("undo", False)
        if not isinstance(undo, bool):
            raise NotTaken(422, "REQUEST.UNDO", "`undo` must be true or false.")
        arguments = {"ids": [job_id_of(request)], "by": name_of(request), "undo": undo}
        return await self._done(request, "choose", arguments | _why(given))

    async def again(self, request: Request) -> Any:
        """Run a clip once more, changed, as its next version."""
        given = await _given(request, "prompt set version dry_run why")
        prompt, keys, dry = given.get("prompt"), given.get("set", {}), given.get("dry_run", False)
        if not (prompt is None or isinstance(prompt, str)) or not isinstance(dry, bool):
            raise NotTaken(422, "REQUEST.TEXT", "`prompt` must be a text, and `dry_run` true or false.")
        version = given.get("version")
        if not (version is None or (isinstance(version, int) and not isinstance(version, bool))):
            raise NotTaken(422, "REQUEST.VERSION", "`version` must be a whole number: the one that is meant.")
        if not isinstance(keys, dict):
            raise NotTaken(422, "REQUEST.SET", "`set` must be an object with keys of a sidecar.")
        arguments = {"ids": [job_id_of(request)], "by": name_of(request), "prompt": prompt, "set": keys}
        if version is not None:
            arguments["versions"] = {job_id_of(request): version}
        if (key := key_of(request)) is not None:
            arguments["key"] = key
        return await self._done(request, "again", {**arguments, "dry_run": dry, **_why(given)})

    async def attach(self, request: Request) -> Any:
        """Attach a task that was found at the provider."""
        given = await read_json(request, "task_id force why")
        task_id, force = given.get("task_id"), given.get("force", False)
        if not isinstance(task_id, str) or not task_id.strip():
            raise NotTaken(422, "REQUEST.TASK", "`task_id` is missing: the task's id at the provider.")
        if not isinstance(force, bool):
            raise NotTaken(422, "REQUEST.FORCE", "`force` must be true or false.")
        arguments: dict[str, Any] = {"job_id": job_id_of(request), "task_id": task_id.strip()}
        arguments["by"] = name_of(request)
        if force:
            arguments["force"] = True
        return await self._done(request, "attach", arguments | _why(given))

    async def _done(self, request: Request, act: str, arguments: dict[str, Any]) -> Any:
        answers, why = await run_in_threadpool(self._daemon.order, act, arguments, arguments["by"])
        if why:
            status, code = (404, "JOB.UNKNOWN") if why == _NO_JOB else (409, "JOB.REFUSED")
            raise NotTaken(status, code, sentences(f"Not done: {why}"))
        return {"id": job_id_of(request), **(answers[0] if answers else {"done": True})}


async def _given(request: Request, known: str) -> dict[str, Any]:
    """Read a body that may be left out."""
    return await read_json(request, known) if int(request.headers.get("content-length", "0")) else {}


def _why(given: dict[str, Any]) -> dict[str, str]:
    why = given.get("why", "")
    if not isinstance(why, str) or len(why) > _WHY_MAX:
        raise NotTaken(422, "REQUEST.WHY", f"`why` must be a text of at most {_WHY_MAX} letters.")
    return {"why": why} if why else {}
