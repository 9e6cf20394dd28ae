"""The journal's schema as it is now; `migrations/` holds the way here.

A clip asks for jobs, a job is submitted as tasks: three tables, so that one clip may once be cut into several
tasks, and `node` so that several machines may once share a journal, each job owned by one. Events are never
changed or removed. Paths are bytes; times are Unix seconds; structured values are JSON in ASCII.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

clips = Table(
    "clips",
    metadata,
    Column("id", Text, primary_key=True),
    Column("inbox", Text, nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("sidecar", LargeBinary),
    Column("source", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("mtime_ns", Integer, nullable=False),
    Column("accepted_at", Float, nullable=False),
    Column("sha256", Text),
    Column("media", Text, nullable=False),
    Column("lies_at", LargeBinary),
    Column("sidecar_lies_at", LargeBinary),
    Column("retired_at", Float),
    Column("retire_due", Float),
    Column("retire_attempts", Integer, nullable=False, server_default="0"),
)
Index("clips_to_retire", clips.c.retire_due, sqlite_where=clips.c.retire_due.is_not(None))
Index("clips_by_content", clips.c.sha256)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("clip_id", Text, ForeignKey("clips.id"), nullable=False),
    Column("inbox", Text, nullable=False),
    Column("variant", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("held", Text),
    Column("reason", Text, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("prepared", Boolean, nullable=False),
    Column("approved", Boolean, nullable=False),
    Column("cancel_by", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("doubts", Integer, nullable=False),
    Column("progress", Float),
    Column("rendering_since", Float),
    Column("task_number", Integer),
    Column("credits_estimated", Float),
    Column("error", Text),
    Column("results", Text, nullable=False),
    Column("paid", Text, nullable=False),
    Column("fingerprint", Text),
    Column("reuse", Text),
)
Index("jobs_due", jobs.c.state, jobs.c.due_at)
Index(
    "jobs_in_queue",
    jobs.c.inbox,
    jobs.c.priority.desc(),
    jobs.c.created_at,
    jobs.c.id,
    sqlite_where=(jobs.c.state == "queued") & jobs.c.held.is_(None),
)
Index("jobs_by_clip", jobs.c.clip_id)
Index("jobs_by_age", jobs.c.created_at)
Index("jobs_by_fingerprint", jobs.c.fingerprint, sqlite_where=jobs.c.fingerprint.is_not(None))

tasks = Table(
    "tasks",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("segment", Integer, primary_key=True, server_default="0"),
    Column("profile", Text, nullable=False),
    Column("intent_at", Float, nullable=False),
    Column("task_id", Text),
    Column("created_at", Float),
    Column("credits", Float),
    Column("credits_reserved", Float),
    Column("succeeded", Boolean, nullable=False),
    Column("evidence", Text, nullable=False),
)
Index("tasks_by_intent", tasks.c.intent_at)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("clip_id", Text, nullable=False),
    Column("job_id", Text),
    Column("event", Text, nullable=False),
    Column("from_state", Text),
    Column("to_state", Text),
    Column("facts", Text, nullable=False),
)
Index("events_by_job", events.c.job_id, events.c.id)
Index("events_by_clip", events.c.clip_id, events.c.id)

facts = Table(
    "facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
