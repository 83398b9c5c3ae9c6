"""/v1/organization/projects and their service accounts"""

from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody

from gateway.db.pages import fetch_page
from gateway.db.tables import ProjectRow, ServiceAccountRow
from gateway.keys import service as keys
from gateway.kit.clock import now, unix
from gateway.kit.ids import new_id
from gateway.projects import repository
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.organization import (
    ApiKeyCreate,
    NewApiKey,
    Project,
    ProjectCreate,
    ServiceAccount,
    ServiceAccountCreate,
)
from gateway.protocol.queries import cursor, flag
from gateway.routes.callers import Admin, Sv
from gateway.services import Services

decode_project = msgspec.json.Decoder(ProjectCreate)
decode_account = msgspec.json.Decoder(ServiceAccountCreate)
decode_key = msgspec.json.Decoder(ApiKeyCreate)


@get("/v1/organization/projects")
async def list_projects(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    rows = repository.projects(include_archived=flag(query, "include_archived"))
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, ProjectRow, cursor(query, order="asc"))
    return cursor_list([project(row) for row in page.rows], has_more=page.has_more)


@post("/v1/organization/projects", status_code=200)
async def create_project(sv: Sv, admin: Admin, body: RawBody) -> Project:
    wanted = decode(decode_project, body)
    row = ProjectRow(id=new_id("proj_"), name=wanted.name, created_at=now(), archived_at=None)
    async with sv.database.session() as session:
        session.add(row)
    return project(row)


@get("/v1/organization/projects/{project_id:str}")
async def retrieve_project(sv: Sv, admin: Admin, project_id: FromPath[str]) -> Project:
    async with sv.database.session() as session:
        return project(await repository.project(session, project_id))


@post("/v1/organization/projects/{project_id:str}", status_code=200)
async def update_project(sv: Sv, admin: Admin, project_id: FromPath[str], body: RawBody) -> Project:
    wanted = decode(decode_project, body)
    async with sv.database.session() as session:
        row = await repository.project(session, project_id)
        row.name = wanted.name
    return project(row)


@post("/v1/organization/projects/{project_id:str}/archive", status_code=200)
async def archive_project(sv: Sv, admin: Admin, project_id: FromPath[str]) -> Project:
    async with sv.database.session() as session:
        row = await repository.project(session, project_id)
        await repository.archive(session, row)
    await sv.mirrors.catch_up()
    return project(row)


@get("/v1/organization/projects/{project_id:str}/service_accounts")
async def list_service_accounts(sv: Sv, admin: Admin, project_id: FromPath[str], query: QueryParams) -> CursorList:
    async with sv.database.session() as session:
        await repository.project(session, project_id)
        rows = repository.service_accounts(project_id)
        page = await fetch_page(session, rows, ServiceAccountRow, cursor(query, order="asc"))
    return cursor_list([service_account(row) for row in page.rows], has_more=page.has_more)


@post("/v1/organization/projects/{project_id:str}/service_accounts", status_code=200)
async def create_service_account(sv: Sv, admin: Admin, project_id: FromPath[str], body: RawBody) -> ServiceAccount:
    """The account and, unless it was not wanted, its first key: the only time the secret is shown."""
    wanted = decode(decode_account, body)
    async with sv.database.session() as session:
        await repository.project(session, project_id)
        row = ServiceAccountRow(
            id=new_id("svc_acct_"), project_id=project_id, name=wanted.name, role="member", created_at=now()
        )
        session.add(row)
        await session.flush()
        made = None if wanted.create_service_account_only else await _new_key(sv, session, row, wanted.name)
    await sv.mirrors.catch_up()
    return service_account(row, made)


@get("/v1/organization/projects/{project_id:str}/service_accounts/{account_id:str}")
async def retrieve_service_account(
    sv: Sv, admin: Admin, project_id: FromPath[str], account_id: FromPath[str]
) -> ServiceAccount:
    async with sv.database.session() as session:
        return service_account(await repository.service_account(session, project_id, account_id))


@delete("/v1/organization/projects/{project_id:str}/service_accounts/{account_id:str}", status_code=200)
async def delete_service_account(sv: Sv, admin: Admin, project_id: FromPath[str], account_id: FromPath[str]) -> Deleted:
    async with sv.database.session() as session:
        row = await repository.service_account(session, project_id, account_id)
        await repository.delete_service_account(session, row.id)
    await sv.mirrors.catch_up()
    return Deleted(id=account_id, object="organization.project.service_account.deleted")


@post("/v1/organization/projects/{project_id:str}/service_accounts/{account_id:str}/api_keys", status_code=200)
async def create_service_account_key(
    sv: Sv, admin: Admin, project_id: FromPath[str], account_id: FromPath[str], body: RawBody
) -> NewApiKey:
    """One more key for an account, so that a key can be replaced without a gap."""
    wanted = decode(decode_key, body or b"{}")
    async with sv.database.session() as session:
        row = await repository.service_account(session, project_id, account_id)
        made = await _new_key(sv, session, row, wanted.name or row.name)
    await sv.mirrors.catch_up()
    return made


async def _new_key(sv: Services, session: Any, row: ServiceAccountRow, name: str) -> NewApiKey:
    secret_key = sv.settings.secret_key.reveal()
    key, secret = await keys.create_project_key(session, row, name=name, secret_key=secret_key)
    return NewApiKey(id=key.id, name=key.name, created_at=unix(key.created_at), value=secret)


def project(row: ProjectRow) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        created_at=unix(row.created_at),
        archived_at=unix(row.archived_at) if row.archived_at else None,
        status="archived" if row.archived_at else "active",
    )


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
