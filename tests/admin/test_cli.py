"""`tuneway keys` against a real gateway process on a socket."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from admin.api import Api
from deploy.cli import main
from gateway.db.database import Database
from gateway.keys.service import ensure_admin_key
from tests.conftest import ADMIN_KEY, own_database

SECRET_KEY = "k" * 40
START_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def add_admin_key(database_url: str) -> None:
    database = Database(database_url, pool_size=1, timeout=10)
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=SECRET_KEY)
    await database.close()


@pytest.fixture(scope="module")
def url(template_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway process of this module."""
    directory, port = tmp_path_factory.mktemp("gateway"), free_port()
    with own_database(template_url) as database_url:
        asyncio.run(add_admin_key(database_url))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")} | {
            "TUNEWAY_DATA_DIR": str(directory),
            "TUNEWAY_SECRET_KEY": SECRET_KEY,
            "TUNEWAY_DATABASE__URL": database_url,
            "TUNEWAY_REDIS__URL": redis_url,
        }
        with running(environment, directory / "log", port):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def running(environment: dict[str, str], log: Path, port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "deploy.cli", "gateway", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def run(*arguments: str, **environment: str) -> Result:
    """`tuneway keys ...` with nothing of this process's own settings."""
    clean = {name: None for name in os.environ if name.startswith("TUNEWAY_")}
    return CliRunner().invoke(main, ["keys", *arguments], env=clean | environment)


def called(url: str, *arguments: str) -> Result:
    return run(*arguments, "--url", url, "--admin-key", ADMIN_KEY)


def made(url: str, project: str, name: str = "app") -> dict[str, Any]:
    result = called(url, "create", "--project", project, "--name", name, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def failure(result: Result, status: int = 1) -> str:
    """The one sentence of a command that failed."""
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)
    return result.stderr


class TestCreate:
    def test_prints_the_secret_once_and_it_works(self, url: str) -> None:
        result = called(url, "create", "--project", "shop", "--name", "app")
        secret, empty, told = result.stdout.splitlines()
        assert empty == ""
        assert "of project shop. It is not shown again." in told
        answer = httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {secret}"})
        assert answer.status_code == 200

    def test_json_is_what_scripts_rely_on(self, url: str) -> None:
        key = made(url, "scripts", "nightly")
        assert set(key) == {"id", "value", "project_id", "name"}
        assert (key["name"], key["project_id"][:5]) == ("nightly", "proj_")

    def test_project_is_found_by_id_and_by_name_or_made(self, url: str) -> None:
        first = made(url, "found again")
        assert made(url, "found again")["project_id"] == first["project_id"]
        assert made(url, first["project_id"])["project_id"] == first["project_id"]
        assert made(url, "another one")["project_id"] != first["project_id"]

    def test_project_behind_the_first_page_is_found(self, url: str) -> None:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        with httpx.Client(base_url=url, headers=headers) as client:
            for number in range(101):
                client.post("/v1/organization/projects", json={"name": f"many {number}"})
            last = client.post("/v1/organization/projects", json={"name": "the last"}).json()
        assert made(url, "the last")["project_id"] == last["id"]

    def test_base_url_of_an_sdk_will_do(self, url: str) -> None:
        assert made(url + "/v1/", "sdk")["name"] == "app"

    def test_missing_options_are_named(self, url: str) -> None:
        assert "--project" in failure(called(url, "create", "--name", "app"), 2)
        assert "--name" in failure(called(url, "create", "--project", "p"), 2)


class TestList:
    def test_shows_keys_without_their_secrets(self, url: str) -> None:
        key = made(url, "listed", "visible")
        result = called(url, "list", "--project", "listed")
        assert key["id"] in result.stdout
        assert "visible" in result.stdout
        assert key["value"] not in result.stdout
        (row,) = json.loads(called(url, "list", "--project", key["project_id"], "--json").stdout)
        whose = {"id", "name", "redacted_value", "project_id", "project", "owner_project_access"}
        rights = {"expires_at", "logging", "tags", "allowed_models", "scopes", "tier"}
        assert set(row) == whose | rights | {"last_used_at"}
        assert (row["id"], row["project"]) == (key["id"], "listed")

    def test_of_all_projects(self, url: str) -> None:
        keys = {made(url, name)["id"] for name in ("one", "two")}
        assert keys <= {row["id"] for row in json.loads(called(url, "list", "--json").stdout)}

    def test_unknown_project_is_not_made(self, url: str) -> None:
        told = failure(called(url, "list", "--project", "never heard of"))
        assert told == "Error: There is no project with id or name never heard of.\n"


RIGHTS = (
    "--models", "a,ft:base:*", "--scopes", "model.request, api.model.read", "--expires-in", "30d",
    "--logging", "metadata", "--tags", "team,nightly",
)  # fmt: skip


class TestRights:
    def test_are_given_when_a_key_is_made(self, url: str) -> None:
        result = called(url, "create", "--project", "rights", "--name", "app", *RIGHTS, "--json")
        key = json.loads(result.stdout)
        (row,) = json.loads(called(url, "list", "--project", "rights", "--json").stdout)
        assert row["id"] == key["id"]
        assert row["allowed_models"] == ["a", "ft:base:*"]
        assert row["scopes"] == ["model.request", "api.model.read"]
        assert 0 <= time.time() + 30 * 86_400 - row["expires_at"] < 60
        assert (row["logging"], row["tags"]) == ("metadata", ["team", "nightly"])
        told = called(url, "list", "--project", "rights").stdout
        assert "models=a,ft:base:*  scopes=model.request,api.model.read  tags=team,nightly  logging=metadata" in told

    def test_are_changed_and_taken_back(self, url: str) -> None:
        key = made(url, "changed")
        assert called(url, "update", key["id"], *RIGHTS).stdout == f"Changed {key['id']}.\n"
        answer = called(url, "update", key["id"], "--models", "all", "--expires-in", "never", "--name", "new", "--json")
        row = json.loads(answer.stdout)
        assert (row["allowed_models"], row["expires_at"], row["name"]) == (None, None, "new")
        assert row["logging"] == "metadata"

    def test_a_change_of_nothing_is_none(self, url: str) -> None:
        assert "Nothing to change" in failure(called(url, "update", "key_x"), 2)

    def test_keys_are_found_by_their_tags(self, url: str) -> None:
        for name, tags in (("one", "x,y"), ("two", "x")):
            assert called(url, "create", "--project", "tagged", "--name", name, "--tags", tags).exit_code == 0
        rows = json.loads(called(url, "list", "--project", "tagged", "--tags", "x,y", "--json").stdout)
        assert [row["name"] for row in rows] == ["one"]

    @pytest.mark.parametrize("wrong", ["soon", "1y", "-1d", "1.5h"])
    def test_a_duration_that_is_none(self, url: str, wrong: str) -> None:
        told = failure(called(url, "create", "--project", "p", "--name", "n", f"--expires-in={wrong}"), 2)
        assert "write 90s, 30m, 12h or 30d" in told

    def test_a_period_without_a_budget(self, url: str) -> None:
        told = failure(called(url, "create", "--project", "p", "--name", "n", "--budget-period", "day"), 2)
        assert "--budget-usd" in told


BOUNDS = ("--budget-usd", "5.5", "--budget-period", "day", "--rpm", "10", "--tpm", "2000")


class TestBounds:
    def test_are_in_force_when_the_secret_is_shown(self, url: str) -> None:
        result = called(url, "create", "--project", "bound", "--name", "app", *BOUNDS, "--json")
        assert result.exit_code == 0, result.output
        key = json.loads(result.stdout)
        (budget,) = asked(url, "/v1/budgets", api_key_ids=key["id"])
        assert (budget["limit_usd"], budget["period"], budget["hard"]) == (5.5, "day", True)
        path = f"/v1/organization/projects/{key['project_id']}/rate_limits"
        every = asked(url, path, api_key_id=key["id"])[0]
        assert (every["max_requests_per_1_minute"], every["max_tokens_per_1_minute"]) == (10, 2000)

    @pytest.mark.parametrize("wrong", [("--budget-usd", "-1"), ("--tpm", str(2**40))])
    def test_no_key_is_left_that_has_not_what_was_asked_for(self, url: str, wrong: tuple[str, str]) -> None:
        told = failure(called(url, "create", "--project", "unbound", "--name", "app", *wrong))
        assert "No key was made" in told
        assert json.loads(called(url, "list", "--project", "unbound", "--json").stdout) == []

    def test_a_key_that_could_not_be_taken_back_is_told(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        call = Api.call

        def breaks(self: Api, method: str, path: str, *arguments: Any, **more: Any) -> dict[str, Any]:
            if method == "DELETE":
                raise click.ClickException("the gateway is gone.")
            return call(self, method, path, *arguments, **more)

        monkeypatch.setattr(Api, "call", breaks)
        told = failure(called(url, "create", "--project", "stuck", "--name", "app", "--budget-usd", "-1"))
        assert "COULD NOT be revoked" in told
        assert "tuneway keys revoke key_" in told


def asked(url: str, path: str, **query: str) -> list[dict[str, Any]]:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    return httpx.get(url + path, params=query, headers=headers).raise_for_status().json()["data"]


class TestRotate:
    def test_both_secrets_work_for_a_while(self, url: str) -> None:
        key = made(url, "rotated")
        new = json.loads(called(url, "rotate", key["id"], "--json").stdout)
        assert (new["id"], new["value"] != key["value"]) == (key["id"], True)
        assert 0 <= time.time() + 86_400 - new["old_value_expires_at"] < 60
        assert [works(url, value) for value in (key["value"], new["value"])] == [True, True]

    def test_or_only_the_new_one(self, url: str) -> None:
        key = made(url, "rotated")
        secret, _, told = called(url, "rotate", key["id"], "--overlap", "0").stdout.splitlines()
        assert told.endswith("the old one is refused.")
        assert [works(url, value) for value in (key["value"], secret)] == [False, True]


class TestAdminKeys:
    def test_are_made_listed_and_revoked(self, url: str) -> None:
        key = json.loads(
            admin(url, "create", "--name", "ci", "--role", "reader", "--expires-in", "1h", "--json").stdout
        )
        assert (key["name"], key["role"]) == ("ci", "reader")
        assert administers(url, key["value"])
        assert key["value"] not in admin(url, "list").stdout
        assert key["id"] in {row["id"] for row in json.loads(admin(url, "list", "--json").stdout)}
        assert admin(url, "revoke", key["id"]).stdout == f"Revoked {key['id']}.\n"
        assert not administers(url, key["value"])

    def test_secret_is_the_first_line(self, url: str) -> None:
        secret, empty, told = admin(url, "create", "--name", "ci").stdout.splitlines()
        assert (empty, "It is not shown again." in told) == ("", True)
        assert administers(url, secret)


def admin(url: str, *arguments: str) -> Result:
    clean = {name: None for name in os.environ if name.startswith("TUNEWAY_")}
    result = CliRunner().invoke(main, ["admin-keys", *arguments, "--url", url, "--admin-key", ADMIN_KEY], env=clean)
    assert result.exit_code == 0, result.output
    return result


def works(url: str, secret: str) -> bool:
    return httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {secret}"}).status_code == 200


def administers(url: str, secret: str) -> bool:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.get(f"{url}/v1/organization/projects", headers=headers).status_code == 200


class TestRevoke:
    def test_key_is_refused_from_then_on(self, url: str) -> None:
        key = made(url, "revoked")
        assert called(url, "revoke", key["id"]).stdout == f"Revoked {key['id']}.\n"
        answer = httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {key['value']}"})
        assert answer.status_code == 401
        assert "There is no key" in failure(called(url, "revoke", key["id"]))

    def test_json(self, url: str) -> None:
        key = made(url, "revoked")
        answer = json.loads(called(url, "revoke", key["id"], "--json").stdout)
        assert answer == {"id": key["id"], "object": "organization.project.api_key.deleted", "deleted": True}


class TestAccess:
    def test_url_and_key_come_from_the_environment(self, url: str) -> None:
        result = run("list", "--json", TUNEWAY_URL=url, TUNEWAY_ADMIN_KEY=ADMIN_KEY)
        assert isinstance(json.loads(result.stdout), list)

    def test_as_an_installed_command(self, url: str) -> None:
        command = [sys.executable, "-m", "deploy.cli", "keys", "create", "--project", "shell", "--name", "a", "--json"]
        environment = os.environ | {"TUNEWAY_URL": url, "TUNEWAY_ADMIN_KEY": ADMIN_KEY}
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        assert json.loads(done.stdout)["name"] == "a"

    def test_without_a_key(self, url: str) -> None:
        assert "--admin-key" in failure(run("list", "--url", url), 2)

    @pytest.mark.parametrize("key", ["sk-wrong", "x" * 3000, "with space"])
    def test_wrong_key_is_one_sentence(self, url: str, key: str) -> None:
        told = failure(run("list", "--url", url, "--admin-key", key))
        assert "API key" in told
        assert len(told.splitlines()) == 1

    def test_projects_key_may_not(self, url: str) -> None:
        key = made(url, "curious")
        assert "admin" in failure(run("list", "--url", url, "--admin-key", key["value"])).lower()

    def test_key_with_odd_characters(self, url: str) -> None:
        assert "--admin-key" in failure(run("list", "--url", url, "--admin-key", "schlüssel"), 2)

    def test_url_where_nobody_listens_says_what_to_do(self) -> None:
        told = failure(run("list", "--url", f"http://127.0.0.1:{free_port()}", "--admin-key", "k"))
        assert "cannot be reached" in told
        assert "TUNEWAY_URL" in told

    @pytest.mark.parametrize("wrong", ["http://[::1", "http://host:port", "127.0.0.1:8000", "ftp://x", ""])
    def test_url_that_is_none(self, wrong: str) -> None:
        result = run("list", "--url", wrong, "--admin-key", "k")
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code in (1, 2)

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (200, "<html>"),
            (200, "[]"),
            (200, '{"status": "ok"}'),
            (404, '{"detail": "Not Found"}'),
            (500, '{"error": "x"}'),
        ],
    )
    def test_another_server_is_told_as_such(self, status: int, body: str) -> None:
        with other_server(status, body) as url:
            told = failure(run("list", "--url", url, "--admin-key", "k"))
        assert "is not a Tuneway gateway" in told


@contextmanager
def other_server(status: int, body: str) -> Iterator[str]:
    """An HTTP server that answers everything with the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
