"""Keys of projects that Tuneway asks models with on their behalf: one a project and purpose, made at first use.

Such a key belongs to a service account and appears among the project's keys, so budgets and limits bind it. Rotating it
changes nothing. Whoever revokes it ends what it was for, until somebody who administers the project has another one made.
"""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ApiKeyRow, ServiceAccountRow, WorkingKeyRow
from gateway.errors import Conflict
from gateway.keys.hashing import hash_secret
from gateway.keys.service import create_project_key, rotate
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.kit.sealing import CannotOpen, NoKey, Place, Sealer
from gateway.projects import repository as projects

Purpose = Literal["judge", "eval"]
"""Also the `purpose` of the exchanges."""
ACCOUNTS: dict[Purpose, str] = {"judge": "Judges", "eval": "Evals"}


class Ended(Exception):
    """The project's key was revoked, or has expired; the message is a sentence."""

    def __init__(self, project_id: str, purpose: Purpose) -> None:
        super().__init__(
            f"The project's key for this ({purpose}) was revoked or has expired. "
            f'POST /v1/organization/projects/{project_id}/working_keys with {{"purpose": "{purpose}"}} makes another one.'
        )


@dataclass(frozen=True, slots=True)
class WorkingKeys:
    """Makes, finds and replaces them."""

    sealer: Sealer
    secret_key: str
    """Of the installation."""

    async def secret(self, session: AsyncSession, project_id: str, purpose: Purpose) -> str:
        """The secret of the key that there is, else of one that this makes.

        Raises:
            Ended: somebody revoked it, or it has expired.
            NoKey: there is no encryption key to keep it with.
        """
        row = await _in_force(session, project_id, purpose)
        if row is None:
            return (await self._make(session, project_id, purpose, None))[1]
        key = await session.get_one(ApiKeyRow, row.api_key_id)
        if _has_ended(key):
            raise Ended(project_id, purpose)
        return self._opened(row, key) or await self._rotated(session, row, key)

    async def another(self, session: AsyncSession, project_id: str, purpose: Purpose) -> ApiKeyRow:
        """A key in the place of one that was revoked or has expired, or the first one.

        It is another key: nothing that bound the old one binds it.

        Raises:
            Conflict: the one that there is works.
            NoKey: there is no encryption key to keep it with.
        """
        account: ServiceAccountRow | None = None
        row = await _in_force(session, project_id, purpose)
        if row is not None:
            key = await session.get_one(ApiKeyRow, row.api_key_id)
            if not _has_ended(key):
                raise Conflict(
                    f"The project's key for this ({purpose}) is '{key.id}', and it works. Rotate it to change its secret; "
                    "to have another one, revoke it first."
                )
            account = await session.get(ServiceAccountRow, key.service_account_id)
            row.deleted_at = now()
            await session.flush()
        return (await self._make(session, project_id, purpose, account))[0]

    async def _make(
        self, session: AsyncSession, project_id: str, purpose: Purpose, account: ServiceAccountRow | None
    ) -> tuple[ApiKeyRow, str]:
        """Args: account: of the key before; one that was deleted is not taken."""
        if not self.sealer:
            raise NoKey
        name = ACCOUNTS[purpose]
        if account is None or account.deleted_at is not None:
            account = await projects.create_service_account(session, project_id, name, "member")
        key, secret = await create_project_key(session, account, name=name, secret_key=self.secret_key)
        key.purpose = purpose
        row_id = new_id("workkey_")
        session.add(
            WorkingKeyRow(
                id=row_id,
                project_id=project_id,
                purpose=purpose,
                api_key_id=key.id,
                secret=self.sealer.seal(secret, _place(row_id)),
                created_at=now(),
                deleted_at=None,
            )
        )
        return key, secret

    def _opened(self, row: WorkingKeyRow, key: ApiKeyRow) -> str | None:
        """None where it cannot be opened, or somebody rotated the key."""
        try:
            secret = self.sealer.open(row.secret, _place(row.id))
        except CannotOpen:
            return None
        return secret if hash_secret(secret, self.secret_key.encode()) == key.hash else None

    async def _rotated(self, session: AsyncSession, row: WorkingKeyRow, key: ApiKeyRow) -> str:
        """Another secret. The key stays the same, and with it what binds it. Raises NoKey."""
        if not self.sealer:
            raise NoKey
        secret = await rotate(session, key, overlap_seconds=0, secret_key=self.secret_key)
        row.secret = self.sealer.seal(secret, _place(row.id))
        return secret


async def _in_force(session: AsyncSession, project_id: str, purpose: Purpose) -> WorkingKeyRow | None:
    """Locked, also where there is none yet: two processes at once make one."""
    key = {"key": f"{project_id}:{purpose}"}
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), key)
    return await session.scalar(
        select(WorkingKeyRow).where(
            WorkingKeyRow.project_id == project_id,
            WorkingKeyRow.purpose == purpose,
            WorkingKeyRow.deleted_at.is_(None),
        )
    )


def _has_ended(key: ApiKeyRow) -> bool:
    return key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now())


def _place(row_id: str) -> Place:
    return Place(WorkingKeyRow.__tablename__, row_id, "secret")
