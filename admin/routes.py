"""`tuneway routes`: a client of /v1/routes."""

import json
from datetime import UTC, datetime
from typing import Any

import click

from admin.api import AdminCommand, Api, existing_project

PROJECT = click.option("--project", "wanted", default=None, help="Id or name; every project's route when left out.")


@click.group()
def routes() -> None:
    """Say which models answer a name, and take it back."""


@routes.command("list", cls=AdminCommand)
@click.option("--project", "wanted", default=None, help="Id or name; all routes when left out.")
def list_routes(wanted: str | None, url: str, admin_key: str, as_json: bool) -> None:
    """List the routes, those of the settings too."""
    api = Api(url, admin_key)
    query = {"project_id": existing_project(api, wanted)["id"]} if wanted else {}
    found = list(api.every("/routes", query))
    if as_json:
        click.echo(json.dumps(found))
        return
    for route in found:
        owner = route["project_id"] or ("settings" if route["source"] == "settings" else "every project")
        click.echo(f"{route['id']}  {route['name']:24} {owner:30} {_targets(route)}")


@routes.command("show", cls=AdminCommand)
@click.argument("name")
@PROJECT
def show(name: str, wanted: str | None, url: str, admin_key: str, as_json: bool) -> None:
    """Show a route (its name or id) and its history, newest first."""
    api = Api(url, admin_key)
    route = _existing(api, name, wanted)
    revisions = list(api.every(f"/routes/{route['id']}/revisions"))
    if as_json:
        click.echo(json.dumps(route | {"revisions": revisions}))
        return
    click.echo(f"{route['name']}  {route['id']}  revision {route['revision']}")
    for each in revisions:
        restored = f", as in revision {each['restores']}" if each["restores"] else ""
        when = datetime.fromtimestamp(each["created_at"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        click.echo(f"  {each['number']:4}  {when}  {_targets(each['spec'])}{restored}  by {each['created_by']}")
    _warn(route)


@routes.command("set", cls=AdminCommand)
@click.argument("name")
@PROJECT
@click.option("--target", "targets", multiple=True, required=True, help="MODEL or MODEL=WEIGHT; may be repeated.")
@click.option("--fallback", "fallbacks", multiple=True, help="MODEL or MODEL=CONDITION,...; may be repeated.")
@click.option("--no-fallback", "bare", is_flag=True, help="Take the fallbacks away.")
@click.option("--sticky", default=None, help="user, conversation or metadata.KEY.")
def set_route(
    name: str, wanted: str | None, targets: tuple[str, ...], fallbacks: tuple[str, ...], **given: Any
) -> None:
    """Make a route, or change the one with that name. What is not given stays as it is.

    \b
    tuneway routes set support-bot --target ft:starter:acme::abc=9 --target starter=1 --fallback gpt-4o-mini
    """
    api = Api(given["url"], given["admin_key"])
    spec: dict[str, Any] = {"targets": [_target(each) for each in targets]}
    if fallbacks or given["bare"]:
        spec["fallbacks"] = [_fallback(each) for each in fallbacks]
    if given["sticky"]:
        spec["sticky"] = given["sticky"]
    project_id = existing_project(api, wanted)["id"] if wanted else None
    found = _find(api, name, project_id)
    if found:
        route = api.call("POST", f"/routes/{found['id']}", spec)
    else:
        route = api.call("POST", "/routes", {"name": name, "project_id": project_id} | spec)
    _told(route, as_json=given["as_json"])


@routes.command("rollback", cls=AdminCommand)
@click.argument("name")
@PROJECT
@click.option("--revision", type=int, default=None, help="Which one to go back to; the one before when left out.")
def roll_back(name: str, wanted: str | None, revision: int | None, url: str, admin_key: str, as_json: bool) -> None:
    """Go back to an earlier revision of a route (its name or id)."""
    api = Api(url, admin_key)
    route = _existing(api, name, wanted)
    body = {"if_revision": route["revision"]} | ({"revision": revision} if revision is not None else {})
    _told(api.call("POST", f"/routes/{route['id']}/rollback", body), as_json=as_json)


@routes.command("delete", cls=AdminCommand)
@click.argument("name")
@PROJECT
def delete(name: str, wanted: str | None, url: str, admin_key: str, as_json: bool) -> None:
    """Delete a route (its name or id)."""
    api = Api(url, admin_key)
    route = _existing(api, name, wanted)
    answer = api.call("DELETE", f"/routes/{route['id']}")
    click.echo(json.dumps(answer) if as_json else f"Deleted {route['name']} ({route['id']}).")


def _find(api: Api, name: str, project_id: str | None) -> dict[str, Any] | None:
    """The route of that name which the API made; names belong to a project or to all."""
    found = api.every("/routes", {"project_id": project_id} if project_id else {})
    wanted = (name, project_id, "api")
    return next((each for each in found if (each["name"], each["project_id"], each["source"]) == wanted), None)


def _existing(api: Api, name: str, project: str | None) -> dict[str, Any]:
    project_id = existing_project(api, project)["id"] if project else None
    if found := _find(api, name, project_id):
        return found
    every = list(api.every("/routes"))
    if found := next((each for each in every if each["id"] == name), None):
        return found
    same = next((each for each in every if each["name"] == name and project_id is None), None)
    if same and same["source"] == "settings":
        return same
    hint = f" There is one of the project {same['project_id']}: --project {same['project_id']}." if same else ""
    raise click.ClickException(f"There is no route with the name or id {name}.{hint}")


def _target(text: str) -> dict[str, Any]:
    """`model=weight`; a weight is what stands behind the last `=`, where that is a number."""
    model, equals, weight = text.rpartition("=")
    if not equals:
        return {"model": text}
    try:
        return {"model": model, "weight": float(weight)}
    except ValueError:
        raise click.BadParameter(f"{weight} is no weight, in {text}", param_hint="--target") from None


def _fallback(text: str) -> dict[str, Any]:
    model, equals, conditions = text.rpartition("=")
    return {"model": model, "on": conditions.split(",")} if equals else {"model": text}


def _targets(spec: dict[str, Any]) -> str:
    shares = ", ".join(f"{each['model']}={each['weight']:g}" for each in spec.get("targets", []))
    behind = ", ".join(each["model"] for each in spec.get("fallbacks", []))
    return f"{shares}; else {behind}" if behind else shares


def _told(route: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(route))
        return
    click.echo(f"{route['name']} ({route['id']}) is at revision {route['revision']}: {_targets(route)}")
    _warn(route)


def _warn(route: dict[str, Any]) -> None:
    for problem in route["problems"]:
        click.echo(f"  ! {problem}")
