"""
The tables of the Registry. The migrations in `migrations/versions` create them.

Times are UTC, as ISO text of fixed width (`store.now`), so that both databases compare them alike.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fustor_registry.store import now

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
    role: Mapped[str] = mapped_column(String(20), server_default="member")
    disabled: Mapped[bool] = mapped_column(Boolean, default=False, server_default="0")
    must_change_password: Mapped[bool] = mapped_column(Boolean, default=False, server_default="0")
    created_at: Mapped[str] = mapped_column(String(40))
    last_login_at: Mapped[str | None] = mapped_column(String(40), default=None)


class Login(Base):
    """
    One login and all tokens that came from it: they end together.
    """

    __tablename__ = "logins"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[str] = mapped_column(String(40))
    expires_at: Mapped[str] = mapped_column(String(40), index=True)
    last_used_at: Mapped[str] = mapped_column(String(40))
    address: Mapped[str] = mapped_column(String(100))
    client: Mapped[str] = mapped_column(String(200))
    ended_at: Mapped[str | None] = mapped_column(String(40), default=None)


class AccessToken(Base):
    """
    What a request is made with, for some minutes. Only the SHA-256 of the token is kept.
    """

    __tablename__ = "access_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    login_id: Mapped[str] = mapped_column(ForeignKey("logins.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[str] = mapped_column(String(40), index=True)


class RefreshToken(Base):
    """
    What a new access token is got with, once. A used one is kept as long as its login, so that it is known when it comes again.
    """

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    login_id: Mapped[str] = mapped_column(ForeignKey("logins.id", ondelete="CASCADE"), index=True)
    used_at: Mapped[str | None] = mapped_column(String(40), default=None)


class Guesses(Base):
    """
    Failed tries of one name or address. In the database, so that neither a restart nor a second process forgets them.
    """

    __tablename__ = "guesses"

    subject: Mapped[str] = mapped_column(String(80), primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    last_at: Mapped[float] = mapped_column(Float, index=True)


class Datastore(Base):
    """
    What Fusion keeps apart: each API key belongs to one. The columns from `allow_concurrent_sessions` on are its policy.
    """

    __tablename__ = "datastores"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[str] = mapped_column(String(40))
    allow_concurrent_sessions: Mapped[bool] = mapped_column(Boolean, default=True, server_default="1")
    session_timeout_s: Mapped[float | None] = mapped_column(Float, default=None)
    retention_days: Mapped[int | None] = mapped_column(Integer, default=None)
    max_rows: Mapped[int | None] = mapped_column(BigInteger, default=None)
    max_bytes: Mapped[int | None] = mapped_column(BigInteger, default=None)


class Membership(Base):
    """
    What a user is in a datastore.
    """

    __tablename__ = "memberships"

    datastore_id: Mapped[str] = mapped_column(ForeignKey("datastores.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(20))
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
    created_by: Mapped[str | None] = mapped_column(String(NAME_LENGTH), default=None)
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), default=None)
    expires_at: Mapped[str | None] = mapped_column(String(40), default=None)
    last_used_at: Mapped[str | None] = mapped_column(String(40), default=None)
    replaced_by: Mapped[str | None] = mapped_column(String(8), default=None)
    revoked_at: Mapped[str | None] = mapped_column(String(40), default=None)

    @property
    def works(self) -> bool:
        """
        Whether it is neither revoked nor expired.
        """
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now())


# Of the keys in use a datastore has one per name; a revoked one frees its name, and so does one that was replaced.
Index(
    "uq_api_keys_live_name",
    ApiKey.datastore_id,
    ApiKey.name,
    unique=True,
    sqlite_where=ApiKey.revoked_at.is_(None) & ApiKey.replaced_by.is_(None),
    postgresql_where=ApiKey.revoked_at.is_(None) & ApiKey.replaced_by.is_(None),
)


class Agent(Base):
    """
    An agent that told of itself with a key of the datastore.
    """

    __tablename__ = "agents"

    datastore_id: Mapped[str] = mapped_column(ForeignKey("datastores.id", ondelete="CASCADE"), primary_key=True)
    agent_id: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    version: Mapped[str] = mapped_column(String(50))
    host: Mapped[str] = mapped_column(String(255))
    address: Mapped[str] = mapped_column(String(100))
    syncs: Mapped[str] = mapped_column(Text)
    key_id: Mapped[str] = mapped_column(String(8))
    first_seen_at: Mapped[str] = mapped_column(String(40))
    last_seen_at: Mapped[str] = mapped_column(String(40))


class AuditEntry(Base):
    """
    Who changed what, when, from where. Written in the transaction of the change; the database refuses to alter one.
    """

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[str] = mapped_column(String(40), index=True)
    actor: Mapped[str] = mapped_column(String(NAME_LENGTH), index=True)
    action: Mapped[str] = mapped_column(String(50))
    target: Mapped[str] = mapped_column(String(200), index=True)
    details: Mapped[str] = mapped_column(Text, default="{}")
    datastore_id: Mapped[str | None] = mapped_column(String(32), default=None, index=True)
    before: Mapped[str | None] = mapped_column(Text, default=None)
    after: Mapped[str | None] = mapped_column(Text, default=None)
    address: Mapped[str] = mapped_column(String(100), default="", server_default="")
    request_id: Mapped[str] = mapped_column(String(64), default="", server_default="")
