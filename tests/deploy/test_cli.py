"""The `tuneway` command, without the stack (tests/deploy/test_stack.py has that)."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from click import Context
from click.testing import CliRunner, Result
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from deploy.cli import main
from gateway.db.tables import UpstreamRow
from gateway.kit.clock import now
from gateway.kit.sealing import Sealer, read_keys
from gateway.routing.upstreams import place

SECRET = "k" * 40
COMMANDS = (
    ["serve"],
    ["gateway"],
    ["worker"],
    ["migrate"],
    ["reseal"],
    ["keys"],
    ["keys", "create"],
    ["keys", "list"],
    ["keys", "update"],
    ["keys", "rotate"],
    ["keys", "revoke"],
    ["admin-keys"],
    ["admin-keys", "create"],
    ["admin-keys", "list"],
    ["admin-keys", "revoke"],
    ["routes"],
    ["budgets"],
    ["budgets", "list"],
    ["budgets", "set"],
    ["budgets", "remove"],
    ["webhooks"],
    ["webhooks", "add"],
    ["webhooks", "list"],
    ["webhooks", "test"],
    ["webhooks", "remove"],
    ["users"],
    ["prices"],
    ["usage"],
    ["usage", "rebuild"],
)


def run(*arguments: str, **environment: str) -> Result:
    """`tuneway ...` with nothing of this process's own settings."""
    clean = {name: None for name in os.environ if name.startswith("TUNEWAY_")}
    return CliRunner().invoke(main, arguments, env=clean | environment)


def sentence(result: Result, status: int) -> str:
    """The one line that a wrong call prints, and no traceback."""
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    @pytest.mark.parametrize("option", ["--help", "-h"])
    def test_of_every_command(self, command: list[str], option: str) -> None:
        result = run(*command, option)
        assert result.exit_code == 0
        assert result.stdout.startswith("Usage: ")

    def test_names_every_command(self) -> None:
        told = run("--help").stdout
        for name in ("serve", "gateway", "worker", "migrate", "engine", "keys"):
            assert name in told
        assert {command[0] for command in COMMANDS} | {"engine"} == set(main.list_commands(Context(main)))

    def test_of_the_engine_is_the_engines_own(self) -> None:
        command = [sys.executable, "-m", "deploy.cli", "engine", "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "--served-model-name" in done.stdout

    def test_version(self) -> None:
        assert run("--version").exit_code == 0

    def test_unknown_command_and_option(self) -> None:
        for arguments in (["frobnicate"], ["serve", "--frobnicate"], ["serve", "--port", "many"]):
            result = run(*arguments)
            assert result.exit_code == 2
            assert "Usage: " in result.stderr


class TestConfiguration:
    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("data_dirr = 'x'", "data_dirr"),
            ("[database]\npool_size = 'many'", "database.pool_size"),
            ("[[upstreams]]\nname = 'x'", "base_url"),
            ("[database", "end of a table declaration"),
            ("[[upstreams]]\nname='a'\nbase_url='http://x/v1'\nmodels=['m']\napi_key_env='NOT_SET'", "NOT_SET"),
        ],
    )
    def test_wrong_file_is_one_sentence_with_its_path(self, tmp_path: Path, content: str, told: str) -> None:
        path = tmp_path / "tuneway.toml"
        path.write_text(content)
        line = sentence(run("serve", "--config", str(path)), 2)
        assert line.startswith("tuneway: wrong configuration: ")
        assert told in line
        for command in ("gateway", "worker", "migrate"):
            assert told in sentence(run(command, TUNEWAY_CONFIG=str(path), TUNEWAY_SECRET_KEY=SECRET), 2)

    def test_file_that_is_not_there(self, tmp_path: Path) -> None:
        missing = str(tmp_path / "missing.toml")
        assert run("serve", "--config", missing).exit_code == 2
        assert missing in sentence(run("worker", TUNEWAY_CONFIG=missing), 2)

    def test_wrong_variable_is_named(self) -> None:
        assert "pool_size" in sentence(run("worker", TUNEWAY_DATABASE__POOL_SIZE="many"), 2)
        assert "databse" in sentence(run("worker", TUNEWAY_DATABSE__URL="x"), 2)

    @pytest.mark.parametrize("command", ["gateway", "migrate"])
    def test_missing_secret_is_told_before_anything_starts(self, command: str) -> None:
        assert "TUNEWAY_SECRET_KEY" in sentence(run(command), 2)


class TestMigrate:
    def test_twice_is_harmless_and_the_admin_key_is_there_once(self, template_url: str) -> None:
        url = fresh_database(template_url, "migrated")
        given = {
            "TUNEWAY_DATABASE__URL": url,
            "TUNEWAY_SECRET_KEY": SECRET,
            "TUNEWAY_ADMIN_KEY": "sk-admin-given",
        }
        for _ in range(2):
            result = run("migrate", **given)
            assert result.exit_code == 0, result.output
        counted = "SELECT count(*), count(*) FILTER (WHERE project_id IS NULL) FROM api_keys"
        assert asyncio.run(query(url, counted)) == (1, 1)

    def test_without_an_admin_key_makes_none(self, template_url: str) -> None:
        url = fresh_database(template_url, "migrated_without")
        assert run("migrate", TUNEWAY_DATABASE__URL=url, TUNEWAY_SECRET_KEY=SECRET).exit_code == 0
        assert asyncio.run(query(url, "SELECT count(*) FROM api_keys")) == (0,)

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql+asyncpg://nobody@127.0.0.1:9/nothing",
            "postgresql+asyncpg:///x?host=/no/such/directory",
        ],
    )
    def test_database_that_is_away_is_one_sentence(self, url: str) -> None:
        told = sentence(run("migrate", TUNEWAY_DATABASE__URL=url, TUNEWAY_SECRET_KEY=SECRET), 1)
        assert "database.url" in told

    @pytest.mark.parametrize("url", ["mysql://u:geheim@x", "nonsense"])
    def test_so_is_a_url_that_is_none(self, url: str) -> None:
        told = sentence(run("migrate", TUNEWAY_DATABASE__URL=url, TUNEWAY_SECRET_KEY=SECRET), 2)
        assert "url: write it as postgresql+asyncpg://" in told
        assert "$.database" in told
        assert url not in told

    def test_database_that_does_not_exist_is_named(self, template_url: str) -> None:
        url = template_url.replace(f"/{sqlalchemy.make_url(template_url).database}", "/no_such_database", 1)
        told = sentence(run("migrate", TUNEWAY_DATABASE__URL=url, TUNEWAY_SECRET_KEY=SECRET), 1)
        assert "no_such_database" in told


class TestReseal:
    OLD, NEW = "ab" * 32, "cd" * 32

    def test_after_it_the_old_key_is_not_needed(self, template_url: str) -> None:
        url = fresh_database(template_url, "resealed")
        given = {"TUNEWAY_DATABASE__URL": url, "TUNEWAY_SECRET_KEY": SECRET}
        assert run("migrate", **given).exit_code == 0
        asyncio.run(add_upstream(url, self.OLD))
        told = run("reseal", **given, TUNEWAY_ENCRYPTION_KEY=self.NEW)
        assert told.exit_code == 1
        assert "encrypted_key of the upstream `acme` (upstream_1) cannot be opened" in told.stderr
        both = f"{self.NEW} {self.OLD}"
        for renewed, before in ((1, 0), (0, 1)):
            told = run("reseal", **given, TUNEWAY_ENCRYPTION_KEY=both)
            assert (told.exit_code, told.stderr) == (0, "")
            assert told.stdout == f"Secrets sealed anew: {renewed}; sealed with the first key before: {before}.\n"
        (sealed,) = asyncio.run(query(url, "SELECT encrypted_key FROM upstreams"))
        assert Sealer(read_keys(self.NEW)).open(sealed, place("upstream_1", "encrypted_key")) == "sk-1"

    def test_migrate_does_it_on_demand_and_a_lost_key_stops_nothing(self, template_url: str) -> None:
        url = fresh_database(template_url, "migrated_and_resealed")
        given = {"TUNEWAY_DATABASE__URL": url, "TUNEWAY_SECRET_KEY": SECRET}
        assert run("migrate", **given, TUNEWAY_ENCRYPTION_KEY=self.OLD).exit_code == 0
        asyncio.run(add_upstream(url, self.OLD))
        lost = run("migrate", "--reseal", **given, TUNEWAY_ENCRYPTION_KEY=self.NEW)
        assert (lost.exit_code, "cannot be opened" in lost.stderr) == (0, True)
        told = run("migrate", "--reseal", **given, TUNEWAY_ENCRYPTION_KEY=f"{self.NEW},{self.OLD}")
        assert (told.exit_code, "sealed anew: 1;" in told.stdout) == (0, True)

    def test_without_a_key_it_says_so(self) -> None:
        assert "encryption_key: there is none" in sentence(run("reseal"), 2)

    def test_without_a_database_it_says_so(self) -> None:
        url = "postgresql+asyncpg://nobody@127.0.0.1:9/nothing"
        told = sentence(run("reseal", TUNEWAY_DATABASE__URL=url, TUNEWAY_ENCRYPTION_KEY=self.NEW), 1)
        assert "database.url" in told


async def add_upstream(url: str, key: str) -> None:
    """One whose key `sk-1` is sealed with `key`."""
    sealed = Sealer(read_keys(key)).seal("sk-1", place("upstream_1", "encrypted_key"))
    engine = create_async_engine(url)
    row = UpstreamRow(id="upstream_1", name="acme", kind="openai", base_urls=[], models=[], headers={})
    row.secret_headers, row.encrypted_key, row.created_at, row.updated_at = [], sealed, now(), now()
    async with AsyncSession(engine) as session, session.begin():
        session.add(row)
    await engine.dispose()


def fresh_database(template_url: str, name: str) -> str:
    """An empty database, without any table."""
    database = sqlalchemy.make_url(template_url).database
    server = template_url.replace(f"/{database}", "/postgres", 1)

    async def create() -> None:
        engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(sqlalchemy.text(f"CREATE DATABASE {name} TEMPLATE template0"))
        await engine.dispose()

    asyncio.run(create())
    return template_url.replace(f"/{database}", f"/{name}", 1)


async def query(url: str, statement: str) -> tuple[Any, ...]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        row = (await connection.execute(sqlalchemy.text(statement))).one()
    await engine.dispose()
    return tuple(row)
