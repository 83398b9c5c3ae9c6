"""/v1/organization/projects/{project}/api_keys"""

from typing import Any

from litestar import delete, get
from litestar.params import FromPath, QueryParams

from gateway.db.pages import fetch_page
from gateway.db.tables import ApiKeyRow, ServiceAccountRow
from gateway.errors import NotFound
from gateway.keys import repository
from gateway.kit.clock import unix
from gateway.projects import repository as projects
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.organization import KeyOwner, ProjectApiKey, ServiceAccountOwner
from gateway.protocol.queries import cursor
from gateway.routes.callers import Admin, Sv


@get("/v1/organization/projects/{project_id:str}/api_keys")
async def list_api_keys(sv: Sv, admin: Admin, project_id: FromPath[str], query: QueryParams) -> CursorList:
    async with sv.database.session() as session:
        await projects.project(session, project_id)
        rows = repository.live(project_id)
        page = await fetch_page(session, rows, ApiKeyRow, cursor(query, order="asc"))
        owners = await projects.accounts_of(session, page.rows)
    return cursor_list([api_key(row, owners) for row in page.rows], has_more=page.has_more)


@get("/v1/organization/projects/{project_id:str}/api_keys/{key_id:str}")
async def retrieve_api_key(sv: Sv, admin: Admin, project_id: FromPath[str], key_id: FromPath[str]) -> ProjectApiKey:
    async with sv.database.session() as session:
        row = await _find(session, project_id, key_id)
        return api_key(row, await projects.accounts_of(session, [row]))


@delete("/v1/organization/projects/{project_id:str}/api_keys/{key_id:str}", status_code=200)
async def revoke_api_key(sv: Sv, admin: Admin, project_id: FromPath[str], key_id: FromPath[str]) -> Deleted:
    """Refused everywhere within a second. OpenAI answers 400 for a service account's key; here one key of an account
    can be revoked, because an account may have several."""
    async with sv.database.session() as session:
        row = await _find(session, project_id, key_id)
        await repository.revoke(session, ApiKeyRow.id == row.id)
    await sv.mirrors.catch_up()
    return Deleted(id=key_id, object="organization.project.api_key.deleted")


async def _find(session: Any, project_id: str, key_id: str) -> ApiKeyRow:
    row = await repository.of_project(session, project_id, key_id)
    if row is None:
        raise NotFound(f"No API key with id '{key_id}' in this project.", param="key_id")
    return row


def api_key(row: ApiKeyRow, owners: dict[str, ServiceAccountRow]) -> ProjectApiKey:
    owner = owners[row.service_account_id or ""]
    return ProjectApiKey(
        id=row.id,
        name=row.name,
        redacted_value=row.redacted_value,
        created_at=unix(row.created_at),
        last_used_at=unix(row.last_used_at) if row.last_used_at else None,
        owner=KeyOwner(
            service_account=ServiceAccountOwner(
                id=owner.id, name=owner.name, role=owner.role, created_at=unix(owner.created_at)
            )
        ),
    )
