"""One's own account: name, password, authenticator, sessions."""

from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath

from admin.console import entered
from admin.console.api import ApiRefused, path_of
from admin.console.page import CurrentPage, Page
from admin.console.qr_code import svg

ACCOUNT = "/console/account"
CURRENT = "/sessions/current"
MOST_SESSIONS = 100
LONGEST_URI = 1000
"""Characters: an email of 254, each of them escaped, fits."""
PROOF = {"password": "proof"}
"""The field of the authenticator's password, beside the one of a new password."""


@get("/account")
async def show_account(page: CurrentPage) -> Response[str]:
    return await _account(page)


@post("/account/name")
async def change_name(page: CurrentPage) -> Response[str]:
    form = await page.form()
    try:
        await page.api.post(f"{CURRENT}/name", {"name": str(form.get("name", ""))})
    except ApiRefused as refused:
        return await _account(page, refused, wrong="name", name=form.get("name", ""))
    return page.see_other(ACCOUNT, "Your name is changed.")


@post("/account/password")
async def change_password(page: CurrentPage) -> Response[str]:
    form = await page.form()
    wanted = {name: str(form.get(name, "")) for name in ("current_password", "password")}
    try:
        if wanted["password"] != form.get("again"):
            raise ApiRefused(400, {"message": "This is not the same new password.", "param": "again"})
        await page.api.post(f"{CURRENT}/password", wanted)
    except ApiRefused as refused:
        return await _account(page, refused, wrong="password")
    return page.see_other(ACCOUNT, "The password is changed; your other sessions are over.")


@post("/account/totp")
async def begin_totp(page: CurrentPage) -> Response[str]:
    """The secret, as text and as QR code."""
    form = await page.form()
    try:
        made = await page.api.post(f"{CURRENT}/totp", {"password": str(form.get("proof", ""))})
    except ApiRefused as refused:
        return await _account(page, entered.of_field(refused, **PROOF), wrong="totp")
    return _secret(page, made["secret"], made["uri"])


@post("/account/totp/confirm")
async def confirm_totp(page: CurrentPage) -> Response[str]:
    """Ten recovery codes; after a wrong code the same secret again, which the form brought along: the API shows it once."""
    form = await page.form()
    try:
        made = await page.api.post(f"{CURRENT}/totp/confirm", {"code": entered.text(form, "code")})
    except ApiRefused as refused:
        uri = entered.text(form, "uri")
        if refused.param != "code" or not uri.startswith("otpauth://") or len(uri) > LONGEST_URI:
            raise
        return _secret(page, entered.text(form, "secret"), uri, refused)
    return _unkept(page.show("account_recovery_codes.html", codes=made["recovery_codes"]))


@post("/account/totp/disable")
async def disable_totp(page: CurrentPage) -> Response[str]:
    form = await page.form()
    wanted = {"password": str(form.get("proof", "")), "code": entered.text(form, "code")}
    try:
        await page.api.post(f"{CURRENT}/totp/disable", wanted)
    except ApiRefused as refused:
        return await _account(page, entered.of_field(refused, **PROOF), wrong="totp")
    return page.see_other(ACCOUNT, "The authenticator is off: the password alone signs you in.")


@post("/account/sessions/{session_id:str}/end")
async def end_session(page: CurrentPage, session_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(path_of("sessions", session_id))
    return page.see_other(ACCOUNT, "The session is over.")


async def _account(
    page: Page, error: ApiRefused | None = None, wrong: str = "", name: str | None = None
) -> Response[str]:
    """Args: wrong: which form was refused; name: as it was entered."""
    sessions = await page.api.get("/sessions", limit=MOST_SESSIONS)
    errors: dict[str, Any] = {form: error if form == wrong else None for form in ("name", "password", "totp")}
    return page.show(
        "account.html",
        status=error.status if error else 200,
        sessions=sessions,
        errors=errors,
        name=page.user["name"] if name is None else name,
    )


def _secret(page: Page, secret: str, uri: str, error: ApiRefused | None = None) -> Response[str]:
    status = error.status if error else 200
    return _unkept(page.show("account_totp.html", status=status, secret=secret, uri=uri, qr=svg(uri), error=error))


def _unkept(answer: Response[str]) -> Response[str]:
    answer.headers["cache-control"] = "no-store"
    return answer
