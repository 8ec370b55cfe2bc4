"""Workshop content: addons and libraries of a game, where they go, and what is installed for a deployment."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base, CreatedAt, Identifier, JsonObject, Timestamps, one_of

INSTALLATION_STATUSES = ("pending", "downloading", "installed", "failed", "removed")


class GameAddonPathPreset(CreatedAt, Base):
    """A named directory of a game's volume for addons."""

    __tablename__ = "game_addon_path_presets"
    __table_args__ = (UniqueConstraint("game_id", "name"),)

    preset_id: Mapped[Identifier]
    game_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("games.game_id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None]
    installation_path: Mapped[str]


class WorkshopAddon(Timestamps, Base):
    """One item of a workshop; a preset in use cannot be deleted."""

    __tablename__ = "workshop_addons"
    __table_args__ = (UniqueConstraint("game_id", "workshop_id", "platform_type"),)

    addon_id: Mapped[Identifier]
    game_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("games.game_id", ondelete="CASCADE"))
    workshop_id: Mapped[str] = mapped_column(String(255))
    platform_type: Mapped[str] = mapped_column(String(50), server_default="steam_workshop")
    name: Mapped[str] = mapped_column(String(500))
    description: Mapped[str | None]
    file_size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    installation_path: Mapped[str | None] = mapped_column(String(1000))
    preset_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("game_addon_path_presets.preset_id", ondelete="RESTRICT"), index=True
    )
    is_collection: Mapped[bool] = mapped_column(server_default=text("false"))
    is_deprecated: Mapped[bool] = mapped_column(server_default=text("false"))
    metadata_: Mapped[JsonObject] = mapped_column("metadata", server_default=text("'{}'"))
    last_updated: Mapped[datetime | None]


class WorkshopInstallation(Timestamps, Base):
    """An addon on a deployment; `installation_path` is a container path."""

    __tablename__ = "workshop_installations"
    __table_args__ = (
        UniqueConstraint("sgc_id", "addon_id"),
        CheckConstraint(one_of("status", INSTALLATION_STATUSES), name="status"),
        CheckConstraint("progress_percent BETWEEN 0 AND 100", name="progress_percent"),
    )

    installation_id: Mapped[Identifier]
    sgc_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("server_game_configs.sgc_id", ondelete="CASCADE"))
    addon_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workshop_addons.addon_id", ondelete="CASCADE"), index=True
    )
    status: Mapped[str] = mapped_column(String(50), server_default="pending")
    installation_path: Mapped[str] = mapped_column(String(1000))
    progress_percent: Mapped[int] = mapped_column(server_default=text("0"))
    error_message: Mapped[str | None]
    download_started_at: Mapped[datetime | None]
    download_completed_at: Mapped[datetime | None]


class WorkshopLibrary(Timestamps, Base):
    """A named set of addons and other libraries of one game."""

    __tablename__ = "workshop_libraries"
    __table_args__ = (UniqueConstraint("game_id", "name"),)

    library_id: Mapped[Identifier]
    game_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("games.game_id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None]
    preset_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("game_addon_path_presets.preset_id", ondelete="SET NULL")
    )


class WorkshopLibraryAddon(CreatedAt, Base):
    """An addon in a library."""

    __tablename__ = "workshop_library_addons"

    library_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workshop_libraries.library_id", ondelete="CASCADE"), primary_key=True
    )
    addon_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workshop_addons.addon_id", ondelete="CASCADE"), primary_key=True, index=True
    )
    display_order: Mapped[int] = mapped_column(server_default=text("0"))


class WorkshopLibraryReference(CreatedAt, Base):
    """A library inside a library. Longer circles are refused by the API."""

    __tablename__ = "workshop_library_references"
    __table_args__ = (CheckConstraint("parent_library_id <> child_library_id", name="not_itself"),)

    parent_library_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workshop_libraries.library_id", ondelete="CASCADE"), primary_key=True
    )
    child_library_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workshop_libraries.library_id", ondelete="CASCADE"), primary_key=True, index=True
    )


class SgcWorkshopLibrary(CreatedAt, Base):
    """A library attached to a deployment, with what it overrides there."""

    __tablename__ = "sgc_workshop_libraries"

    sgc_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("server_game_configs.sgc_id", ondelete="CASCADE"), primary_key=True
    )
    library_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workshop_libraries.library_id", ondelete="CASCADE"), primary_key=True, index=True
    )
    preset_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("game_addon_path_presets.preset_id", ondelete="SET NULL")
    )
    volume_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("game_config_volumes.volume_id", ondelete="SET NULL")
    )
    installation_path_override: Mapped[str | None]
