"""Signing in and out, and the very first owner."""

from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response, get, post

from admin.console.api import Answer, Api, ApiRefused
from admin.console.errors import error_page
from admin.console.page import HTML, SIGN_IN, CurrentPage, Filled
from admin.console.render import rendered
from gateway.kit.location import location

START = "/console/overview"
FIRST = "/console/first-owner"
TOTP_NEEDED = "totp_required"
REFUSALS = {
    "not_invited": (
        "You are not invited",
        "Nobody has invited you to this gateway. Ask one of its owners for an invitation, to the email address that your"
        " identity provider has of you, and sign in again.",
    ),
    "email_not_verified": (
        "Your email address is not verified",
        "The identity provider does not say that the address it has of you is yours. Verify it there, or ask whoever runs"
        " it, and sign in again.",
    ),
    "sign_in_denied": (
        "The identity provider did not sign you in",
        "It was cancelled there, or you may not use this gateway by the provider's own rules: whoever runs it can tell.",
    ),
    "sign_in_not_begun": (
        "No sign-in is under way in this browser",
        "It was begun in another browser or is over already, or this browser refuses cookies. Begin again here.",
    ),
    "sign_in_expired": (
        "This sign-in is over",
        "It took longer than ten minutes, or another window began a later one. Begin again.",
    ),
    "sign_in_failed": (
        "The identity provider did not vouch for you",
        "What it answered could not be accepted. Begin again; if it fails again, an owner of this gateway finds the reason in"
        " the audit log.",
    ),
    "other_account": (
        "You came with another account",
        "Somebody with your email address signs in here with another account of the identity provider. Sign in with that"
        " one, or ask an owner of this gateway.",
    ),
    "too_many_attempts": (
        "Too many sign-ins have failed",
        "From your network many were begun and not ended lately. Try again in a few minutes.",
    ),
    "service_unavailable": (
        "Single sign-on does not work right now",
        "The identity provider, or a part of this gateway, does not answer. Try again in a moment, or sign in with a"
        " password.",
    ),
    "single_sign_on_off": (
        "There is no single sign-on here",
        "Sign in with a password. An owner of this gateway can set single sign-on up in its configuration.",
    ),
}
"""Code of the API -> title and text, of a single sign-on that was refused."""
OTHER_REFUSAL = (
    "You could not be signed in",
    "Begin again from the sign-in page; if it fails again, ask an owner of this gateway.",
)


@get("/", include_in_schema=False)
async def root() -> Response[str]:
    """The address of the gateway, in a browser."""
    return _to("/console")


@get("/sign-in")
async def show_sign_in(request: Request[Any, Any, Any]) -> Response[str]:
    return await _form(request, {"next": request.query_params.get("next", "")})


@post("/sign-in")
async def sign_in(request: Request[Any, Any, Any]) -> Response[str]:
    """The same page again where something is wrong; the code is asked for when the password was right."""
    form = await _typed(request)
    wanted = {"email": form.get("email", ""), "password": form.get("password", "")}
    if form.get("code"):
        wanted["code"] = form["code"].replace(" ", "")
    answer = await Api(request).send("POST", "/sessions", body=wanted)
    if answer.status == 200:
        return _signed_in(answer, form.get("next", ""))
    error = answer.json["error"]
    needs_code = error["code"] == TOTP_NEEDED
    values = form | {"message": "" if needs_code and not form.get("code") else error["message"]}
    values["asks_code"] = needs_code or bool(form.get("code"))
    return await _form(request, values, 200 if needs_code else answer.status)


@get("/sign-in/refused")
async def show_refused(request: Request[Any, Any, Any]) -> Response[str]:
    """Where the API sends browsers whose single sign-on it refused (gateway/routes/single_sign_on.py)."""
    title, text = REFUSALS.get(request.query_params.get("code", ""), OTHER_REFUSAL)
    ways = (await Api(request).get("/sign_in"))["data"]
    values = {"title": title, "text": text, "ways": [way for way in ways if way["type"] != "password"]}
    return _page("sign_in_refused.html", values | {"return_to": urlencode({"return_to": START}), "sign_in": SIGN_IN})


@post("/sign-out")
async def sign_out(page: CurrentPage) -> Response[str]:
    await page.form()
    answer = await page.api.send("DELETE", "/sessions/current")
    return _with_cookies(_to(SIGN_IN), answer)


@get("/first-owner")
async def show_first_owner(request: Request[Any, Any, Any]) -> Response[str]:
    """Whoever has just started the gateway has an admin key, and nobody can sign in yet."""
    return _page("first_owner.html", {"values": Filled(), "error": None})


@post("/first-owner")
async def make_first_owner(request: Request[Any, Any, Any]) -> Response[str]:
    """A person with the admin key as proof, who is signed in at once."""
    form = await _typed(request)
    api = Api(request, authorization=f"Bearer {form.get('admin_key', '').strip()}")
    wanted = {name: form.get(name, "") for name in ("email", "name", "password")} | {"role": "owner"}
    try:
        await api.post("/organization/users", wanted)
    except ApiRefused as refused:
        return _page("first_owner.html", {"values": Filled(form), "error": refused}, refused.status)
    return await sign_in_as(request, form.get("email", ""), form.get("password", ""), START)


async def sign_in_as(request: Request[Any, Any, Any], email: str, password: str, wanted: str) -> Response[str]:
    """Whoever has just been made a person with that password. Args: wanted: the page that comes then."""
    answer = await Api(request).send("POST", "/sessions", body={"email": email, "password": password})
    if answer.status != 200:
        return error_page(request, answer.status, answer.json["error"]["message"])
    return _signed_in(answer, wanted)


async def _typed(request: Request[Any, Any, Any]) -> dict[str, str]:
    """What stands in the fields of a form that anybody may send; a file is none."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


async def _form(request: Request[Any, Any, Any], values: dict[str, Any], status: int = 200) -> Response[str]:
    ways = (await Api(request).get("/sign_in"))["data"]
    other = [way for way in ways if way["type"] != "password"]
    return_to = urlencode({"return_to": _ours(values.get("next", ""))})
    return _page(
        "sign_in.html", {"values": Filled(values), "ways": other, "return_to": return_to, "first": FIRST}, status
    )


def _signed_in(answer: Answer, wanted: str) -> Response[str]:
    return _with_cookies(_to(_ours(wanted)), answer)


def _ours(wanted: str) -> str:
    """No page of anybody else."""
    return location(wanted) if wanted.startswith("/console") else START


def _with_cookies(response: Response[str], answer: Answer) -> Response[str]:
    """The API's own."""
    response.cookies += answer.cookies
    return response


def _to(url: str) -> Response[str]:
    return Response("", status_code=303, headers={"location": url}, media_type=HTML)


def _page(template: str, values: dict[str, Any], status: int = 200) -> Response[str]:
    return Response(rendered(template, values), status_code=status, media_type=HTML)
