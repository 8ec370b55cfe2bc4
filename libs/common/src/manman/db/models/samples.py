"""Samples: what games and hosts used, as it came (`span_seconds` is the host's interval), or means of five minutes.

A column `..._peak` is empty in a row as it came, and the highest of the five minutes later. They are written by the
processor's heartbeat handler, put together and removed by its sweep; queries are in `manman.db.samples`.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import REAL
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base
from manman.domain.samples import KEPT_STEP_S

AS_IT_CAME = f"span_seconds < {KEPT_STEP_S}"
PUT_TOGETHER = f"span_seconds = {KEPT_STEP_S}"


class SessionSample(Base):
    """What a session's game used; NULL is not known. See `manman.messages.health.SessionSample`."""

    __tablename__ = "session_samples"
    __table_args__ = (
        CheckConstraint(f"span_seconds BETWEEN 1 AND {KEPT_STEP_S}", name="span_seconds"),
        Index("ix_session_samples_raw", "at", postgresql_where=text(AS_IT_CAME)),
        Index("ix_session_samples_kept", "at", postgresql_where=text(PUT_TOGETHER)),
    )

    session_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("sessions.session_id", ondelete="CASCADE"), primary_key=True
    )
    at: Mapped[datetime] = mapped_column(primary_key=True)
    span_seconds: Mapped[int]
    cpu_cores: Mapped[float | None] = mapped_column(REAL)
    cpu_cores_peak: Mapped[float | None] = mapped_column(REAL)
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    memory_bytes_peak: Mapped[int | None] = mapped_column(BigInteger)
    memory_limit_bytes: Mapped[int | None] = mapped_column(BigInteger)
    received_bytes_per_second: Mapped[float | None] = mapped_column(REAL)
    sent_bytes_per_second: Mapped[float | None] = mapped_column(REAL)
    read_bytes_per_second: Mapped[float | None] = mapped_column(REAL)
    written_bytes_per_second: Mapped[float | None] = mapped_column(REAL)
    players: Mapped[float | None] = mapped_column(REAL)
    players_peak: Mapped[int | None]
    players_max: Mapped[int | None]


class ServerSample(Base):
    """What a host used altogether; NULL is not known. See `manman.messages.health.HostSample`."""

    __tablename__ = "server_samples"
    __table_args__ = (
        CheckConstraint(f"span_seconds BETWEEN 1 AND {KEPT_STEP_S}", name="span_seconds"),
        Index("ix_server_samples_raw", "at", postgresql_where=text(AS_IT_CAME)),
        Index("ix_server_samples_kept", "at", postgresql_where=text(PUT_TOGETHER)),
    )

    server_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("servers.server_id", ondelete="CASCADE"), primary_key=True
    )
    at: Mapped[datetime] = mapped_column(primary_key=True)
    span_seconds: Mapped[int]
    cpu_cores: Mapped[float | None] = mapped_column(REAL)
    cpu_cores_peak: Mapped[float | None] = mapped_column(REAL)
    cpu_count: Mapped[int | None]
    load: Mapped[float | None] = mapped_column(REAL)
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    memory_bytes_peak: Mapped[int | None] = mapped_column(BigInteger)
    memory_total_bytes: Mapped[int | None] = mapped_column(BigInteger)
    disk_bytes: Mapped[int | None] = mapped_column(BigInteger)
    disk_total_bytes: Mapped[int | None] = mapped_column(BigInteger)
    received_bytes_per_second: Mapped[float | None] = mapped_column(REAL)
    sent_bytes_per_second: Mapped[float | None] = mapped_column(REAL)
