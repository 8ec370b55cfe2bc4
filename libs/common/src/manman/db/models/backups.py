"""Backups of volumes: when they are due (`backup_configs`, `backup_runs`), and each one made (`backups`)."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base, CreatedAt, Identifier, Timestamps, one_of

STATUSES = ("pending", "running", "completed", "failed")


class BackupConfig(Timestamps, Base):
    """A schedule for one volume: every `cadence_minutes`; `backup_path` is relative to the volume, `.` is all of it.

    `keep_last` and `max_age_days` bound what is kept; NULL keeps everything.
    """

    __tablename__ = "backup_configs"
    __table_args__ = (
        CheckConstraint("cadence_minutes > 0", name="cadence_minutes"),
        CheckConstraint("keep_last > 0 AND max_age_days > 0", name="retention"),
        Index(None, "volume_id"),
    )

    backup_config_id: Mapped[Identifier]
    volume_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("game_config_volumes.volume_id", ondelete="CASCADE"))
    cadence_minutes: Mapped[int]
    backup_path: Mapped[str] = mapped_column(server_default=".")
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    last_backup_at: Mapped[datetime | None]
    keep_last: Mapped[int | None]
    max_age_days: Mapped[int | None]
    deleted_at: Mapped[datetime | None]


class BackupConfigAction(Base):
    """An action that runs before a backup of this schedule."""

    __tablename__ = "backup_config_actions"

    backup_config_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("backup_configs.backup_config_id", ondelete="CASCADE"), primary_key=True
    )
    action_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("action_definitions.action_id", ondelete="CASCADE"), primary_key=True, index=True
    )
    display_order: Mapped[int] = mapped_column(server_default=text("0"))


class BackupRun(Base):
    """When a schedule last ran for a deployment, and how often it has failed since."""

    __tablename__ = "backup_runs"

    backup_config_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("backup_configs.backup_config_id", ondelete="CASCADE"), primary_key=True
    )
    sgc_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("server_game_configs.sgc_id", ondelete="CASCADE"), primary_key=True, index=True
    )
    last_backup_at: Mapped[datetime | None]
    last_attempt_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"))


class Backup(CreatedAt, Base):
    """One archive: `s3_key` is ours and leads, `s3_url` is what clients are shown. `deleted_at`: gone for clients."""

    __tablename__ = "backups"
    __table_args__ = (
        CheckConstraint(one_of("status", STATUSES), name="status"),
        Index(None, "session_id"),
        Index(None, "server_game_config_id"),
        Index(None, "backup_config_id"),
        Index(None, "status"),
        Index("ix_backups_newest", text("created_at DESC")),
    )

    backup_id: Mapped[Identifier]
    session_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sessions.session_id", ondelete="CASCADE"))
    server_game_config_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("server_game_configs.sgc_id", ondelete="CASCADE")
    )
    backup_config_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("backup_configs.backup_config_id", ondelete="SET NULL")
    )
    volume_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("game_config_volumes.volume_id", ondelete="SET NULL")
    )
    s3_url: Mapped[str | None]
    s3_key: Mapped[str | None]
    sha256: Mapped[str | None] = mapped_column(String(64))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(50), server_default="pending")
    error_message: Mapped[str | None]
    description: Mapped[str | None]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
