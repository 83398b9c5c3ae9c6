"""/v1/organization/invites, and how one is accepted"""

from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from msgspec import UNSET, UnsetType
from msgspec.json import Decoder

from gateway.access.passwords import check_rules
from gateway.access.sessions import actor_of
from gateway.access.source import Source
from gateway.audit.log import write
from gateway.db.pages import fetch_page
from gateway.db.tables import InviteRow
from gateway.kit.clock import now, unix
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor
from gateway.protocol.users import Invite, InviteAccept, InviteCreate, InviteProject, User
from gateway.routes.callers import Admin, From, Sv
from gateway.routes.people import shown_user
from gateway.services import Services
from gateway.users import invites, repository, service

PAGE = "/accept-invite"
"""Of the console. The token stands behind a #, so that no server's log and no referrer shows it."""

decode_create = Decoder(InviteCreate)
decode_accept = Decoder(InviteAccept)


@get("/v1/organization/invites")
async def list_invites(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    async with sv.database.session() as session:
        page = await fetch_page(session, invites.shown(), InviteRow, cursor(query, order="asc"))
    return cursor_list([shown(row) for row in page.rows], has_more=page.has_more)


@post("/v1/organization/invites", status_code=200)
async def create_invite(sv: Sv, admin: Admin, source: From, body: RawBody) -> Invite:
    """The invitation, and the link that accepts it: the only time that it is shown."""
    wanted = decode(decode_create, body)
    limits, secret_key = sv.settings.sign_in, sv.settings.secret_key.reveal()
    async with sv.database.session() as session:
        row, token = await invites.create(session, wanted, seconds=limits.invite_seconds, secret_key=secret_key)
        detail = {"data": {"email": row.email, "role": row.role}}
        write(session, admin.actor, "invite.sent", row.id, detail=detail)
    return shown(row, f"{_base(sv, source)}{PAGE}#token={token}")


@get("/v1/organization/invites/{invite_id:str}")
async def retrieve_invite(sv: Sv, admin: Admin, invite_id: FromPath[str]) -> Invite:
    async with sv.database.session() as session:
        return shown(await invites.invite(session, invite_id))


@delete("/v1/organization/invites/{invite_id:str}", status_code=200)
async def delete_invite(sv: Sv, admin: Admin, invite_id: FromPath[str]) -> Deleted:
    async with sv.database.session() as session:
        row = await invites.withdraw(session, invite_id)
        write(session, admin.actor, "invite.deleted", row.id)
    return Deleted(id=invite_id, object="organization.invite.deleted")


@post("/v1/invites/accept", status_code=200)
async def accept_invite(sv: Sv, source: From, body: RawBody) -> User:
    """Whoever has the link becomes a person with a password, and signs in with it next.

    The token is looked at before the password is hashed: nobody without one makes us work. It is held only afterwards,
    so that two who use it at once do not both succeed.
    """
    wanted = decode(decode_accept, body)
    secret_key = sv.settings.secret_key.reveal()
    async with sv.database.session() as session:
        email = (await invites.with_token(session, wanted.token, secret_key)).email
    service.checked_name(wanted.name, email)
    check_rules(wanted.password, email)
    hashed = await sv.passwords.hash(wanted.password)
    async with sv.database.session() as session:
        row = await invites.with_token(session, wanted.token, secret_key)
        user = await invites.accept(session, row, name=wanted.name, password_hash=hashed)
        write(session, actor_of(user, source), "invite.accepted", row.id)
        return shown_user(user, (await repository.projects_of(session, [user]))[user.id])


def shown(row: InviteRow, url: str | UnsetType = UNSET) -> Invite:
    pending = "pending" if row.expires_at > now() else "expired"
    return Invite(
        id=row.id,
        email=row.email,
        role=row.role,
        status="accepted" if row.accepted_at else pending,
        created_at=unix(row.created_at),
        expires_at=unix(row.expires_at),
        accepted_at=unix(row.accepted_at) if row.accepted_at else None,
        projects=[InviteProject(id=each["id"], role=each["role"]) for each in row.projects],
        invite_url=url,
    )


def _base(sv: Services, source: Source) -> str:
    return sv.settings.console.url.rstrip("/") or source.origin
