"""The whole schema. Until the first release this is the only revision, and it is amended in place.

The statements are in `initial/*.sql`, one file per noun, executed in the order of their names.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INITIAL = files("manman_migration") / "initial"


def upgrade() -> None:
    """Make every table, index and trigger."""
    for path in sorted(INITIAL.iterdir(), key=lambda path: path.name):
        if path.name.endswith(".sql") and path.name != "drop.sql":
            _execute(path.read_text("utf-8"))


def downgrade() -> None:
    """Drop everything, data included."""
    _execute((INITIAL / "drop.sql").read_text("utf-8"))


def _execute(statements: str) -> None:
    # straight to the driver: it takes many statements at once and reads no placeholders when there are no arguments
    connection = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101 - alembic runs connected; this is for the type checker
    connection.execute(statements)
