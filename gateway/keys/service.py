"""Making, changing and rotating API keys. A secret exists once, in the answer."""

from datetime import datetime, timedelta
from typing import Any

from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.tables import ApiKeyRow, ServiceAccountRow
from gateway.errors import InvalidRequest
from gateway.keys import repository
from gateway.keys.hashing import ADMIN_PREFIX, PROJECT_PREFIX, USER_PREFIX, hash_secret, redact
from gateway.keys.model_rules import check_model_names
from gateway.keys.scopes import check_scopes
from gateway.kit.clock import now
from gateway.kit.ids import new_id, new_secret
from gateway.protocol.organization import KeyRights

NO_RIGHTS = KeyRights()
RIGHTS = ("allowed_models", "scopes", "logging", "tags", "tier")


async def create_project_key(
    session: AsyncSession,
    account: ServiceAccountRow,
    *,
    name: str,
    secret_key: str,
    rights: KeyRights = NO_RIGHTS,
    expires_at: datetime | None = None,
) -> tuple[ApiKeyRow, str]:
    """A key of a service account, and its secret. Raises InvalidRequest for rights that there are not."""
    secret = new_secret(PROJECT_PREFIX)
    row = _row(secret, secret_key, name, expires_at)
    row.project_id, row.service_account_id = account.project_id, account.id
    change_rights(row, rights)
    await repository.insert(session, row)
    return row, secret


async def create_user_key(
    session: AsyncSession, project_id: str, user_id: str, *, name: str, secret_key: str, rights: KeyRights = NO_RIGHTS
) -> tuple[ApiKeyRow, str]:
    """A key of a person in a project, and its secret. Raises InvalidRequest for rights that there are not."""
    secret = new_secret(USER_PREFIX)
    row = _row(secret, secret_key, name, None)
    row.project_id, row.user_id = project_id, user_id
    change_rights(row, rights)
    await repository.insert(session, row)
    return row, secret


async def create_admin_key(
    session: AsyncSession, *, name: str, secret_key: str, role: str, user_id: str | None, lifetime: int | None
) -> tuple[ApiKeyRow, str]:
    """An admin key and its secret.

    Args:
        user_id: who made it.
        lifetime: seconds.
    """
    secret = new_admin_secret()
    row = _row(secret, secret_key, name, now() + timedelta(seconds=lifetime) if lifetime else None)
    row.role, row.user_id = role, user_id
    await repository.insert(session, row)
    return row, secret


async def ensure_admin_key(session: AsyncSession, secret: str, *, secret_key: str, name: str = "first admin") -> bool:
    """Make `secret` an admin key unless it is one already; True when it was made."""
    if await repository.with_hash(session, hash_secret(secret, secret_key.encode())):
        return False
    await repository.insert(session, _row(secret, secret_key, name, None))
    return True


def change_rights(row: ApiKeyRow, wanted: KeyRights) -> dict[str, Any]:
    """Give a key these rights; returns those that were named, as the audit log shows them.

    Raises:
        InvalidRequest: there is no such scope, or a name of models is none.
    """
    if wanted.scopes:
        check_scopes(wanted.scopes)
    if wanted.allowed_models:
        check_model_names("allowed_models", wanted.allowed_models)
    named = {name: value for name in RIGHTS if (value := getattr(wanted, name)) is not UNSET}
    if "tags" in named:
        named["tags"] = list(dict.fromkeys(named["tags"]))
    if "scopes" in named:
        named["scopes"] = named["scopes"] or None
    for name, value in named.items():
        setattr(row, name, value)
    if wanted.expires_in_seconds is not UNSET:
        lifetime = wanted.expires_in_seconds
        row.expires_at = now() + timedelta(seconds=lifetime) if lifetime else None
        named["expires_in_seconds"] = lifetime
    return named


async def rotate(session: AsyncSession, row: ApiKeyRow, *, overlap_seconds: int, secret_key: str) -> str:
    """Give a key a new secret; the old one works for `overlap_seconds` more, and one older than that no longer.

    The key stays the same, so its budgets, limits, usage and rights bind both secrets together.
    """
    secret = new_secret(USER_PREFIX if row.user_id else PROJECT_PREFIX)
    row.old_hash, row.old_hash_expires_at = row.hash, now() + timedelta(seconds=overlap_seconds)
    row.hash, row.redacted_value = hash_secret(secret, secret_key.encode()), redact(secret)
    await touch(session, repository.MIRROR)
    return secret


def check_not_expired(row: ApiKeyRow) -> None:
    """Raises InvalidRequest, as OpenAI does: what has expired is not brought back."""
    if row.expires_at is not None and row.expires_at <= now():
        raise InvalidRequest(f"The API key '{row.id}' has expired and cannot be changed: make another.", param="key_id")


def new_admin_secret() -> str:
    return new_secret(ADMIN_PREFIX)


def _row(secret: str, secret_key: str, name: str, expires_at: datetime | None) -> ApiKeyRow:
    return ApiKeyRow(
        id=new_id("key_"),
        name=name,
        hash=hash_secret(secret, secret_key.encode()),
        redacted_value=redact(secret),
        created_at=now(),
        expires_at=expires_at,
    )
