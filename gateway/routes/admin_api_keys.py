"""/v1/organization/admin_api_keys"""

from collections.abc import Sequence

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.audit.log import write
from gateway.db.pages import fetch_page
from gateway.db.tables import ApiKeyRow, UserRow
from gateway.errors import InvalidRequest
from gateway.keys import repository, service
from gateway.kit.clock import unix
from gateway.protocol.admin_api_keys import AdminApiKey, AdminApiKeyCreate, AdminKeyOwner
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor
from gateway.routes.callers import Admin, Sv

decode_key = msgspec.json.Decoder(AdminApiKeyCreate)


@get("/v1/organization/admin_api_keys")
async def list_admin_keys(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    """Oldest first (order=desc: newest)."""
    async with sv.database.session() as session:
        page = await fetch_page(session, repository.admin_keys(), ApiKeyRow, cursor(query, order="asc"))
        people = await _people(session, page.rows)
    return cursor_list([admin_key(row, people) for row in page.rows], has_more=page.has_more)


@post("/v1/organization/admin_api_keys", status_code=200)
async def create_admin_key(sv: Sv, admin: Admin, body: RawBody) -> AdminApiKey:
    """The only time the secret is shown."""
    wanted = decode(decode_key, body)
    async with sv.database.session() as session:
        row, secret = await service.create_admin_key(
            session,
            name=wanted.name,
            secret_key=sv.settings.secret_key.reveal(),
            role=wanted.role,
            user_id=admin.user_id,
            lifetime=wanted.expires_in_seconds,
        )
        detail = {"data": {"scopes": [], "name": row.name, "role": row.role}}
        write(session, admin.actor, "api_key.created", row.id, detail=detail)
        made = admin_key(row, await _people(session, [row]))
    await sv.mirrors.catch_up()
    made.value = secret
    return made


@get("/v1/organization/admin_api_keys/{key_id:str}")
async def retrieve_admin_key(sv: Sv, admin: Admin, key_id: FromPath[str]) -> AdminApiKey:
    async with sv.database.session() as session:
        row = await repository.admin_key(session, key_id)
        return admin_key(row, await _people(session, [row]))


@delete("/v1/organization/admin_api_keys/{key_id:str}", status_code=200)
async def delete_admin_key(sv: Sv, admin: Admin, key_id: FromPath[str]) -> Deleted:
    """Refused everywhere within a second.

    Raises InvalidRequest for the last one that may do everything and does not expire: nobody could make another.
    """
    async with sv.database.session() as session:
        lasting = await repository.lasting_owners(session)
        row = await repository.admin_key(session, key_id)
        if lasting == {row.id}:
            raise InvalidRequest(
                "This is the last admin key with the role owner that does not expire: make another one first.",
                param="key_id",
            )
        await repository.revoke(session, ApiKeyRow.id == row.id)
        write(session, admin.actor, "api_key.deleted", row.id)
    await sv.mirrors.catch_up()
    return Deleted(id=key_id, object="organization.admin_api_key.deleted")


async def _people(session: AsyncSession, keys: Sequence[ApiKeyRow]) -> dict[str, UserRow]:
    """Who made keys, also when they have left."""
    rows = await session.scalars(select(UserRow).where(UserRow.id.in_({key.user_id for key in keys})))
    return {row.id: row for row in rows}


def admin_key(row: ApiKeyRow, people: dict[str, UserRow]) -> AdminApiKey:
    return AdminApiKey(
        id=row.id,
        name=row.name,
        redacted_value=row.redacted_value,
        created_at=unix(row.created_at),
        expires_at=unix(row.expires_at) if row.expires_at else None,
        last_used_at=unix(row.last_used_at) if row.last_used_at else None,
        owner=_owner(row, people.get(row.user_id or "")),
        role="reader" if row.role == "reader" else "owner",
    )


def _owner(row: ApiKeyRow, person: UserRow | None) -> AdminKeyOwner:
    made_by = person or row
    return AdminKeyOwner(
        type="user" if person else "service_account",
        object="organization.user" if person else "organization.service_account",
        id=made_by.id,
        name=made_by.name,
        created_at=unix(person.added_at if person else row.created_at),
        role=made_by.role,
    )
