"""The JSON schemas of what is answered: the same jobs, quotes and statuses as the command line's `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clipspool.jobs.model import Paid, State

Schema = Mapping[str, Any]


def fields(optional: str = "", /, **properties: Any) -> dict[str, Any]:
    """Return an object's schema; `optional` names those of its properties that may be left out."""
    required = [name for name in properties if name not in optional.split()]
    return {"type": "object", "required": required, "properties": properties}


def said(schema: Schema, description: str) -> dict[str, Any]:
    """Return a schema with what it describes in words."""
    return {**schema, "description": description}


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
WHOLE: Schema = {"type": "integer", "minimum": 1}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_PAID: Schema = {"type": "string", "enum": [paid.value for paid in Paid]}
STATES: Schema = {"type": "string", "enum": [state.value for state in State]}
_STATE = said(STATES, "`delivered`, `failed` and `cancelled` are its ends.")
_JOB = fields(
    id=TEXT,
    inbox=TEXT,
    clip=said(TEXT, "Its path in the inbox."),
    variant=said(TEXT, "`v1`, `v2`, …; empty without variants."),
    version=said(WHOLE, "Which one of the clip's versions."),
    chosen=said(TRUTH, "Whether its results are marked as those to use."),
    state=_STATE,
    held=maybe(said(TEXT, "Why it waits, in a word.")),
    reason=said(TEXT, "Why it waits, in a sentence."),
    task_id=maybe(TEXT),
    maybe_task_ids=listed(TEXT),
    attempts=COUNT,
    progress=maybe(said(_SHARE, "How far the provider has come, or what `doing` says.")),
    doing=maybe(said(TEXT, "What clipspool does to it now, where that takes a while.")),
    rendering_since=maybe(TIME),
    request=FREE,
    instead_of=maybe(said(TEXT, "The model that was asked for, where a fallback is used.")),
    node=maybe(said(TEXT, "In a farm, the machine that has it.")),
    preset=maybe(said(TEXT, "The preset that its request was made with.")),
    credits_estimated=maybe(NUMBER),
    credits=maybe(NUMBER),
    paid=_PAID,
    reused_from=maybe(TEXT),
    created_at=TIME,
    updated_at=TIME,
    results=listed(
        fields(
            "seconds frames frames_per_second",
            name=TEXT,
            size=COUNT,
            sha256=TEXT,
            seconds=NUMBER,
            frames=COUNT,
            frames_per_second=NUMBER,
        )
    ),
    missing=listed(FREE),
    part=maybe(said(WHOLE, "Which part of a split clip it is.")),
    part_of=maybe(said(TEXT, "The job that it is a part of.")),
    parts=listed(
        fields(
            id=said(TEXT, "Of the part's own job: retry or attach it by this."),
            number=WHOLE,
            first_frame=said(COUNT, "In the clip, at its constant rate."),
            frames=COUNT,
            overlap_frames=said(COUNT, "Of these frames, those shared with the part before."),
            sent_size=maybe(said(COUNT, "Bytes of what was made of it and sent.")),
            sent_sha256=maybe(TEXT),
            state=_STATE,
            held=maybe(TEXT),
            reason=TEXT,
            task_id=maybe(TEXT),
            attempts=COUNT,
            progress=maybe(NUMBER),
            credits_estimated=maybe(NUMBER),
            credits=maybe(NUMBER),
            paid=_PAID,
            error=maybe(fields(code=TEXT, message=TEXT)),
        )
    ),
    error=maybe(fields(code=TEXT, message=TEXT, what_to_do=TEXT, retryable=TRUTH)),
)
_ABOUT = {
    "type": "object",
    "allOf": [
        ref("Job"),
        fields(
            media=FREE,
            submitted_at=maybe(TIME),
            evidence=FREE,
            history=listed(fields(at=TIME, event=TEXT, **{"from": maybe(TEXT)}, to=maybe(TEXT), facts=FREE)),
        ),
    ],
}
SCHEMAS: Mapping[str, Schema] = {
    "Job": _JOB,
    "JobWithHistory": _ABOUT,
    "Jobs": fields(
        jobs=listed(ref("Job")),
        before=maybe(said(TEXT, "Send it as `before` for the next page; null on the last.")),
        is_partial=said(TRUTH, "The search stopped early: the page may be short, go on with `before`."),
    ),
    "Done": fields(
        "state request new version credits_estimated held reason why",
        id=TEXT,
        done=TRUTH,
        state=TEXT,
        request=said(FREE, "Of `again`: what is sent."),
        new=maybe(said(TEXT, "Of `again`: the id of the new job; null for a dry run.")),
        version=WHOLE,
        credits_estimated=maybe(NUMBER),
        held=said(TEXT, "What holds the new job, or would hold it, in a word."),
        reason=said(TEXT, "Why that is, in a sentence."),
        why=said(TEXT, "Why it was not done."),
    ),
    "Problem": fields(
        message=said(TEXT, "One sentence: where, what, and what would be right."),
        key=TEXT,
        line=maybe(COUNT),
    ),
    "Event": fields(
        id=said(TEXT, "Of the job."),
        inbox=TEXT,
        clip=TEXT,
        state=_STATE,
        held=maybe(TEXT),
        progress=maybe(NUMBER),
        part=maybe(said(WHOLE, "Which part of a split clip it is.")),
    ),
    "Presets": fields(
        presets=listed(
            fields(
                name=said(TEXT, "For `preset` in a sidecar."),
                keys=said(FREE, "The keys of a sidecar that it stands for."),
                **{"from": {"type": "string", "enum": ["inbox", "configuration"]}},
                picture=maybe(said(TEXT, "The path of a sample in the inbox.")),
                problem=said(TEXT, "Why it cannot be used; empty where it can."),
            )
        ),
    ),
    "Quote": fields(
        problems=listed(ref("Problem")),
        jobs=listed(fields(variant=TEXT, request=FREE, credits=maybe(NUMBER), changes=listed(TEXT))),
        credits=maybe(said(NUMBER, "Of all jobs together; null where it is not known.")),
        media=FREE,
        held=maybe(said(TEXT, "What would hold the clip if it were sent now, in a word.")),
        reason=said(TEXT, "Why that is, in a sentence."),
        credits_left_today=maybe(
            said(NUMBER, "What may be spent today without an approval; null: no such limit.")
        ),
    ),
    "Upload": fields(
        id=TEXT,
        inbox=TEXT,
        folder=TEXT,
        name=TEXT,
        size=maybe(COUNT),
        received=said(COUNT, "Bytes that are here: the offset of the next piece."),
        state={"type": "string", "enum": ["receiving", "placed"]},
        path=maybe(said(TEXT, "Where it lies in the inbox.")),
    ),
    "Clip": fields(
        id=said(TEXT, "Of its upload."),
        inbox=TEXT,
        path=TEXT,
        state=said(
            {"type": "string", "enum": ["waiting", "problem", "accepted"]},
            "`problem`: it waits until its editor mends what `reason` says.",
        ),
        reason=TEXT,
        jobs=listed(ref("Job")),
        credits_estimated=maybe(said(NUMBER, "Of all its jobs; null where it is not known now.")),
    ),
    "Sidecar": fields(
        path=said(TEXT, "The sidecar's path in the inbox."),
        text=TEXT,
        version=said(TEXT, "Send it back when saving; empty where there is no sidecar yet."),
    ),
    "Account": fields(
        balance=maybe(
            fields(
                amount=NUMBER,
                unit=said(TEXT, "`credits` or `USD`."),
                credits=said(NUMBER, "The same in credits, to compare with a price."),
            )
        ),
    ),
    "Models": fields(
        models=listed(
            fields(
                name=TEXT,
                fields=said(listed(TEXT), "Of the provider's request."),
                ratios=listed(TEXT),
                prompt_utf16_max=said(COUNT, "As all further fields: as in the catalogue, `models.toml`."),
                references_max=COUNT,
                keyframes_max=COUNT,
                seconds_max=maybe(NUMBER),
                credits_per_second=maybe(NUMBER),
            )
        ),
    ),
    "Status": fields(
        "nodes",
        daemon=FREE,
        provider=fields(
            blocked=TRUTH,
            reason=TEXT,
            until=maybe(TIME),
            models=said(listed(FREE), "Models that are refused for a while: `model`, `reason`, `until`."),
        ),
        journal=fields(restored=said(TRUTH, "An older copy was put back: nothing is sent."), reason=TEXT),
        inboxes=listed(
            fields(
                name=TEXT,
                state=said(TEXT, "`watching`, `paused`, `offline`, …"),
                detect=said(TEXT, "`events` or `rescan`."),
                reason=TEXT,
                hours=maybe(said(FREE, "When it sends, where that is limited.")),
                limits=maybe(said(FREE, "Its own limits, and what is used of them.")),
                waiting=said(
                    listed(FREE), "Files that are not accepted yet: `path`, `reason`, `since`, `problem`."
                ),
                waiting_count=COUNT,
                peers=said(listed(FREE), "Other daemons whose accepted clips lie there."),
            )
        ),
        jobs=said(FREE, "How many jobs are in each state."),
        spend=FREE,
        lanes=said(listed(FREE), "Work that runs now, and the threads for it."),
        nodes=said(listed(FREE), "Of a farm: its machines."),
    ),
    "Document": FREE,
    "Refusal": fields(
        error=fields(
            "received problems",
            code=TEXT,
            message=said(TEXT, "A sentence for people."),
            received=said(COUNT, "Of an upload: how many bytes are here."),
            problems=said(listed(ref("Problem")), "Of a clip or sidecar: what is wrong."),
        ),
    ),
}
