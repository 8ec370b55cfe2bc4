"""Hosts: `servers` holds who they are and when they were last heard, `server_capabilities` what they offered when.

`servers.status`, `last_seen` and `host_draining` are written by the processor (registration inserts). What a host
announces (`features`, `announced_address`) comes with its registration and its heartbeats; the rest is an operator's
wish, written by the API.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base, Identifier, Timestamps, one_of
from manman.domain.hosts import Capabilities
from manman.domain.ports import PortRange


class Server(Timestamps, Base):
    """A host, known by its name. `public_address`, `port_ranges` and `draining` are what an operator wants."""

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
    announced_address: Mapped[str | None]
    host_draining: Mapped[bool] = mapped_column(server_default=text("false"))
    public_address: Mapped[str | None]
    port_ranges: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'"))
    draining: Mapped[bool] = mapped_column(server_default=text("false"))

    @property
    def address(self) -> str:
        """Where players connect to: an operator's word, else the host's, else nothing."""
        return self.public_address or self.announced_address or ""

    @property
    def ranges(self) -> list[PortRange]:
        """The ranges that an operator set."""
        return [PortRange(**span) for span in self.port_ranges]


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

    @property
    def offer(self) -> Capabilities:
        """What was offered, as the domain reads it."""
        return Capabilities(
            total_memory_mb=self.total_memory_mb,
            available_memory_mb=self.available_memory_mb,
            cpu_cores=self.cpu_cores,
            available_cpu_millicores=self.available_cpu_millicores,
            docker_version=self.docker_version or "",
            available_ports=tuple(PortRange(**span) for span in self.available_ports),
        )
