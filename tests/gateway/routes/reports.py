"""Asking for usage and costs of one day."""

from collections.abc import Iterable
from typing import Any

import httpx

from tests.contract import conforms
from tests.gateway.metering.ledger_rows import DAY, MIDNIGHT

USAGE, COSTS = "/v1/organization/usage/completions", "/v1/organization/costs"


async def report(admin: httpx.AsyncClient, url: str, **query: Any) -> dict[str, Any]:
    answer = await admin.get(url, params={"start_time": MIDNIGHT, "end_time": MIDNIGHT + DAY} | query)
    assert answer.status_code == 200, answer.text
    conforms("UsageResponse", answer.json())
    return answer.json()


async def results(admin: httpx.AsyncClient, url: str, **query: Any) -> list[dict[str, Any]]:
    """Of the one bucket of the day."""
    (bucket,) = (await report(admin, url, **query))["data"]
    assert (bucket["start_time"], bucket["end_time"]) == (MIDNIGHT, MIDNIGHT + DAY)
    return bucket["results"]


def picked(found: Iterable[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(each[name] for name in names) for each in found]
