"""/v1/organization/users"""

from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from msgspec import UNSET
from msgspec.json import Decoder
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access import lock_out, totp
from gateway.access.administrator import Administrator
from gateway.access.passwords import check_rules
from gateway.audit.log import write
from gateway.db.pages import fetch_page
from gateway.db.tables import UserRow
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import array, cursor
from gateway.protocol.users import PasswordReset, User, UserCreate, UserUpdate
from gateway.routes.callers import Admin, Sv
from gateway.routes.people import end_sessions, revoke_keys, shown_user, touch_keys
from gateway.services import Services
from gateway.users import repository, service

decode_create = Decoder(UserCreate)
decode_update = Decoder(UserUpdate)
decode_password = Decoder(PasswordReset)


@get("/v1/organization/users")
async def list_users(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    people = repository.live()
    if emails := array(query, "emails"):
        people = people.where(UserRow.email.in_([email.strip().lower() for email in emails]))
    async with sv.database.session() as session:
        asked = cursor(query, order="asc")
        page = await fetch_page(session, people, UserRow, asked, order=(UserRow.added_at, UserRow.id))
        projects = await repository.projects_of(session, page.rows)
    return cursor_list([shown_user(row, projects[row.id]) for row in page.rows], has_more=page.has_more)


@post("/v1/organization/users", status_code=200)
async def create_user(sv: Sv, admin: Admin, body: RawBody) -> User:
    """An addition to OpenAI's API: for the first owner, and for scripts. Others are invited."""
    wanted = decode(decode_create, body)
    email = service.normal_email(wanted.email)
    hashed = None if wanted.password is None else await _hash(sv, wanted.password, email)
    async with sv.database.session() as session:
        row = await service.add(session, email, name=wanted.name, role=wanted.role, password_hash=hashed)
        write(session, admin.actor, "user.added", row.id, detail={"data": {"role": row.role}})
    return shown_user(row, [])


@get("/v1/organization/users/{user_id:str}")
async def retrieve_user(sv: Sv, admin: Admin, user_id: FromPath[str]) -> User:
    async with sv.database.session() as session:
        row = await repository.user(session, user_id)
        return shown_user(row, (await repository.projects_of(session, [row]))[row.id])


@post("/v1/organization/users/{user_id:str}", status_code=200)
async def update_user(sv: Sv, admin: Admin, user_id: FromPath[str], body: RawBody) -> User:
    """A new role ends the person's sessions, but for that of who makes the change."""
    wanted = decode(decode_update, body)
    async with sv.database.session() as session:
        row = await repository.user(session, user_id, locked=True)
        if wanted.name is not UNSET:
            row.name = service.checked_name(wanted.name, row.email)
        if wanted.role is not UNSET and wanted.role is not None and await service.set_role(session, row, wanted.role):
            await end_sessions(session, row.id, but=admin.session_id)
            await touch_keys(session)
        changes = {name: getattr(wanted, name) for name in ("role", "name") if getattr(wanted, name) is not UNSET}
        write(session, admin.actor, "user.updated", row.id, detail={"changes_requested": changes})
        projects = await repository.projects_of(session, [row])
    await sv.mirrors.catch_up()
    return shown_user(row, projects[row.id])


@delete("/v1/organization/users/{user_id:str}", status_code=200)
async def delete_user(sv: Sv, admin: Admin, user_id: FromPath[str]) -> Deleted:
    """Their sessions end and their keys stop working, everywhere within a second."""
    async with sv.database.session() as session:
        row = await repository.user(session, user_id, locked=True)
        await service.remove(session, row)
        await end_sessions(session, row.id)
        await revoke_keys(session, admin, row.id)
        write(session, admin.actor, "user.deleted", row.id)
    await sv.mirrors.catch_up()
    return Deleted(id=user_id, object="organization.user.deleted")


@post("/v1/organization/users/{user_id:str}/password", status_code=200)
async def reset_password(sv: Sv, admin: Admin, user_id: FromPath[str], body: RawBody) -> User:
    """For somebody who has forgotten it: their sessions end, and a lock on the account is lifted."""
    wanted = decode(decode_password, body)
    async with sv.database.session() as session:
        email = (await repository.user(session, user_id)).email
    hashed = await _hash(sv, wanted.password, email)
    async with sv.database.session() as session:
        row = await repository.user(session, user_id, locked=True)
        row.password_hash = hashed
        await lock_out.unlock(session, row.email, sv.settings.secret_key.reveal())
        return await _secured(session, admin, row, {"password": "reset"})


@delete("/v1/organization/users/{user_id:str}/totp", status_code=200)
async def reset_totp(sv: Sv, admin: Admin, user_id: FromPath[str]) -> User:
    """For somebody who has lost the authenticator and the recovery codes: their sessions end."""
    async with sv.database.session() as session:
        row = await repository.user(session, user_id, locked=True)
        totp.switch_off(row)
        return await _secured(session, admin, row, {"totp": "reset"})


async def _secured(session: AsyncSession, admin: Administrator, row: UserRow, changes: dict[str, str]) -> User:
    await end_sessions(session, row.id, but=admin.session_id)
    write(session, admin.actor, "user.updated", row.id, detail={"changes_requested": changes})
    return shown_user(row, (await repository.projects_of(session, [row]))[row.id])


async def _hash(sv: Services, password: str, email: str) -> str:
    check_rules(password, email)
    return await sv.passwords.hash(password)
