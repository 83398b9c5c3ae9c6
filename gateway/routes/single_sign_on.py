"""/v1/sign_in: which ways there are, and the one through the identity provider"""

import re
from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response, get
from litestar.datastructures import Cookie
from litestar.params import QueryParams
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access import lock_out
from gateway.access.flow import FLOW_SECONDS, Identity, Provider
from gateway.access.sessions import actor_of
from gateway.access.source import Source
from gateway.audit.log import write
from gateway.db.tables import UserRow
from gateway.errors import Forbidden, InvalidRequest, NotFound, Refusal
from gateway.kit.location import location
from gateway.protocol.queries import text
from gateway.protocol.sessions import WayIn, WaysIn
from gateway.routes import sign_in
from gateway.routes.callers import From, Sv
from gateway.routes.sessions import browser
from gateway.services import Services
from gateway.users import invites, repository, service

REFUSED = "/console/sign-in/refused"
"""A page: browsers come here by themselves, and what they are shown is read by people (admin/console/pages/sign_in.py)."""
COOKIE = "tuneway_oidc"
PATH = "/v1/sign_in/oidc"
CALLBACK = f"{PATH}/callback"
LOCAL_PATH = re.compile(r"/(?![/\\])[^\x00-\x20\x7f\\]*")
"""A path of ours: neither another host (`//host`, `/\\host`) nor another scheme."""
MAX_RETURN_TO = 1024
ERROR_CODE = re.compile(r"[a-z_]{1,40}")
"""As RFC 6749 and OpenID Connect have them: nobody else's words are written into the audit log."""


@get("/v1/sign_in")
async def list_ways_in(sv: Sv) -> WaysIn:
    """For the console's first page; it tells nothing of anybody."""
    ways = [WayIn(type="password", text="Password", url="/v1/sessions")]
    if sv.open_id is not None:
        ways.append(WayIn(type="oidc", text=sv.settings.oidc.button, url=PATH))
    return WaysIn(data=ways)


@get(PATH)
async def begin_single_sign_on(
    sv: Sv, source: From, request: Request[Any, Any, Any], query: QueryParams
) -> Response[bytes]:
    """Send the browser to the provider."""
    try:
        return await _begin(sv, source, query)
    except Refusal as refusal:
        return _shown(request, refusal)


async def _begin(sv: Services, source: Source, query: QueryParams) -> Response[bytes]:
    return_to = text(query, "return_to") or "/"
    if len(return_to) > MAX_RETURN_TO or not LOCAL_PATH.fullmatch(return_to):
        raise InvalidRequest("Invalid 'return_to': it is no path of this gateway.", param="return_to")
    url, flow = await _provider(sv).begin(_redirect_uri(sv), return_to)
    return _redirect(url, [_flow_cookie(flow, source, FLOW_SECONDS)])


@get(CALLBACK)
async def end_single_sign_on(
    sv: Sv, source: From, request: Request[Any, Any, Any], query: QueryParams
) -> Response[bytes]:
    """The provider sends the browser back: begin a session and go on to where it wanted to go."""
    try:
        return await _end(sv, source, request, query)
    except Refusal as refusal:
        return _shown(request, refusal)


async def _end(sv: Services, source: Source, request: Request[Any, Any, Any], query: QueryParams) -> Response[bytes]:
    provider = _provider(sv)
    flow = provider.flow(request.cookies.get(COOKIE), text(query, "state"))
    counted = lock_out.of_return(source, sv.settings.sign_in)
    async with sv.database.session() as session:
        await lock_out.attempt(session, counted, sv.settings.sign_in)
    try:
        if error := text(query, "error"):
            said = error if ERROR_CODE.fullmatch(error) else "it does not say why"
            raise Forbidden(f"The identity provider did not sign you in: {said}.", code="sign_in_denied")
        identity = await provider.identity(flow, text(query, "code") or "", _redirect_uri(sv))
        async with sv.database.session() as session:
            user = await _person(sv, session, identity, source)
            begun = await sign_in.begin(sv, session, user, browser(source, request))
            await lock_out.take_back(session, counted)
    except Forbidden as refusal:
        raise await sign_in.refused(sv, source, None, refusal) from None
    return _redirect(flow.return_to, [*begun.cookies, _flow_cookie("", source, 0)])


async def _person(sv: Services, session: AsyncSession, identity: Identity, source: Source) -> UserRow:
    """Who that is here: known by the provider's own name for them, else by an email that it has verified, else invited,
    else let in by the settings.

    Raises:
        Forbidden: nobody.
    """
    user = await repository.with_subject(session, identity.issuer, identity.subject)
    if user is not None:
        return user
    if not identity.email or not identity.email_verified:
        raise Forbidden("The identity provider has not verified your email address.", code="email_not_verified")
    user = await repository.with_email(session, identity.email, locked=True)
    if user is None:
        user = await _newcomer(sv, session, identity, source)
    elif user.oidc_subject is not None:
        raise Forbidden(
            "Another account of the identity provider belongs to this person already.", code="other_account"
        )
    user.oidc_issuer, user.oidc_subject = identity.issuer, identity.subject
    linked = {"changes_requested": {"single_sign_on": identity.issuer}}
    write(session, actor_of(user, source), "user.updated", user.id, detail=linked)
    return user


async def _newcomer(sv: Services, session: AsyncSession, identity: Identity, source: Source) -> UserRow:
    """Somebody who was invited, or whom the settings let in. Raises Forbidden."""
    service.normal_email(identity.email)
    name = (identity.name or "")[: service.MAX_NAME]
    if invite := await invites.for_email(session, identity.email):
        user = await invites.accept(session, invite, name=name, password_hash=None)
        write(session, actor_of(user, source), "invite.accepted", invite.id)
        return user
    role, domains = sv.settings.oidc.new_people, sv.settings.oidc.allowed_domains
    domain = identity.email.rpartition("@")[2]
    if role == "none" or not ("*" in domains or domain in [each.lower() for each in domains]):
        raise Forbidden("You are not invited. Ask an owner of this gateway for an invitation.", code="not_invited")
    user = await service.add(session, identity.email, name=name, role=role, password_hash=None)
    write(session, actor_of(user, source), "user.added", user.id, detail={"data": {"role": role}})
    return user


def _provider(sv: Services) -> Provider:
    if sv.open_id is None:
        raise NotFound("Single sign-on is not set up here: see [oidc] of the settings.", code="single_sign_on_off")
    return sv.open_id


def _shown(request: Request[Any, Any, Any], refusal: Refusal) -> Response[bytes]:
    """A page that says what happened, by the code alone: nobody can write their own words on it with a link.

    Raises the refusal, for programs.
    """
    if "text/html" not in request.headers.get("accept", ""):
        raise refusal
    return _redirect(f"{REFUSED}?{urlencode({'code': refusal.code or ''})}", [])


def _redirect_uri(sv: Services) -> str:
    return f"{sv.settings.console.url.rstrip('/')}{CALLBACK}"


def _redirect(url: str, cookies: list[Cookie]) -> Response[bytes]:
    headers = {"location": location(url), "cache-control": "no-store"}
    return Response(b"", status_code=302, headers=headers, media_type="text/plain", cookies=cookies)


def _flow_cookie(value: str, source: Source, seconds: int) -> Cookie:
    return Cookie(
        key=COOKIE, value=value, path=PATH, max_age=seconds, httponly=True, secure=source.secure, samesite="lax"
    )
