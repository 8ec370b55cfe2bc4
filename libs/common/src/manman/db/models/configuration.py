"""Configuration strategies of a game, the patches that refine them, and bindings of parameters to strategies.

A patch belongs to an entity by (level, id) without a foreign key; triggers of the schema remove it with its entity.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base, Identifier, JsonObject, Timestamps, one_of
from manman.domain.configuration.strategies import LEVELS, TYPES

PATCH_FORMATS = (
    "template",
    "replace",
    "properties",
    "json_merge_patch",
    "json_patch",
    "yaml_merge",
    "ini",
    "xpath",
)
BINDING_TYPES = ("direct", "template", "json_path", "xpath", "ini_section")


class ConfigurationStrategy(Timestamps, Base):
    """How one piece of a game's configuration is made: its kind, where it goes, and its base text."""

    __tablename__ = "configuration_strategies"
    __table_args__ = (
        UniqueConstraint("game_id", "name"),
        CheckConstraint(one_of("strategy_type", TYPES), name="strategy_type"),
        Index(None, "game_id", "apply_order"),
    )

    strategy_id: Mapped[Identifier]
    game_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("games.game_id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None]
    strategy_type: Mapped[str] = mapped_column(String(50))
    target_path: Mapped[str | None]
    base_template: Mapped[str | None]
    render_options: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    apply_order: Mapped[int] = mapped_column(server_default=text("0"))


class StrategyParameterBinding(Base):
    """Where in a strategy's output a parameter of the catalogue goes."""

    __tablename__ = "strategy_parameter_bindings"
    __table_args__ = (
        UniqueConstraint("strategy_id", "param_id"),
        CheckConstraint(one_of("binding_type", BINDING_TYPES), name="binding_type"),
    )

    binding_id: Mapped[Identifier]
    strategy_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("configuration_strategies.strategy_id", ondelete="CASCADE")
    )
    param_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("parameter_definitions.param_id", ondelete="CASCADE"), index=True
    )
    binding_type: Mapped[str] = mapped_column(String(50))
    target_key: Mapped[str]
    value_template: Mapped[str | None]
    condition_expr: Mapped[str | None]


class ConfigurationPatch(Timestamps, Base):
    """A change to a strategy's output at one level, for one entity of that level; applied by (patch_order, id)."""

    __tablename__ = "configuration_patches"
    __table_args__ = (
        CheckConstraint(one_of("patch_level", LEVELS), name="patch_level"),
        CheckConstraint(one_of("patch_format", PATCH_FORMATS), name="patch_format"),
        Index("ix_configuration_patches_apply", "strategy_id", "patch_level", "entity_id", "patch_order", "patch_id"),
        Index("ix_configuration_patches_entity", "patch_level", "entity_id"),
    )

    patch_id: Mapped[Identifier]
    strategy_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("configuration_strategies.strategy_id", ondelete="CASCADE")
    )
    patch_level: Mapped[str] = mapped_column(String(50))
    entity_id: Mapped[int] = mapped_column(BigInteger)
    patch_content: Mapped[str | None]
    patch_format: Mapped[str] = mapped_column(String(50), server_default="template")
    volume_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("game_config_volumes.volume_id", ondelete="SET NULL")
    )
    path_override: Mapped[str | None]
    patch_order: Mapped[int] = mapped_column(server_default=text("0"))
