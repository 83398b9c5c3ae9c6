"""The rollups made anew: every difference is told, and then there is none."""

from typing import Any

import pytest
from sqlalchemy import text

from gateway.db.database import Database
from gateway.metering.rebuild import TOLD, Compared, compare, compare_with_exchanges, mend, rebuild
from gateway.metering.rollups import ROLLUPS
from tests.gateway.logged import hours
from tests.gateway.metering.ledger_rows import DAY, HOUR, MIDNIGHT, charge, post

pytestmark = pytest.mark.anyio

SPOILT = {
    "a wrong sum": "UPDATE usage_hours SET output_nano = output_nano - 1, cost_nano = cost_nano - 1 WHERE model = 'n'",
    "a wrong day": "UPDATE usage_days SET requests = requests + 1",
    "a lost row": "DELETE FROM usage_hours WHERE model = 'n'",
    "lost rollups": "DELETE FROM usage_hours; DELETE FROM usage_days; DELETE FROM project_hours; DELETE FROM project_days",
    "a wrong project": "UPDATE project_days SET cost_nano = cost_nano + 1; DELETE FROM project_hours WHERE model = 'n'",
    "a row that nothing was used for": "UPDATE usage_hours SET hour = hour + interval '5 hours' WHERE model = 'n'",
    "another's row": "UPDATE usage_days SET user_id = 'user_9' WHERE model = 'm'",
}


async def shown(database: Database) -> list[dict[str, Any]]:
    async with database.session() as session:
        return [
            dict(row)
            for rollup in ROLLUPS
            for row in (await session.execute(text(f"SELECT * FROM {rollup.name} ORDER BY {rollup.key}"))).mappings()
        ]


async def spoil(database: Database, statements: str) -> None:
    async with database.session() as session:
        for statement in statements.split("; "):
            await session.execute(text(statement))


async def some(database: Database) -> None:
    changes: list[dict[str, Any]] = [{"model": model} for model in ("m", "m", "n")]
    await post(database, *changes, {"created_at": MIDNIGHT + 2 * HOUR}, {"created_at": MIDNIGHT + DAY})


async def compared(database: Database) -> dict[str, Compared]:
    async with database.session() as session:
        return {each.table: each for each in await compare(session)}


class TestCompare:
    async def test_what_was_posted_agrees(self, database: Database) -> None:
        await some(database)
        found = await compared(database)
        assert {name: (each.rows, each.different) for name, each in found.items()} == {
            "usage_hours": (4, 0),
            "usage_days": (3, 0),
            "project_hours": (4, 0),
            "project_days": (3, 0),
        }

    async def test_tells_to_the_nano_dollar_and_changes_nothing(self, database: Database) -> None:
        await some(database)
        await spoil(database, SPOILT["a wrong sum"])
        for _ in range(2):
            (difference,) = (await compared(database))["usage_hours"].differences
            assert difference.before == {"cost_nano": 81_999, "output_nano": 39_999}
            assert difference.truly == {"cost_nano": 82_000, "output_nano": 40_000}
            when, *names = difference.what.split()
            assert (when, *sorted(names)[:2]) == ("2026-11-21T00:00:00+00:00", "api_key_id=key_1", "batch=False")

    async def test_tells_what_is_missing_and_what_should_not_be(self, database: Database) -> None:
        await some(database)
        await spoil(database, SPOILT["a row that nothing was used for"])
        missing, extra = (await compared(database))["usage_hours"].differences
        assert missing.before is None
        assert (missing.truly or {})["requests"] == 1
        assert (extra.before or {})["requests"] == 1
        assert extra.truly is None

    async def test_counts_what_is_too_much_to_tell(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.metering.rebuild.TOLD", 2)
        await some(database)
        await spoil(database, SPOILT["lost rollups"])
        found = (await compared(database))["usage_hours"]
        assert (found.rows, found.different, len(found.differences)) == (0, 4, 2)
        assert TOLD > 2


class TestRebuild:
    @pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
    async def test_mends_what_is_different(self, spoilt: str, database: Database) -> None:
        await some(database)
        right = await shown(database)
        await spoil(database, spoilt)
        assert await shown(database) != right
        async with database.session() as session:
            found = await rebuild(session)
        assert sum(each.different for each in found) >= 1
        assert await shown(database) == right
        assert not any(each.different for each in (await compared(database)).values())

    @pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
    async def test_what_is_posted_meanwhile_is_counted_once(self, spoilt: str, database: Database) -> None:
        """To the very rows that are wrong, between finding and mending it: neither waits for the other."""
        await some(database)
        await spoil(database, spoilt)
        async with database.session() as session:
            await compare(session)
            at = (MIDNIGHT, MIDNIGHT + 5 * HOUR)
            names = [(model, user, moment) for model in "mn" for user in ("", "user_9") for moment in at]
            await post(
                database,
                *(charge(f"{name}", model=name[0], user_id=name[1], created_at=name[2]) for name in names),
            )
            await mend(session)
        assert not any(each.different for each in (await compared(database)).values())
        assert sum(each.requests for each in await hours(database)) == 5 + len(names)

    async def test_what_is_posted_afterwards_adds_up(self, database: Database) -> None:
        await some(database)
        await spoil(database, SPOILT["lost rollups"])
        async with database.session() as session:
            await rebuild(session)
        await post(database, charge("later"))
        assert not any(each.different for each in (await compared(database)).values())


class TestCompareWithExchanges:
    LOGGED = """INSERT INTO exchanges (id, created_at, project_id, api_key_id, endpoint, requested_model, streamed,
        outcome, status, request, usage_estimated, priced, duration_ms, input_tokens, cost_nano)
        SELECT id, created_at, project_id, api_key_id, endpoint, model, false, 'completed', 200, '', false, priced, 1,
        input_tokens, cost_nano FROM ledger"""

    async def found(self, database: Database) -> list[tuple[str, Any, Any]]:
        async with database.session() as session:
            found = await compare_with_exchanges(session)
        assert found.different == len(found.differences)
        return [(each.what, each.before, each.truly) for each in found.differences]

    async def test_agrees(self, database: Database) -> None:
        await some(database)
        await spoil(database, self.LOGGED)
        await spoil(database, "UPDATE exchanges SET cost_nano = NULL WHERE id = 'req_0001'")
        await spoil(
            database, "UPDATE ledger SET cost_nano = 0, input_nano = 0, cached_input_nano = 0, output_nano = 0"
            " WHERE id = 'req_0001'"
        )  # fmt: skip
        await spoil(database, "DELETE FROM exchanges WHERE id = 'req_0002'")
        assert await self.found(database) == []

    async def test_tells_what_is_not_in_the_ledger_or_costs_something_else(self, database: Database) -> None:
        await some(database)
        await spoil(database, self.LOGGED)
        await spoil(database, "DELETE FROM ledger WHERE id = 'req_0000'")
        await spoil(database, "UPDATE exchanges SET cost_nano = 5 WHERE id = 'req_0001'")
        await spoil(database, "UPDATE ledger SET output_nano = output_nano + 1 WHERE id = 'req_0002'")
        assert sorted(await self.found(database)) == [
            ("req_0000", None, {"cost_nano": 82_000}),
            ("req_0001", {"cost_nano": 82_000}, {"cost_nano": 5}),
            ("req_0002", {"cost_nano": 82_000}, {"cost_nano": 82_000}),
        ]
