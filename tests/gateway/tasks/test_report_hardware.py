from contextlib import AbstractAsyncContextManager

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import TrainingHardwareRow
from gateway.errors import Unavailable
from gateway.services import WorkerServices
from gateway.tasks.report_hardware import report_hardware
from tests.fakes.fine_tuning import QUICK

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
