import pytest
from sqlalchemy import select

from gateway.db.tables import TrainingHardwareRow
from gateway.services import WorkerServices
from gateway.tasks.report_hardware import report_hardware

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
