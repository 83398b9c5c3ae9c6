import dataclasses
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import msgspec
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import TrainingHardwareRow
from gateway.errors import Unavailable
from gateway.services import WorkerServices
from gateway.settings import Settings
from gateway.tasks.report_hardware import report_hardware
from tests.fakes.fine_tuning import QUICK, go_on, job_of, training

STARTER = Path(__file__).parents[3] / "trainer" / "starter" / "model"

pytestmark = [pytest.mark.anyio, pytest.mark.train]


class TestReportHardware:
    async def test_tells_what_this_machine_has(self, wv: WorkerServices) -> None:
        pytest.importorskip("torch")
        for _ in range(2):
            await report_hardware(wv)
        async with wv.database.session() as session:
            [row] = await session.scalars(select(TrainingHardwareRow))
        assert row.description["device"] in ("cpu", "cuda", "mps")
        assert row.description["memory_bytes"] > 0
        assert row.description["flops_per_second"] > 1e6

    async def test_waits_for_the_database(self, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("torch")
        session, tries = wv.database.session, list[int]()

        def away_at_first() -> AbstractAsyncContextManager[AsyncSession]:
            tries.append(1)
            if len(tries) == 1:
                raise Unavailable("away")
            return session()

        monkeypatch.setattr(wv.database, "session", away_at_first)
        await report_hardware(wv, QUICK)
        async with session() as opened:
            assert len(list(await opened.scalars(select(TrainingHardwareRow)))) == 1

    async def test_jobs_that_came_before_get_their_estimate(
        self, client: httpx.AsyncClient, wv: WorkerServices, settings: Settings
    ) -> None:
        pytest.importorskip("torch")
        engine = msgspec.structs.replace(settings.engine, model_path=str(STARTER))
        wv = dataclasses.replace(wv, settings=msgspec.structs.replace(settings, engine=engine))
        job = await training(client, wv, settings)
        assert (await job_of(client, job["id"]))["estimate"] is None
        await report_hardware(wv)
        estimate = (await job_of(client, job["id"]))["estimate"]
        assert estimate["trained_tokens"] > 0
        assert estimate["device"]
        go_on(settings, job["id"])
