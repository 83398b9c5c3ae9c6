"""A final with weights of its own takes the place of a checkpoint's."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.db.tables import ModelRow
from gateway.errors import UpstreamRefused
from gateway.services import WorkerServices
from gateway.serving import repository
from gateway.tasks import engine_room
from gateway.tasks.load_models import load_model
from gateway.tasks.reconcile_adapters import reconcile_adapters
from tests.fakes.engine import FakeEngine
from tests.fakes.tuned_models import add_job, add_tuned, rows_of, write_full

pytestmark = pytest.mark.anyio

Make = Callable[..., Awaitable[list[ModelRow]]]


@pytest.fixture
def make(wv: WorkerServices, project_key: dict[str, Any], engine: FakeEngine) -> Make:
    """Makes models with weights of their own, for an engine that serves two: `await make("ftjob-1", 4, 8, None)`."""
    engine.room = 2

    async def make(job_id: str, *steps: int | None) -> list[ModelRow]:
        job = await add_job(wv.database, project_key, job_id)
        rows = [await add_tuned(wv.database, job, step=step, kind="full") for step in steps]
        for row in rows:
            write_full(wv.settings.data_dir / row.adapter_path)
        return rows

    return make


class TestLoad:
    async def test_final_takes_the_place_of_the_oldest_checkpoint(
        self, wv: WorkerServices, engine: FakeEngine, make: Make
    ) -> None:
        old, new, final = await make("ftjob-1", 4, 8, None)
        for row in (old, new, final):
            await engine_room.load(wv, engine.url, row)
        assert sorted(engine.adapters) == sorted([new.id, final.id])

    async def test_checkpoint_takes_nobodys_place_and_a_final_none_of_a_final(
        self, wv: WorkerServices, engine: FakeEngine, make: Make
    ) -> None:
        one, checkpoint = await make("ftjob-1", None, 4)
        [two], [three] = await make("ftjob-2", None), await make("ftjob-3", None)
        for row in (one, two):
            await engine_room.load(wv, engine.url, row)
        for row in (checkpoint, three):
            with pytest.raises(UpstreamRefused, match="--max-models"):
                await engine_room.load(wv, engine.url, row)
        assert sorted(engine.adapters) == sorted([one.id, two.id])


class TestReconcile:
    async def test_comes_to_rest_with_the_finals_loaded_and_the_others_explained(
        self, wv: WorkerServices, engine: FakeEngine, make: Make
    ) -> None:
        old, new, final = await make("ftjob-1", 4, 8, None)
        [other] = await make("ftjob-2", None)
        for row in (old, new):
            await engine_room.load(wv, engine.url, row)
        for _ in range(3):
            await reconcile_adapters(wv, retry_after=0.0)
            assert sorted(engine.adapters) == sorted([final.id, other.id])
        async with wv.database.session() as session:
            loaded = await repository.loaded_on(session, engine.url)
        assert {name: row.state for name, row in loaded.items()} == {
            old.id: "evicted",
            new.id: "evicted",
            final.id: "ready",
            other.id: "ready",
        }

    async def test_checkpoint_that_is_called_says_that_there_is_no_room(
        self, wv: WorkerServices, engine: FakeEngine, make: Make
    ) -> None:
        """ADR 0009: models with weights of their own are not swapped on demand."""
        await make("ftjob-1", None)
        await make("ftjob-2", None)
        await reconcile_adapters(wv)
        [checkpoint] = await make("ftjob-3", 4)
        await load_model(wv, checkpoint.id, "", "a call")
        row = (await rows_of(wv.database))[checkpoint.id]
        assert "--max-models" in str(row.problem)
        async with wv.database.session() as session:
            loaded = await repository.loaded_on(session, engine.url)
        assert (loaded[checkpoint.id].state, loaded[checkpoint.id].code) == ("failed", "no_room")
