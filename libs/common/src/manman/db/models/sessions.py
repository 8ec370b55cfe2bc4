"""Sessions: one run of a deployment each, and what becomes of a deployment whose session ended by itself.

`status`, the times and everything a host reports, crash records too, are written by `manman.db.transitions` only;
`parameters`, `deadline_at`, `stop_requested_*` and `restart_*` by the API. At most one session of a deployment is live:
the schema says so too.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations
from typing import Any
from uuid import UUID  # noqa: TC003 - the same

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base, CreatedAt, Identifier, Timestamps, one_of
from manman.domain.restarts import RestartState
from manman.domain.sessions import LIVE, Status

_LIVE = tuple(status for status in Status if status in LIVE)


class Session(Timestamps, Base):
    """A run of a deployment. `phase`, `progress_percent` and `status_message` describe what is going on right now."""

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint(one_of("status", Status), name="status"),
        CheckConstraint(f"({one_of('status', _LIVE)}) = (ended_at IS NULL)", name="ended_at"),
        CheckConstraint("progress_percent BETWEEN 0 AND 100", name="progress_percent"),
        CheckConstraint("restart_attempt >= 0", name="restart_attempt"),
        Index("uq_sessions_one_live", "sgc_id", unique=True, postgresql_where=text(one_of("status", _LIVE))),
        Index("ix_sessions_sgc_id_session_id", "sgc_id", text("session_id DESC")),
        Index("ix_sessions_status_last_event_at", "status", "last_event_at"),
        Index(None, "started_at"),
        Index(
            "ix_sessions_restored_from",
            "restored_from_backup_id",
            postgresql_where=text("restored_from_backup_id IS NOT NULL"),
        ),
    )

    session_id: Mapped[Identifier]
    sgc_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("server_game_configs.sgc_id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(50), server_default="pending")
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    exit_code: Mapped[int | None]
    parameters: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'"))
    deadline_at: Mapped[datetime | None]
    restored_from_backup_id: Mapped[int | None] = mapped_column(
        BigInteger,
        ForeignKey("backups.backup_id", ondelete="SET NULL", use_alter=True, name="fk_sessions_restored_from"),
    )
    status_reason: Mapped[str | None] = mapped_column(String(100))
    status_message: Mapped[str | None] = mapped_column(String(2000))
    last_event_at: Mapped[datetime | None]
    stop_requested_at: Mapped[datetime | None]
    stop_requested_by: Mapped[str | None] = mapped_column(String(200))
    forced_stop_at: Mapped[datetime | None]
    lost_at: Mapped[datetime | None]
    lost_reason: Mapped[str | None] = mapped_column(String(100))
    recovered_at: Mapped[datetime | None]
    host_boot_id: Mapped[UUID | None]
    last_seq: Mapped[int | None] = mapped_column(BigInteger)
    exit_signal: Mapped[int | None]
    oom_killed: Mapped[bool] = mapped_column(server_default=text("false"))
    container_id: Mapped[str | None] = mapped_column(String(100))
    image_digest: Mapped[str | None] = mapped_column(String(200))
    phase: Mapped[str | None] = mapped_column(String(100))
    progress_percent: Mapped[int] = mapped_column(server_default=text("0"))
    restart_of_session_id: Mapped[int | None] = mapped_column(BigInteger)
    restart_attempt: Mapped[int] = mapped_column(server_default=text("0"))
    log_stream_deleted_at: Mapped[datetime | None]


class SessionCrashRecord(CreatedAt, Base):
    """The last lines of a session that crashed: timestamp (ms), source, message and truncated of each."""

    __tablename__ = "session_crash_records"

    session_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("sessions.session_id", ondelete="CASCADE"), primary_key=True
    )
    lines: Mapped[list[dict[str, Any]]]


class DeploymentRestart(Timestamps, Base):
    """What was decided about the end of `session_id`, the last session of a deployment; gone when the next one starts.

    `attempt` and the limits are those of the decision: which restart in a row it is, out of how many in which window.
    """

    __tablename__ = "deployment_restarts"
    __table_args__ = (
        CheckConstraint(one_of("state", RestartState), name="state"),
        CheckConstraint("state <> 'waiting' OR due_at IS NOT NULL", name="due_at"),
        Index("ix_deployment_restarts_due_at", "due_at", postgresql_where=text("state = 'waiting'")),
    )

    sgc_id: Mapped[int] = mapped_column(
        BigInteger,
        ForeignKey("server_game_configs.sgc_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
    session_id: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int]
    max_attempts: Mapped[int]
    window_seconds: Mapped[int]
    due_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(String(2000), server_default="")
