"""The HTTP client behind every administrator's command."""

from collections.abc import Iterator
from typing import Any

import click
import httpx

TIMEOUT = 30.0


class Api:
    """A gateway as an admin key sees it; paths are those below /v1."""

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
            response = self._client.request(method, f"/v1{path}", json=body, params=query)
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

    def every(self, path: str, query: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        after: str | None = None
        while True:
            page = self.call("GET", path, query={"limit": 100} | (query or {}) | ({"after": after} if after else {}))
            yield from page["data"]
            if not page["has_more"]:
                return
            after = page["last_id"]

    def project(self, wanted: str) -> dict[str, Any] | None:
        """A project by id or by name."""
        return next(
            (each for each in self.every("/organization/projects") if wanted in (each["id"], each["name"])), None
        )


class AdminCommand(click.Command):
    """Options that every command takes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params += [
            click.Option(["--url"], envvar="TUNEWAY_URL", default="http://127.0.0.1:8000", show_default=True),
            click.Option(["--admin-key"], envvar="TUNEWAY_ADMIN_KEY", required=True, help="Or TUNEWAY_ADMIN_KEY."),
            click.Option(["--json", "as_json"], is_flag=True, help="Print JSON for scripts."),
        ]


def existing_project(api: Api, wanted: str) -> dict[str, Any]:
    """By id or name; one that does not exist is one sentence on stderr."""
    project = api.project(wanted)
    if project is None:
        raise click.ClickException(f"There is no project with id or name {wanted}.")
    return project
