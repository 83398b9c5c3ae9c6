"""Jobs as rows, without the calls that make them."""

from typing import Any

from gateway.db.database import Database
from gateway.db.tables import FineTuningJobRow
from gateway.kit.clock import now


async def add_job(database: Database, project: str, job_id: str = "ftjob-1", **values: Any) -> str:
    row = {
        "id": job_id,
        "project_id": project,
        "api_key_id": "key_1",
        "created_at": now(),
        "model": "base",
        "status": "queued",
        "training_file": "file-1",
        "method": {},
        "seed": 1,
    }
    async with database.session() as session:
        session.add(FineTuningJobRow(**(row | values)))
    return job_id


async def row_of(database: Database, job_id: str = "ftjob-1") -> FineTuningJobRow:
    async with database.session() as session:
        row = await session.get(FineTuningJobRow, job_id)
        assert row is not None
        return row
