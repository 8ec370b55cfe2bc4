"""Deployments: a config placed on a host (`server_game_configs`), the ports it holds and its parameter values.

A deployment holds its host ports from the moment it is made until it is deleted; sessions never allocate.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from manman.db.models.declarative import Base, Identifier, Timestamps, one_of
from manman.db.models.run_settings import RunSettings, run_settings_checks
from manman.domain.ports import PortBinding

if TYPE_CHECKING:
    from collections.abc import Mapping


class ServerGameConfig(RunSettings, Timestamps, Base):
    """A config on a host. `port_bindings` is the ordered list of {container_port, host_port, protocol, name}."""

    __tablename__ = "server_game_configs"
    __table_args__ = (
        UniqueConstraint("server_id", "game_config_id"),
        CheckConstraint(one_of("status", ("active", "inactive")), name="status"),
        *run_settings_checks(),
        Index(None, "game_config_id"),
        Index(None, "status"),
    )

    sgc_id: Mapped[Identifier]
    server_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("servers.server_id", ondelete="CASCADE"))
    game_config_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("game_configs.config_id", ondelete="CASCADE"))
    port_bindings: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'"))
    status: Mapped[str] = mapped_column(String(50), server_default="inactive")
    env_overrides: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'"))

    parameter_values: Mapped[list[ServerGameConfigParameterValue]] = relationship(
        lazy="selectin",
        order_by="ServerGameConfigParameterValue.position",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )

    @property
    def ports(self) -> list[PortBinding]:
        """The ports that it holds, in the order asked."""
        return [PortBinding(**binding) for binding in self.port_bindings]

    @property
    def parameters(self) -> dict[str, str]:
        """The deployment's own values, by key, in the order given."""
        return {row.key: row.value for row in self.parameter_values}

    @parameters.setter
    def parameters(self, values: Mapping[str, str]) -> None:
        """Replace them all; rows of keys that stay are kept."""
        present = {row.key: row for row in self.parameter_values}
        rows = []
        for position, (key, value) in enumerate(values.items()):
            row = present.get(key) or ServerGameConfigParameterValue(key=key)
            row.position, row.value = position, value
            rows.append(row)
        self.parameter_values = rows


class ServerGameConfigParameterValue(Base):
    """One value, by key: a deployment may carry keys that its config does not declare."""

    __tablename__ = "server_game_config_parameter_values"
    __table_args__ = (UniqueConstraint("sgc_id", "key"),)

    value_id: Mapped[Identifier]
    sgc_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("server_game_configs.sgc_id", ondelete="CASCADE"))
    param_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("parameter_definitions.param_id", ondelete="SET NULL"), index=True
    )
    key: Mapped[str] = mapped_column(String(100))
    position: Mapped[int] = mapped_column(server_default=text("0"))
    value: Mapped[str] = mapped_column(server_default="")


class ServerPort(Base):
    """A host port that a deployment holds. The primary key makes it exclusive per host and protocol."""

    __tablename__ = "server_ports"
    __table_args__ = (
        CheckConstraint(one_of("protocol", ("TCP", "UDP")), name="protocol"),
        CheckConstraint("port BETWEEN 1 AND 65535", name="port"),
        Index(None, "sgc_id"),
    )

    server_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("servers.server_id", ondelete="CASCADE"), primary_key=True
    )
    port: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    protocol: Mapped[str] = mapped_column(String(10), primary_key=True)
    sgc_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("server_game_configs.sgc_id", ondelete="CASCADE"))
    allocated_at: Mapped[datetime] = mapped_column(server_default=func.now())
