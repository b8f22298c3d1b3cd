"""
The tables of the Registry. The migrations in `migrations/versions` create them.

Times are UTC, as ISO text in SQLite's own order (`store.now`), so that both databases compare them alike.
"""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAME_LENGTH = 100


class Base(DeclarativeBase):
    """
    The base of all tables.
    """


class User(Base):
    """
    A person, or a program that logs in like one.
    """

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    is_admin: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[str] = mapped_column(String(40))


class LoginToken(Base):
    """
    One login. Only the SHA-256 of its token is kept.
    """

    __tablename__ = "login_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[str] = mapped_column(String(40))
    expires_at: Mapped[str] = mapped_column(String(40), index=True)


class Datastore(Base):
    """
    What Fusion keeps apart: each API key belongs to one.
    """

    __tablename__ = "datastores"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[str] = mapped_column(String(40))


class ApiKey(Base):
    """
    An API key. Only its SHA-256 is kept; `id` is the public part in the key itself.
    """

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(8), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    datastore_id: Mapped[str] = mapped_column(ForeignKey("datastores.id"), index=True)
    scopes: Mapped[str] = mapped_column(String(100))
    key_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[str] = mapped_column(String(40))
    revoked_at: Mapped[str | None] = mapped_column(String(40), default=None)


# Of the keys in use a datastore has one per name; a revoked one frees its name.
Index(
    "uq_api_keys_live_name",
    ApiKey.datastore_id,
    ApiKey.name,
    unique=True,
    sqlite_where=ApiKey.revoked_at.is_(None),
    postgresql_where=ApiKey.revoked_at.is_(None),
)


class AuditEntry(Base):
    """
    Who did what, when. Written in the transaction of the deed.
    """

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[str] = mapped_column(String(40), index=True)
    actor: Mapped[str] = mapped_column(String(NAME_LENGTH))
    action: Mapped[str] = mapped_column(String(50))
    target: Mapped[str] = mapped_column(String(200))
    details: Mapped[str] = mapped_column(Text, default="{}")
