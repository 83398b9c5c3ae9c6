"""A final with weights of its own takes the place of a checkpoint's."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.db.tables import ModelRow
from gateway.errors import UpstreamRefused
from gateway.services import WorkerServices
from gateway.tasks import engine_room
from gateway.tasks.reconcile_adapters import reconcile_adapters
from gateway.upstreams.engine import Engine
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
            await engine_room.load(wv, Engine(wv.upstreams, engine.url), row)
        assert sorted(engine.adapters) == sorted([new.id, final.id])

    async def test_checkpoint_takes_nobodys_place_and_a_final_none_of_a_final(
        self, wv: WorkerServices, engine: FakeEngine, make: Make
    ) -> None:
        one, checkpoint = await make("ftjob-1", None, 4)
        [two], [three] = await make("ftjob-2", None), await make("ftjob-3", None)
        for row in (one, two):
            await engine_room.load(wv, Engine(wv.upstreams, engine.url), row)
        for row in (checkpoint, three):
            with pytest.raises(UpstreamRefused, match="--max-models"):
                await engine_room.load(wv, Engine(wv.upstreams, engine.url), row)
        assert sorted(engine.adapters) == sorted([one.id, two.id])


class TestReconcile:
    async def test_comes_to_rest_with_the_finals_loaded_and_the_others_explained(
        self, wv: WorkerServices, engine: FakeEngine, make: Make
    ) -> None:
        old, new, final = await make("ftjob-1", 4, 8, None)
        [other] = await make("ftjob-2", None)
        for row in (old, new):
            await engine_room.load(wv, Engine(wv.upstreams, engine.url), row)
        refused: set[str] = set()
        for _ in range(3):
            await reconcile_adapters(wv, refused)
            assert sorted(engine.adapters) == sorted([final.id, other.id])
        assert refused == {old.id, new.id}
        rows = await rows_of(wv.database)
        assert ["--max-models" in str(rows[row.id].problem) for row in (old, new, final, other)] == [
            *(True, True),
            *(False, False),
        ]
