import os
import signal
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
from arq import create_pool
from arq.connections import RedisSettings
from redis.asyncio import Redis as Client

from deploy.redis import Redis, embedded_redis
from tests.deploy.support import running


@pytest.fixture
def redis(tmp_path: Path) -> Generator[Redis]:
    with ExitStack() as cleanup:
        yield embedded_redis(tmp_path / "redis", environment=os.environ, cleanup=cleanup)


class TestPart:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    async def test_what_was_written_survives(self, redis: Redis, tmp_path: Path, number: signal.Signals):
        async with running(redis.part(), tmp_path / "log") as server:
            async with Client.from_url(redis.url) as client:
                await client.set("lease", "7")
            os.kill(server.pid, number)
            await server.wait()
        async with running(redis.part(), tmp_path / "log"), Client.from_url(redis.url) as client:
            assert await client.get("lease") == b"7"

    async def test_arq_accepts_the_url(self, redis: Redis, tmp_path: Path):
        async with running(redis.part(), tmp_path / "log"):
            pool = await create_pool(RedisSettings.from_dsn(redis.url))
            assert await pool.ping()
            await pool.aclose()

    async def test_listens_on_no_port(self, redis: Redis, tmp_path: Path):
        async with running(redis.part(), tmp_path / "log"), Client.from_url(redis.url) as client:
            assert (await client.config_get("port"))["port"] == "0"

    async def test_a_long_path_gets_a_short_socket(self, tmp_path: Path):
        with ExitStack() as cleanup:
            redis = embedded_redis(tmp_path / ("a" * 100) / "b c", environment=os.environ, cleanup=cleanup)
            async with running(redis.part(), tmp_path / "log"), Client.from_url(redis.url) as client:
                assert await client.ping()
        assert not redis.socket.parent.exists()
