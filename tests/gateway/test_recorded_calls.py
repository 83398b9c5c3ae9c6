"""A call that cannot be recorded is not made; one whose record has to survive the loss of power is answered once it does."""

import asyncio
import errno
import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from gateway.exchanges import spool as spool_module
from gateway.services import Services
from gateway.settings import ExchangeSettings, Settings
from tests.conftest import chat
from tests.fakes.upstream import Upstream
from tests.gateway import logged
from tests.gateway.exchanges.test_spool_synced import Disk
from tests.polling import until

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


class TestFull:
    @pytest.fixture(autouse=True)
    def bounded(self, sv: Services) -> None:
        sv.spool.max_bytes = 0

    @pytest.mark.parametrize("stream", [False, True])
    async def test_nobody_is_asked(
        self, client: httpx.AsyncClient, sv: Services, upstream: Upstream, stream: bool
    ) -> None:
        answer = await client.post(CHAT, json=chat("echo", stream=stream))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "exchange_log_full")
        assert "no model was asked, and nothing is charged" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"] == "5"
        assert upstream.requests == []
        assert await logged.rows(sv) == []

    async def test_it_goes_on_by_itself(self, client: httpx.AsyncClient, sv: Services) -> None:
        assert (await client.post(CHAT, json=chat("echo"))).status_code == 503
        sv.spool.max_bytes = 1
        assert (await client.post(CHAT, json=chat("echo"))).status_code == 200
        await logged.row(sv)
        assert (await client.post(CHAT, json=chat("echo"))).status_code == 200

    async def test_it_is_counted(self, client: httpx.AsyncClient) -> None:
        await client.post(CHAT, json=chat("echo"))
        lines = (await client.get("/metrics")).text.splitlines()
        assert "tuneway_unrecordable_calls_total 1.0" in lines
        assert "tuneway_spool_max_bytes 0.0" in lines


class TestUnreadable:
    """Strings that nobody has to read to pass a call on are read before a model is asked."""

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("field", ["user", "safety_identifier"])
    @pytest.mark.parametrize("text", [b'"\xff"', b'"\xed\xa0\x80"'], ids=["no UTF-8", "half a pair"])
    async def test_a_name_that_is_no_text(
        self, client: httpx.AsyncClient, sv: Services, upstream: Upstream, stream: bool, field: str, text: bytes
    ) -> None:
        body = json.dumps(chat("echo", stream=stream) | {field: None}).encode().replace(b"null", text)
        answer = await client.post(CHAT, content=body)
        assert answer.status_code == 400
        assert "could not parse the JSON body" in answer.json()["error"]["message"]
        assert upstream.requests == []
        row = await logged.row(sv)
        assert (row.outcome, row.end_user, bytes(row.request)) == ("refused", None, body)


class TestDisk:
    async def test_that_refuses_is_asked_before_a_model_is(
        self, client: httpx.AsyncClient, sv: Services, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(sv.spool, "_write", full)
            patch.setattr(spool_module, "_allocate", full)
            first = await client.post(CHAT, json=chat("echo"))
            asked = len(upstream.requests)
            second = await client.post(CHAT, json=chat("echo"))
            assert (asked, len(upstream.requests)) == (1, 1)
            assert [first.status_code, second.status_code] == [503, 503]
            assert second.json()["error"]["code"] == "exchange_log_full"
            assert "tuneway_spool_disk_refuses 1.0" in (await client.get("/metrics")).text
            patch.setattr(spool_module, "LOOK_AGAIN_SECONDS", 0.0)
        await until(lambda: sv.spool.trouble is None)
        assert (await client.post(CHAT, json=chat("echo"))).status_code == 200


class TestGroup:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        exchanges = ExchangeSettings(drain_seconds=60, drain="inside", sync="group")
        return msgspec.structs.replace(settings, exchanges=exchanges)

    @pytest.fixture
    def disk(self, sv: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
        disk = Disk()
        with monkeypatch.context() as patch:
            patch.setattr(spool_module, "_fdatasync", disk)
            yield disk
            disk.open.set()

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (chat("echo"), 200),
            (chat("echo", stream=True), 200),
            (chat("error-midway", stream=True), 200),
            (chat("status-500"), 502),
            (chat("nothing"), 404),
        ],
        ids=["whole", "stream", "broken stream", "failed", "refused"],
    )
    async def test_the_last_byte_waits_for_the_disk(
        self, client: httpx.AsyncClient, disk: Disk, body: dict[str, Any], status: int
    ) -> None:
        disk.open.clear()
        calling = asyncio.ensure_future(client.post(CHAT, json=body))
        await until(lambda: disk.asked)
        assert not calling.done()
        disk.open.set()
        answer = await calling
        assert answer.status_code == status
        assert answer.headers["x-request-id"].encode() in disk.synced[-1]

    async def test_a_disk_that_fails_is_a_503(self, client: httpx.AsyncClient, disk: Disk) -> None:
        disk.failure = OSError(errno.EIO, "Input/output error")
        answer = await client.post(CHAT, json=chat("echo"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")

    async def test_and_the_end_of_a_stream(self, client: httpx.AsyncClient, disk: Disk) -> None:
        disk.failure = OSError(errno.EIO, "Input/output error")
        answer = await client.post(CHAT, json=chat("echo", stream=True))
        last = answer.text.strip().split("\n\n")[-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "service_unavailable"
        assert "[DONE]" not in answer.text
