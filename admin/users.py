"""`tuneway users`: a client of /v1/organization/users and invites."""

import json
import secrets
from datetime import UTC, datetime
from typing import Any

import click

from admin.api import AdminCommand, Api, existing_project

PASSWORD_BYTES = 15
"""20 letters and digits."""


@click.group()
def users() -> None:
    """Say who may sign in, and help whoever cannot any more."""


@users.command("add", cls=AdminCommand)
@click.argument("email")
@click.option("--owner", is_flag=True, help="May do everything; without it, may read everything.")
@click.option("--name", default=None)
@click.option("--project", "joined", multiple=True, help="PROJECT or PROJECT=owner, by id or name; may be repeated.")
@click.option("--invite", is_flag=True, help="Print a link instead of a password: the person chooses one.")
def add(email: str, owner: bool, name: str | None, joined: tuple[str, ...], invite: bool, **given: Any) -> None:
    """Add the person with that EMAIL, and print a password, once.

    \b
    tuneway users add ada@example.com --owner
    """
    api = Api(given["url"], given["admin_key"])
    role = "owner" if owner else "reader"
    projects = [_membership(api, each) for each in joined]
    if invite:
        made = api.call("POST", "/organization/invites", {"email": email, "role": role, "projects": projects})
        told = (
            f"{made['invite_url']}\n\nInvites {made['email']}, until {_day(made['expires_at'])}. It is not shown again."
        )
    else:
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        body = {"email": email, "role": role, "name": name, "password": password}
        made = api.call("POST", "/organization/users", body)
        for each in projects:
            member = {"user_id": made["id"], "role": each["role"]}
            api.call("POST", f"/organization/projects/{each['id']}/users", member)
        told = _password_of(made, password)
        made |= {"password": password}
    click.echo(json.dumps(made) if given["as_json"] else told)


@users.command("list", cls=AdminCommand)
def list_users(url: str, admin_key: str, as_json: bool) -> None:
    """List the people, and how they sign in."""
    found = list(Api(url, admin_key).every("/organization/users"))
    if as_json:
        click.echo(json.dumps(found))
        return
    for each in found:
        projects = ", ".join(f"{project['name']} ({project['role']})" for project in each["projects"]["data"])
        seen = _day(each["last_login_at"]) if each["last_login_at"] else "never"
        click.echo(f"{each['id']}  {each['email']:32} {each['role']:7} {_ways(each):22} {seen:10} {projects}".rstrip())


@users.command("reset-password", cls=AdminCommand)
@click.argument("email")
@click.option("--totp", is_flag=True, help="Switch the authenticator off, too.")
def reset_password(email: str, totp: bool, url: str, admin_key: str, as_json: bool) -> None:
    """Print a new password of the person with that EMAIL, once. Their sessions end, and a lock is lifted."""
    api = Api(url, admin_key)
    user = next(api.every("/organization/users", {"emails[]": email}), None)
    if user is None:
        raise click.ClickException(f"There is no user with the email {email}.")
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    user = api.call("POST", f"/organization/users/{user['id']}/password", {"password": password})
    if totp:
        user = api.call("DELETE", f"/organization/users/{user['id']}/totp")
    click.echo(json.dumps(user | {"password": password}) if as_json else _password_of(user, password))


def _membership(api: Api, text: str) -> dict[str, str]:
    """`project=role`; member without one."""
    wanted, equals, role = text.rpartition("=")
    if not equals:
        wanted, role = text, "member"
    if role not in ("owner", "member"):
        raise click.BadParameter(f"{role} is neither owner nor member, in {text}", param_hint="--project")
    return {"id": existing_project(api, wanted)["id"], "role": role}


def _password_of(user: dict[str, Any], password: str) -> str:
    return f"{password}\n\nPassword of {user['email']} ({user['role']}). It is not shown again; they can change it."


def _ways(user: dict[str, Any]) -> str:
    ways = ["password" + (" and code" if user["totp"] else "")] if user["has_password"] else []
    return ", ".join([*ways, *(["single sign-on"] if user["single_sign_on"] else [])]) or "no way yet"


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
