"""Hosts: `servers` holds who they are and when they were last heard, `server_capabilities` what they offered when.

`servers.status` and `last_seen` are written by the processor (registration inserts); the rest by the API.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base, Identifier, Timestamps, one_of


class Server(Timestamps, Base):
    """A host, known by its name. `features` and `public_address` are what it announced last."""

    __tablename__ = "servers"
    __table_args__ = (
        CheckConstraint(one_of("status", ("online", "offline")), name="status"),
        Index(None, "status"),
        Index(None, "last_seen"),
        Index("ix_servers_environment", "environment", postgresql_where=text("environment IS NOT NULL")),
        Index("uq_servers_one_default", "is_default", unique=True, postgresql_where=text("is_default")),
    )

    server_id: Mapped[Identifier]
    name: Mapped[str] = mapped_column(String(255), unique=True)
    status: Mapped[str] = mapped_column(String(50), server_default="offline")
    last_seen: Mapped[datetime | None]
    status_since: Mapped[datetime | None]
    environment: Mapped[str | None] = mapped_column(String(100))
    is_default: Mapped[bool] = mapped_column(server_default=text("false"))
    features: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    public_address: Mapped[str | None]
    draining: Mapped[bool] = mapped_column(server_default=text("false"))


class ServerCapability(Base):
    """What a host offered at `recorded_at`; only the newest rows of a host are kept."""

    __tablename__ = "server_capabilities"
    __table_args__ = (Index("ix_server_capabilities_newest", "server_id", text("recorded_at DESC")),)

    capability_id: Mapped[Identifier]
    server_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("servers.server_id", ondelete="CASCADE"))
    total_memory_mb: Mapped[int] = mapped_column(server_default=text("0"))
    available_memory_mb: Mapped[int] = mapped_column(server_default=text("0"))
    cpu_cores: Mapped[int] = mapped_column(server_default=text("0"))
    available_cpu_millicores: Mapped[int] = mapped_column(server_default=text("0"))
    docker_version: Mapped[str | None] = mapped_column(String(50))
    available_ports: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'"))
    recorded_at: Mapped[datetime] = mapped_column(server_default=func.now())
