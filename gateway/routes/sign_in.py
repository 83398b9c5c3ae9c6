"""The path of a sign-in with a password: count, verify, ask for a code, begin a session.

Each step that counts is a transaction of its own and ends before the slow one, so that nothing is held meanwhile, and a
process that dies in between has counted a failure rather than forgotten one.
"""

from dataclasses import dataclass

from litestar import Response
from litestar.datastructures import Cookie
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access import csrf, lock_out, sessions, totp
from gateway.access.lock_out import DEVICE_COOKIE, Subjects
from gateway.access.source import Source
from gateway.audit.log import write
from gateway.db.tables import SessionRow, UserRow
from gateway.errors import Refusal, Unauthenticated
from gateway.kit.clock import unix
from gateway.protocol.audit_logs import session_actor
from gateway.protocol.sessions import CurrentSession, Session, SignIn
from gateway.routes.people import shown_user
from gateway.services import Services
from gateway.users import repository

DEVICE_SECONDS = 365 * 24 * 3600
WRONG = "The email, the password or the code is wrong."


@dataclass(frozen=True, slots=True)
class Browser:
    """What a browser sends beside the form."""

    source: Source
    session_token: str | None
    device: str | None


async def sign_in(sv: Services, wanted: SignIn, browser: Browser) -> Response[CurrentSession]:
    """A session for whoever knows the password, and has the authenticator where one is switched on.

    Raises:
        Unauthenticated: something is wrong (`invalid_credentials`), or a code is still missing (`totp_required`).
        TooManyAttempts: locked.
        Unavailable: too many sign in at once, or the database is away.
    """
    email, secret_key = wanted.email.strip().lower(), sv.settings.secret_key.reveal()
    counted = lock_out.subjects(email, browser.source, browser.device, sv.settings.sign_in, secret_key)
    async with sv.database.session() as session:
        await lock_out.attempt(session, counted, sv.settings.sign_in)
    async with sv.database.session() as session:
        known = await repository.with_email(session, email)
    right = await sv.passwords.verify(known.password_hash if known else None, wanted.password)
    if known is None or not right:
        raise await refused(sv, browser.source, known, Unauthenticated(WRONG, code="invalid_credentials"))
    renewed = await _renewed(sv, known, wanted.password)
    return await _with_code(sv, known, renewed, wanted.code, browser, counted)


async def _with_code(
    sv: Services, known: UserRow, renewed: str | None, code: str | None, browser: Browser, counted: Subjects
) -> Response[CurrentSession]:
    async with sv.database.session() as session:
        user = await repository.user(session, known.id, locked=True)
        if user.password_hash == known.password_hash and _code_is_right(sv, user, code):
            user.password_hash = renewed or user.password_hash
            await lock_out.succeeded(session, counted)
            return await begin(sv, session, user, browser)
        missing = user.totp_confirmed_at is not None and not code
        if missing:
            await lock_out.take_back(session, counted)
    if missing:
        raise Unauthenticated("A code of your authenticator app is needed: send `code`, too.", code="totp_required")
    raise await refused(sv, browser.source, known, Unauthenticated(WRONG, code="invalid_credentials"))


async def begin(sv: Services, session: AsyncSession, user: UserRow, browser: Browser) -> Response[CurrentSession]:
    """A session of somebody who has proved who they are, and its cookies."""
    limits, secret_key = sv.settings.sign_in, sv.settings.secret_key.reveal()
    if browser.session_token:
        await sessions.end_presented(session, browser.session_token, secret_key)
    row, token = await sessions.start(session, user, browser.source, limits, secret_key)
    write(session, sessions.actor_of(user, browser.source), "login.succeeded", user.id)
    await session.flush()
    body = await current(sv, session, row, user)
    secure = browser.source.secure
    device = lock_out.new_device(user.email, secret_key)
    return Response(
        body,
        status_code=200,
        cookies=[
            _cookie(sessions.COOKIE, token, secure=secure, seconds=limits.session_seconds),
            _cookie(DEVICE_COOKIE, device, secure=secure, seconds=DEVICE_SECONDS),
        ],
    )


async def refused(sv: Services, source: Source, user: UserRow | None, refusal: Refusal) -> Refusal:
    """`refusal`, once the audit log tells of it. An email that nobody has is not written down: it may be a password that
    went into the wrong field."""
    actor = session_actor(
        user.id if user else None,
        email=user.email if user else None,
        ip_address=source.ip_address,
        user_agent=source.user_agent,
    )
    detail = {"error_code": refusal.code, "error_message": str(refusal)}
    async with sv.database.session() as session:
        write(session, actor, "login.failed", user.id if user else "", detail=detail)
    return refusal


async def current(sv: Services, session: AsyncSession, row: SessionRow, user: UserRow) -> CurrentSession:
    projects = await repository.projects_of(session, [user])
    return CurrentSession(
        id=row.id,
        created_at=unix(row.created_at),
        last_seen_at=unix(row.seen_at),
        expires_at=unix(row.expires_at),
        ip_address=row.ip_address,
        user_agent=row.user_agent,
        current=True,
        user=shown_user(user, projects[user.id]),
        csrf_token=csrf.token_of(row.id, sv.settings.secret_key.reveal()),
        recovery_codes_left=len(user.recovery_codes),
    )


def shown_session(row: SessionRow, current_id: str | None) -> Session:
    return Session(
        id=row.id,
        created_at=unix(row.created_at),
        last_seen_at=unix(row.seen_at),
        expires_at=unix(row.expires_at),
        ip_address=row.ip_address,
        user_agent=row.user_agent,
        current=row.id == current_id,
    )


def ended_cookie(source: Source) -> Cookie:
    """The browser forgets its session."""
    return _cookie(sessions.COOKIE, "", secure=source.secure, seconds=0)


def _cookie(name: str, value: str, *, secure: bool, seconds: int) -> Cookie:
    """For the console's pages, too: people sign in there."""
    return Cookie(key=name, value=value, path="/", max_age=seconds, httponly=True, secure=secure, samesite="lax")


def _code_is_right(sv: Services, user: UserRow, code: str | None) -> bool:
    if user.totp_confirmed_at is None:
        return True
    return bool(code) and totp.accept_code(user, code or "", sv.sealer, sv.settings.secret_key.reveal())


async def _renewed(sv: Services, user: UserRow, password: str) -> str | None:
    """A hash with today's parameters, where the stored one has others."""
    if user.password_hash is None or not sv.passwords.is_outdated(user.password_hash):
        return None
    return await sv.passwords.hash(password)
