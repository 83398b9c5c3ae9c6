"""What is counted of a batch is what the statements say that make the sums anew."""

import random
from typing import Any

import pytest
from sqlalchemy import text

from gateway.db.database import Database
from gateway.metering.traffic_counts import bucket
from gateway.metering.traffic_rebuild import compare_traffic
from gateway.metering.traffic_rollups import BUCKET
from tests.gateway.metering.ledger_rows import DAY, HOUR, MIDNIGHT
from tests.gateway.metering.logged_calls import log

pytestmark = pytest.mark.anyio

CHOICES: dict[str, list[Any]] = {
    "project_id": ["proj_1", "proj_2"],
    "api_key_id": ["key_1", "key_2", "key_3"],
    "served_model": ["m", "n", None, "a\x00b"],
    "upstream": ["fake", None],
    "purpose": ["", "judge"],
    "outcome": ["completed", "client_left", "failed", "refused"],
    "status": [200, 399, 400, 499, 500, 503],
    "attempts": [None, [{"model": "m"}]],
    "input_tokens": [None, 12],
    "cached_input_tokens": [None, 4],
    "cost_nano": [None, 82_000],
    "priced": [True, False],
    "duration_ms": [0.2, 1.0, 1.1, 99.9, 1e12],
    "first_token_ms": [None, 0.0, 40.5],
    "created_at": [MIDNIGHT, MIDNIGHT + HOUR - 1e-7, MIDNIGHT + HOUR, MIDNIGHT + DAY + 0.5],
}


class TestPostTraffic:
    async def test_adds_what_the_log_says(self, database: Database) -> None:
        chance = random.Random(14)
        calls = [{name: chance.choice(values) for name, values in CHOICES.items()} for _ in range(600)]
        await log(database, *calls[:400])
        await log(database, *calls[400:])
        found = await compare_traffic(database)
        assert [(each.table, each.different) for each in found if each.different] == []
        assert all(each.rows > 10 for each in found)

    async def test_of_nothing_adds_nothing(self, database: Database) -> None:
        await log(database)
        assert [each.rows for each in await compare_traffic(database)] == [0, 0, 0, 0]


class TestBucket:
    async def test_is_that_of_the_database(self, database: Database) -> None:
        chance = random.Random(14)
        times = [chance.uniform(0, 10 ** chance.uniform(0, 10)) for _ in range(5000)]
        times += [0.0, 1.0, 1e9, 1e10, float("nan"), *(1.1**power for power in range(200))]
        query = text(f"SELECT {BUCKET} FROM unnest(cast(:times AS float8[])) WITH ORDINALITY AS t (ms, n) ORDER BY n")
        async with database.session() as session:
            expected = list(await session.scalars(query, {"times": times}))
        assert [bucket(each) for each in times] == expected
