"""People come, change and go."""

import re

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ProjectUserRow, UserRow
from gateway.errors import Conflict, InvalidRequest
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.users import OrganizationRole
from gateway.users import repository

MAX_EMAIL = 254
"""RFC 5321, section 4.5.3.1, as erratum 1690 of RFC 3696 reads it."""
MAX_NAME = 200
EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")


def normal_email(email: str) -> str:
    """In lower case. Raises InvalidRequest for what is none."""
    email = email.strip().lower()
    if len(email) > MAX_EMAIL or not EMAIL.fullmatch(email):
        raise InvalidRequest(f"Invalid 'email': '{email[:MAX_EMAIL]}' is not an email address.", param="email")
    return email


def checked_name(name: str | None, email: str) -> str:
    """What people call somebody; left out, what stands before the @. Raises InvalidRequest when it is too long."""
    name = (name or "").strip() or email.partition("@")[0]
    if len(name) > MAX_NAME:
        raise InvalidRequest(f"Invalid 'name': at most {MAX_NAME} characters are possible.", param="name")
    return name


async def add(
    session: AsyncSession, email: str, *, name: str | None, role: OrganizationRole, password_hash: str | None
) -> UserRow:
    """One more person. Raises Conflict when there is one with that email, though two add it at once."""
    values = {
        "id": new_id("user-"),
        "email": email,
        "name": checked_name(name, email),
        "role": role,
        "added_at": now(),
        "password_hash": password_hash,
        "recovery_codes": [],
    }
    new = (
        insert(UserRow)
        .values(values)
        .on_conflict_do_nothing(index_elements=[UserRow.email], index_where=UserRow.deleted_at.is_(None))
    )
    row = await session.scalar(new.returning(UserRow))
    if row is None:
        raise Conflict(f"There is a user with the email '{email}' already.", param="email")
    return row


async def remove(session: AsyncSession, row: UserRow) -> None:
    """Their row stays, for what it made; the email and the account at the identity provider are free again.

    Raises:
        InvalidRequest: it is the last owner.
    """
    await repository.refuse_without_owner(session, row)
    row.deleted_at = now()
    row.password_hash = row.oidc_issuer = row.oidc_subject = None
    row.totp_secret = row.totp_confirmed_at = row.totp_last_step = None
    row.recovery_codes = []
    await session.execute(delete(ProjectUserRow).where(ProjectUserRow.user_id == row.id))


async def set_role(session: AsyncSession, row: UserRow, role: OrganizationRole) -> bool:
    """Whether that changes something. Raises InvalidRequest when it is the last owner who shall be one no more."""
    if row.role == role:
        return False
    if role != "owner":
        await repository.refuse_without_owner(session, row)
    row.role = role
    return True


async def join_project(session: AsyncSession, project_id: str, user_id: str, role: str) -> bool:
    """False: they belonged to it before, and nothing changes."""
    values = {"project_id": project_id, "user_id": user_id, "role": role, "added_at": now()}
    new = insert(ProjectUserRow).values(values).on_conflict_do_nothing().returning(ProjectUserRow.user_id)
    return await session.scalar(new) is not None
