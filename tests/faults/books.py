"""What the database says of exchanges and their cost, in every place that it says so, and whether they agree."""

import asyncio
import time
from typing import Any

import asyncpg
import httpx
from sqlalchemy import make_url

from gateway.kit.money import nano_from_usd
from tests.conftest import ADMIN_KEY
from tests.gateway.conftest import RunningGateway
from tests.polling import until

SUMS = {
    "exchanges": "SELECT count(*), coalesce(sum(cost_nano), 0)::bigint FROM exchanges",
    "ledger": "SELECT count(*), coalesce(sum(cost_nano), 0)::bigint FROM ledger",
    "usage_hours": "SELECT sum(requests)::bigint, sum(cost_nano)::bigint FROM usage_hours",
    "usage_days": "SELECT sum(requests)::bigint, sum(cost_nano)::bigint FROM usage_days",
    "project_hours": "SELECT sum(requests)::bigint, sum(cost_nano)::bigint FROM project_hours",
    "traffic_hours": "SELECT sum(requests)::bigint, sum(cost_nano)::bigint FROM traffic_hours WHERE dimension = 'total'"
    " AND project_id = ''",
}
"""Each -> exchanges, nano-dollars."""
SPENT = "SELECT coalesce(sum(spent_nano), 0)::bigint FROM budget_windows"
LEASED = "SELECT coalesce(sum(greatest(granted_nano, spent_nano)), 0)::bigint FROM budget_leases"
OF_BUDGETS = """SELECT coalesce(sum(cost_nano), 0)::bigint FROM ledger
WHERE project_id IN (SELECT project_id FROM budgets)"""
SECONDS = 60.0


class Books:
    """Of a gateway's database. Every exchange that is asked for must be in the log by the id that clients know."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._gateway = gateway
        self._url = make_url(gateway.database_url).set(drivername="postgresql").render_as_string(hide_password=False)

    async def until_logged(self, seen: dict[str, int]) -> None:
        """Return once all of them are in the log. Raises TimeoutError."""
        try:
            await until(lambda: self._has_all(seen), SECONDS)
        except TimeoutError:
            missing = seen.keys() - (await self.logged()).keys()
            raise TimeoutError(f"{len(missing)} of {len(seen)} exchanges never came to the log: {missing}") from None

    async def _has_all(self, seen: dict[str, int]) -> bool:
        return await self.value("SELECT count(*) FROM exchanges WHERE id = ANY($1)", list(seen)) == len(seen)

    async def logged(self) -> dict[str, tuple[str, int | None]]:
        """Id -> outcome and cost, of all."""
        return {row["id"]: (row["outcome"], row["cost_nano"]) for row in await self._rows("SELECT * FROM exchanges")}

    async def value(self, query: str, *arguments: Any) -> Any:
        [[found]] = await self._rows(query, *arguments)
        return found

    async def agree_on(self, seen: dict[str, int]) -> int:
        """Each of them is there once, at its price, and all sums are the same; how many exchanges there are in all.

        Call it once the gateway has stopped: nothing is on its way any more.
        """
        logged = await self.logged()
        assert {name: logged.get(name) for name in seen} == {name: ("completed", nano) for name, nano in seen.items()}
        [*found] = [(name, tuple((await self._rows(query))[0])) for name, query in SUMS.items()]
        expected = len(logged), sum(nano or 0 for _, nano in logged.values())
        assert dict(found) == dict.fromkeys(SUMS, expected)
        spent = await self.value(OF_BUDGETS)
        assert (await self.value(SPENT), await self.value(LEASED)) == (spent, spent)
        return len(logged)

    async def reports_agree(self) -> None:
        """The usage and the costs API, of a gateway that runs, with what is in the log."""
        count, nano = (await self._rows(SUMS["exchanges"]))[0]
        ask = {"start_time": int(time.time()) - 86_400, "limit": 31}
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx.AsyncClient(base_url=self._gateway.url, headers=headers, timeout=30) as admin:
            usage = (await admin.get("/v1/organization/usage/completions", params=ask)).raise_for_status().json()
            costs = (await admin.get("/v1/organization/costs", params=ask)).raise_for_status().json()
        assert sum(each["num_model_requests"] for each in _results(usage)) == count
        assert sum(nano_from_usd(each["amount"]["value"]) for each in _results(costs)) == nano

    async def _rows(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self._url)
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()


def _results(page: Any) -> list[Any]:
    return [each for bucket in page["data"] for each in bucket["results"]]


async def stopped(gateway: RunningGateway) -> None:
    """By SIGTERM: its last drain is over."""
    await asyncio.to_thread(gateway.stop)
