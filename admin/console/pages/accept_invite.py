"""Whoever was invited becomes a person here, with a name and a password, and is signed in."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from litestar import Request, Response, get, post

from admin.console import entered
from admin.console.api import Api, ApiRefused
from admin.console.page import HTML, Filled
from admin.console.pages.sign_in import START, sign_in_as
from admin.console.render import rendered

PAGE = "/console/accept-invite"


@get("/accept-invite", include_in_schema=False)
async def accept_invite() -> Response[str]:
    """What links say. Browsers take what stands behind the # along (RFC 9110, section 10.2.2)."""
    return Response("", status_code=303, headers={"location": PAGE}, media_type=HTML)


@get("/accept-invite")
async def show_invitation(request: Request[Any, Any, Any]) -> Response[str]:
    return _form()


@post("/accept-invite")
async def accept(request: Request[Any, Any, Any]) -> Response[str]:
    """The same page again where something is wrong."""
    form = dict(await request.form())
    wanted = {
        "token": _token(entered.text(form, "token")),
        "name": entered.text(form, "name"),
        "password": str(form.get("password", "")),
    }
    try:
        if wanted["password"] != form.get("again"):
            raise ApiRefused(400, {"message": "This is not the same password.", "param": "again"})
        person = await Api(request).post("/invites/accept", wanted)
    except ApiRefused as refused:
        return _form(form | {"token": wanted["token"]}, refused)
    return await sign_in_as(request, person["email"], wanted["password"], START)


def _token(written: str) -> str:
    """Of the whole link, where somebody pasted that."""
    return parse_qs(urlsplit(written).fragment).get("token", [written])[0] if "#" in written else written


def _form(form: dict[str, Any] | None = None, error: ApiRefused | None = None) -> Response[str]:
    text = rendered("accept_invite.html", {"values": Filled(form), "error": error})
    return Response(text, status_code=error.status if error else 200, media_type=HTML)
