"""The first schema: clips, jobs, tasks, events, facts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "clips",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("sidecar", sa.LargeBinary(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("mtime_ns", sa.Integer(), nullable=False),
        sa.Column("accepted_at", sa.Float(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("media", sa.Text(), nullable=False),
        sa.Column("lies_at", sa.LargeBinary(), nullable=True),
        sa.Column("sidecar_lies_at", sa.LargeBinary(), nullable=True),
        sa.Column("retired_at", sa.Float(), nullable=True),
        sa.Column("retire_due", sa.Float(), nullable=True),
        sa.Column("retire_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("clips_by_content", "clips", ["sha256"], unique=False)
    op.create_index(
        "clips_to_retire",
        "clips",
        ["retire_due"],
        unique=False,
        sqlite_where=sa.text("retire_due IS NOT NULL"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("clip_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=True),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("events_by_clip", "events", ["clip_id", "id"], unique=False)
    op.create_index("events_by_job", "events", ["job_id", "id"], unique=False)
    op.create_table(
        "facts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("clip_id", sa.Text(), nullable=False),
        sa.Column("inbox", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("held", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("prepared", sa.Boolean(), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("cancel_by", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("doubts", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("rendering_since", sa.Float(), nullable=True),
        sa.Column("task_number", sa.Integer(), nullable=True),
        sa.Column("credits_estimated", sa.Float(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("results", sa.Text(), nullable=False),
        sa.Column("paid", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["clip_id"],
            ["clips.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("jobs_by_age", "jobs", ["created_at"], unique=False)
    op.create_index("jobs_by_clip", "jobs", ["clip_id"], unique=False)
    op.create_index("jobs_due", "jobs", ["state", "due_at"], unique=False)
    op.create_index(
        "jobs_in_queue",
        "jobs",
        ["inbox", sa.literal_column("priority DESC"), "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued' AND held IS NULL"),
    )
    op.create_table(
        "tasks",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("segment", sa.Integer(), server_default="0", nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("intent_at", sa.Float(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=True),
        sa.Column("credits", sa.Float(), nullable=True),
        sa.Column("credits_reserved", sa.Float(), nullable=True),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["jobs.id"],
        ),
        sa.PrimaryKeyConstraint("job_id", "number", "segment"),
    )
    op.create_index("tasks_by_intent", "tasks", ["intent_at"], unique=False)
