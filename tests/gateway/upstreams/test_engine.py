"""The engine's own endpoints, with vLLM's statuses."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.errors import UpstreamFailed, UpstreamRefused
from gateway.settings import TimeoutSettings
from gateway.upstreams.client import UpstreamClient
from gateway.upstreams.engine import Engine
from tests.fakes.engine import BASE, FakeEngine, running_engine

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def running_fake_engine() -> Iterator[FakeEngine]:
    with running_engine() as fake:
        yield fake


@pytest.fixture
def fake(running_fake_engine: FakeEngine) -> FakeEngine:
    running_fake_engine.reset()
    return running_fake_engine


@pytest.fixture
async def engine(fake: FakeEngine) -> AsyncIterator[Engine]:
    client = UpstreamClient(TimeoutSettings())
    yield Engine(client, fake.url + "/")
    client.close()


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    (tmp_path / "adapter_config.json").write_text("{}")
    return tmp_path


class TestEngine:
    async def test_adapter_comes_and_goes(self, engine: Engine, fake: FakeEngine, adapter: Path) -> None:
        await engine.load_adapter("ft:x", adapter)
        assert await engine.models() == {BASE: BASE, "ft:x": str(adapter)}
        await engine.unload_adapter("ft:x")
        assert await engine.models() == {BASE: BASE}

    async def test_twice_is_no_error(self, engine: Engine, adapter: Path) -> None:
        for _ in range(2):
            await engine.load_adapter("ft:x", adapter)
        for _ in range(2):
            await engine.unload_adapter("ft:x")

    async def test_missing_path_is_a_refusal_with_the_reason(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(UpstreamRefused, match="No adapter found"):
            await engine.load_adapter("ft:x", tmp_path / "nothing")

    async def test_adapter_that_does_not_fit_is_a_failure_of_a_healthy_engine(
        self, engine: Engine, fake: FakeEngine, adapter: Path
    ) -> None:
        fake.misfit.add("ft:x")
        with pytest.raises(UpstreamFailed, match="rank 64"):
            await engine.load_adapter("ft:x", adapter)
        assert await engine.is_well()

    async def test_engine_without_the_routes_says_what_to_do(
        self, engine: Engine, fake: FakeEngine, adapter: Path
    ) -> None:
        fake.no_updates = True
        with pytest.raises(UpstreamRefused, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"):
            await engine.load_adapter("ft:x", adapter)

    async def test_that_is_away(self, engine: Engine, fake: FakeEngine, adapter: Path) -> None:
        fake.away = True
        assert not await engine.is_well()
        for call in (engine.health(), engine.models(), engine.load_adapter("ft:x", adapter)):
            with pytest.raises(UpstreamFailed):
                await call

    @pytest.mark.parametrize("odd", ["", "null", "[]", '{"data": null}', '{"data": [{"id": 3}]}', "<html>"])
    async def test_odd_list_of_models_is_a_failure(self, engine: Engine, fake: FakeEngine, odd: str) -> None:
        fake.odd = odd
        with pytest.raises(UpstreamFailed, match="cannot be read"):
            await engine.models()
