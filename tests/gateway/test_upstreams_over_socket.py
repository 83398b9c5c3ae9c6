"""A provider that is added to running gateways: called with the real client, and its key is nowhere in plain."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from tests.conftest import ADMIN_KEY
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import RunningGateway, StartGateway
from tests.polling import until

pytestmark = pytest.mark.anyio

HELLO: Any = [{"role": "user", "content": "hello"}]
ENCRYPTION_KEY = "ab" * 32


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    return await asyncio.to_thread(start_gateway, encryption_key=ENCRYPTION_KEY)


@pytest.fixture
async def admin(gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=f"{gateway.url}/v1", headers=headers, timeout=30) as client:
        yield client


def sdk_of(gateway: RunningGateway) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key["value"], max_retries=0, timeout=30)


async def checkpoint(url: str) -> None:
    """Everything that the server holds in memory, onto its disk."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(sqlalchemy.text("CHECKPOINT"))
    await engine.dispose()


def holders(folder: Path, needle: str) -> list[Path]:
    """Files in which the text stands."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if needle.encode() in path.read_bytes()]


class TestProviders:
    async def test_the_key_of_one_is_nowhere_in_plain(
        self, gateway: RunningGateway, admin: httpx.AsyncClient, upstream: Upstream, session_dir: Path
    ) -> None:
        key, visible = f"sk-{secrets.token_hex(16)}", f"visible-{secrets.token_hex(16)}"
        fields = {"name": "acme", "base_url": upstream.url, "models": ["acme-1"], "api_key": key}
        refused = await admin.post("/upstreams", json=fields | {"organization": "a\nb"})
        made = await admin.post("/upstreams", json=fields | {"organization": visible})
        assert (refused.status_code, made.status_code) == (400, 200)
        async with sdk_of(gateway) as client:
            assert "acme-1" in [model.id async for model in client.models.list()]
            reply = await client.chat.completions.create(model="acme-1", messages=HELLO)
            assert reply.choices[0].message.content == "hello"
            stream = await client.chat.completions.create(model="acme-1", messages=HELLO, stream=True)
            assert [piece async for piece in stream]
        assert {headers["Authorization"] for headers in upstream.headers} == {f"Bearer {key}"}
        assert len(upstream.headers) == 2
        await until(lambda: _two_rows(gateway))
        await checkpoint(gateway.database_url)
        assert await asyncio.to_thread(holders, session_dir, visible), "the search finds what is there"
        assert await asyncio.to_thread(holders, session_dir, key) == []
        assert await asyncio.to_thread(holders, gateway.directory, key) == []
        assert key not in refused.text + made.text + (await admin.get("/upstreams")).text

    async def test_every_process_follows_a_change(
        self, gateway: RunningGateway, admin: httpx.AsyncClient, upstream: Upstream, tmp_path: Path
    ) -> None:
        environment = gateway.environment | {"TUNEWAY_DATA_DIR": str(tmp_path)}
        second = RunningGateway(tmp_path, gateway.database_url, environment, key=gateway.key)
        await asyncio.to_thread(second.start)
        try:
            async with sdk_of(second) as client:

                async def answers() -> bool:
                    """A call looks at nothing but this process's memory."""
                    try:
                        await client.chat.completions.create(model="acme-2", messages=HELLO)
                    except openai.NotFoundError:
                        return False
                    return True

                async def refuses() -> bool:
                    return not await answers()

                fields = {"name": "second", "base_url": upstream.url, "models": ["acme-2"], "api_key": "sk-0123456789"}
                made = (await admin.post("/upstreams", json=fields)).json()
                await until(answers)
                await admin.delete(f"/upstreams/{made['id']}")
                await until(refuses)
        finally:
            await asyncio.to_thread(second.stop)


async def _two_rows(gateway: RunningGateway) -> bool:
    return len(await gateway.rows()) == 2
