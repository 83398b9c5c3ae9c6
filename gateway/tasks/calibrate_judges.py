"""Holds judges against people: when it is asked for, and by itself where both have judged more."""

import asyncio

from gateway.db.tables import CriterionRow, JudgeVersionRow
from gateway.judging import calibrations
from gateway.services import WorkerServices


async def calibrate_judge(wv: WorkerServices, version_id: str, criterion_id: str) -> None:
    """A new calibration of a version, against judgments by people by one version of a criterion. Of what is not there
    (a queue that outlived its database) nothing is made."""
    async with wv.database.session() as session:
        version = await session.get(JudgeVersionRow, version_id)
        criterion = await session.get(CriterionRow, criterion_id)
        if version is None or criterion is None:
            return
        material = await calibrations.gather(session, version, criterion)
    made = await asyncio.to_thread(calibrations.calibration, material)
    async with wv.database.session() as session:
        session.add(made)


async def calibrate_judges(wv: WorkerServices) -> None:
    """Those in force that there is more to say about. Raises Unavailable; the next round goes on."""
    async with wv.database.session() as session:
        due = await calibrations.due(session)
    for version_id in due:
        async with wv.database.session() as session:
            version = await session.get_one(JudgeVersionRow, version_id)
        await calibrate_judge(wv, version.id, version.criterion_id)
