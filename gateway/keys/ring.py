"""Every valid API key, in memory: a call is authenticated without a query."""

import time
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database
from gateway.db.tables import ApiKeyRow, ProjectRow
from gateway.errors import Forbidden, Unauthenticated, Unavailable
from gateway.keys import repository
from gateway.keys.hashing import hash_secret, redact
from gateway.kit.clock import from_unix

HOW_TO = "You need to send an API key in the Authorization header: `Authorization: Bearer YOUR_KEY`."


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that may call."""

    id: str
    name: str
    project_id: str
    """Empty for an admin key."""
    expires_at: float | None
    user_id: str = ""
    """The person it belongs to; empty for a service account's."""
    role: str = "owner"
    """Of an admin key."""
    tags: tuple[str, ...] = ()
    allowed_models: frozenset[str] | None = None
    """None: all of its project."""
    scopes: frozenset[str] | None = None
    """None: every endpoint."""
    logging: str = "full"
    """What the exchange log keeps: full, metadata or off."""
    tier: str | None = None
    """A class of rate limits; None for the project's."""

    @property
    def is_admin(self) -> bool:
        return not self.project_id


class KeyRing:
    """A mirror of `api_keys` by hash (gateway/db/mirror.py)."""

    name = "api_keys"

    def __init__(self, secret_key: str) -> None:
        self._secret_key = secret_key.encode()
        self._keys: dict[bytes, ApiKey] | None = None
        """None until they were read for the first time."""
        self._used: dict[str, float] = {}

    def authenticate(self, authorization: bytes | None) -> ApiKey:
        """The key behind an Authorization header.

        Raises:
            Unauthenticated: there is none, or it is unknown, revoked or expired.
            Unavailable: this process has not been able to read the keys yet.
        """
        if not authorization:
            raise Unauthenticated(f"You didn't provide an API key. {HOW_TO}")
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not secret:
            raise Unauthenticated(f"The Authorization header is not a bearer token. {HOW_TO}")
        if self._keys is None:
            raise Unavailable("This gateway has just started and cannot reach its database yet; please retry.")
        key = self._keys.get(hash_secret(secret.strip(), self._secret_key))
        now = time.time()
        if key is None or (key.expires_at is not None and key.expires_at <= now):
            shown = redact(secret.decode("ascii", "replace")[:200]) if len(secret) > 12 else "***"
            raise Unauthenticated(f"Incorrect API key provided: {shown}. Ask your administrator for a valid key.")
        self._used[key.id] = now
        return key

    def authenticate_project(self, authorization: bytes | None) -> ApiKey:
        """Like `authenticate`, for what belongs to a project.

        Raises:
            Forbidden: an admin key; it has no project, no budget and no place in the exchange log.
        """
        key = self.authenticate(authorization)
        if key.is_admin:
            raise Forbidden("An admin key manages projects and keys; calls need a project's key.")
        return key

    def authenticate_admin(self, authorization: bytes | None) -> ApiKey:
        """Like `authenticate`, for /v1/organization. Raises Forbidden on a project's key."""
        key = self.authenticate(authorization)
        if not key.is_admin:
            raise Forbidden("This endpoint needs an admin key.")
        return key

    async def load(self, session: AsyncSession) -> None:
        """Swap in every key that is neither revoked nor of an archived project."""
        query = (
            select(ApiKeyRow)
            .outerjoin(ProjectRow, ApiKeyRow.project_id == ProjectRow.id)
            .where(ApiKeyRow.revoked_at.is_(None), ProjectRow.archived_at.is_(None))
        )
        self._keys = {row.hash: _key(row) for row in await session.scalars(query)}

    async def save_last_used(self, database: Database) -> None:
        """Write when each key was last used; called every few seconds, never on the path of a call."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            async with database.session() as session:
                await repository.save_last_used(session, {id: from_unix(at) for id, at in used.items()})
        except BaseException:
            self._used = used | self._used
            raise


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        project_id=row.project_id or "",
        expires_at=_timestamp(row.expires_at),
        user_id=row.user_id or "",
        role=row.role,
        tags=tuple(row.tags),
        allowed_models=None if row.allowed_models is None else frozenset(row.allowed_models),
        scopes=None if row.scopes is None else frozenset(row.scopes),
        logging=row.logging,
        tier=row.tier,
    )


def _timestamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
