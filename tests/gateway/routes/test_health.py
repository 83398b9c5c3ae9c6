"""/health, /ready with each part away, /metrics."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import redis.asyncio

from gateway.app import App, build_app
from gateway.queue import HEALTH_KEY
from gateway.routes import health
from gateway.settings import DatabaseSettings, EngineSettings, RedisSettings, Settings
from tests.conftest import client_of
from tests.fakes.engine import BASE, running_engine
from tests.polling import until
from tests.s3 import S3Server

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
NOWHERE = "postgresql+asyncpg://nobody@127.0.0.1:9/nothing"


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[None]:
    """A worker's sign of life."""
    client: Any = redis.asyncio.Redis.from_url(redis_url)
    await client.set(HEALTH_KEY, "alive")
    yield
    await client.delete(HEALTH_KEY)
    await client.aclose()


@pytest.fixture
async def nobody(app: App) -> AsyncIterator[Client]:
    """A probe has no key."""
    async with client_of(app, None) as client:
        yield client


async def checks_of(settings: Settings, path: str = "/ready") -> tuple[int, dict[str, str]]:
    """What a gateway with these settings answers."""
    app = build_app(settings)
    async with app.lifespan(), client_of(app, None) as client:
        answer = await client.get(path)
        return answer.status_code, answer.json().get("checks", answer.json())


class TestHealth:
    async def test_alive_without_a_key(self, nobody: Client) -> None:
        answer = await nobody.get("/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    async def test_alive_without_a_database(self, settings: Settings) -> None:
        away = msgspec.structs.replace(settings, database=DatabaseSettings(url=NOWHERE))
        assert await checks_of(away, "/health") == (200, {"status": "ok"})


class TestReady:
    async def test_when_every_part_answers(self, nobody: Client, worker: None) -> None:
        answer = await nobody.get("/ready")
        assert answer.status_code == 200
        assert answer.json()["status"] == "ready"
        checks = answer.json()["checks"]
        assert checks.pop("engine") == "ok (none configured)"
        assert set(checks.values()) == {"ok"}

    async def test_not_without_a_worker(self, nobody: Client) -> None:
        answer = await nobody.get("/ready")
        assert answer.status_code == 503
        assert answer.json()["status"] == "not ready"
        wrong = {name: told for name, told in answer.json()["checks"].items() if not told.startswith("ok")}
        assert wrong == {"worker": "no worker has given a sign of life"}

    async def test_not_without_the_database(self, settings: Settings, worker: None) -> None:
        away = msgspec.structs.replace(settings, database=DatabaseSettings(url=NOWHERE))
        status, checks = await checks_of(away)
        assert status == 503
        assert "database" in checks["database"]
        assert checks["redis"] == checks["worker"] == "ok"

    async def test_not_without_the_bucket_and_the_log_says_so_at_once(
        self, settings: Settings, worker: None, s3: S3Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        status, checks = await checks_of(msgspec.structs.replace(settings, files=s3.new_bucket()))
        assert (status, checks["files"]) == (200, "ok")
        away = msgspec.structs.replace(settings, files=s3.settings("s3://absent"))
        status, checks = await checks_of(away)
        assert status == 503
        expected = "The file storage s3://absent has no such bucket: create it, or correct files.url."
        assert checks["files"] == expected
        async with build_app(away).lifespan():
            await until(lambda: f"{expected} Until then files, uploads and fine-tuning answer 503." in caplog.text)
        with s3.checking_credentials():
            status, checks = await checks_of(away)
        assert "refuses the credentials" in checks["files"]

    async def test_not_without_redis(self, settings: Settings) -> None:
        away = msgspec.structs.replace(settings, redis=RedisSettings(url="redis://127.0.0.1:9"))
        status, checks = await checks_of(away)
        assert status == 503
        assert "Redis" in checks["redis"]
        assert checks["worker"] != "ok"
        assert checks["database"] == "ok"

    async def test_not_without_the_engine(self, settings: Settings, worker: None) -> None:
        with running_engine() as engine:
            there = msgspec.structs.replace(settings, engine=EngineSettings(url=engine.url, model=BASE))
            assert await checks_of(there) == (
                200,
                dict.fromkeys(("database", "redis", "files", "worker", "engine"), "ok"),
            )
            engine.away = True
            status, checks = await checks_of(there)
        assert status == 503
        assert [name for name, told in checks.items() if told != "ok"] == ["engine"]

    async def test_while_one_replica_is_up_and_says_which_is_down(self, settings: Settings, worker: None) -> None:
        with running_engine() as one, running_engine() as other:
            engine = EngineSettings(url=one.url, replicas=(other.url,), model=BASE)
            both = msgspec.structs.replace(settings, engine=engine)
            assert (await checks_of(both))[1]["engine"] == "ok"
            one.away = True
            status, checks = await checks_of(both)
            assert status == 200
            assert checks["engine"].startswith(f"ok ({one.url} is down: The connection to the upstream")
            other.away = True
            assert (await checks_of(both))[0] == 503

    async def test_replica_that_hangs_does_not_hide_one_that_is_well(
        self, settings: Settings, worker: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "CHECK_SECONDS", 0.2)
        with running_engine() as one, running_engine() as other:
            one.hangs = True
            engine = EngineSettings(url=one.url, replicas=(other.url,), model=BASE)
            status, checks = await checks_of(msgspec.structs.replace(settings, engine=engine))
            one.hangs = False
        assert (status, checks["engine"]) == (200, f"ok ({one.url} is down: no answer within 0.2 s)")

    async def test_part_that_hangs_is_as_good_as_away(
        self, settings: Settings, worker: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "CHECK_SECONDS", 0.5)
        with running_engine() as engine:
            engine.hangs = True
            there = msgspec.structs.replace(settings, engine=EngineSettings(url=engine.url, model=BASE))
            status, checks = await checks_of(there)
            engine.hangs = False
        assert status == 503
        assert checks["engine"] == "no answer within 0.5 s"

    @pytest.mark.parametrize("content", ['{"parts": {"engine": {"restarts": 1}}}', "", "[]", "{}", "nonsense"])
    async def test_parts_of_the_stack_are_shown_where_there_are_any(
        self, nobody: Client, settings: Settings, content: str
    ) -> None:
        path = settings.data_dir / health.PARTS_FILE
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        parts = (await nobody.get("/ready")).json()["parts"]
        assert parts == ({"engine": {"restarts": 1}} if "restarts" in content else {})


class TestMetrics:
    async def test_are_prometheus_text(self, nobody: Client) -> None:
        answer = await nobody.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "# TYPE tuneway_" in answer.text
