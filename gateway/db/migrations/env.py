"""Alembic's entry: called by gateway.db.migrate with an open connection."""

from alembic import context

from gateway.db import tables  # noqa: F401 fills the metadata
from gateway.db.base import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
