"""`tuneway usage rebuild`: on the database of the settings, with an exit status that a script can use."""

import asyncio
import os

import pytest
import sqlalchemy
from click.testing import CliRunner, Result
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.cli import main
from gateway.db.database import Database
from gateway.metering.traffic_rollups import TABLES
from tests.gateway.metering.ledger_rows import post


def run(url: str, *arguments: str) -> Result:
    clean = {name: None for name in os.environ if name.startswith("TUNEWAY_")}
    environment = clean | {"TUNEWAY_DATABASE__URL": url}
    return CliRunner().invoke(main, ["usage", "rebuild", *arguments], env=environment)


def execute(url: str, *statements: str) -> None:
    async def work() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(sqlalchemy.text(statement))
        await engine.dispose()

    asyncio.run(work())


@pytest.fixture
def url(database_url: str) -> str:
    """Two calls, in the log, the ledger and a budget's window."""

    async def fill() -> None:
        database = Database(database_url, pool_size=1, timeout=10)
        await post(database, {}, {"model": "n"})
        await database.close()

    asyncio.run(fill())
    execute(
        database_url,
        """INSERT INTO exchanges (id, created_at, project_id, api_key_id, endpoint, requested_model, streamed, outcome,
        status, request, usage_estimated, priced, duration_ms, input_tokens, cost_nano)
        SELECT id, created_at, project_id, api_key_id, endpoint, model, false, 'completed', 200, '', false, priced, 1,
        input_tokens, cost_nano FROM ledger""",
        """INSERT INTO budgets (id, created_at, scope, period, limit_nano, hard, thresholds, source)
        VALUES ('budget_1', '2026-01-01', 'organization', 'total', 1000000, true, '[]', 'budgets')""",
        """INSERT INTO budget_windows (budget_id, starts_at, spent_nano) VALUES ('budget_1', '2026-01-01', 164000)""",
        """INSERT INTO budget_leases (budget_id, starts_at, holder, granted_nano, spent_nano)
        VALUES ('budget_1', '2026-01-01', '1-abc', 0, 164000)""",
    )
    execute(database_url, *(table.adding(table.of("exchanges")) for table in TABLES))
    return database_url


class TestRebuild:
    def test_agrees(self, url: str) -> None:
        for arguments in (["--check"], []):
            result = run(url, *arguments)
            assert result.exit_code == 0, result.output
            assert result.stdout.splitlines() == [
                "ledger: 2 rows, 0 different",
                "usage_hours: 2 rows, 0 different",
                "usage_days: 2 rows, 0 different",
                "project_hours: 2 rows, 0 different",
                "project_days: 2 rows, 0 different",
                "traffic_hours: 12 rows, 0 different",
                "traffic_days: 12 rows, 0 different",
                "answer_times_hours: 12 rows, 0 different",
                "answer_times_days: 12 rows, 0 different",
                "budgets: 0 different",
            ]

    def test_check_tells_and_changes_nothing(self, url: str) -> None:
        execute(
            url, "UPDATE usage_hours SET cost_nano = 1 WHERE model = 'n'", "UPDATE budget_windows SET spent_nano = 7"
        )
        for _ in range(2):
            result = run(url, "--check")
            assert result.exit_code == 1, result.output
            lines = result.stdout.splitlines()
            (hour,) = (line for line in lines if line.startswith("usage_hours: 2026-11-21T00:00:00+00:00"))
            assert hour.endswith("priced=True: cost_nano=1, should be cost_nano=82000")
            assert (
                "budgets: budget_1 from 2026-01-01T00:00:00+00:00: spent_nano=7, should be spent_nano=164000" in lines
            )

    def test_mends_what_it_tells(self, url: str) -> None:
        execute(
            url, "UPDATE usage_hours SET cost_nano = 1 WHERE model = 'n'", "UPDATE budget_windows SET spent_nano = 7"
        )
        assert run(url).exit_code == 0
        assert run(url, "--check").exit_code == 0

    def test_sums_of_traffic_are_mended_too(self, url: str) -> None:
        execute(url, "UPDATE traffic_days SET requests = 7 WHERE dimension = 'total'")
        assert run(url, "--check").exit_code == 1
        assert "traffic_days: 12 rows, 2 different" in run(url).stdout
        assert run(url, "--check").exit_code == 0

    def test_a_ledger_that_is_not_the_log_is_told_and_stays(self, url: str) -> None:
        execute(url, "UPDATE exchanges SET cost_nano = 5 WHERE id = 'req_0000'")
        for arguments in (["--check"], []):
            result = run(url, *arguments)
            assert result.exit_code == 1, result.output
            assert "ledger: req_0000: cost_nano=82000, should be cost_nano=5" in result.stdout

    def test_without_the_database_is_one_sentence(self) -> None:
        result = run("postgresql+asyncpg://postgres@127.0.0.1:1/nothing", "--check")
        assert result.exit_code == 1
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1
        assert "could not be compared" in result.stderr
