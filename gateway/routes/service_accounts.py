"""/v1/organization/projects/{project}/service_accounts"""

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.administrator import Administrator
from gateway.audit.log import write
from gateway.db.pages import fetch_page
from gateway.db.tables import ServiceAccountRow
from gateway.errors import InvalidRequest
from gateway.keys import service as keys
from gateway.kit.clock import unix
from gateway.projects import repository
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.organization import (
    ApiKeyCreate,
    KeyRights,
    NewApiKey,
    ServiceAccount,
    ServiceAccountCreate,
    ServiceAccountUpdate,
    given,
)
from gateway.protocol.queries import cursor
from gateway.routes.api_keys import check_tier, write_key_created
from gateway.routes.callers import Admin, Sv
from gateway.services import Services

decode_account = msgspec.json.Decoder(ServiceAccountCreate)
decode_update = msgspec.json.Decoder(ServiceAccountUpdate)
decode_key = msgspec.json.Decoder(ApiKeyCreate)


@get("/v1/organization/projects/{project_id:str}/service_accounts")
async def list_service_accounts(sv: Sv, admin: Admin, project_id: FromPath[str], query: QueryParams) -> CursorList:
    async with sv.database.session() as session:
        await repository.project(session, project_id)
        rows = repository.service_accounts(project_id)
        page = await fetch_page(session, rows, ServiceAccountRow, cursor(query, order="asc"))
    return cursor_list([service_account(row) for row in page.rows], has_more=page.has_more)


@post("/v1/organization/projects/{project_id:str}/service_accounts", status_code=200)
async def create_service_account(sv: Sv, admin: Admin, project_id: FromPath[str], body: RawBody) -> ServiceAccount:
    """The account and, unless it was not wanted, its first key: the only time the secret is shown.

    As at OpenAI, an account without a key begins without a role.
    """
    wanted = decode(decode_account, body)
    alone = wanted.create_service_account_only or False
    if alone and any(value is not None for name, value in given(wanted).items() if name in KeyRights.__struct_fields__):
        raise InvalidRequest("Rights are those of a key, and none was asked for.", param="create_service_account_only")
    async with sv.database.session() as session:
        await repository.active_project(session, project_id)
        role = "none" if alone else "member"
        row = await repository.create_service_account(session, project_id, wanted.name, role)
        detail = {"data": {"role": role}}
        write(session, admin.actor, "service_account.created", row.id, project_id=project_id, detail=detail)
        made = None if alone else await _new_key(sv, session, admin, row, wanted.name, wanted)
    await sv.mirrors.catch_up()
    return service_account(row, made)


@get("/v1/organization/projects/{project_id:str}/service_accounts/{account_id:str}")
async def retrieve_service_account(
    sv: Sv, admin: Admin, project_id: FromPath[str], account_id: FromPath[str]
) -> ServiceAccount:
    async with sv.database.session() as session:
        return service_account(await repository.service_account(session, project_id, account_id))


@post("/v1/organization/projects/{project_id:str}/service_accounts/{account_id:str}", status_code=200)
async def update_service_account(
    sv: Sv, admin: Admin, project_id: FromPath[str], account_id: FromPath[str], body: RawBody
) -> ServiceAccount:
    """Its name and its role. Calls are made with its keys, whose rights are their own: the role decides nothing about them."""
    wanted = decode(decode_update, body)
    async with sv.database.session() as session:
        row = await repository.service_account(session, project_id, account_id)
        await repository.active_project(session, project_id)
        row.name = row.name if wanted.name is UNSET else wanted.name
        row.role = row.role if wanted.role is UNSET else wanted.role
        detail = {"changes_requested": given(wanted)}
        write(session, admin.actor, "service_account.updated", row.id, project_id=project_id, detail=detail)
    return service_account(row)


@delete("/v1/organization/projects/{project_id:str}/service_accounts/{account_id:str}", status_code=200)
async def delete_service_account(sv: Sv, admin: Admin, project_id: FromPath[str], account_id: FromPath[str]) -> Deleted:
    """With every key it has."""
    async with sv.database.session() as session:
        row = await repository.service_account(session, project_id, account_id)
        await repository.delete_service_account(session, row.id)
        write(session, admin.actor, "service_account.deleted", row.id, project_id=project_id)
    await sv.mirrors.catch_up()
    return Deleted(id=account_id, object="organization.project.service_account.deleted")


@post("/v1/organization/projects/{project_id:str}/service_accounts/{account_id:str}/api_keys", status_code=200)
async def create_service_account_key(
    sv: Sv, admin: Admin, project_id: FromPath[str], account_id: FromPath[str], body: RawBody
) -> NewApiKey:
    """One more key for an account."""
    wanted = decode(decode_key, body or b"{}")
    async with sv.database.session() as session:
        row = await repository.service_account(session, project_id, account_id)
        await repository.active_project(session, project_id)
        made = await _new_key(sv, session, admin, row, wanted.name or row.name, wanted)
    await sv.mirrors.catch_up()
    return made


async def _new_key(
    sv: Services, session: AsyncSession, admin: Administrator, row: ServiceAccountRow, name: str, rights: KeyRights
) -> NewApiKey:
    check_tier(sv, admin, rights.tier)
    secret_key = sv.settings.secret_key.reveal()
    key, secret = await keys.create_project_key(session, row, name=name, secret_key=secret_key, rights=rights)
    write_key_created(session, admin, key)
    expires_at = unix(key.expires_at) if key.expires_at else None
    return NewApiKey(id=key.id, name=key.name, created_at=unix(key.created_at), expires_at=expires_at, value=secret)


def service_account(
    row: ServiceAccountRow, made: NewApiKey | msgspec.UnsetType | None = msgspec.UNSET
) -> ServiceAccount:
    return ServiceAccount(
        id=row.id,
        name=row.name,
        role=row.role,
        created_at=unix(row.created_at),
        api_key=made,
    )
