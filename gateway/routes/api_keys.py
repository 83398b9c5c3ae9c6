"""/v1/organization/projects/{project}/api_keys"""

from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from msgspec import UNSET
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.administrator import Administrator
from gateway.audit.log import write
from gateway.db.changes import touch
from gateway.db.pages import fetch_page
from gateway.db.tables import ApiKeyRow, ConsoleKeyRow
from gateway.errors import Forbidden, InvalidRequest
from gateway.keys import repository, service
from gateway.kit.clock import now, unix
from gateway.projects import repository as projects
from gateway.projects.owners import Owner, owners_of
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.organization import ApiKeyCreate, ApiKeyRotate, ApiKeyUpdate, ProjectApiKey
from gateway.protocol.queries import array, choice, cursor
from gateway.routes.callers import Admin, Sv
from gateway.services import Services

decode_key = msgspec.json.Decoder(ApiKeyCreate)
decode_update = msgspec.json.Decoder(ApiKeyUpdate)
decode_rotate = msgspec.json.Decoder(ApiKeyRotate)

ACCESS = ("active", "inactive", "any")


@get("/v1/organization/projects/{project_id:str}/api_keys")
async def list_api_keys(sv: Sv, admin: Admin, project_id: FromPath[str], query: QueryParams) -> CursorList:
    """Oldest first. Filters: tags[] (each of them), owner_project_access."""
    access = choice(query, "owner_project_access", ACCESS, "any")
    async with sv.database.session() as session:
        await projects.project(session, project_id)
        rows = repository.live(project_id, tags=array(query, "tags"), access=access)
        page = await fetch_page(session, rows, ApiKeyRow, cursor(query, order="asc"))
        owners = await owners_of(session, page.rows)
    return cursor_list([api_key(row, owners[row.id]) for row in page.rows], has_more=page.has_more)


@post("/v1/organization/projects/{project_id:str}/api_keys", status_code=200)
async def create_api_key(sv: Sv, admin: Admin, project_id: FromPath[str], body: RawBody) -> ProjectApiKey:
    """A key of whoever asks: the person who administers or, for an admin key that is nobody's, a service account of its
    own. OpenAI has no such call. The only time the secret is shown."""
    wanted = decode(decode_key, body or b"{}")
    check_tier(sv, admin, wanted.tier)
    name, secret_key = wanted.name or "key", sv.settings.secret_key.reveal()
    async with sv.database.session() as session:
        await projects.active_project(session, project_id)
        if admin.user_id:
            row, secret = await service.create_user_key(
                session, project_id, admin.user_id, name=name, secret_key=secret_key, rights=wanted
            )
        else:
            account = await projects.create_service_account(session, project_id, name, "member")
            detail = {"data": {"role": "member"}}
            write(session, admin.actor, "service_account.created", account.id, project_id=project_id, detail=detail)
            row, secret = await service.create_project_key(
                session, account, name=name, secret_key=secret_key, rights=wanted
            )
        write_key_created(session, admin, row)
        made = await _shown(session, row, secret)
    await sv.mirrors.catch_up()
    return made


@get("/v1/organization/projects/{project_id:str}/api_keys/{key_id:str}")
async def retrieve_api_key(sv: Sv, admin: Admin, project_id: FromPath[str], key_id: FromPath[str]) -> ProjectApiKey:
    async with sv.database.session() as session:
        return await _shown(session, await repository.of_project(session, project_id, key_id))


@post("/v1/organization/projects/{project_id:str}/api_keys/{key_id:str}", status_code=200)
async def update_api_key(
    sv: Sv, admin: Admin, project_id: FromPath[str], key_id: FromPath[str], body: RawBody
) -> ProjectApiKey:
    """What is left out stays as it is. Holds everywhere within a second."""
    wanted = decode(decode_update, body)
    check_tier(sv, admin, wanted.tier)
    async with sv.database.session() as session:
        row = await _changeable(session, project_id, key_id)
        changes = service.change_rights(row, wanted)
        if wanted.name is not UNSET:
            row.name = changes["name"] = wanted.name
        await touch(session, repository.MIRROR)
        _write_updated(session, admin, row, changes)
        shown = await _shown(session, row)
    await sv.mirrors.catch_up()
    return shown


@post("/v1/organization/projects/{project_id:str}/api_keys/{key_id:str}/rotate", status_code=200)
async def rotate_api_key(
    sv: Sv, admin: Admin, project_id: FromPath[str], key_id: FromPath[str], body: RawBody
) -> ProjectApiKey:
    """A new secret for the same key: its id, rights, budgets, limits and usage stay, and bind both secrets together while
    the old one still works. The only time the new one is shown. A person's key is rotated by that person alone: whoever has its secret
    acts in their name. Anybody who manages the project's keys can revoke it."""
    overlap = decode(decode_rotate, body or b"{}").overlap_seconds
    async with sv.database.session() as session:
        row = await _changeable(session, project_id, key_id)
        await _check_rotatable(session, admin, row)
        secret_key = sv.settings.secret_key.reveal()
        secret = await service.rotate(session, row, overlap_seconds=overlap, secret_key=secret_key)
        _write_updated(session, admin, row, {"secret": "rotated", "overlap_seconds": overlap})
        shown = await _shown(session, row, secret)
    await sv.mirrors.catch_up()
    return shown


@delete("/v1/organization/projects/{project_id:str}/api_keys/{key_id:str}", status_code=200)
async def revoke_api_key(sv: Sv, admin: Admin, project_id: FromPath[str], key_id: FromPath[str]) -> Deleted:
    """Refused everywhere within a second. OpenAI answers 400 for a service account's key; here one key of an account
    can be revoked, because an account may have several."""
    async with sv.database.session() as session:
        row = await repository.of_project(session, project_id, key_id)
        await repository.revoke(session, ApiKeyRow.id == row.id)
        write(session, admin.actor, "api_key.deleted", row.id, project_id=project_id)
    await sv.mirrors.catch_up()
    return Deleted(id=key_id, object="organization.project.api_key.deleted")


def check_tier(sv: Services, admin: Administrator, tier: str | msgspec.UnsetType | None) -> None:
    """Raises Forbidden: rate limits are not for a project's own people to lift; InvalidRequest: there is no such tier."""
    if tier is UNSET:
        return
    if admin.role != "owner":
        raise Forbidden("Only an owner of the organization chooses the tier of rate limits: leave out 'tier'.")
    tiers = [each.name for each in sv.settings.tiers]
    if tier is not None and tier not in tiers:
        known = f"The settings have: {', '.join(tiers)}." if tiers else "The settings have no [[tiers]]."
        raise InvalidRequest(f"There is no tier '{tier[:50]}'. {known}", param="tier")


def write_key_created(session: AsyncSession, admin: Administrator, row: ApiKeyRow) -> None:
    detail = {"data": {"scopes": row.scopes or [], "name": row.name}}
    write(session, admin.actor, "api_key.created", row.id, project_id=row.project_id, detail=detail)


def _write_updated(session: AsyncSession, admin: Administrator, row: ApiKeyRow, changes: dict[str, Any]) -> None:
    if "scopes" in changes:
        changes = changes | {"scopes": changes["scopes"] or []}  # as where a key is made: OpenAI's entry takes no null
    detail = {"changes_requested": changes}
    write(session, admin.actor, "api_key.updated", row.id, project_id=row.project_id, detail=detail)


async def _changeable(session: AsyncSession, project_id: str, key_id: str) -> ApiKeyRow:
    """Locked: two rotations at once would forget a secret. Raises NotFound, InvalidRequest."""
    row = await repository.of_project(session, project_id, key_id, lock=True)
    await projects.active_project(session, project_id)
    service.check_not_expired(row)
    return row


async def _check_rotatable(session: AsyncSession, admin: Administrator, row: ApiKeyRow) -> None:
    """Raises Forbidden."""
    if row.user_id is not None and row.user_id != admin.user_id:
        raise Forbidden("This key is a person's own: only they can rotate it. Revoke it if it may have leaked.")
    if await session.scalar(select(ConsoleKeyRow.api_key_id).where(ConsoleKeyRow.api_key_id == row.id)):
        raise Forbidden("This key is that of a person's session, and nobody has its secret.")


async def _shown(session: AsyncSession, row: ApiKeyRow, secret: str | msgspec.UnsetType = UNSET) -> ProjectApiKey:
    shown = api_key(row, (await owners_of(session, [row]))[row.id])
    shown.value = secret
    return shown


def api_key(row: ApiKeyRow, owner: Owner) -> ProjectApiKey:
    overlap = row.old_hash_expires_at
    return ProjectApiKey(
        id=row.id,
        name=row.name,
        redacted_value=row.redacted_value,
        created_at=unix(row.created_at),
        last_used_at=unix(row.last_used_at) if row.last_used_at else None,
        expires_at=unix(row.expires_at) if row.expires_at else None,
        owner_project_access="active" if owner.has_access else "inactive",
        owner=owner.shown,
        scopes=row.scopes,
        allowed_models=row.allowed_models,
        logging=row.logging,
        tags=row.tags,
        tier=row.tier,
        purpose=row.purpose or None,
        old_value_expires_at=unix(overlap) if overlap and overlap > now() else None,
    )
