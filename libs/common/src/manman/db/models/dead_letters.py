"""Messages that their readers could not digest, taken from the broker to be looked at, sent again or thrown away."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base, Identifier


class DeadLetter(Base):
    """A dead letter: one row for one death of one message, however often the broker delivers it.

    `queue` is the queue whose reader gave up. `message_id` is the message's own, or one made of its content. With
    `is_cut_off` the body is only the beginning of one that is longer than such are kept; `size_bytes` and `digest`
    (SHA-256) are of the whole.
    `replay` is the id of the replay that brought the message to this death, empty for none; `replayed_at` says that
    this letter was sent again.
    """

    __tablename__ = "dead_letters"
    __table_args__ = (
        CheckConstraint("octet_length(digest) = 32", name="digest"),
        UniqueConstraint("queue", "message_id", "digest", "replay", name="uq_dead_letters_one_death"),
        Index("ix_dead_letters_queue", "queue", "dead_letter_id"),
    )

    dead_letter_id: Mapped[Identifier]
    queue: Mapped[str] = mapped_column(String(255))
    routing_key: Mapped[str] = mapped_column(String(255))
    message_id: Mapped[str] = mapped_column(String(255))
    digest: Mapped[bytes]
    replay: Mapped[str] = mapped_column(String(255), server_default=text("''"))
    reason: Mapped[str] = mapped_column(String(255))
    error: Mapped[str]
    headers: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'"))
    body: Mapped[bytes]
    size_bytes: Mapped[int]
    is_cut_off: Mapped[bool] = mapped_column(server_default=text("false"))
    dead_at: Mapped[datetime]
    replayed_at: Mapped[datetime | None]
    replayed_by: Mapped[str | None]
