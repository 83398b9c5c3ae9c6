"""GET /metrics."""

import httpx
import pytest

from gateway.services import Services
from tests.conftest import chat

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


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

    async def test_never_name_a_client_or_its_text(self, client: httpx.AsyncClient) -> None:
        await client.post(CHAT, json=chat("a-secret-model-name"))
        assert "secret" not in (await client.get("/metrics")).text
