"""/v1/sessions/current/...: a person's own name, password and authenticator"""

from litestar import post
from litestar.params import RawBody
from msgspec.json import Decoder
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access import lock_out, totp
from gateway.access.administrator import Administrator
from gateway.access.passwords import check_rules
from gateway.audit.log import write
from gateway.db.tables import UserRow
from gateway.errors import Forbidden, InvalidRequest, Unauthenticated
from gateway.kit.clock import now
from gateway.protocol.decode import decode
from gateway.protocol.sessions import CodeProof, NameChange, PasswordChange, PasswordProof, RecoveryCodes, TotpSecret
from gateway.protocol.users import User
from gateway.routes.callers import Admin, Sv
from gateway.routes.people import end_sessions, shown_user
from gateway.services import Services
from gateway.users import repository, service

decode_name = Decoder(NameChange)
decode_change = Decoder(PasswordChange)
decode_proof = Decoder(PasswordProof)
decode_code = Decoder(CodeProof)


@post("/v1/sessions/current/name", status_code=200)
async def change_name(sv: Sv, admin: Admin, body: RawBody) -> User:
    """What others see of them; an owner may change it, too."""
    wanted = decode(decode_name, body)
    async with sv.database.session() as session:
        user = await repository.user(session, admin.id, locked=True)
        user.name = service.checked_name(wanted.name, user.email)
        write(session, admin.actor, "user.updated", user.id, detail={"changes_requested": {"name": user.name}})
        return shown_user(user, (await repository.projects_of(session, [user]))[user.id])


@post("/v1/sessions/current/password", status_code=200)
async def change_password(sv: Sv, admin: Admin, body: RawBody) -> User:
    """A new password ends every other session."""
    wanted = decode(decode_change, body)
    proved = await _prove(sv, admin, wanted.current_password, param="current_password")
    check_rules(wanted.password, proved.email)
    hashed = await sv.passwords.hash(wanted.password)
    async with sv.database.session() as session:
        user = await _locked(session, proved)
        user.password_hash = hashed
        await end_sessions(session, user.id, but=admin.session_id)
        write(session, admin.actor, "user.updated", user.id, detail={"changes_requested": {"password": "changed"}})
        return shown_user(user, (await repository.projects_of(session, [user]))[user.id])


@post("/v1/sessions/current/totp", status_code=200)
async def begin_totp(sv: Sv, admin: Admin, body: RawBody) -> TotpSecret:
    """The secret for an authenticator app. It is not asked for until a code of it was shown."""
    wanted = decode(decode_proof, body)
    proved = await _prove(sv, admin, wanted.password, param="password")
    async with sv.database.session() as session:
        user = await _locked(session, proved)
        secret, uri = totp.begin(user, sv.sealer)
    return TotpSecret(secret=secret, uri=uri)


@post("/v1/sessions/current/totp/confirm", status_code=200)
async def confirm_totp(sv: Sv, admin: Admin, body: RawBody) -> RecoveryCodes:
    """From now on a code is asked for. Other sessions end: they began without one."""
    wanted = decode(decode_code, body)
    await _count(sv, admin)
    async with sv.database.session() as session:
        user = await repository.user(session, admin.id, locked=True)
        if user.totp_confirmed_at is not None or not totp.accept_first_code(user, wanted.code, sv.sealer):
            raise InvalidRequest("Invalid 'code': it is not the code of this moment.", param="code")
        user.totp_confirmed_at = now()
        codes = totp.new_recovery_codes(user, sv.settings.secret_key.reveal())
        await end_sessions(session, user.id, but=admin.session_id)
        await lock_out.succeeded(session, _counted(sv, admin))
        write(session, admin.actor, "user.updated", user.id, detail={"changes_requested": {"totp": "on"}})
    return RecoveryCodes(recovery_codes=codes)


@post("/v1/sessions/current/totp/disable", status_code=200)
async def disable_totp(sv: Sv, admin: Admin, body: RawBody) -> User:
    """Takes the password and a code."""
    wanted = decode(decode_proof, body)
    proved = await _prove(sv, admin, wanted.password, param="password")
    await _count(sv, admin)
    async with sv.database.session() as session:
        user = await _locked(session, proved)
        _require_code(sv, user, wanted.code)
        totp.switch_off(user)
        await lock_out.succeeded(session, _counted(sv, admin))
        write(session, admin.actor, "user.updated", user.id, detail={"changes_requested": {"totp": "off"}})
        return shown_user(user, (await repository.projects_of(session, [user]))[user.id])


def _require_code(sv: Services, user: UserRow, code: str | None) -> None:
    if user.totp_confirmed_at is None:
        raise InvalidRequest("TOTP is not switched on.")
    if not code or not totp.accept_code(user, code, sv.sealer, sv.settings.secret_key.reveal()):
        raise InvalidRequest("Invalid 'code': it is wrong or was used before.", param="code")


async def _locked(session: AsyncSession, proved: UserRow) -> UserRow:
    """Raises Unauthenticated: what was proved holds no more. An owner has reset the password meanwhile, which is to keep out
    whoever knows the old one."""
    user = await repository.user(session, proved.id, locked=True)
    if user.password_hash != proved.password_hash:
        raise Unauthenticated("The password has just been changed. Sign in with the new one.")
    return user


async def _prove(sv: Services, admin: Administrator, password: str, *, param: str) -> UserRow:
    """Whoever sits at a browser that somebody left open does not have this.

    Raises:
        InvalidRequest: the password is wrong.
        Forbidden: the person has none.
        TooManyAttempts: it was wrong too often in this session.
    """
    await _count(sv, admin)
    async with sv.database.session() as session:
        user = await repository.user(session, admin.id)
    if user.password_hash is None:
        raise Forbidden("You sign in through the identity provider and have no password; an owner can set one.")
    if not await sv.passwords.verify(user.password_hash, password):
        raise InvalidRequest(f"Invalid '{param}': it is not your password.", param=param)
    async with sv.database.session() as session:
        await lock_out.take_back(session, _counted(sv, admin))  # what else was wrong in this session still counts
    return user


async def _count(sv: Services, admin: Administrator) -> None:
    async with sv.database.session() as session:
        await lock_out.attempt(session, _counted(sv, admin), sv.settings.sign_in)


def _counted(sv: Services, admin: Administrator) -> lock_out.Subjects:
    return lock_out.of_session(admin.session_id or "", sv.settings.sign_in)
