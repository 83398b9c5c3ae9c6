"""/v1/organization/projects/{project}/users"""

from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from msgspec.json import Decoder
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.audit.log import write
from gateway.db.pages import fetch_page
from gateway.db.tables import ProjectUserRow, UserRow
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.kit.clock import unix
from gateway.projects import repository as projects
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor
from gateway.protocol.users import ProjectUser, ProjectUserCreate, ProjectUserUpdate
from gateway.routes.callers import Admin, Sv
from gateway.routes.people import end_sessions, touch_keys
from gateway.users import repository, service

decode_create = Decoder(ProjectUserCreate)
decode_update = Decoder(ProjectUserUpdate)


@get("/v1/organization/projects/{project_id:str}/users")
async def list_project_users(sv: Sv, admin: Admin, project_id: FromPath[str], query: QueryParams) -> CursorList:
    async with sv.database.session() as session:
        await projects.project(session, project_id)
        people = repository.members(project_id)
        asked = cursor(query, order="asc")
        page = await fetch_page(session, people, UserRow, asked, order=(UserRow.added_at, UserRow.id))
        roles = await repository.memberships(session, project_id, page.rows)
    return cursor_list([shown(row, roles[row.id]) for row in page.rows], has_more=page.has_more)


@post("/v1/organization/projects/{project_id:str}/users", status_code=200)
async def create_project_user(sv: Sv, admin: Admin, project_id: FromPath[str], body: RawBody) -> ProjectUser:
    """Somebody of the organisation joins the project."""
    wanted = decode(decode_create, body)
    async with sv.database.session() as session:
        await projects.project(session, project_id)
        user = await _wanted_user(session, wanted)
        if not await service.join_project(session, project_id, user.id, wanted.role):
            raise Conflict(f"{user.email} belongs to this project already; change the role instead.", param="user_id")
        write(
            session, admin.actor, "user.added", user.id, project_id=project_id, detail={"data": {"role": wanted.role}}
        )
        await touch_keys(session)
        _, row = await repository.membership(session, project_id, user.id)
    await sv.mirrors.catch_up()
    return shown(user, row)


@get("/v1/organization/projects/{project_id:str}/users/{user_id:str}")
async def retrieve_project_user(sv: Sv, admin: Admin, project_id: FromPath[str], user_id: FromPath[str]) -> ProjectUser:
    async with sv.database.session() as session:
        return shown(*await repository.membership(session, project_id, user_id))


@post("/v1/organization/projects/{project_id:str}/users/{user_id:str}", status_code=200)
async def update_project_user(
    sv: Sv, admin: Admin, project_id: FromPath[str], user_id: FromPath[str], body: RawBody
) -> ProjectUser:
    """A new role in the project holds at once. It ends the person's sessions, but for that of who makes the change, where an owner of
    the organisation does: who owns a project alone could keep anybody out of everything, for they need nobody's consent to join them."""
    wanted = decode(decode_update, body)
    async with sv.database.session() as session:
        user, row = await repository.membership(session, project_id, user_id)
        if wanted.role is not None and wanted.role != row.role:
            row.role = wanted.role
            if admin.role == "owner":
                await end_sessions(session, user_id, but=admin.session_id)
        changes = {"changes_requested": {"role": wanted.role}}
        write(session, admin.actor, "user.updated", user_id, project_id=project_id, detail=changes)
    return shown(user, row)


@delete("/v1/organization/projects/{project_id:str}/users/{user_id:str}", status_code=200)
async def delete_project_user(sv: Sv, admin: Admin, project_id: FromPath[str], user_id: FromPath[str]) -> Deleted:
    """Their keys in this project stop working, everywhere within a second."""
    async with sv.database.session() as session:
        _, row = await repository.membership(session, project_id, user_id)
        await session.delete(row)
        await touch_keys(session)
        write(session, admin.actor, "user.deleted", user_id, project_id=project_id)
    await sv.mirrors.catch_up()
    return Deleted(id=user_id, object="organization.project.user.deleted")


async def _wanted_user(session: AsyncSession, wanted: ProjectUserCreate) -> UserRow:
    if (wanted.user_id is None) == (wanted.email is None):
        raise InvalidRequest("Give either 'user_id' or 'email'.", param="user_id")
    if wanted.user_id is not None:
        return await repository.user(session, wanted.user_id)
    email = service.normal_email(wanted.email or "")
    user = await repository.with_email(session, email)
    if user is None:
        raise NotFound(f"No user with the email '{email}'; invite them first.", param="email")
    return user


def shown(user: UserRow, row: ProjectUserRow) -> ProjectUser:
    return ProjectUser(id=user.id, name=user.name, email=user.email, role=row.role, added_at=unix(row.added_at))
