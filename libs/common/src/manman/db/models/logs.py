"""Archived log lines: one `log_references` row per object in the store, and the archiver's place in each stream."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base, CreatedAt, Identifier, one_of


class LogReference(CreatedAt, Base):
    """An object with log lines of one session: the archiver's (by minute) or a client's batch (by `batch_id`)."""

    __tablename__ = "log_references"
    __table_args__ = (
        CheckConstraint(one_of("state", ("pending", "complete")), name="state"),
        Index(None, "session_id", "start_time"),
        Index("ix_log_references_sgc_minute", "sgc_id", text("minute_timestamp DESC")),
        Index("ix_log_references_pending", "log_id", postgresql_where=text("state = 'pending'")),
        Index(
            "uq_log_references_batch",
            "session_id",
            "batch_id",
            unique=True,
            postgresql_where=text("batch_id IS NOT NULL"),
        ),
        Index(
            "uq_log_references_minute",
            "session_id",
            "minute_timestamp",
            unique=True,
            postgresql_where=text("batch_id IS NULL"),
        ),
    )

    log_id: Mapped[Identifier]
    session_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sessions.session_id", ondelete="CASCADE"))
    sgc_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("server_game_configs.sgc_id", ondelete="CASCADE"))
    batch_id: Mapped[str | None]
    file_path: Mapped[str]
    start_time: Mapped[datetime]
    end_time: Mapped[datetime]
    line_count: Mapped[int]
    stdout_lines: Mapped[int] = mapped_column(server_default=text("0"))
    stderr_lines: Mapped[int] = mapped_column(server_default=text("0"))
    host_lines: Mapped[int] = mapped_column(server_default=text("0"))
    source: Mapped[str] = mapped_column(String(20))
    minute_timestamp: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(20), server_default="complete")
    appended_at: Mapped[datetime | None]


class LogCursor(Base):
    """How far a session's stream is archived: the last offset stored; -1 means nothing yet."""

    __tablename__ = "log_cursors"

    session_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("sessions.session_id", ondelete="CASCADE"), primary_key=True
    )
    last_offset: Mapped[int] = mapped_column(BigInteger, server_default=text("-1"))
    archived_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished: Mapped[bool] = mapped_column(server_default=text("false"))
