"""Hours and days follow from the ledger."""

from typing import Any

import pytest

from gateway.db.database import Database
from gateway.kit.clock import from_unix
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
