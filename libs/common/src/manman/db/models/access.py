"""Who may call, who did, and who may do it again: API tokens, the audit log, idempotency keys."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy evaluates the annotations

from sqlalchemy import BigInteger, CheckConstraint, String, text
from sqlalchemy.orm import Mapped, mapped_column

from manman.db.models.declarative import Base, CreatedAt, Identifier, one_of

ROLES = ("viewer", "host", "operator", "admin")


class ApiToken(CreatedAt, Base):
    """A secret that a caller may show instead of a name; only its SHA-256 is kept."""

    __tablename__ = "api_tokens"
    __table_args__ = (
        CheckConstraint(one_of("role", ROLES), name="role"),
        CheckConstraint("octet_length(secret_hash) = 32", name="secret_hash"),
    )

    token_id: Mapped[Identifier]
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(20))
    secret_hash: Mapped[bytes]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class AuditEntry(Base):
    """One call that could change something. It is written before the call runs; `code` is empty until it is over."""

    __tablename__ = "audit_log"

    entry_id: Mapped[Identifier]
    at: Mapped[datetime] = mapped_column(index=True)
    subject: Mapped[str] = mapped_column(index=True)
    role: Mapped[str] = mapped_column(String(20))
    rpc: Mapped[str] = mapped_column(String(200))
    ids: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'"))
    code: Mapped[str | None] = mapped_column(String(30))
    request_id: Mapped[str] = mapped_column(String(64))


class IdempotencyKey(Base):
    """A key under which a caller had something made. It is empty-handed (`made_id`) only until its transaction ends."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint"),)

    subject: Mapped[str] = mapped_column(primary_key=True)
    rpc: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    fingerprint: Mapped[bytes]
    made_id: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(index=True)
