"""Invitations: a link that makes a person, once."""

from datetime import timedelta

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import InviteRow, ProjectRow, UserRow
from gateway.errors import InvalidRequest, NotFound
from gateway.kit.clock import now
from gateway.kit.ids import new_id, new_secret
from gateway.kit.keyed_hash import keyed_hash
from gateway.protocol.users import InviteCreate
from gateway.users import repository, service

NOT_VALID = "This invitation is not valid: it was used or withdrawn, or it has expired. Ask for another one."


async def create(
    session: AsyncSession, wanted: InviteCreate, *, seconds: int, secret_key: str
) -> tuple[InviteRow, str]:
    """An invitation and its token.

    Raises:
        InvalidRequest: the email is none, somebody has it already, or a project does not exist.
    """
    email = service.normal_email(wanted.email)
    if await repository.with_email(session, email) is not None:
        raise InvalidRequest(f"Invalid 'email': '{email}' belongs to a user already.", param="email")
    await _check_projects(session, [each.id for each in wanted.projects])
    token, moment = new_secret("invite-"), now()
    row = InviteRow(
        id=new_id("invite-"),
        email=email,
        role=wanted.role,
        projects=[{"id": each.id, "role": each.role} for each in wanted.projects],
        token_hash=_hash(token, secret_key),
        created_at=moment,
        expires_at=moment + timedelta(seconds=seconds),
        accepted_at=None,
        deleted_at=None,
    )
    session.add(row)
    return row, token


def shown() -> Select[InviteRow]:
    """Accepted and expired ones too."""
    return select(InviteRow).where(InviteRow.deleted_at.is_(None))


async def invite(session: AsyncSession, invite_id: str, *, locked: bool = False) -> InviteRow:
    """Raises NotFound."""
    query = shown().where(InviteRow.id == invite_id)
    row = await session.scalar(query.with_for_update() if locked else query)
    if row is None:
        raise NotFound(f"No invite with id '{invite_id}'.", param="invite_id")
    return row


async def withdraw(session: AsyncSession, invite_id: str) -> InviteRow:
    """Raises NotFound; InvalidRequest when it was accepted: then there is a person to remove."""
    row = await invite(session, invite_id, locked=True)
    if row.accepted_at is not None:
        raise InvalidRequest("This invite was accepted and cannot be deleted; delete the user instead.")
    row.deleted_at = now()
    return row


async def with_token(session: AsyncSession, token: str, secret_key: str) -> InviteRow:
    """The pending invitation of a link, held until the end of the transaction. Raises InvalidRequest."""
    query = _pending().where(InviteRow.token_hash == _hash(token, secret_key))
    row = await session.scalar(query.with_for_update())
    if row is None:
        raise InvalidRequest(NOT_VALID, param="token")
    return row


async def for_email(session: AsyncSession, email: str) -> InviteRow | None:
    """The newest pending invitation of somebody whom the identity provider vouches for."""
    query = _pending().where(InviteRow.email == email).order_by(InviteRow.created_at.desc())
    return await session.scalar(query.limit(1).with_for_update())


async def accept(session: AsyncSession, row: InviteRow, *, name: str | None, password_hash: str | None) -> UserRow:
    """The person that an invitation makes, in their projects.

    Raises:
        Conflict: there is a person with that email by now.
    """
    role = "owner" if row.role == "owner" else "reader"
    user = await service.add(session, row.email, name=name, role=role, password_hash=password_hash)
    for project in row.projects:
        await service.join_project(session, project["id"], user.id, project["role"])
    row.accepted_at = user.added_at
    return user


def _pending() -> Select[InviteRow]:
    return shown().where(InviteRow.accepted_at.is_(None), InviteRow.expires_at > now())


async def _check_projects(session: AsyncSession, ids: list[str]) -> None:
    query = select(ProjectRow.id).where(ProjectRow.id.in_(ids), ProjectRow.archived_at.is_(None))
    known = set(await session.scalars(query))
    if missing := [id for id in ids if id not in known]:
        raise InvalidRequest(f"Invalid 'projects': no project with id '{missing[0]}'.", param="projects")
    if len(known) < len(ids):
        raise InvalidRequest("Invalid 'projects': one is named twice.", param="projects")


def _hash(token: str, secret_key: str) -> bytes:
    return keyed_hash(token, secret_key, "invite")
