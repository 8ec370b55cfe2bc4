"""Logged-in people of the management page."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base, JsonObject


class UiSession(Base):
    """One login; both tokens are encrypted with the page's secret key."""

    __tablename__ = "ui_sessions"

    session_id: Mapped[str] = mapped_column(primary_key=True)
    user_info: Mapped[JsonObject]
    access_token: Mapped[str]
    refresh_token: Mapped[str]
    token_expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)
