"""Jobs know whether they ask for the same as another, and whose result serves them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("fingerprint", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("reuse", sa.Text(), nullable=True))
    op.create_index(
        "jobs_by_fingerprint",
        "jobs",
        ["fingerprint"],
        unique=False,
        sqlite_where=sa.text("fingerprint IS NOT NULL"),
    )
