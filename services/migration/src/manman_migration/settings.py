"""The settings of the migration program."""

from __future__ import annotations

from pydantic import Field

from manman.settings import DatabaseSettings


class Settings(DatabaseSettings):
    """The database, and how patient to be with it."""

    migration_wait_seconds: float = Field(
        default=60.0, ge=0, description="how long to wait for the database to answer, and for another migration to end"
    )
    migration_lock_timeout_seconds: float = Field(
        default=10.0, gt=0, description="how long one statement may wait for a table that others use"
    )
