"""`tuneway prices` against a real gateway process on a socket: what the command itself does. What prices may be, when they
begin and when they stay is said in tests/gateway/routes/test_prices.py."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploy.cli import main
from tests.admin.test_cli import SECRET_KEY, add_admin_key, failure, free_port, running
from tests.conftest import ADMIN_KEY, own_database

CONFIG = """
[[upstreams]]
name = "nobody"
base_url = "http://127.0.0.1:1/v1"
models = ["a", "b", "c"]
[[prices]]
model = "a"
input = 1.5
output = 2
training = 3
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
    return CliRunner().invoke(main, ["prices", *arguments, "--url", url, "--admin-key", ADMIN_KEY], env=clean)


def answered(url: str, *arguments: str) -> Any:
    result = called(url, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class TestSet:
    def test_a_first_price_needs_input_and_output(self, url: str) -> None:
        assert "--output is needed" in failure(called(url, "set", "b", "--input", "1"), 2)
        made = answered(url, "set", "b", "--input", "0.15", "--output", "0.6", "--per-request", "0.000000001")
        assert (made["input"], made["cached_input"], made["output"], made["per_request"]) == (0.15, 0.15, 0.6, 1e-9)

    def test_what_is_not_given_stays(self, url: str) -> None:
        made = answered(url, "set", "a", "--output", "4", "--max-output-tokens", "100")
        assert (made["input"], made["output"], made["training"]) == (1.5, 4.0, 3.0)
        assert made["max_output_tokens"] == 100

    def test_from_a_day_on_and_back(self, url: str) -> None:
        made = answered(url, "set", "c", "--input", "1", "--output", "2", "--from", "2099-01-01")
        assert made["effective_at"] == 4_070_908_800
        line = next(line for line in called(url, "list").stdout.splitlines() if made["id"] in line)
        assert "2099-01-01 00:00:00 UTC" in line
        assert "input $1, cached_input $1, output $2, per_request $0" in line
        assert called(url, "delete", made["id"]).stdout == f"Deleted {made['id']}.\n"
        assert answered(url, "list", "--model", "c") == []

    def test_a_name_that_nothing_has_is_told(self, url: str) -> None:
        told = called(url, "set", "misspelt", "--input", "1", "--output", "2").stdout
        assert "! No model is called `misspelt`" in told

    def test_an_amount_that_json_cannot_say(self, url: str) -> None:
        assert "is no amount of dollars" in failure(called(url, "set", "b", "--input", "nan", "--output", "2"), 2)


class TestList:
    def test_those_of_the_settings_have_no_day(self, url: str) -> None:
        (line,) = [each for each in called(url, "list", "--model", "a").stdout.splitlines() if "(settings)" in each]
        assert line.split()[1:4] == ["a", "always", "(settings)"]

    def test_of_one_model(self, url: str) -> None:
        answered(url, "set", "b", "--input", "1", "--output", "2")
        assert {each["model"] for each in answered(url, "list", "--model", "a")} == {"a"}
