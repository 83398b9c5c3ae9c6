"""`tuneway keys`: a client of the Administration API, over HTTP like any other."""

import json
from collections.abc import Iterator
from typing import Any

import click
import httpx

TIMEOUT = 30.0


class Api:
    """The Administration API as an admin key sees it."""

    def __init__(self, url: str, admin_key: str) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        try:
            self._client = httpx.Client(
                base_url=self.url, headers={"authorization": f"Bearer {admin_key.strip()}"}, timeout=TIMEOUT
            )
        except UnicodeEncodeError:
            raise click.BadParameter("it holds characters that no key has.", param_hint="--admin-key") from None
        except (httpx.InvalidURL, ValueError) as error:
            raise click.BadParameter(f"{url} is not a URL: {error}", param_hint="--url") from None
        click.get_current_context().call_on_close(self._client.close)

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, query: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The JSON answer; a refusal is one sentence on stderr and exit status 1."""
        try:
            response = self._client.request(method, f"/v1/organization{path}", json=body, params=query)
        except httpx.HTTPError as error:
            raise click.ClickException(
                f"{self.url} cannot be reached ({error}). Is the gateway running there? Set --url or TUNEWAY_URL."
            ) from None
        try:
            answer = response.json()
            if response.is_error:
                raise click.ClickException(answer["error"]["message"])
        except (ValueError, TypeError, KeyError):
            raise click.ClickException(
                f"{self.url} is not a Tuneway gateway: it answered {response.status_code} without an OpenAI error object."
            ) from None
        if not isinstance(answer, dict) or "object" not in answer:
            raise click.ClickException(f"{self.url} is not a Tuneway gateway: it answered something else.")
        return answer

    def every(self, path: str) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        after: str | None = None
        while True:
            page = self.call("GET", path, query={"limit": 100} | ({"after": after} if after else {}))
            yield from page["data"]
            if not page["has_more"]:
                return
            after = page["last_id"]

    def project(self, wanted: str) -> dict[str, Any] | None:
        """A project by id or by name."""
        return next((each for each in self.every("/projects") if wanted in (each["id"], each["name"])), None)


class _Common(click.Command):
    """Options that every command takes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params += [
            click.Option(["--url"], envvar="TUNEWAY_URL", default="http://127.0.0.1:8000", show_default=True),
            click.Option(["--admin-key"], envvar="TUNEWAY_ADMIN_KEY", required=True, help="Or TUNEWAY_ADMIN_KEY."),
            click.Option(["--json", "as_json"], is_flag=True, help="Print JSON for scripts."),
        ]


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command("create", cls=_Common)
@click.option("--project", "wanted", required=True, help="Id or name; made if it does not exist.")
@click.option("--name", required=True, help="Who will use the key.")
def create(wanted: str, name: str, url: str, admin_key: str, as_json: bool) -> None:
    """Make a key and print its secret, once."""
    api = Api(url, admin_key)
    project = api.project(wanted) or api.call("POST", "/projects", {"name": wanted})
    account = api.call("POST", f"/projects/{project['id']}/service_accounts", {"name": name})
    key = account["api_key"]
    made = {"id": key["id"], "value": key["value"], "project_id": project["id"], "name": key["name"]}
    if as_json:
        click.echo(json.dumps(made))
    else:
        click.echo(f"{made['value']}\n\nKey {made['id']} of project {project['name']}. It is not shown again.")


@keys.command("list", cls=_Common)
@click.option("--project", "wanted", default=None, help="Id or name; all projects when left out.")
def list_keys(wanted: str | None, url: str, admin_key: str, as_json: bool) -> None:
    """List the keys that work."""
    api = Api(url, admin_key)
    projects = [_existing(api, wanted)] if wanted else list(api.every("/projects"))
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
        for key in api.every(f"/projects/{project['id']}/api_keys")
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(f"{row['id']}  {row['redacted_value']:24} {row['project']:20} {row['name']}")


@keys.command("revoke", cls=_Common)
@click.argument("key_id")
def revoke(key_id: str, url: str, admin_key: str, as_json: bool) -> None:
    """Revoke a key: it is refused everywhere within a second."""
    api = Api(url, admin_key)
    for project in api.every("/projects"):
        if any(key["id"] == key_id for key in api.every(f"/projects/{project['id']}/api_keys")):
            answer = api.call("DELETE", f"/projects/{project['id']}/api_keys/{key_id}")
            click.echo(json.dumps(answer) if as_json else f"Revoked {key_id}.")
            return
    raise click.ClickException(f"There is no key with id {key_id}.")


def _existing(api: Api, wanted: str) -> dict[str, Any]:
    project = api.project(wanted)
    if project is None:
        raise click.ClickException(f"There is no project with id or name {wanted}.")
    return project
