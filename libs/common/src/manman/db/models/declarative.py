"""What every table shares: one metadata with named constraints, and the few column types the schema uses.

Constraint names matter: `manman.db.problems` turns a violation into an error of the family by its name. Times are
`timestamptz`. `updated_at` is kept by a trigger (see `UPDATED_TABLES`), so a loaded row shows it as of its load.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Identity, Integer, LargeBinary, MetaData, Text, Uuid, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

if TYPE_CHECKING:
    from collections.abc import Iterable

JsonObject = dict[str, Any]
Identifier = Annotated[int, mapped_column(BigInteger, Identity(always=False), primary_key=True)]

NAMING = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}


class Base(DeclarativeBase):
    """Root of the mapped classes. A mapped class is the row; nothing is loaded lazily."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text(),
        int: Integer(),
        bytes: LargeBinary(),
        UUID: Uuid(),
        datetime: DateTime(timezone=True),
        JsonObject: JSONB(),
        list[dict[str, Any]]: JSONB(),
        dict[str, str]: JSONB(),
        list[str]: ARRAY(Text()),
    }


class CreatedAt:
    """Mixin: when the row was inserted, by the database's clock."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=900)


class Timestamps(CreatedAt):
    """Mixin: when the row was inserted and last changed, by the database's clock."""

    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=901)


def updated_tables() -> list[str]:
    """Return the tables whose `updated_at` the trigger keeps, in order of their names."""
    return sorted(table.name for table in Base.metadata.tables.values() if "updated_at" in table.columns)


def one_of(column: str, values: Iterable[str]) -> str:
    """Return the SQL text of a CHECK that allows exactly `values`."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"
