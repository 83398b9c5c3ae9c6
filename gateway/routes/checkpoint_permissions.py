"""/v1/fine_tuning/checkpoints/{checkpoint}/permissions

A checkpoint's name holds colons and, where its base is `org/name`, a slash: it arrives raw or escaped, so these routes
take the whole rest of the path and read it from its end.
"""

import re

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody

from gateway.audit import log as audit
from gateway.db.pages import fetch_page
from gateway.db.tables import CheckpointPermissionRow
from gateway.errors import InvalidRequest, UnknownUrl
from gateway.fine_tuning import permissions
from gateway.fine_tuning.models import tuned_model
from gateway.kit.clock import unix
from gateway.projects import repository as projects
from gateway.protocol.checkpoint_permissions import CheckpointPermission, PermissionsCreate
from gateway.protocol.decode import decode
from gateway.protocol.lists import Cursor, CursorList, Deleted, cursor_list
from gateway.protocol.queries import choice, integer, text
from gateway.routes.callers import Admin, Sv

PATH = "/v1/fine_tuning/checkpoints/{rest:path}"

decode_create = msgspec.json.Decoder(PermissionsCreate)
_of_checkpoint = re.compile(r"/(?P<model>.+)/permissions")
_one = re.compile(r"/(?P<model>.+)/permissions/(?P<permission>[^/]+)")


@get(PATH)
async def list_permissions(sv: Sv, admin: Admin, rest: FromPath[str], query: QueryParams) -> CursorList:
    """Newest first, ten a page; also answers the SDKs' older `retrieve`, which is the same call."""
    model_id = _parts(_of_checkpoint, "GET", rest)["model"]
    rows = permissions.of_model(model_id)
    if project_id := text(query, "project_id"):
        rows = rows.where(CheckpointPermissionRow.project_id == project_id)
    cursor = Cursor(
        limit=integer(query, "limit", default=10),
        after=text(query, "after"),
        descending=choice(query, "order", ("ascending", "descending"), "descending") == "descending",
    )
    async with sv.database.session() as session:
        await tuned_model(session, model_id)
        page = await fetch_page(session, rows, CheckpointPermissionRow, cursor)
    return cursor_list([permission(row) for row in page.rows], has_more=page.has_more)


@post(PATH, status_code=200)
async def create_permissions(sv: Sv, admin: Admin, rest: FromPath[str], body: RawBody) -> CursorList:
    """All projects get their permission, or none does; they may call the checkpoint at once."""
    model_id = _parts(_of_checkpoint, "POST", rest)["model"]
    wanted = decode(decode_create, body)
    async with sv.database.session() as session:
        await tuned_model(session, model_id)
        for project_id in wanted.project_ids:
            if (await projects.project(session, project_id)).archived_at is not None:
                raise InvalidRequest(f"The project '{project_id}' is archived.", param="project_ids")
        before = {row.id for row in await session.scalars(permissions.of_model(model_id))}
        rows = await permissions.grant(session, model_id, wanted.project_ids)
        for row in (each for each in rows if each.id not in before):
            data = {"project_id": row.project_id, "fine_tuned_model_checkpoint": model_id}
            audit.write(
                session,
                admin.actor,
                "checkpoint.permission.created",
                row.id,
                project_id=row.project_id,
                detail={"data": data},
            )
    await sv.mirrors.catch_up()
    return cursor_list([permission(row) for row in rows], has_more=False)


@delete(PATH, status_code=200)
async def delete_permission(sv: Sv, admin: Admin, rest: FromPath[str]) -> Deleted:
    """The project's calls are refused everywhere within a second."""
    parts = _parts(_one, "DELETE", rest)
    async with sv.database.session() as session:
        await permissions.revoke(session, parts["model"], parts["permission"])
        audit.write(session, admin.actor, "checkpoint.permission.deleted", parts["permission"])
    await sv.mirrors.catch_up()
    return Deleted(id=parts["permission"], object="checkpoint.permission")


def permission(row: CheckpointPermissionRow) -> CheckpointPermission:
    return CheckpointPermission(id=row.id, created_at=unix(row.created_at), project_id=row.project_id)


def _parts(pattern: re.Pattern[str], method: str, rest: str) -> dict[str, str]:
    """Raises UnknownUrl."""
    match = pattern.fullmatch(rest)
    if match is None:
        raise UnknownUrl(method, f"/v1/fine_tuning/checkpoints{rest}")
    return match.groupdict()
