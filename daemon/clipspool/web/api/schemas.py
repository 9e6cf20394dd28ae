"""The JSON schemas of what is answered: the same jobs, quotes and statuses as the command line's `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clipspool.jobs.model import Paid, State

Schema = Mapping[str, Any]


def fields(required: str, **properties: Any) -> dict[str, Any]:
    """Return an object's schema; `required` names those of its properties that are always there."""
    return {"type": "object", "required": required.split(), "properties": properties}


def maybe(schema: Schema) -> dict[str, Any]:
    """Return the schema of a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def listed(schema: Schema) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def ref(name: str) -> dict[str, Any]:
    """Return a reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


TEXT: Schema = {"type": "string"}
TRUTH: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FREE: Schema = {"type": "object"}
TIME: Schema = {"type": "string", "format": "date-time"}
_STATE: Schema = {
    "type": "string",
    "enum": [state.value for state in State],
    "description": "`delivered`, `failed` and `cancelled` are its ends.",
}
_JOB = fields(
    "id inbox clip variant state held reason task_id attempts progress request credits_estimated created_at "
    "updated_at results error paid",
    id=TEXT,
    inbox=TEXT,
    clip={**TEXT, "description": "Its path in the inbox."},
    variant={**TEXT, "description": "`v1`, `v2`, …; empty without variants."},
    version={"type": "integer", "minimum": 1, "description": "Which one of the clip's versions."},
    chosen={**TRUTH, "description": "Whether its results are marked as those to use."},
    state=_STATE,
    held=maybe({**TEXT, "description": "Why it waits, in a word."}),
    reason={**TEXT, "description": "Why it waits, in a sentence."},
    task_id=maybe(TEXT),
    maybe_task_ids=listed(TEXT),
    attempts=COUNT,
    progress=maybe(
        {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "How far the provider has come, or what `doing` says.",
        }
    ),
    doing=maybe({**TEXT, "description": "What clipspool does to it now, where that takes a while."}),
    rendering_since=maybe(TIME),
    request=FREE,
    instead_of=maybe({**TEXT, "description": "The model that was asked for, where a fallback is used."}),
    node=maybe({**TEXT, "description": "In a farm, the machine that has it."}),
    preset=maybe({**TEXT, "description": "The preset that its request was made with."}),
    credits_estimated=maybe(NUMBER),
    credits=maybe(NUMBER),
    paid={"type": "string", "enum": [paid.value for paid in Paid]},
    reused_from=maybe(TEXT),
    created_at=TIME,
    updated_at=TIME,
    results=listed(
        fields(
            "name size sha256",
            name=TEXT,
            size=COUNT,
            sha256=TEXT,
            seconds=NUMBER,
            frames=COUNT,
            frames_per_second=NUMBER,
        )
    ),
    missing=listed(FREE),
    part=maybe({"type": "integer", "minimum": 1, "description": "Which part of a split clip it is."}),
    part_of=maybe({**TEXT, "description": "The job that it is a part of."}),
    parts=listed(
        fields(
            "id number first_frame frames overlap_frames state held reason task_id attempts progress paid",
            id={**TEXT, "description": "Of the part's own job: retry or attach it by this."},
            number={"type": "integer", "minimum": 1},
            first_frame={**COUNT, "description": "In the clip, at its constant rate."},
            frames=COUNT,
            overlap_frames={**COUNT, "description": "Of these frames, those shared with the part before."},
            sent_size=maybe({**COUNT, "description": "Bytes of what was made of it and sent."}),
            sent_sha256=maybe(TEXT),
            state=_STATE,
            held=maybe(TEXT),
            reason=TEXT,
            task_id=maybe(TEXT),
            attempts=COUNT,
            progress=maybe(NUMBER),
            credits_estimated=maybe(NUMBER),
            credits=maybe(NUMBER),
            paid={"type": "string", "enum": [paid.value for paid in Paid]},
            error=maybe(fields("code message", code=TEXT, message=TEXT)),
        )
    ),
    error=maybe(fields("code message retryable", code=TEXT, message=TEXT, what_to_do=TEXT, retryable=TRUTH)),
)
_ABOUT = {
    "type": "object",
    "allOf": [
        ref("Job"),
        fields(
            "media submitted_at evidence history",
            media=FREE,
            submitted_at=maybe(TIME),
            evidence=FREE,
            history=listed(
                fields("at event", at=TIME, event=TEXT, **{"from": maybe(TEXT)}, to=maybe(TEXT), facts=FREE)
            ),
        ),
    ],
}
_PROBLEM = fields(
    "message",
    message={**TEXT, "description": "One sentence: where, what, and what would be right."},
    key=TEXT,
    line=maybe(COUNT),
)
SCHEMAS: Mapping[str, Schema] = {
    "Job": _JOB,
    "JobWithHistory": _ABOUT,
    "Jobs": fields(
        "jobs before is_partial",
        jobs=listed(ref("Job")),
        before=maybe({**TEXT, "description": "Send it as `before` for the next page; null on the last."}),
        is_partial={
            **TRUTH,
            "description": "The search stopped early: the page may be short, go on with `before`.",
        },
    ),
    "Done": fields(
        "id done",
        id=TEXT,
        done=TRUTH,
        state=TEXT,
        request={**FREE, "description": "Of `again`: what is sent."},
        new=maybe({**TEXT, "description": "Of `again`: the id of the new job; null for a dry run."}),
        version={"type": "integer", "minimum": 1},
        credits_estimated=maybe(NUMBER),
        held={**TEXT, "description": "What holds the new job, or would hold it, in a word."},
        reason={**TEXT, "description": "Why that is, in a sentence."},
        why={**TEXT, "description": "Why it was not done."},
    ),
    "Problem": _PROBLEM,
    "Event": fields(
        "id inbox clip state held progress part",
        id={**TEXT, "description": "Of the job."},
        inbox=TEXT,
        clip=TEXT,
        state=_STATE,
        held=maybe(TEXT),
        progress=maybe(NUMBER),
        part=maybe({"type": "integer", "minimum": 1, "description": "Which part of a split clip it is."}),
    ),
    "Presets": fields(
        "presets",
        presets=listed(
            fields(
                "name keys problem",
                name={**TEXT, "description": "For `preset` in a sidecar."},
                keys={**FREE, "description": "The keys of a sidecar that it stands for."},
                **{"from": {"type": "string", "enum": ["inbox", "configuration"]}},
                picture=maybe({**TEXT, "description": "The path of a sample in the inbox."}),
                problem={**TEXT, "description": "Why it cannot be used; empty where it can."},
            )
        ),
    ),
    "Quote": fields(
        "problems jobs credits media held reason credits_left_today",
        problems=listed(ref("Problem")),
        jobs=listed(
            fields(
                "variant request credits changes",
                variant=TEXT,
                request=FREE,
                credits=maybe(NUMBER),
                changes=listed(TEXT),
            )
        ),
        credits=maybe({**NUMBER, "description": "Of all jobs together; null where it is not known."}),
        media=FREE,
        held=maybe({**TEXT, "description": "What would hold the clip if it were sent now, in a word."}),
        reason={**TEXT, "description": "Why that is, in a sentence."},
        credits_left_today=maybe(
            {**NUMBER, "description": "What may be spent today without an approval; null: no such limit."}
        ),
    ),
    "Upload": fields(
        "id inbox folder name received size state path",
        id=TEXT,
        inbox=TEXT,
        folder=TEXT,
        name=TEXT,
        size=maybe(COUNT),
        received={**COUNT, "description": "Bytes that are here: the offset of the next piece."},
        state={"type": "string", "enum": ["receiving", "placed"]},
        path=maybe({**TEXT, "description": "Where it lies in the inbox."}),
    ),
    "Clip": fields(
        "id inbox path state reason jobs",
        id={**TEXT, "description": "Of its upload."},
        inbox=TEXT,
        path=TEXT,
        state={
            "type": "string",
            "enum": ["waiting", "problem", "accepted"],
            "description": "`problem`: it waits until its editor mends what `reason` says.",
        },
        reason=TEXT,
        jobs=listed(ref("Job")),
        credits_estimated=maybe(
            {**NUMBER, "description": "Of all its jobs; null where it is not known now."}
        ),
    ),
    "Sidecar": fields(
        "path text version",
        path={**TEXT, "description": "The sidecar's path in the inbox."},
        text=TEXT,
        version={**TEXT, "description": "Send it back when saving; empty where there is no sidecar yet."},
    ),
    "Account": fields(
        "balance",
        balance=maybe(
            fields(
                "amount unit credits",
                amount=NUMBER,
                unit={**TEXT, "description": "`credits` or `USD`."},
                credits={**NUMBER, "description": "The same in credits, to compare with a price."},
            )
        ),
    ),
    "Models": fields(
        "models",
        models=listed(
            fields(
                "name fields ratios prompt_utf16_max references_max seconds_max credits_per_second",
                name=TEXT,
                fields={**listed(TEXT), "description": "Of the provider's request."},
                ratios=listed(TEXT),
                prompt_utf16_max=COUNT,
                references_max=COUNT,
                keyframes_max=COUNT,
                seconds_max=maybe(NUMBER),
                credits_per_second=maybe(NUMBER),
            )
        ),
    ),
    "Status": fields(
        "daemon provider inboxes jobs spend",
        daemon=FREE,
        provider=fields("blocked reason", blocked=TRUTH, reason=TEXT, until=maybe(TIME)),
        inboxes=listed(
            fields(
                "name state waiting",
                name=TEXT,
                state={**TEXT, "description": "`watching`, `paused`, `offline`, …"},
                reason=TEXT,
                waiting={**listed(FREE), "description": "Files that are not accepted yet: `path`, `reason`."},
            )
        ),
        jobs={**FREE, "description": "How many jobs are in each state."},
        spend=FREE,
    ),
    "Document": FREE,
    "Refusal": fields(
        "error",
        error=fields(
            "code message",
            code=TEXT,
            message={**TEXT, "description": "A sentence for people."},
            received={**COUNT, "description": "Of an upload: how many bytes are here."},
            problems={**listed(ref("Problem")), "description": "Of a clip or sidecar: what is wrong."},
        ),
    ),
}
