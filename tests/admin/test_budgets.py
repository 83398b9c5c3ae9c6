"""`tuneway budgets` and `tuneway webhooks` against a real gateway process on a socket."""

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploy.cli import main
from tests.admin.test_cli import SECRET_KEY, add_admin_key, failure, free_port, made, running
from tests.admin.test_usage import execute
from tests.conftest import ADMIN_KEY, own_database


@pytest.fixture(scope="module")
def database_url(template_url: str) -> Iterator[str]:
    with own_database(template_url) as url:
        yield url


@pytest.fixture(scope="module")
def url(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway process of this module, which can keep secrets."""
    directory, port = tmp_path_factory.mktemp("gateway"), free_port()
    asyncio.run(add_admin_key(database_url))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")} | {
        "TUNEWAY_DATA_DIR": str(directory),
        "TUNEWAY_SECRET_KEY": SECRET_KEY,
        "TUNEWAY_ENCRYPTION_KEY": "6a" * 32,
        "TUNEWAY_DATABASE__URL": database_url,
        "TUNEWAY_REDIS__URL": redis_url,
    }
    with running(environment, directory / "log", port):
        yield f"http://127.0.0.1:{port}"


def called(url: str, *arguments: str) -> Result:
    clean = {name: None for name in os.environ if name.startswith("TUNEWAY_")}
    return CliRunner().invoke(main, [*arguments, "--url", url, "--admin-key", ADMIN_KEY], env=clean)


def answered(url: str, *arguments: str) -> Any:
    result = called(url, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class TestBudgets:
    def test_are_set_changed_listed_and_removed(self, url: str) -> None:
        key = made(url, "shop")
        first = answered(url, "budgets", "set", "$0.25", "--project", "shop", "--period", "day", "--threshold", "90")
        assert (first["scope"], first["project_id"], first["limit_usd"]) == ("project", key["project_id"], 0.25)
        assert (first["hard"], first["thresholds"]) == (True, [90])
        again = answered(url, "budgets", "set", "1", "--project", key["project_id"], "--period", "day", "--soft")
        assert again["id"] == first["id"]
        assert (again["limit_usd"], again["hard"], again["thresholds"]) == (1, False, [90])
        of_key = answered(url, "budgets", "set", "5", "--key", key["id"], "--name", "web")
        assert (of_key["scope"], of_key["period"], of_key["name"]) == ("api_key", "month", "web")
        told = called(url, "budgets", "set", "100").stdout
        assert "everybody" in told
        assert "month: $0 of $100 (0%) until 20" in told
        assert [each["id"] for each in answered(url, "budgets", "list", "--project", "shop")] == [
            first["id"],
            of_key["id"],
        ]
        assert [each["id"] for each in answered(url, "budgets", "list", "--key", key["id"])] == [of_key["id"]]
        listed = called(url, "budgets", "list").stdout.splitlines()
        assert len(listed) == 3
        assert f"{key['project_id']:30} day, soft: $0 of $1 (0%)" in listed[0]
        assert called(url, "budgets", "remove", first["id"]).stdout == f"Deleted {first['id']}.\n"
        assert len(answered(url, "budgets", "list")) == 2

    def test_say_what_is_wrong(self, url: str) -> None:
        assert "no amount" in failure(called(url, "budgets", "set", "much"), 2)
        assert "no amount" in failure(called(url, "budgets", "set", "nan"), 2)
        assert "nano-dollar" in failure(called(url, "budgets", "set", "1e-10"))
        assert "no project" in failure(called(url, "budgets", "set", "1", "--project", "unheard of"))
        assert "budget_none" in failure(called(url, "budgets", "remove", "budget_none"))


LONG_AGO = "now() - interval '1 hour'"


class TestHolders:
    def test_are_listed_and_the_dead_released(self, url: str, database_url: str) -> None:
        budget = answered(url, "budgets", "set", "1", "--period", "day")
        execute(
            database_url,
            f"INSERT INTO budget_holders VALUES ('7-dead', 'web-1', {LONG_AGO}, {LONG_AGO}, {LONG_AGO}),"
            f" ('8-alive', '', {LONG_AGO}, {LONG_AGO}, now())",
            "INSERT INTO budget_leases (budget_id, starts_at, holder, granted_nano, spent_nano)"
            f" VALUES ('{budget['id']}', to_timestamp({budget['window']['starts_at']}), '7-dead', 300000000, 50000000)",
        )
        dead, alive = called(url, "budgets", "holders").stdout.splitlines()
        assert dead.startswith("7-dead  gateway on web-1, last heard of 36")
        assert dead.endswith(f" s ago: holds $0.25 of {budget['id']}")
        assert alive.startswith("8-alive  gateway, last heard of ")
        assert alive.endswith("holds nothing")
        assert [each["id"] for each in answered(url, "budgets", "holders")] == ["7-dead", "8-alive"]
        assert "8-alive runs" in failure(called(url, "budgets", "release", "8-alive"))
        told = called(url, "budgets", "release", "7-dead").stdout
        assert told == "Released 7-dead: $0.25 is free again.\n"
        assert "7-dead" in failure(called(url, "budgets", "release", "7-dead"))
        assert answered(url, "budgets", "list")[-1]["window"]["leased_usd"] == 0


class TestWebhooks:
    def test_are_added_tested_listed_and_removed(self, url: str) -> None:
        hook = answered(url, "webhooks", "add", "http://127.0.0.1:9/x", "--event", "budget.exhausted", "--name", "ours")
        assert hook["signing_secret"].startswith("whsec_")
        told = called(url, "webhooks", "add", "http://127.0.0.1:9/y").stdout
        assert told.startswith("whsec_")
        everything, first = answered(url, "webhooks", "list")
        assert (first["id"], first["name"], first["event_types"]) == (hook["id"], "ours", ["budget.exhausted"])
        assert "fine_tuning.job.failed" in everything["event_types"]
        assert "gave no answer" in failure(called(url, "webhooks", "test", hook["id"]))
        assert called(url, "webhooks", "test", hook["id"], "--event", "x").exit_code == 1
        assert hook["id"] in called(url, "webhooks", "list").stdout
        assert called(url, "webhooks", "remove", hook["id"]).stdout == f"Deleted {hook['id']}.\n"
        assert len(answered(url, "webhooks", "list")) == 1

    def test_an_answer_that_is_no_success_is_told(self, url: str) -> None:
        hook = answered(url, "webhooks", "add", f"{url}/nowhere")  # the gateway itself answers 404
        result = called(url, "webhooks", "test", hook["id"])
        assert result.exit_code == 1
        assert result.stdout.startswith("It answered 404: ")
        answered(url, "webhooks", "remove", hook["id"])
