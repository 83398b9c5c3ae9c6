"""`tuneway keys`: a client of the Administration API, over HTTP like any other."""

import json

import click

from admin.api import AdminCommand, Api, existing_project


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command("create", cls=AdminCommand)
@click.option("--project", "wanted", required=True, help="Id or name; made if it does not exist.")
@click.option("--name", required=True, help="Who will use the key.")
def create(wanted: str, name: str, url: str, admin_key: str, as_json: bool) -> None:
    """Make a key and print its secret, once."""
    api = Api(url, admin_key)
    project = api.project(wanted) or api.call("POST", "/organization/projects", {"name": wanted})
    account = api.call("POST", f"/organization/projects/{project['id']}/service_accounts", {"name": name})
    key = account["api_key"]
    made = {"id": key["id"], "value": key["value"], "project_id": project["id"], "name": key["name"]}
    if as_json:
        click.echo(json.dumps(made))
    else:
        click.echo(f"{made['value']}\n\nKey {made['id']} of project {project['name']}. It is not shown again.")


@keys.command("list", cls=AdminCommand)
@click.option("--project", "wanted", default=None, help="Id or name; all projects when left out.")
def list_keys(wanted: str | None, url: str, admin_key: str, as_json: bool) -> None:
    """List the keys that work."""
    api = Api(url, admin_key)
    projects = [existing_project(api, wanted)] if wanted else list(api.every("/organization/projects"))
    rows = [
        {
            "id": key["id"],
            "name": key["name"],
            "redacted_value": key["redacted_value"],
            "project_id": project["id"],
            "project": project["name"],
            "last_used_at": key["last_used_at"],
        }
        for project in projects
        for key in api.every(f"/organization/projects/{project['id']}/api_keys")
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(f"{row['id']}  {row['redacted_value']:24} {row['project']:20} {row['name']}")


@keys.command("revoke", cls=AdminCommand)
@click.argument("key_id")
def revoke(key_id: str, url: str, admin_key: str, as_json: bool) -> None:
    """Revoke a key: it is refused everywhere within a second."""
    api = Api(url, admin_key)
    for project in api.every("/organization/projects"):
        if any(key["id"] == key_id for key in api.every(f"/organization/projects/{project['id']}/api_keys")):
            answer = api.call("DELETE", f"/organization/projects/{project['id']}/api_keys/{key_id}")
            click.echo(json.dumps(answer) if as_json else f"Revoked {key_id}.")
            return
    raise click.ClickException(f"There is no key with id {key_id}.")
