"""`tuneway admin-keys`: keys that administer."""

import json

import click

from admin.api import AdminCommand, Api
from admin.key_options import Lifetime

PATH = "/organization/admin_api_keys"


@click.group("admin-keys")
def admin_keys() -> None:
    """Make, list and revoke the keys that administer."""


@admin_keys.command("create", cls=AdminCommand)
@click.option("--name", required=True, help="Who will use the key.")
@click.option("--role", type=click.Choice(["owner", "reader"]), default="owner", show_default=True)
@click.option("--expires-in", type=Lifetime(), help="90s, 30m, 12h, 30d; never when left out.")
def create(name: str, role: str, expires_in: int | None, url: str, admin_key: str, as_json: bool) -> None:
    """Make an admin key and print its secret, once."""
    body = {"name": name, "role": role} | ({"expires_in_seconds": expires_in} if expires_in is not None else {})
    key = Api(url, admin_key).call("POST", PATH, body)
    if as_json:
        click.echo(json.dumps({each: key[each] for each in ("id", "value", "name", "role", "expires_at")}))
    else:
        click.echo(f"{key['value']}\n\nAdmin key {key['id']}, {role}. It is not shown again.")


@admin_keys.command("list", cls=AdminCommand)
def list_keys(url: str, admin_key: str, as_json: bool) -> None:
    """List the admin keys that were not revoked."""
    rows = list(Api(url, admin_key).every(PATH))
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(f"{row['id']}  {row['redacted_value']:24} {row['role']:8} {row['name']}")


@admin_keys.command("revoke", cls=AdminCommand)
@click.argument("key_id")
def revoke(key_id: str, url: str, admin_key: str, as_json: bool) -> None:
    """Revoke an admin key: it is refused everywhere within a second."""
    answer = Api(url, admin_key).call("DELETE", f"{PATH}/{key_id}")
    click.echo(json.dumps(answer) if as_json else f"Revoked {key_id}.")
