"""Hours and days follow from the ledger."""

import random
from typing import Any

import pytest

from gateway.db.database import Database
from gateway.kit.clock import from_unix
from gateway.metering.rebuild import compare
from tests.gateway.logged import days, hours
from tests.gateway.metering.ledger_rows import DAY, HOUR, MIDNIGHT, charge, post

pytestmark = pytest.mark.anyio


class TestPosting:
    async def test_keeps_apart_everything_that_is_asked_by(self, database: Database) -> None:
        others: dict[str, Any] = {
            "created_at": MIDNIGHT + DAY, "project_id": "proj_2", "api_key_id": "key_2", "user_id": "user_1",
            "model": "n", "endpoint": "/embeddings", "kind": "training", "batch": True, "priced": False,
        }  # fmt: skip
        await post(database, {}, {}, *({name: value} for name, value in others.items()))
        for sums in (await hours(database), await days(database)):
            assert sorted(each.requests for each in sums) == [1] * len(others) + [2]

    async def test_hours_and_days_begin_in_utc(self, database: Database) -> None:
        moments = (MIDNIGHT - 0.001, MIDNIGHT, MIDNIGHT + HOUR - 0.001, MIDNIGHT + HOUR, MIDNIGHT + DAY)
        await post(database, *({"created_at": moment} for moment in moments))
        starts = [MIDNIGHT - HOUR, MIDNIGHT, MIDNIGHT + HOUR, MIDNIGHT + DAY]
        assert [(each.hour, each.requests) for each in await hours(database)] == [
            (from_unix(start), count) for start, count in zip(starts, (1, 2, 1, 1), strict=True)
        ]
        starts = [MIDNIGHT - DAY, MIDNIGHT, MIDNIGHT + DAY]
        assert [(each.day, each.requests) for each in await days(database)] == [
            (from_unix(start), count) for start, count in zip(starts, (1, 3, 1), strict=True)
        ]

    async def test_adds_what_comes_later(self, database: Database) -> None:
        parts = {
            "input_tokens": 1, "cached_input_tokens": 2, "output_tokens": 3, "device_ms": 4,
            "input_nano": 5, "cached_input_nano": 6, "output_nano": 7, "request_nano": 8,
        }  # fmt: skip
        for number in range(3):
            await post(database, charge(f"{number}", **parts))
        for (only,) in (await hours(database), await days(database)):
            assert {name: getattr(only, name) for name in parts} == {name: 3 * value for name, value in parts.items()}
            assert (only.requests, only.cost_nano) == (3, 3 * (5 + 6 + 7 + 8))

    async def test_is_what_the_ledger_says(self, database: Database) -> None:
        """A batch is summed up before it is sent; made anew, sums are those of the statements."""
        chance = random.Random(16)
        choices: dict[str, list[Any]] = {
            "project_id": ["proj_1", "proj_2"], "api_key_id": ["key_1", "key_2"], "user_id": ["", "user_1"],
            "model": ["m", "", "模型 \"{,}"], "endpoint": ["/chat/completions", "/embeddings"],
            "kind": ["call", "training"], "batch": [True, False], "priced": [True, False],
            "created_at": [MIDNIGHT, MIDNIGHT + HOUR - 1e-7, MIDNIGHT + HOUR, MIDNIGHT + DAY - 1e-6, MIDNIGHT + DAY],
            "input_tokens": [0, 7, 2**40], "device_ms": [0, 5], "output_nano": [0, 2**50], "request_nano": [0, 1],
        }  # fmt: skip
        for batch in range(3):
            rows = [{name: chance.choice(values) for name, values in choices.items()} for _ in range(300)]
            await post(database, *(charge(f"req_{batch}_{number}", **row) for number, row in enumerate(rows)))
        async with database.session() as session:
            found = await compare(session)
        assert [(each.table, each.different) for each in found if each.different] == []
        assert len(found) == 4
        assert all(each.rows > 10 for each in found)
