"""`tuneway routes` against a real gateway process on a socket."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploy.cli import main
from tests.admin.test_cli import SECRET_KEY, add_admin_key, failure, free_port, made, running
from tests.conftest import ADMIN_KEY, own_database

CONFIG = """
[[upstreams]]
name = "nobody"
base_url = "http://127.0.0.1:1/v1"
models = ["a", "b=c", "ft-like:x"]
[[routes]]
name = "written"
targets = [{ model = "a" }]
"""


@pytest.fixture(scope="module")
def url(template_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway process of this module, with three models that nobody calls."""
    directory, port = tmp_path_factory.mktemp("gateway"), free_port()
    config = directory / "tuneway.toml"
    config.write_text(CONFIG)
    with own_database(template_url) as database_url:
        asyncio.run(add_admin_key(database_url))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")} | {
            "TUNEWAY_CONFIG": str(config),
            "TUNEWAY_DATA_DIR": str(directory),
            "TUNEWAY_SECRET_KEY": SECRET_KEY,
            "TUNEWAY_DATABASE__URL": database_url,
            "TUNEWAY_REDIS__URL": redis_url,
        }
        with running(environment, Path(directory / "log"), port):
            yield f"http://127.0.0.1:{port}"


def called(url: str, *arguments: str) -> Result:
    clean = {name: None for name in os.environ if name.startswith("TUNEWAY_")}
    return CliRunner().invoke(main, ["routes", *arguments, "--url", url, "--admin-key", ADMIN_KEY], env=clean)


def answered(url: str, *arguments: str) -> Any:
    result = called(url, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


class TestSet:
    def test_makes_a_route_and_then_changes_it(self, url: str) -> None:
        options = ("--target", "a=9", "--target", "ft-like:x", "--fallback", "a=timeout,rate_limit", "--sticky", "user")
        route = answered(url, "set", "first", *options)
        assert [(each["model"], each["weight"]) for each in route["targets"]] == [("a", 9.0), ("ft-like:x", 1.0)]
        assert route["fallbacks"] == [{"model": "a", "on": ["timeout", "rate_limit"]}]
        assert (route["sticky"], route["project_id"], route["revision"]) == ("user", None, 1)
        told = done(called(url, "set", "first", "--target", "a"))
        assert told == f"first ({route['id']}) is at revision 2: a=1; else a\n"

    def test_takes_fallbacks_away_when_told_to(self, url: str) -> None:
        answered(url, "set", "bare", "--target", "a", "--fallback", "ft-like:x")
        assert len(answered(url, "set", "bare", "--target", "a=2")["fallbacks"]) == 1
        assert answered(url, "set", "bare", "--target", "a=2", "--no-fallback")["fallbacks"] == []

    def test_of_a_project_is_another_route(self, url: str) -> None:
        project_id = made(url, "shop")["project_id"]
        everybody = answered(url, "set", "twice", "--target", "a")
        own = answered(url, "set", "twice", "--target", "a", "--project", "shop")
        assert (own["project_id"], own["id"] != everybody["id"]) == (project_id, True)
        again = answered(url, "set", "twice", "--target", "ft-like:x", "--project", project_id)
        assert (again["id"], again["revision"]) == (own["id"], 2)
        assert answered(url, "show", "twice")["id"] == everybody["id"]

    def test_takes_the_place_of_one_in_the_settings(self, url: str) -> None:
        before = answered(url, "show", "written")
        assert (before["source"], before["revisions"]) == ("settings", [])
        route = answered(url, "set", "written", "--target", "a=2")
        assert (route["source"], route["revision"]) == ("api", 1)
        assert answered(url, "show", "written")["id"] == route["id"]
        done(called(url, "delete", "written"))
        assert answered(url, "show", "written") == before

    def test_a_model_with_an_equals_sign_needs_a_weight(self, url: str) -> None:
        assert answered(url, "set", "equals", "--target", "b=c=3")["targets"] == [{"model": "b=c", "weight": 3.0}]
        assert "c is no weight, in b=c" in failure(called(url, "set", "equals", "--target", "b=c"), 2)

    def test_says_what_the_gateway_refuses(self, url: str) -> None:
        assert "`nowhere` does not exist" in failure(called(url, "set", "x", "--target", "nowhere"))
        assert "--target" in failure(called(url, "set", "x"), 2)
        assert "no project" in failure(called(url, "set", "x", "--target", "a", "--project", "unheard of"))


class TestRollback:
    def test_goes_back_and_shows_it(self, url: str) -> None:
        answered(url, "set", "back", "--target", "a=1")
        answered(url, "set", "back", "--target", "a=2")
        answered(url, "set", "back", "--target", "a=3")
        told = done(called(url, "rollback", "back"))
        assert told.endswith("is at revision 4: a=2\n")
        route = answered(url, "rollback", "back", "--revision", "1")
        assert (route["revision"], route["targets"][0]["weight"]) == (5, 1.0)
        shown = done(called(url, "show", "back")).splitlines()
        assert shown[0] == f"back  {route['id']}  revision 5"
        assert [line.split()[0] for line in shown[1:]] == ["5", "4", "3", "2", "1"]
        assert ["as in revision" in line for line in shown[1:]] == [True, True, False, False, False]
        assert "as in revision 1  by key_" in shown[1]

    def test_of_the_first_is_refused(self, url: str) -> None:
        answered(url, "set", "young", "--target", "a")
        assert "none to go back to" in failure(called(url, "rollback", "young"))


class TestList:
    def test_shows_all_or_those_of_a_project(self, url: str) -> None:
        key = made(url, "lister")
        own = answered(url, "set", "mine", "--target", "a", "--project", "lister")
        assert [each["id"] for each in answered(url, "list", "--project", "lister")] == [own["id"]]
        names = {each["name"] for each in answered(url, "list")}
        assert {"written", "mine"} <= names
        lines = done(called(url, "list")).splitlines()
        assert any(own["id"] in line and key["project_id"] in line and "a=1" in line for line in lines)
        assert any("written" in line and "settings" in line for line in lines)


class TestDelete:
    def test_by_name_or_id(self, url: str) -> None:
        route = answered(url, "set", "gone", "--target", "a")
        assert done(called(url, "delete", "gone")) == f"Deleted gone ({route['id']}).\n"
        assert "no route" in failure(called(url, "delete", route["id"]))
        again = answered(url, "set", "gone", "--target", "a")
        answer = {"id": again["id"], "object": "route.deleted", "deleted": True}
        assert answered(url, "delete", again["id"]) == answer

    def test_of_another_owner_is_named_and_left_alone(self, url: str) -> None:
        project_id = made(url, "owner")["project_id"]
        answered(url, "set", "theirs", "--target", "a", "--project", "owner")
        assert f"--project {project_id}" in failure(called(url, "delete", "theirs"))
        assert answered(url, "show", "theirs", "--project", "owner")["name"] == "theirs"
