"""`tuneway keys`: a client of the Administration API, over HTTP like any other."""

import json
from datetime import UTC, datetime
from typing import Any

import click

from admin.api import AdminCommand, Api, existing_project
from admin.key_options import PERIODS, Lifetime, rights, rights_options

EVERY_MODEL = "rl-*"
"""The rate limit of all models together."""
BOUNDS = ("budget_usd", "budget_period", "rpm", "tpm")
COLUMNS = (
    "expires_at",
    "last_used_at",
    "logging",
    "tags",
    "allowed_models",
    "scopes",
    "tier",
    "owner_project_access",
)


@click.group()
def keys() -> None:
    """Make, list, change, rotate and revoke API keys."""


@keys.command("create", cls=AdminCommand)
@click.option("--project", "wanted", required=True, help="Id or name; made if it does not exist.")
@click.option("--name", required=True, help="Who will use the key.")
@click.option("--budget-usd", type=float, help="Hard limit in dollars; calls beyond it are refused.")
@click.option("--budget-period", type=click.Choice(PERIODS), help="Of the budget; UTC.  [default: total]")
@click.option("--rpm", type=click.IntRange(1), help="Requests a minute.")
@click.option("--tpm", type=click.IntRange(1), help="Tokens a minute.")
@rights_options
def create(wanted: str, name: str, url: str, admin_key: str, as_json: bool, **given: Any) -> None:
    """Make a key and print its secret, once.

    The secret is shown when the budget and the limits are in force; if they cannot be, the key is revoked again.
    """
    bounds = {each: given.pop(each) for each in BOUNDS}
    if bounds["budget_period"] and bounds["budget_usd"] is None:
        raise click.UsageError("--budget-period is that of a --budget-usd.")
    api = Api(url, admin_key)
    project = api.project(wanted) or api.call("POST", "/organization/projects", {"name": wanted})
    account = api.call(
        "POST", f"/organization/projects/{project['id']}/service_accounts", {"name": name} | rights(**given)
    )
    key = account["api_key"]
    try:
        _bind(api, project["id"], key["id"], bounds)
    except click.ClickException as error:
        _take_back(api, project["id"], account["id"], key["id"], error)
    made = {"id": key["id"], "value": key["value"], "project_id": project["id"], "name": key["name"]}
    if as_json:
        click.echo(json.dumps(made))
    else:
        click.echo(f"{made['value']}\n\nKey {made['id']} of project {project['name']}. It is not shown again.")


def _bind(api: Api, project_id: str, key_id: str, bounds: dict[str, Any]) -> None:
    """Give a key its budget and its limits."""
    if bounds["budget_usd"] is not None:
        whose = {"scope": "api_key", "project_id": project_id, "api_key_id": key_id}
        budget = {"limit_usd": bounds["budget_usd"], "period": bounds["budget_period"] or "total"}
        api.call("POST", "/budgets", whose | budget)
    limits = {"max_requests_per_1_minute": bounds["rpm"], "max_tokens_per_1_minute": bounds["tpm"]}
    if given := {name: value for name, value in limits.items() if value is not None}:
        path = f"/organization/projects/{project_id}/rate_limits/{EVERY_MODEL}"
        api.call("POST", path, given, {"api_key_id": key_id})


def _take_back(api: Api, project_id: str, account_id: str, key_id: str, error: click.ClickException) -> None:
    """Never a key without the budget and the limits that were asked for. Raises ClickException."""
    try:
        api.call("DELETE", f"/organization/projects/{project_id}/service_accounts/{account_id}")
    except click.ClickException as failure:
        raise click.ClickException(
            f"{error.message} The key {key_id} has no such limit and COULD NOT be revoked ({failure.message}): "
            f"revoke it with `tuneway keys revoke {key_id}`."
        ) from None
    raise click.ClickException(f"{error.message} No key was made: {key_id} was revoked again.") from None


@keys.command("list", cls=AdminCommand)
@click.option("--project", "wanted", default=None, help="Id or name; all projects when left out.")
@click.option("--tags", default=None, help="Only keys with each of these, as a,b.")
def list_keys(wanted: str | None, tags: str | None, url: str, admin_key: str, as_json: bool) -> None:
    """List the keys that were not revoked."""
    api = Api(url, admin_key)
    projects = [existing_project(api, wanted)] if wanted else list(api.every("/organization/projects"))
    query = {"tags[]": tags.split(",")} if tags else None
    rows = [
        {
            "id": key["id"],
            "name": key["name"],
            "redacted_value": key["redacted_value"],
            "project_id": project["id"],
            "project": project["name"],
        }
        | {name: key[name] for name in COLUMNS}
        for project in projects
        for key in api.every(f"/organization/projects/{project['id']}/api_keys", query)
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(
            f"{row['id']}  {row['redacted_value']:24} {row['project']:20} {row['name']:20} "
            f"{_when('used', row['last_used_at'])}  {_when('expires', row['expires_at'])}  {_described(row)}".rstrip()
        )


def _when(what: str, moment: int | None) -> str:
    return f"{what} {datetime.fromtimestamp(moment, UTC):%Y-%m-%d}" if moment is not None else f"{what} never"


def _described(row: dict[str, Any]) -> str:
    """What is not the usual about a key."""
    lists = {"models": row["allowed_models"], "scopes": row["scopes"], "tags": row["tags"]}
    told = [f"{name}={','.join(values)}" for name, values in lists.items() if values]
    told += [f"tier={row['tier']}"] if row["tier"] else []
    told += [f"logging={row['logging']}"] if row["logging"] != "full" else []
    told += ["owner has left: refused"] if row["owner_project_access"] != "active" else []
    return "  ".join(told)


@keys.command("update", cls=AdminCommand)
@click.argument("key_id")
@click.option("--name", default=None, help="A new name.")
@rights_options
def update(key_id: str, name: str | None, url: str, admin_key: str, as_json: bool, **given: Any) -> None:
    """Change what a key may do; what is left out stays. Holds everywhere within a second."""
    changes = rights(**given) | ({"name": name} if name is not None else {})
    if not changes:
        raise click.UsageError("Nothing to change: give --name, --models, --scopes, --expires-in, --logging or --tags.")
    api = Api(url, admin_key)
    changed = api.call("POST", _path(api, key_id), changes)
    click.echo(json.dumps(changed) if as_json else f"Changed {key_id}.")


@keys.command("rotate", cls=AdminCommand)
@click.argument("key_id")
@click.option(
    "--overlap", type=Lifetime(), default="1d", show_default=True, help="How long the old secret still works."
)
def rotate(key_id: str, overlap: int, url: str, admin_key: str, as_json: bool) -> None:
    """Give a key a new secret and print it, once. Its rights, budgets and limits stay."""
    api = Api(url, admin_key)
    key = api.call("POST", f"{_path(api, key_id)}/rotate", {"overlap_seconds": overlap})
    if as_json:
        click.echo(json.dumps({name: key[name] for name in ("id", "value", "name", "old_value_expires_at")}))
        return
    end = key["old_value_expires_at"]
    old = f"works until {datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M:%S} UTC" if end else "is refused"
    click.echo(f"{key['value']}\n\nThe new secret of {key_id}. It is not shown again; the old one {old}.")


@keys.command("revoke", cls=AdminCommand)
@click.argument("key_id")
def revoke(key_id: str, url: str, admin_key: str, as_json: bool) -> None:
    """Revoke a key: it is refused everywhere within a second."""
    api = Api(url, admin_key)
    answer = api.call("DELETE", _path(api, key_id))
    click.echo(json.dumps(answer) if as_json else f"Revoked {key_id}.")


def _path(api: Api, key_id: str) -> str:
    """Where a key is, whichever project it belongs to."""
    for project in api.every("/organization/projects", {"include_archived": "true"}):
        below = f"/organization/projects/{project['id']}/api_keys"
        if any(key["id"] == key_id for key in api.every(below)):
            return f"{below}/{key_id}"
    raise click.ClickException(f"There is no key with id {key_id}.")
