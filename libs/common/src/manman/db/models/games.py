"""Games and how to run them: `games`, `game_configs`, their files, volumes and parameters.

A parameter has a *definition* in its game's catalogue and, per config, a *value row*: its position, its value and
whatever the config says differently from the catalogue (NULL means: as the catalogue says). So two configs of one
game can declare the same key differently and nothing is lost.
"""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from manman.db.models.declarative import Base, CreatedAt, Identifier, JsonObject, Timestamps, one_of
from manman.db.models.run_settings import RunSettings, run_settings_checks
from manman.domain.parameters import TYPES as PARAMETER_TYPES
from manman.domain.parameters import Declared
from manman.domain.readiness import QUERY_KINDS

ValueT = TypeVar("ValueT")


class Game(Timestamps, Base):
    """A game: a name, and free information about it in `metadata_` (column `metadata`)."""

    __tablename__ = "games"
    __table_args__ = (
        Index("ix_games_steam_app_id", "steam_app_id", postgresql_where=text("steam_app_id IS NOT NULL")),
    )

    game_id: Mapped[Identifier]
    name: Mapped[str] = mapped_column(String(255), unique=True)
    steam_app_id: Mapped[str | None] = mapped_column(String(50))
    metadata_: Mapped[JsonObject] = mapped_column("metadata", server_default=text("'{}'"))


class GameConfig(RunSettings, Timestamps, Base):
    """One way to run a game: image, arguments, environment, files, limits, isolation and how it is stopped."""

    __tablename__ = "game_configs"
    __table_args__ = (
        UniqueConstraint("game_id", "name"),
        *run_settings_checks(),
        CheckConstraint(one_of("ready_query_kind", ("", *QUERY_KINDS)), name="ready_query_kind"),
        CheckConstraint("liveness_limit_seconds >= 0", name="liveness_limit"),
    )

    config_id: Mapped[Identifier]
    game_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("games.game_id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    image: Mapped[str] = mapped_column(String(500))
    args_template: Mapped[str | None]
    env_template: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'"))
    entrypoint: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    command: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    ready_pattern: Mapped[str] = mapped_column(server_default="")
    ready_query_kind: Mapped[str] = mapped_column(String(20), server_default="")
    ready_query_port: Mapped[str] = mapped_column(String(50), server_default="")
    liveness_limit_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    read_only_root: Mapped[bool] = mapped_column(server_default=text("false"))
    no_capabilities: Mapped[bool] = mapped_column(server_default=text("false"))
    extra_capabilities: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    with_init: Mapped[bool] = mapped_column(server_default=text("false"))

    files: Mapped[list[GameConfigFile]] = relationship(
        lazy="selectin", order_by="GameConfigFile.position", cascade="all, delete-orphan", passive_deletes=True
    )
    parameters: Mapped[list[GameConfigParameterValue]] = relationship(
        lazy="selectin",
        order_by="GameConfigParameterValue.position",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )


class GameConfigFile(Base):
    """A file to write before the game starts; `path` is a container path, `mode` octal text such as 0644."""

    __tablename__ = "game_config_files"
    __table_args__ = (UniqueConstraint("config_id", "path"),)

    file_id: Mapped[Identifier]
    config_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("game_configs.config_id", ondelete="CASCADE"))
    position: Mapped[int]
    path: Mapped[str]
    content: Mapped[str] = mapped_column(server_default="")
    mode: Mapped[str] = mapped_column(String(10), server_default="0644")
    is_template: Mapped[bool] = mapped_column(server_default=text("false"))


class GameConfigVolume(CreatedAt, Base):
    """A directory of the game that outlives its sessions; `host_subpath` NULL means "use the name"."""

    __tablename__ = "game_config_volumes"
    __table_args__ = (
        UniqueConstraint("config_id", "name"),
        CheckConstraint(one_of("volume_type", ("bind", "named")), name="volume_type"),
    )

    volume_id: Mapped[Identifier]
    config_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("game_configs.config_id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None]
    container_path: Mapped[str]
    host_subpath: Mapped[str | None]
    read_only: Mapped[bool] = mapped_column(server_default=text("false"))
    volume_type: Mapped[str] = mapped_column(String(20), server_default="bind")


class ParameterDefinition(Timestamps, Base):
    """An entry of a game's parameter catalogue."""

    __tablename__ = "parameter_definitions"
    __table_args__ = (
        UniqueConstraint("game_id", "key"),
        CheckConstraint(one_of("param_type", PARAMETER_TYPES), name="param_type"),
        CheckConstraint("min_value <= max_value", name="range"),
    )

    param_id: Mapped[Identifier]
    game_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("games.game_id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(100))
    param_type: Mapped[str] = mapped_column(String(20), server_default="string")
    description: Mapped[str | None]
    required: Mapped[bool] = mapped_column(server_default=text("false"))
    default_value: Mapped[str | None]
    min_value: Mapped[int | None] = mapped_column(BigInteger)
    max_value: Mapped[int | None] = mapped_column(BigInteger)
    allowed_values: Mapped[list[str] | None]


class GameConfigParameterValue(Base):
    """A parameter as one config declares it; `declared` is what to read."""

    __tablename__ = "game_config_parameter_values"
    __table_args__ = (
        UniqueConstraint("config_id", "param_id"),
        CheckConstraint(one_of("param_type", PARAMETER_TYPES), name="param_type"),
    )

    value_id: Mapped[Identifier]
    config_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("game_configs.config_id", ondelete="CASCADE"))
    param_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("parameter_definitions.param_id", ondelete="CASCADE"), index=True
    )
    position: Mapped[int]
    value: Mapped[str] = mapped_column(server_default="")
    param_type_override: Mapped[str | None] = mapped_column("param_type", String(20))
    description_override: Mapped[str | None] = mapped_column("description")
    required_override: Mapped[bool | None] = mapped_column("required")
    default_value_override: Mapped[str | None] = mapped_column("default_value")
    min_value_override: Mapped[int | None] = mapped_column("min_value", BigInteger)
    max_value_override: Mapped[int | None] = mapped_column("max_value", BigInteger)
    allowed_values_override: Mapped[list[str] | None] = mapped_column("allowed_values")

    definition: Mapped[ParameterDefinition] = relationship(lazy="joined", innerjoin=True)

    @property
    def declared(self) -> Declared:
        """The parameter as the config declares it: the catalogue's entry with this row's overrides."""
        return Declared(
            key=self.definition.key,
            type=_or(self.param_type_override, self.definition.param_type),
            value=self.value,
            default_value=_or(self.default_value_override, self.definition.default_value) or "",
            description=_or(self.description_override, self.definition.description) or "",
            required=_or(self.required_override, self.definition.required),
            min_value=_or(self.min_value_override, self.definition.min_value),
            max_value=_or(self.max_value_override, self.definition.max_value),
            allowed_values=tuple(
                self.definition.allowed_values or ()
                if self.allowed_values_override is None
                else self.allowed_values_override
            ),
        )


def _or(override: ValueT | None, catalogue: ValueT) -> ValueT:
    return catalogue if override is None else override
