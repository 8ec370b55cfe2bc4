"""What Alembic runs for each command: it works on the connection that `app` made, in one transaction."""

from __future__ import annotations

from alembic import context

from manman.db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
