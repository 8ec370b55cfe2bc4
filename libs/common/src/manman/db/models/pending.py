"""Work that a committed change left to do.

Messages to publish (`outbox`), and what is to be deleted elsewhere because its row is gone: objects in the store
(`s3_deletions`) and log streams on the broker (`log_stream_deletions`). Triggers write the deletions.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations
from uuid import UUID  # noqa: TC003 - the same

from sqlalchemy import BigInteger, CheckConstraint, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base, CreatedAt, Identifier

UNPUBLISHED = "published_at IS NULL AND failed_at IS NULL"
SETTLED = "published_at IS NOT NULL OR failed_at IS NOT NULL"


class Outbox(CreatedAt, Base):
    """A message that was decided in the same transaction; the relay publishes it and marks it.

    `mandatory` messages are commands: without a queue to take them they fail, and so they do once `expires_at` is past.
    `session_id` names the session that it is about. `replay_of` is the message id of a dead letter that is sent again:
    it goes out under that id, and the row's own id tells this replay from others. `position` is the place of a
    published event in the event log (`manman.db.event_log`). `trace` is the span that it comes from
    (`manman.tracing`).

    No index keeps the random message ids, by which nobody looks: it would be the dearest of all.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint("published_at IS NULL OR failed_at IS NULL", name="one_outcome"),
        Index("ix_outbox_unpublished", "id", postgresql_where=text(UNPUBLISHED)),
        Index("ix_outbox_settled", text("coalesce(published_at, failed_at)"), postgresql_where=text(SETTLED)),
        Index("ix_outbox_position", "position", unique=True, postgresql_where=text("position IS NOT NULL")),
    )

    id: Mapped[Identifier]
    message_id: Mapped[UUID] = mapped_column(server_default=func.gen_random_uuid())
    exchange: Mapped[str] = mapped_column(String(255))
    routing_key: Mapped[str] = mapped_column(String(255))
    body: Mapped[bytes]
    mandatory: Mapped[bool] = mapped_column(server_default=text("false"))
    expires_at: Mapped[datetime | None]
    session_id: Mapped[int | None] = mapped_column(BigInteger)
    replay_of: Mapped[str | None] = mapped_column(String(255))
    position: Mapped[int | None] = mapped_column(BigInteger)
    trace: Mapped[str | None]
    published_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    error: Mapped[str | None]


class EventSequence(Base):
    """How many events there have been about a deployment's sessions: the number of the newest.

    It outlives the deployment, whose last events may be written after its own row is gone.
    """

    __tablename__ = "event_sequences"

    sgc_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    newest: Mapped[int] = mapped_column(BigInteger)


class S3Deletion(CreatedAt, Base):
    """An object whose row is gone; it is deleted from the store once `due_at` is past, and then so is this row."""

    __tablename__ = "s3_deletions"

    deletion_id: Mapped[Identifier]
    key: Mapped[str]
    due_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    error: Mapped[str | None]


class LogStreamDeletion(CreatedAt, Base):
    """A session that was deleted while its log stream was still kept; this row goes when the stream is deleted."""

    __tablename__ = "log_stream_deletions"

    session_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
