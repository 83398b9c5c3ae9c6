"""Making API keys. The secret exists once, in the answer."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ApiKeyRow, ServiceAccountRow
from gateway.keys import repository
from gateway.keys.hashing import ADMIN_PREFIX, PROJECT_PREFIX, hash_secret, redact
from gateway.kit.clock import now
from gateway.kit.ids import new_id, new_secret


async def create_project_key(
    session: AsyncSession, account: ServiceAccountRow, *, name: str, secret_key: str, expires_at: datetime | None = None
) -> tuple[ApiKeyRow, str]:
    """A key of a service account, and its secret."""
    secret = new_secret(PROJECT_PREFIX)
    row = _row(secret, secret_key, name, expires_at)
    row.project_id, row.service_account_id = account.project_id, account.id
    await repository.insert(session, row)
    return row, secret


async def ensure_admin_key(session: AsyncSession, secret: str, *, secret_key: str, name: str = "first admin") -> bool:
    """Make `secret` an admin key unless it is one already; True when it was made."""
    if await repository.with_hash(session, hash_secret(secret, secret_key.encode())):
        return False
    await repository.insert(session, _row(secret, secret_key, name, None))
    return True


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
