"""What the gateway adds to a call is told apart from what its upstreams take."""

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import ExchangeRow
from gateway.overhead import BOUNDS, FIRST_TOKEN, REST, WHOLE, Overhead
from tests.conftest import chat
from tests.fakes.upstream import Upstream
from tests.gateway import logged
from tests.polling import until

CHAT = "/v1/chat/completions"
HELD = 0.2
"""Seconds for which the upstream keeps its answer back."""


def seen(text: str) -> dict[tuple[str, ...], float]:
    """(sample, part, le) -> value."""
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = families["tuneway_overhead_seconds"].samples
    return {
        (
            each.name.removeprefix("tuneway_overhead_seconds_"),
            each.labels["part"],
            each.labels.get("le", ""),
        ): each.value
        for each in samples
    }


class TestOverhead:
    def test_is_a_histogram_whose_buckets_hold_their_bounds(self) -> None:
        overhead, registry = Overhead(), CollectorRegistry()
        registry.register(overhead)
        for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1], BOUNDS[-1] * 2):
            overhead.observe(WHOLE, seconds)
        found = seen(generate_latest(registry).decode())
        assert found["bucket", WHOLE, "0.0001"] == 2
        assert found["bucket", WHOLE, "0.00025"] == 3
        assert found["bucket", WHOLE, "2.5"] == 4
        assert found["bucket", WHOLE, "+Inf"] == found["count", WHOLE, ""] == 5
        assert found["sum", WHOLE, ""] == pytest.approx(BOUNDS[0] * 2.01 + BOUNDS[-1] * 3)
        assert found["count", REST, ""] == 0


async def held(client: httpx.AsyncClient, upstream: Upstream, body: dict[str, Any]) -> httpx.Response:
    """The answer to a call that its upstream holds back for at least HELD seconds."""
    call = asyncio.ensure_future(client.post(CHAT, json=body))
    await until(lambda: upstream.requests)
    await asyncio.sleep(HELD)  # what is measured is at least this long
    upstream.release.set()
    return await call


async def row_of(app: App, database: Database, answer: httpx.Response) -> ExchangeRow:
    await app.services.drain.drain()
    (row,) = [row for row in await logged.stored(database) if row.id == answer.headers["x-request-id"]]
    return row


@pytest.mark.anyio
class TestCalls:
    async def test_waiting_for_the_upstream_is_not_ours(
        self, app: App, client: httpx.AsyncClient, upstream: Upstream, database: Database
    ) -> None:
        answer = await held(client, upstream, chat("slow"))
        row = await row_of(app, database, answer)
        found = seen((await client.get("/metrics")).text)
        assert (found["count", WHOLE, ""], found["count", FIRST_TOKEN, ""]) == (1, 0)
        assert (row.upstream_ms or 0) >= HELD * 1000
        assert 0 < found["sum", WHOLE, ""] <= row.duration_ms / 1000 - HELD + 0.001

    async def test_a_stream_has_a_beginning_and_an_end(
        self, app: App, client: httpx.AsyncClient, upstream: Upstream, database: Database
    ) -> None:
        answer = await held(client, upstream, chat("gated", stream=True))
        assert answer.text.endswith("data: [DONE]\n\n")
        row = await row_of(app, database, answer)
        found = seen((await client.get("/metrics")).text)
        assert [found["count", part, ""] for part in (WHOLE, FIRST_TOKEN, REST)] == [0, 1, 1]
        assert (row.upstream_ms or 0) >= HELD * 1000
        ours = found["sum", FIRST_TOKEN, ""] + found["sum", REST, ""]
        assert 0 < ours <= row.duration_ms / 1000 - HELD + 0.001

    async def test_tries_that_fail_and_their_pauses_are_the_upstreams(
        self, app: App, admin: httpx.AsyncClient, client: httpx.AsyncClient, database: Database
    ) -> None:
        wait = {"count": 1, "backoff_ms": int(HELD * 2000), "max_backoff_ms": int(HELD * 2000)}
        spec: dict[str, Any] = {"name": "again", "targets": [{"model": "bare-500"}], "retries": wait}
        spec["fallbacks"] = [{"model": "echo"}]
        (await admin.post("/v1/routes", json=spec)).raise_for_status()
        answer = await client.post(CHAT, json=chat("again"))
        assert answer.headers["x-tuneway-attempts"] == "3"
        row = await row_of(app, database, answer)
        assert (row.upstream_ms or 0) >= HELD * 1000  # the pause is half of it at least
        assert seen((await client.get("/metrics")).text)["sum", WHOLE, ""] <= row.duration_ms / 1000 - HELD + 0.001

    async def test_what_nobody_answered_is_not_counted(self, client: httpx.AsyncClient) -> None:
        for model in ("nothing", "status-500"):
            await client.post(CHAT, json=chat(model))
        found = seen((await client.get("/metrics")).text)
        assert [found["count", part, ""] for part in (WHOLE, FIRST_TOKEN, REST)] == [0, 0, 0]
