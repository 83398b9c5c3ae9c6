"""Routes of the organization: what they do, every revision, how a tuned model is promoted, and the way back."""

from typing import Any

from litestar import Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.params import FromPath

from admin.console.api import Api, ApiRefused, Json, at_once, path_of
from admin.console.page import CurrentPage, Page
from admin.console.routing.fields import fields_of, fields_sent
from admin.console.routing.form import MOST_CHECKS, spec_of
from admin.console.routing.readable import changes, lines
from admin.console.routing.split import difference, shares, with_share

HERE = "/console/routes"
REVISIONS = 30


@get("/routes")
async def list_routes(page: CurrentPage) -> Response[str]:
    routes = await page.api.get("/routes", limit=100, order="asc", after=page.query("after"))
    names = {each["id"]: each["name"] for each in page.projects}
    return page.show("routes.html", routes=routes, lines=lines, names=names)


@get("/routes/new")
async def show_new(page: CurrentPage) -> Response[str]:
    spec = {"targets": [{"model": page.query("model"), "weight": 100}] if page.query("model") else []}
    return await _form(page, spec, project=page.query("project"))


@post("/routes")
async def create_route(page: CurrentPage) -> Response[str]:
    form = await page.form()
    try:
        body = spec_of(form) | {"name": form.get("name", ""), "project_id": form.get("project_id") or None}
        made = await page.api.post("/routes", body)
    except ApiRefused as refused:
        return await _form(page, {}, form=form, error=refused)
    return page.see_other(f"{HERE}/{made['id']}", "The route is made: its name can be called.")


@get("/routes/{route_id:str}")
async def show_route(page: CurrentPage, route_id: FromPath[str]) -> Response[str]:
    """Asked by htmx it is the live result alone."""
    route, revisions = await at_once(
        page.api.get(path_of("routes", route_id)),
        page.api.get(f"{path_of('routes', route_id)}/revisions", limit=REVISIONS),
    )
    values = {"route": route} | await _results(page, route, revisions["data"])
    if page.is_fragment:
        return page.show("route_results.html", **values)
    told = [_told(each, older) for each, older in zip(revisions["data"], [*revisions["data"][1:], None], strict=True)]
    project = values["project"]
    models = await Api(page.request, project_id=project).get("/models") if project else {"data": []}
    return page.show(
        "route.html",
        **values,
        lines=lines(route),
        revisions=told,
        names=[each["id"] for each in models["data"]],
    )


@get("/routes/{route_id:str}/edit")
async def show_edit(page: CurrentPage, route_id: FromPath[str]) -> Response[str]:
    route = await page.api.get(path_of("routes", route_id))
    return await _form(page, route, route=route, project=route["project_id"])


@post("/routes/{route_id:str}/edit")
async def update_route(page: CurrentPage, route_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    route = await page.api.get(path_of("routes", route_id))
    try:
        body = spec_of(form, route) | {"if_revision": int(form.get("revision") or route["revision"])}
        await page.api.post(path_of("routes", route_id), body)
    except ApiRefused as refused:
        return await _form(page, route, route=route, form=form, error=refused)
    return page.see_other(f"{HERE}/{route_id}", "The route is changed; the revision before is the way back.")


@post("/routes/{route_id:str}/split")
async def split_traffic(page: CurrentPage, route_id: FromPath[str]) -> Response[str]:
    """The candidate gets a share of the traffic; a model that is no target yet becomes one."""
    form = await page.form()
    route = await page.api.get(path_of("routes", route_id))
    model, share = form.get("candidate", ""), _share(form)
    body = {"targets": with_share(route["targets"], model, share), "if_revision": int(form.get("revision") or 0)}
    await page.api.post(path_of("routes", route_id), body)
    return page.see_other(_back(form, route_id), f"{model} gets {share:g}% of the calls from now on.")


@post("/routes/{route_id:str}/rollback")
async def roll_back(page: CurrentPage, route_id: FromPath[str]) -> Response[str]:
    form = await page.form()
    body: dict[str, Any] = {"if_revision": int(form.get("if_revision") or 0)}
    if form.get("revision"):
        body["revision"] = int(form["revision"])
    route = await page.api.post(f"{path_of('routes', route_id)}/rollback", body)
    return page.see_other(
        _back(form, route_id), f"The route is back: revision {route['revision']} repeats the earlier one."
    )


@post("/routes/{route_id:str}/delete")
async def delete_route(page: CurrentPage, route_id: FromPath[str]) -> Response[str]:
    await page.form()
    await page.api.delete(path_of("routes", route_id))
    return page.see_other(HERE, "The route is deleted: its name means what it meant without it.")


async def _results(page: Page, route: Json, revisions: list[Json]) -> dict[str, Any]:
    """How each target answers the calls of one project: two calls."""
    known = [each["id"] for each in page.projects]
    project = route["project_id"] or (
        page.query("project") if page.query("project") in known else next(iter(known), None)
    )
    every = page.query("results") == "all"
    values: dict[str, Any] = {"project": project, "every": every, "looked": None, "rows": [], "difference": None}
    if project is None:
        return values
    api = Api(page.request, project_id=project)
    since = revisions[0]["created_at"] if revisions and not every else None
    revision = route["revision"] if route["revision"] and not every else None
    looked, judged = await at_once(
        api.get("/model_traffic", route=route["name"], revision=revision, created_after=since),
        api.get("/judgments/summary", group_by="route,model", created_after=since, latest=5000),
    )
    served = {each["model"]: each for each in looked["data"]}
    rows: list[Json] = [
        {
            "target": target,
            "share": share,
            "served": served.get(target["model"]),
            "judged": [
                each
                for each in judged["data"]
                if each["group"] == {"route": route["name"], "model": target["model"]} and each["scored"]
            ],
        }
        for target, share in zip(route["targets"], shares(route["targets"]), strict=True)
    ]
    compared = difference(rows[-1]["served"], rows[0]["served"]) if len(rows) == 2 else None
    return values | {"looked": looked, "rows": rows, "difference": compared}


async def _form(
    page: Page,
    spec: Json,
    *,
    route: Json | None = None,
    project: str | None = None,
    form: FormMultiDict | None = None,
    error: ApiRefused | None = None,
) -> Response[str]:
    """Filled in from the form that was refused, else from the route."""
    chosen = (form.get("project_id") if form else project) or None
    models = await _names(page, chosen)
    values = {
        "most_checks": MOST_CHECKS,
        "route": route,
        "values": fields_sent(form) if form else fields_of(spec) | {"name": "", "project_id": project or ""},
        "models": models,
        "error": error,
        "revision": (form or {}).get("revision") or (route["revision"] if route else ""),
    }
    return page.show("route_form.html", status=error.status if error else 200, **values)


async def _names(page: Page, project: str | None) -> list[str]:
    """What the calls of a project may name, else those of any."""
    project = project or next((each["id"] for each in page.projects), None)
    if project is None:
        return []
    return [each["id"] for each in (await Api(page.request, project_id=project).get("/models"))["data"]]


def _told(revision: Json, older: Json | None) -> Json:
    return revision | {"changes": changes(older["spec"] if older else {}, revision["spec"])}


def _share(form: FormMultiDict) -> float:
    try:
        share = float(form.get("share") or "")
    except ValueError:
        share = -1.0
    if not 0 <= share <= 100:
        raise ApiRefused(400, {"message": "A share is a number from 0 to 100.", "param": "share"})
    return share


def _back(form: FormMultiDict, route_id: str) -> str:
    project = form.get("project")
    return f"{HERE}/{route_id}" + (f"?project={project}" if project else "")
