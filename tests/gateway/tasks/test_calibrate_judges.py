"""Judges are held against people in the background."""

import pytest
from sqlalchemy import func, select

from gateway.db.tables import CalibrationRow
from gateway.services import WorkerServices
from gateway.tasks.calibrate_judges import calibrate_judge

pytestmark = pytest.mark.anyio


class TestCalibrateJudge:
    async def test_what_is_not_there_is_passed_over(self, wv: WorkerServices) -> None:
        await calibrate_judge(wv, "judgever_of_another_database", "crit_x")
        async with wv.database.session() as session:
            assert await session.scalar(select(func.count()).select_from(CalibrationRow)) == 0
