"""People: who may sign in to the console, and what they may do."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class UserRow(Base):
    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    """In lower case; unique among people who were not deleted."""
    name: Mapped[str]
    role: Mapped[str]
    """In the organisation: owner or reader."""
    added_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    password_hash: Mapped[str | None]
    """argon2id; None for who signs in through the identity provider alone."""
    oidc_issuer: Mapped[str | None]
    oidc_subject: Mapped[str | None]
    totp_secret: Mapped[bytes | None]
    """Sealed (gateway/kit/sealing.py)."""
    totp_confirmed_at: Mapped[datetime | None]
    """None: a secret was made, but no code of it was shown yet; it is not asked for."""
    totp_last_step: Mapped[int | None]
    """The last time step whose code was used: none is taken twice (RFC 6238, section 5.2)."""
    recovery_codes: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    """Keyed hashes, hexadecimal, of those that were not used yet; each takes the place of one TOTP code."""
    last_login_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("oidc_issuer", "oidc_subject"),
        Index("ix_users_added_at_id", "added_at", "id"),
        Index("ix_users_email", "email", unique=True, postgresql_where=text("deleted_at IS NULL")),
    )


class ProjectUserRow(Base):
    """A person's role in a project: owner or member."""

    __tablename__ = "project_users"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    role: Mapped[str]
    added_at: Mapped[datetime]


class InviteRow(Base):
    __tablename__ = "invites"

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    role: Mapped[str]
    projects: Mapped[list[Any]]
    """{"id", "role"} of each project that the person joins."""
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    """Keyed, as for API keys; the token itself is in the link alone."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_invites_created_at_id", "created_at", "id"),)


class SessionRow(Base):
    """A browser that somebody has signed in with."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ip_address: Mapped[str]
    user_agent: Mapped[str]

    __table_args__ = (Index("ix_sessions_user_id", "user_id"),)


class SignInFailureRow(Base):
    """Wrong passwords and codes that one account, address or browser has sent lately (gateway/access/lock_out.py).

    Not columns of `users`: an email that belongs to nobody is locked like any other, so that nobody learns which exist.
    """

    __tablename__ = "sign_in_failures"

    subject: Mapped[str] = mapped_column(primary_key=True)
    """`account:`, `address:` or `device:` and which one."""
    failures: Mapped[int]
    failed_at: Mapped[datetime]
    locked_until: Mapped[datetime | None]
