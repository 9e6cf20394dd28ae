"""Alembic's entry: runs on the connection that the journal hands over."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], target_metadata=None, transactional_ddl=True
)
context.run_migrations()
