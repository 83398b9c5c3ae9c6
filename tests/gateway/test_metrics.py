"""GET /metrics."""

from typing import Any

import httpx
import pytest

from gateway.services import Services
from tests.conftest import chat
from tests.gateway.test_limited_calls import limit, statuses

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
REFUSED = ("requests_per_minute", "key"), ("tokens_per_minute", "project")


class TestMetrics:
    async def test_count_calls_tokens_and_what_has_no_price(self, client: httpx.AsyncClient) -> None:
        for model in ("echo", "unpriced", "status-500", "nothing"):
            await client.post(CHAT, json=chat(model))
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        lines = answer.text.splitlines()
        assert 'tuneway_calls_total{endpoint="/chat/completions",outcome="completed"} 2.0' in lines
        assert 'tuneway_calls_total{endpoint="/chat/completions",outcome="failed"} 1.0' in lines
        assert 'tuneway_calls_total{endpoint="/chat/completions",outcome="refused"} 1.0' in lines
        assert 'tuneway_tokens_total{direction="input"} 24.0' in lines
        assert "tuneway_unpriced_calls_total 1.0" in lines

    async def test_show_what_waits_on_disk(
        self, client: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await sv.drain.drain()
        assert "tuneway_spool_bytes 0.0" in (await client.get("/metrics")).text
        with monkeypatch.context() as patch:
            patch.setattr(sv.spool, "drained", lambda *_: None)
            await client.post(CHAT, json=chat("echo"))
            assert "tuneway_spool_bytes 0.0" not in (await client.get("/metrics")).text

    async def test_count_refusals_by_limit(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        own, shared = (f'tuneway_limited_calls_total{{limit="{field}",scope="{scope}"}}' for field, scope in REFUSED)
        before = (await client.get("/metrics")).text.splitlines()
        assert {f"{own} 0.0", f"{shared} 0.0"} <= set(before)
        await limit(admin, project_key, own=True, max_requests_per_1_minute=2)
        assert await statuses(client, 4) == [200, 200, 429, 429]
        await limit(admin, project_key, max_tokens_per_1_minute=1)
        assert (await client.post(CHAT, json=chat("echo"))).status_code == 429
        lines = (await client.get("/metrics")).text.splitlines()
        assert {f"{own} 2.0", f"{shared} 1.0"} <= set(lines)
        assert 'tuneway_calls_total{endpoint="/chat/completions",outcome="refused"} 3.0' in lines

    async def test_count_refusals_by_budget(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        used_up, reserved = (
            f'tuneway_unfunded_calls_total{{reason="{reason}"}}' for reason in ("insufficient_quota", "budget_reserved")
        )
        budget = {"api_key_id": project_key["id"], "period": "total", "limit_usd": 0}
        assert (await admin.post("/v1/budgets", json=budget)).status_code == 200
        assert await statuses(client, 2) == [429, 429]
        await client.post(CHAT, json=chat("nothing"))
        assert {f"{used_up} 2.0", f"{reserved} 0.0"} <= set((await client.get("/metrics")).text.splitlines())

    async def test_never_name_a_client_or_its_text(self, client: httpx.AsyncClient) -> None:
        await client.post(CHAT, json=chat("a-secret-model-name"))
        assert "secret" not in (await client.get("/metrics")).text
