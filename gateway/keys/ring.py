"""Every valid API key, in memory: a call is authenticated without a query."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.db.database import Database
from gateway.db.reading import read
from gateway.errors import Forbidden, ModelNotFound, Unauthenticated, Unavailable, UnknownKey
from gateway.keys.access import OWNER_HAS_ACCESS
from gateway.keys.hashing import hash_secret, redact
from gateway.keys.model_rules import ModelRules, model_rules
from gateway.keys.scopes import granted
from gateway.kit.clock import from_unix, now

if TYPE_CHECKING:
    from gateway.db.tables import ApiKeyRow

MIRROR = "api_keys"
REMEMBERED = timedelta(days=30)
"""How long a key that has expired is told so; after that it is simply wrong."""
KEYS = f"""
SELECT api_keys.id, api_keys.name, api_keys.hash, api_keys.old_hash, api_keys.old_hash_expires_at, api_keys.project_id,
       api_keys.user_id, api_keys.role, api_keys.tags, api_keys.allowed_models, api_keys.scopes, api_keys.logging,
       api_keys.purpose, api_keys.tier, api_keys.expires_at, projects.model_permissions, users.email, users.role AS users_role
FROM api_keys LEFT JOIN projects ON projects.id = api_keys.project_id LEFT JOIN users ON users.id = api_keys.user_id
WHERE api_keys.revoked_at IS NULL AND projects.archived_at IS NULL
  AND (api_keys.expires_at IS NULL OR api_keys.expires_at > $1) AND {OWNER_HAS_ACCESS}
"""  # noqa: S608 nothing but a constant
USED = "UPDATE api_keys SET last_used_at = $2 WHERE id = $1"
HOW_TO = "You need to send an API key in the Authorization header: `Authorization: Bearer YOUR_KEY`."


class ApiKey(msgspec.Struct, frozen=True):
    """A key that may call."""

    id: str
    name: str
    project_id: str
    """Empty for an admin key."""
    expires_at: float | None
    user_id: str = ""
    """The person it belongs to; empty for a service account's. Of an admin key: who made it."""
    email: str | None = None
    """Theirs, for the audit log; None where there is no person."""
    role: str = "owner"
    """Of an admin key: owner or reader; never more than the person has."""
    tags: tuple[str, ...] = ()
    models: ModelRules | None = None
    """None: every model of its project."""
    scopes: frozenset[str] | None = None
    """What it may do (gateway/keys/scopes.py); None: everything."""
    logging: str = "full"
    """What the exchange log keeps: full, metadata or off."""
    tier: str | None = None
    """A class of rate limits; None for the project's."""
    purpose: str = ""
    """judge or eval: a project's key that Tuneway itself calls with."""
    rotated: bool = False
    """It was called by the secret that another has replaced; `expires_at` is then the end of the overlap."""

    @property
    def is_admin(self) -> bool:
        return not self.project_id

    def may_call(self, model: str) -> bool:
        """Whether it may call a model, route or alias of that name, if there is one."""
        return self.models is None or self.models.may_call(model)

    def require_model(self, model: str) -> None:
        """Raises ModelNotFound, as for a model that does not exist: so does OpenAI."""
        if self.models is not None and not self.models.may_call(model):
            raise ModelNotFound(model)


class KeyRing:
    """A mirror of `api_keys` by hash (gateway/db/mirror.py)."""

    name = MIRROR

    def __init__(self, secret_key: str) -> None:
        self._secret_key = secret_key.encode()
        self._keys: dict[bytes, ApiKey] | None = None
        """None until they were read for the first time."""
        self._used: dict[str, float] = {}

    def authenticate(self, authorization: bytes | None) -> ApiKey:
        """The key behind an Authorization header.

        Raises:
            Unauthenticated: there is none, or it is revoked or expired.
            UnknownKey: no key has this secret, or none that this process knows of yet (gateway/keys/new_keys.py).
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
        moment = time.time()
        if key is None or (key.expires_at is not None and key.expires_at <= moment):
            raise _refused(secret, key)
        self._used[key.id] = moment
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

    async def load(self, connection: Any) -> None:
        """Swap in every key that is neither revoked, nor of an archived project, nor of somebody who has no access to it
        any more. Keys that have expired are known for a while, so that they are told so."""
        rows = await read(
            connection, KEYS, now() - REMEMBERED, json=("tags", "allowed_models", "scopes", "model_permissions")
        )
        self._keys = {hash: key for row in rows for hash, key in _keys(row)}

    async def save_last_used(self, database: Database) -> None:
        """Write when each key was last used; called every few seconds, never on the path of a call."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            async with database.raw() as connection:
                # sorted, so that two processes cannot lock each other out
                await connection.executemany(USED, [(id, from_unix(at)) for id, at in sorted(used.items())])
        except BaseException:
            self._used = used | self._used
            raise


def _refused(secret: bytes, key: ApiKey | None) -> Unauthenticated:
    """Why a secret is not taken: it is unknown, or that of a key that has ended."""
    shown = redact(secret.strip().decode("ascii", "replace")[:200]) if len(secret) > 12 else "***"
    if key is None or key.expires_at is None:
        return UnknownKey(shown)
    ended = f"{from_unix(key.expires_at):%Y-%m-%d %H:%M:%S} UTC"
    if key.rotated:
        return Unauthenticated(f"The API key {shown} has expired: another took its place, and it worked until {ended}.")
    return Unauthenticated(
        f"The API key {shown} has expired: it worked until {ended}. Ask your administrator for another."
    )


def api_key(
    row: "ApiKeyRow", *, permissions: dict[str, Any] | None, email: str | None, users_role: str | None
) -> ApiKey:
    """What a row lets its holder do.

    Args:
        permissions: of models, of its project; None: no project, or every model.
        email: of the person it belongs to; None where there is no person.
        users_role: theirs.
    """
    return ApiKey(
        id=row.id,
        name=row.name,
        project_id=row.project_id or "",
        expires_at=_timestamp(row.expires_at),
        user_id=row.user_id or "",
        email=email,
        role="reader" if users_role == "reader" else row.role,
        tags=tuple(row.tags),
        models=model_rules(row.allowed_models, permissions),
        scopes=granted(row.scopes) if row.scopes else None,
        logging=row.logging,
        tier=row.tier,
        purpose=row.purpose,
    )


def _keys(row: Any) -> Iterator[tuple[bytes, ApiKey]]:
    """A key by its hash and, once it was rotated, by its old one. Args: row: of KEYS."""
    key = api_key(row, permissions=row.model_permissions, email=row.email, users_role=row.users_role)
    yield row.hash, key
    if row.old_hash is not None and row.old_hash_expires_at is not None:
        end = row.old_hash_expires_at.timestamp()
        yield row.old_hash, msgspec.structs.replace(key, expires_at=min(end, key.expires_at or end), rotated=True)


def _timestamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
