"""/v1/organization/projects"""

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from msgspec import UNSET

from gateway.audit.log import write
from gateway.db.changes import touch
from gateway.db.pages import fetch_page
from gateway.db.tables import ProjectRow
from gateway.errors import InvalidRequest, NotFound
from gateway.keys.model_rules import check_model_names
from gateway.kit.clock import now, unix
from gateway.kit.ids import new_id
from gateway.projects import repository
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, cursor_list
from gateway.protocol.organization import (
    ModelPermissions,
    ModelPermissionsDeleted,
    ModelPermissionsUpdate,
    Project,
    ProjectCreate,
    ProjectUpdate,
)
from gateway.protocol.queries import cursor, flag
from gateway.routes.api_keys import check_tier
from gateway.routes.callers import Admin, Sv

decode_project = msgspec.json.Decoder(ProjectCreate)
decode_update = msgspec.json.Decoder(ProjectUpdate)
decode_models = msgspec.json.Decoder(ModelPermissionsUpdate)

WHERE_DATA_LIES = ("residency", "geography", "external_key_id")
"""Of OpenAI's own data centres: here the operator has decided."""


@get("/v1/organization/projects")
async def list_projects(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    rows = repository.projects(include_archived=flag(query, "include_archived"))
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, ProjectRow, cursor(query, order="asc"))
    return cursor_list([project(row) for row in page.rows], has_more=page.has_more)


@post("/v1/organization/projects", status_code=200)
async def create_project(sv: Sv, admin: Admin, body: RawBody) -> Project:
    wanted = decode(decode_project, body)
    _refuse_elsewhere(wanted)
    check_tier(sv, admin, wanted.tier)
    row = ProjectRow(id=new_id("proj_"), name=wanted.name, created_at=now(), archived_at=None, tier=wanted.tier or None)
    async with sv.database.session() as session:
        session.add(row)
        if row.tier:
            await touch(session, "rate_limits")
        detail = {"data": {"name": row.name, "title": row.name}}
        write(session, admin.actor, "project.created", row.id, project_id=row.id, detail=detail)
    return project(row)


@get("/v1/organization/projects/{project_id:str}")
async def retrieve_project(sv: Sv, admin: Admin, project_id: FromPath[str]) -> Project:
    async with sv.database.session() as session:
        return project(await repository.project(session, project_id))


@post("/v1/organization/projects/{project_id:str}", status_code=200)
async def update_project(sv: Sv, admin: Admin, project_id: FromPath[str], body: RawBody) -> Project:
    """Raises InvalidRequest for an archived one."""
    wanted = decode(decode_update, body)
    _refuse_elsewhere(wanted)
    check_tier(sv, admin, wanted.tier)
    changes: dict[str, object] = {} if wanted.name is None else {"title": wanted.name}
    async with sv.database.session() as session:
        row = await repository.active_project(session, project_id)
        row.name = wanted.name or row.name
        if wanted.tier is not UNSET:
            row.tier = changes["tier"] = wanted.tier
            await touch(session, "rate_limits")
        detail = {"changes_requested": changes}
        write(session, admin.actor, "project.updated", row.id, project_id=row.id, detail=detail)
    await sv.mirrors.catch_up()
    return project(row)


@post("/v1/organization/projects/{project_id:str}/archive", status_code=200)
async def archive_project(sv: Sv, admin: Admin, project_id: FromPath[str]) -> Project:
    """Its keys are refused everywhere within a second; it cannot be undone."""
    async with sv.database.session() as session:
        row = await repository.project(session, project_id)
        if row.archived_at is None:
            write(session, admin.actor, "project.archived", row.id, project_id=row.id)
        await repository.archive(session, row)
    await sv.mirrors.catch_up()
    return project(row)


@get("/v1/organization/projects/{project_id:str}/model_permissions")
async def retrieve_model_permissions(sv: Sv, admin: Admin, project_id: FromPath[str]) -> ModelPermissions:
    """Raises NotFound where every model is allowed."""
    async with sv.database.session() as session:
        row = await repository.project(session, project_id)
    if row.model_permissions is None:
        raise NotFound(f"The project '{project_id}' has no model permissions: its keys may call every model.")
    return ModelPermissions(**row.model_permissions)


@post("/v1/organization/projects/{project_id:str}/model_permissions", status_code=200)
async def update_model_permissions(sv: Sv, admin: Admin, project_id: FromPath[str], body: RawBody) -> ModelPermissions:
    wanted = decode(decode_models, body)
    check_model_names("model_ids", wanted.model_ids)
    made = ModelPermissions(mode=wanted.mode, model_ids=list(dict.fromkeys(wanted.model_ids)))
    permissions = {"mode": made.mode, "model_ids": made.model_ids}
    async with sv.database.session() as session:
        row = await repository.active_project(session, project_id)
        await repository.change_models(session, row, permissions)
        detail = {"changes_requested": {"model_permissions": permissions}}
        write(session, admin.actor, "project.updated", row.id, project_id=row.id, detail=detail)
    await sv.mirrors.catch_up()
    return made


@delete("/v1/organization/projects/{project_id:str}/model_permissions", status_code=200)
async def delete_model_permissions(sv: Sv, admin: Admin, project_id: FromPath[str]) -> ModelPermissionsDeleted:
    async with sv.database.session() as session:
        row = await repository.active_project(session, project_id)
        if deleted := row.model_permissions is not None:
            await repository.change_models(session, row, None)
            detail = {"changes_requested": {"model_permissions": None}}
            write(session, admin.actor, "project.updated", row.id, project_id=row.id, detail=detail)
    await sv.mirrors.catch_up()
    return ModelPermissionsDeleted(deleted=deleted)


def _refuse_elsewhere(wanted: ProjectCreate | ProjectUpdate) -> None:
    """Raises InvalidRequest for a choice that this installation does not give."""
    for name in WHERE_DATA_LIES:
        if getattr(wanted, name, None) is not None:
            raise InvalidRequest(
                f"'{name}' cannot be chosen here: everything lies where this gateway's operator keeps it. Leave it out.",
                param=name,
            )


def project(row: ProjectRow) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        created_at=unix(row.created_at),
        archived_at=unix(row.archived_at) if row.archived_at else None,
        status="archived" if row.archived_at else "active",
        tier=row.tier,
    )
