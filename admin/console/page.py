"""One request for a page: who asks, for which project, and how an answer is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode

from litestar import Request, Response
from litestar.datastructures import Cookie, FormMultiDict
from litestar.di import NamedDependency

from admin.console.api import Api, ApiRefused, Json, at_once
from admin.console.render import rendered

FLASH = "tuneway_flash"
"""A cookie: what was done, told by the page that comes next."""
SIGN_IN = "/console/sign-in"
HTML = "text/html; charset=utf-8"


class GoTo(Exception):
    """Show another page instead."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


@dataclass(slots=True)
class Page:
    """What every page of somebody who has signed in begins with."""

    request: Request[Any, Any, Any]
    api: Api
    session: Json
    """Of GET /v1/sessions/current: `user`, `csrf_token`, ..."""
    projects: list[Json]
    project: Json | None = None
    """Of a page below /console/projects/{project_id}."""

    @property
    def user(self) -> Json:
        return self.session["user"]

    @property
    def is_fragment(self) -> bool:
        """htmx asks for a part of the page."""
        return self.request.headers.get("hx-request") == "true"

    @property
    def owns_organization(self) -> bool:
        return self.user["role"] == "owner"

    @property
    def project_role(self) -> str | None:
        """owner, member or None (a reader) in the page's project."""
        if self.project is None:
            return None
        roles = {each["id"]: each["role"] for each in self.user["projects"]["data"]}
        return "owner" if self.owns_organization else roles.get(self.project["id"])

    @property
    def may_write(self) -> bool:
        """In the page's project, what a key may."""
        return self.project_role is not None

    @property
    def origin(self) -> str:
        """Where clients reach this gateway."""
        url: str = self.request.app.state.settings.console.url
        return url.rstrip("/") or str(self.request.base_url).rstrip("/")

    def query(self, name: str, default: str = "") -> str:
        """A parameter of the URL."""
        return self.request.query_params.get(name, default)

    async def form(self) -> FormMultiDict:
        """What was filled in; from here on the API takes the person's word for changes."""
        form = await self.request.form()
        self.api.csrf = self.request.headers.get("x-csrf-token") or form.get("_csrf", "")
        return form

    async def json(self) -> Json:
        """The same of a script."""
        self.api.csrf = self.request.headers.get("x-csrf-token", "")
        return await self.request.json()

    def show(self, template: str, *, status: int = 200, **values: Any) -> Response[str]:
        """A page, or a part of one. Args: template: below templates/."""
        told = self.request.cookies.get(FLASH)
        values |= {"page": self, "flash": unquote(told) if told and not self.is_fragment else None}
        answer = Response(rendered(template, values), status_code=status, media_type=HTML)
        if values["flash"]:
            answer.set_cookie(_flash("", 0))
        return answer

    def see_other(self, url: str, done: str = "") -> Response[str]:
        """On to another page, which tells what was done."""
        headers = {"hx-redirect": url} if self.is_fragment else {"location": url}
        answer = Response("", status_code=200 if self.is_fragment else 303, headers=headers, media_type=HTML)
        if done:
            answer.set_cookie(_flash(quote(done[:500]), 60))
        return answer

    def here(self, path: str | None = None, /, **changes: Any) -> str:
        """This page's URL with other parameters; None takes one out. Args: path: of another URL that shows the same."""
        return url_with(self.request, changes, path)

    def within(self, *parts: str) -> str:
        """A URL below the page's project."""
        return project_url(self.project["id"] if self.project else "", *parts)


class Filled:
    """What was filled in, for a form that is shown again: `values.name`, empty where there is nothing."""

    def __init__(self, form: Mapping[str, Any] | None = None) -> None:
        self._form = form or {}

    def __getattr__(self, name: str) -> Any:
        return self._form.get(name, "")


CurrentPage = NamedDependency[Page]


async def provide_page(request: Request[Any, Any, Any]) -> Page:
    """Raises GoTo: nobody has signed in; ApiRefused: there is no such project."""
    api = Api(request, project_id=request.path_params.get("project_id"))
    try:
        session, projects = await at_once(api.get("/sessions/current"), api.every("/organization/projects", most=500))
    except ApiRefused as refused:
        if refused.status == 401:
            raise GoTo(sign_in_url(request)) from None
        raise
    page = Page(request, api, session, projects)
    if api.project_id:
        page.project = next((each for each in projects if each["id"] == api.project_id), None)
        page.project = page.project or await api.get(f"/organization/projects/{api.project_id}")
    return page


def project_url(project_id: str, *parts: str) -> str:
    return "/".join(["/console/projects", quote(project_id), *(quote(part, safe="") for part in parts)])


def sign_in_url(request: Request[Any, Any, Any]) -> str:
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"{SIGN_IN}?{urlencode({'next': wanted})}" if request.method == "GET" else SIGN_IN


def url_with(request: Request[Any, Any, Any], changes: Mapping[str, Any], path: str | None = None) -> str:
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name not in changes]
    for name, value in changes.items():
        pairs += [
            (name, str(each)) for each in (value if isinstance(value, list) else [value]) if each not in (None, "")
        ]
    return (path or request.url.path) + (f"?{urlencode(pairs)}" if pairs else "")


def _flash(value: str, seconds: int) -> Cookie:
    return Cookie(key=FLASH, value=value, path="/console", max_age=seconds, httponly=True, samesite="lax")
