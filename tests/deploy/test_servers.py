from collections.abc import Generator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.servers import start_postgres, start_redis


@pytest.fixture
def postgres_url(tmp_path: Path) -> Generator[str]:
    with start_postgres(tmp_path / "postgres") as url:
        yield url


@pytest.fixture
def redis_url(tmp_path: Path) -> Generator[str]:
    with start_redis(tmp_path / "redis") as url:
        yield url


class TestStartPostgres:
    async def test_answers_sqlalchemy(self, postgres_url: str):
        engine = create_async_engine(postgres_url)
        async with engine.connect() as connection:
            assert await connection.scalar(text("select current_database()")) == "tuneway"
        await engine.dispose()


class TestStartRedis:
    async def test_answers_redis(self, redis_url: str):
        async with Redis.from_url(redis_url) as client:
            assert await client.set("a", "b")
