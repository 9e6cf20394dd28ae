"""All addresses of the JSON interface: routes and `openapi.json` are made from this one list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from starlette.requests import Request

from clipspool.journal import Lookup
from clipspool.web.api.acts import Acts
from clipspool.web.api.clips import ClipRoutes
from clipspool.web.api.films import Films
from clipspool.web.api.jobs import PAGE_MAX, EventStream, JobAnswers
from clipspool.web.api.operations import Operation, Parameter, document
from clipspool.web.api.pieces import PieceRoutes
from clipspool.web.api.schemas import COUNT, SCHEMAS, STATES, TEXT, TRUTH, WHOLE, fields, listed, maybe, said
from clipspool.web.api.sidecars import SidecarRoutes
from clipspool.web.cache import DaemonState
from clipspool.web.context import Right

_JOB = Parameter("job", "The job's id.", place="path")
_NUMBER = Parameter("number", "Which of `results`, from 1.", WHOLE, place="path")
_UPLOAD = Parameter("upload", "The upload's id.", place="path")
_INBOX = Parameter("inbox", "The inbox's name.", is_required=True)
_PATH = Parameter("path", "The clip's path in the inbox.", is_required=True)
_KEY = Parameter(
    "Idempotency-Key",
    "Any text of yours for this request: sent again within 7 days, also after a restart, it gets the same "
    "answer and adds nothing. Each request needs its own. That of a clip counts within its inbox.",
    {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
    place="header",
)
_SIDECAR = (
    "TOML with what should become of the clip: `prompt`, and where wanted `preset`, `model`, `seed`, "
    '`ratio`, `references = ["look.png"]`; a `[[variant]]` for each result of several; `again = true` where '
    "the same is meant once more."
)
_LAST = Parameter(
    "Last-Event-ID", "`id` of the last event that was read: what came since is sent.", place="header"
)
_EVENTS = (
    "`event: job` comes for each change of a job, with an `id` and `data` as in the schema Event. "
    "`event: missed` comes where more happened than is kept, or the daemon was restarted: list the jobs "
    "again. Lines that begin with a colon keep the connection alive."
)
_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}
_CLIP_FORM = fields(
    "folder name sidecar prompt reference upload file",
    inbox=said(TEXT, "Before the file."),
    folder=said(TEXT, "A folder in the inbox, made where it is missing; before the file."),
    name=said(TEXT, "The clip's name, where it is not the file's; before the file."),
    sidecar=said(TEXT, _SIDECAR),
    prompt=said(TEXT, "Instead of a sidecar: the prompt alone."),
    reference=said(listed(_FILE), "Images that the sidecar's `references` names."),
    upload=said(TEXT, "Instead of `file`: the id of an upload that is complete. `folder` moves it."),
    file=said(_FILE, "The clip itself."),
)
_REASON = {**TEXT, "maxLength": 500}


def job_operations(jobs: JobAnswers, events: EventStream) -> list[Operation]:
    """Return the addresses that only look."""
    look = Right.LOOK
    filters = (
        Parameter("state", "Only jobs in these states.", listed(STATES)),
        Parameter("inbox", "Only jobs of this inbox."),
        Parameter("q", "Looked for in clip, prompt, error's code, and ids of job and task."),
        Parameter("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX}),
        Parameter(
            "before", "`before` of the page before.", {"type": "string", "pattern": "^[0-9A-Za-z_-]{1,64}$"}
        ),
    )
    return [
        Operation("GET", "/status", look, "status", "What the daemon does", jobs.status, "Status"),
        Operation(
            "GET", "/jobs", look, "jobs", "Jobs, newest first", jobs.several, "Jobs", parameters=filters,
            refusals=(422,),
        ),
        Operation(
            "GET", "/jobs/{job}", look, "job", "All about one job", jobs.one, "JobWithHistory",
            parameters=(_JOB,), refusals=(404,),
        ),
        Operation(
            "GET", "/jobs/{job}/results/{number}", look, "result", "A result itself, also in parts (Range)",
            jobs.result, parameters=(_JOB, _NUMBER), refusals=(404, 416),
            kind="application/octet-stream, application/zip",
            more="A folder of pictures comes as a ZIP of them, always whole.",
        ),
        Operation(
            "GET", "/balance", Right.ADD, "balance", "What the account has left, where the provider tells it",
            jobs.balance, "Account",
        ),
        Operation(
            "GET", "/presets", look, "presets", "The presets of an inbox", jobs.presets, "Presets",
            parameters=(_INBOX,), refusals=(404,),
        ),
        Operation(
            "GET", "/events", look, "events", "What happens to jobs, as server-sent events", events.answer,
            parameters=(_LAST,), kind="text/event-stream", more=_EVENTS,
        ),
    ]  # fmt: skip


def act_operations(acts: Acts) -> list[Operation]:
    """Return the addresses that decide."""

    def act(
        name: str,
        says: str,
        run: object,
        body: dict[str, Any],
        right: Right = Right.DECIDE,
        parameters: Sequence[Parameter] = (),
    ) -> Operation:
        return Operation(
            "POST", f"/jobs/{{job}}/{name}", right, name, says, run, "Done",  # type: ignore[arg-type]
            parameters=(_JOB, *parameters), body={"application/json": body}, refusals=(404, 409),
            is_body_required=name == "attach",
        )  # fmt: skip

    task = fields(
        "force why",
        task_id={**TEXT, "minLength": 1, "maxLength": 200},
        force=said(TRUTH, "Also where the provider does not know it."),
        why=TEXT,
    )
    why = fields("why", why=said(_REASON, "Kept in the history."))
    change = fields(
        "prompt set version dry_run why",
        prompt=maybe(TEXT),
        set=said({"type": "object"}, "Keys of a sidecar that are to be different; null drops one."),
        version=maybe(
            said(WHOLE, "The version it is to become, as a dry run answered: sent twice, one is made.")
        ),
        dry_run=said(TRUTH, "Only say what it would be, and cost."),
        why=_REASON,
    )
    undo = fields("undo why", undo=said(TRUTH, "Remove the mark."), why=_REASON)
    return [
        act(
            "retry",
            "Run a failed, cancelled or in-doubt job again; this may cost",
            partial(acts.order, act="retry"),
            why,
        ),
        act("cancel", "Cancel a job", partial(acts.order, act="cancel"), why),
        act("approve", "Release a job that is held", partial(acts.order, act="approve"), why),
        act(
            "again",
            "Run a clip once more, changed, as its next version; this costs",
            acts.again,
            change,
            Right.ADD,
            (_KEY,),
        ),
        act("choose", "Mark a delivered job as the one to use", acts.choose, undo, Right.ADD),
        act("attach", "Attach the task of an in-doubt job that was found at the provider", acts.attach, task),
    ]


def clip_operations(films: Films, lookup: Lookup, snapshot: DaemonState) -> list[Operation]:
    """Return the addresses that take clips."""
    add = Right.ADD
    clips, pieces = ClipRoutes(films, lookup, snapshot), PieceRoutes(films, snapshot)
    sidecars = SidecarRoutes(films, snapshot)
    begin = fields("folder", inbox=TEXT, folder=TEXT, name=TEXT, size=WHOLE)
    wish = fields(
        "folder references",
        sidecar=said(TEXT, _SIDECAR),
        folder=TEXT,
        references=said(listed(TEXT), "Names of images."),
    )
    text = fields(inbox=TEXT, path=TEXT, text=TEXT, version=TEXT)
    offset = Parameter("offset", "How many bytes were sent before.", COUNT, is_required=True)
    clip = Parameter("clip", "The clip's id.", place="path")
    return [
        Operation(
            "POST", "/clips", add, "send_clip", "Send a clip with its sidecar", clips.post, "Clip", 201,
            parameters=(_KEY,), body={"multipart/form-data": _CLIP_FORM}, refusals=(404, 409, 507),
            more="With `file` or `upload`. What would wait in the inbox with a problem is refused (422).",
        ),
        Operation(
            "GET", "/clips/{clip}", add, "clip", "What became of a clip", clips.clip, "Clip",
            parameters=(clip,), refusals=(404,),
        ),
        Operation(
            "POST", "/uploads", add, "begin_upload", "Begin to send a clip in pieces", pieces.begin,
            "Upload", 201, body={"application/json": begin}, refusals=(404, 507),
        ),
        Operation(
            "GET", "/uploads/{upload}", add, "upload", "How much has arrived", pieces.look, "Upload",
            parameters=(_UPLOAD,), refusals=(404,),
        ),
        Operation(
            "PUT", "/uploads/{upload}", add, "continue_upload", "Send the next piece", pieces.put, "Upload",
            parameters=(_UPLOAD, offset), body={"application/octet-stream": {}}, refusals=(404, 409, 507),
            more="Of any size. Where the offset is wrong, `received` in the refusal says where to go on.",
        ),
        Operation(
            "DELETE", "/uploads/{upload}", add, "drop_upload", "Cancel an upload", pieces.drop, status=204,
            parameters=(_UPLOAD,), refusals=(404, 409),
        ),
        Operation(
            "POST", "/uploads/{upload}/quote", add, "quote", "What would be sent and what it would cost",
            pieces.quote, "Quote", parameters=(_UPLOAD,), body={"application/json": wish},
            refusals=(404, 409),
        ),
        Operation(
            "GET", "/sidecar", add, "sidecar", "The sidecar of a clip that waits", sidecars.look, "Sidecar",
            parameters=(_INBOX, _PATH), refusals=(404, 422),
        ),
        Operation(
            "PUT", "/sidecar", add, "mend_sidecar", "Save the sidecar of a clip that waits", sidecars.save,
            "Sidecar", body={"application/json": text}, refusals=(404, 409),
        ),
        Operation(
            "GET", "/models", Right.LOOK, "models", "The models, their fields and prices",
            sidecars.models, "Models",
        ),
    ]  # fmt: skip


def document_operation(operations: Sequence[Operation]) -> Operation:
    """Return the address of the document that describes all others."""
    made: list[dict[str, object]] = []

    def show(_request: Request) -> dict[str, object]:
        return made[0]

    own = Operation("GET", "/openapi.json", Right.LOOK, "openapi", "This document", show, "Document")
    made.append(document([*operations, own], SCHEMAS))
    return own
