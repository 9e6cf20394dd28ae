"""Shows and saves the sidecar of a clip that waits, so that a mistake is mended where it is shown."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

import structlog
from starlette.requests import Request

from clipspool.intake.names import TOML, Names
from clipspool.intake.pair import Entry, companion_of
from clipspool.intake.sidecar.parse import BYTES_MAX, decode
from clipspool.jobs.quote import Quote
from clipspool.jobs.text import text
from clipspool.system.atomic import NotRegular, Rel, join, name_of, parent
from clipspool.system.redaction import readable
from clipspool.web.api.films import Films, problem_json
from clipspool.web.api.operations import read_json
from clipspool.web.cache import DaemonState
from clipspool.web.security import name_of as name_of_caller
from clipspool.web.threads import LOOK_SECONDS
from clipspool.web.upload_rules import NotTaken

log = structlog.get_logger()

_SHOWN_BYTES = 4 * BYTES_MAX
"""Enough of a sidecar that is too large for an editor to see that it is."""
_EXAMPLE = 'prompt = "Turn the street into deep winter at dusk"\n'


class SidecarRoutes:
    """Answers the addresses of sidecars and models."""

    def __init__(self, films: Films, snapshot: DaemonState) -> None:
        self._films, self._snapshot = films, snapshot

    def models(self, _request: Request) -> dict[str, Any]:
        """Return the models of the catalogue."""
        return {"models": [dict(one) for one in self._films.doors.models()]}

    async def look(self, request: Request) -> Any:
        """Return the sidecar of a clip that waits; an example where it has none."""
        inbox, path = request.query_params.get("inbox", ""), request.query_params.get("path", "")
        return await self._films.in_thread(inbox, self.sidecar, inbox, path, seconds=LOOK_SECONDS)

    def sidecar(self, inbox: str, path: str) -> dict[str, Any]:
        """Return the sidecar's path, text and version; raises NotTaken where no such clip waits."""
        at, data = self._found(inbox, self._waiting(inbox, path))
        shown = _EXAMPLE if data is None else decode(data)
        version = "" if data is None else _version(data)
        return {"path": text(at), "text": shown if isinstance(shown, str) else "", "version": version}

    async def save(self, request: Request) -> Any:
        """Save a sidecar, unless it still has a problem or somebody else saved it meanwhile."""
        given = await read_json(request, "inbox path text version")
        asked = [given.get(name, "") for name in ("inbox", "path", "text", "version")]
        if not all(isinstance(one, str) for one in asked):
            raise NotTaken(422, "REQUEST.TEXT", "`inbox`, `path`, `text` and `version` must be texts.")
        return await self._films.in_thread(asked[0], self.write, *asked, name_of_caller(request))

    def write(self, inbox: str, path: str, wanted: str, version: str, by: str) -> dict[str, Any]:
        """Save a sidecar; raises NotTaken."""
        clip = self._waiting(inbox, path)
        at, before = self._found(inbox, clip)
        changed = NotTaken(409, "SIDECAR.CHANGED", "The sidecar was changed meanwhile: look at it again.")
        if version != ("" if before is None else _version(before)):
            raise changed
        data = wanted.replace("\r\n", "\n").encode("utf-8", "replace")
        if len(data) > BYTES_MAX:
            raise NotTaken(413, "SIDECAR.SIZE", f"A sidecar has at most {BYTES_MAX >> 10} KiB.")
        quote = self._quote(inbox, clip, at, data)
        if quote.problems:
            problems = [problem_json(problem) for problem in quote.problems]
            why = "; ".join(one["message"] for one in problems[:3])
            raise NotTaken(422, "SIDECAR.PROBLEM", f"It is not saved: {why}", problems=problems)
        root = self._films.uploads.root(inbox)
        accepted = NotTaken(
            409, "CLIP.ACCEPTED", "The clip was accepted meanwhile, with the sidecar as it was: not saved."
        )
        if not root.exists(clip):  # the clip was read for its quote, and that took its time
            raise accepted
        try:
            if before is not None and root.head(at, _SHOWN_BYTES) != before:
                raise changed
            (root.create if before is None else root.replace)(at, data)
        except FileExistsError:
            raise changed from None
        except FileNotFoundError:
            raise accepted from None
        if not root.exists(clip):
            # Left alone it would be taken for the sidecar of the next clip of that name.
            with suppress(FileNotFoundError, NotRegular, ValueError):
                if root.read(at, BYTES_MAX) == data:
                    root.remove(at)
            raise accepted
        log.info("sidecar_saved", inbox=inbox, path=at, by=by)
        return {"path": text(at), "text": wanted, "version": _version(data)}

    def _quote(self, inbox: str, clip: Rel, at: Rel, data: bytes) -> Quote:
        quote = self._films.doors.quote
        try:
            with self._films.uploads.root(inbox).open(clip) as file:
                return quote(inbox, clip, data, file, (), at)
        except FileNotFoundError:
            raise NotTaken(404, "CLIP.UNKNOWN", "The clip does not lie in the inbox any more.") from None

    def _waiting(self, inbox: str, path: str) -> Rel:
        """Return the path of a clip that waits in an inbox: no other file is shown or written."""
        self._films.uploads.root(inbox)
        names = Names(self._films.doors.rules()[inbox].extensions)
        for one in self._snapshot.get().status["inboxes"]:
            if (
                one["name"] == inbox
                and any(w["path"] == path for w in one["waiting"])
                and names.is_clip(path)
            ):
                return path
        raise NotTaken(404, "CLIP.UNKNOWN", f"No clip {readable(path)[:200]!a} waits in the inbox {inbox}.")

    def _found(self, inbox: str, clip: Rel) -> tuple[Rel, bytes | None]:
        """Return the sidecar, or the prompt, that is used for a clip, and its bytes; None without one."""
        root, names = self._films.uploads.root(inbox), Names(self._films.doors.rules()[inbox].extensions)
        folder, name = parent(clip), name_of(clip)
        beside = [one for one in root.names(folder) if names.base(one) == names.base(name)]
        used = companion_of(name, [Entry(one, names.kind(one, folder)) for one in {name, *beside}])
        if used is None:
            return f"{clip}{TOML}", None
        return join(folder, used), root.head(join(folder, used), _SHOWN_BYTES)


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
