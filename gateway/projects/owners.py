"""Whose keys are they: service accounts and people."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ApiKeyRow, ProjectUserRow, ServiceAccountRow, UserRow
from gateway.kit.clock import unix
from gateway.protocol.organization import KeyOwner, ServiceAccountOwner, UserOwner

NO_ROLE = "none"


@dataclass(frozen=True, slots=True)
class Owner:
    shown: KeyOwner
    has_access: bool
    """To the project of the key; the keys of those who have none are refused."""


async def owners_of(session: AsyncSession, keys: Sequence[ApiKeyRow]) -> dict[str, Owner]:
    """Id of each project's key -> who owns it, also when they have left."""
    accounts = await _accounts(session, {key.service_account_id for key in keys if key.service_account_id})
    people = await _people(session, {key.user_id for key in keys if key.user_id})
    members = select(ProjectUserRow).where(ProjectUserRow.user_id.in_(people))
    roles = {(row.project_id, row.user_id): row.role for row in await session.scalars(members)}
    return {
        key.id: _person(people[key.user_id], roles.get((key.project_id or "", key.user_id)))
        if key.user_id
        else _account(accounts[key.service_account_id or ""])
        for key in keys
    }


async def _accounts(session: AsyncSession, ids: set[str]) -> dict[str, ServiceAccountRow]:
    rows = await session.scalars(select(ServiceAccountRow).where(ServiceAccountRow.id.in_(ids)))
    return {row.id: row for row in rows}


async def _people(session: AsyncSession, ids: set[str]) -> dict[str, UserRow]:
    return {row.id: row for row in await session.scalars(select(UserRow).where(UserRow.id.in_(ids)))}


def _account(row: ServiceAccountRow) -> Owner:
    shown = ServiceAccountOwner(id=row.id, name=row.name, role=row.role, created_at=unix(row.created_at))
    return Owner(KeyOwner(type="service_account", service_account=shown), row.deleted_at is None)


def _person(row: UserRow, role: str | None) -> Owner:
    """Who owns the organisation owns every project."""
    role = "owner" if row.role == "owner" else role
    shown = UserOwner(id=row.id, email=row.email, name=row.name, created_at=unix(row.added_at), role=role or NO_ROLE)
    return Owner(KeyOwner(type="user", user=shown), row.deleted_at is None and role is not None)
