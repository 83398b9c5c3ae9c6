"""A dataset with a version that was built, without building one."""

from typing import Any

from gateway.db.database import Database
from gateway.db.tables import DatasetItemRow, DatasetRow, DatasetVersionRow
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.recipes import Recipe, stored

SPLIT: dict[str, Any] = {
    "rows": 1, "bytes": 90, "findings": [], "score": 100,
    "tokens": {
        "source": "estimated", "total": 9, "mean_input": 4.0, "mean_output": 5.0, "shortest": 9, "median": 9, "p95": 9,
        "longest": 9, "context_length": None, "over_long": 0, "histogram": [],
    },
}  # fmt: skip
REPORT: dict[str, Any] = {
    "format": "chat", "considered": 1, "rows": 1, "by_signal": {"human": 1}, "dropped": [], "training": SPLIT,
    "validation": SPLIT | {"rows": 0}, "clusters": 1, "users": 0, "largest_user_share": 0.0, "redacted": {},
    "origins": [], "own_share": 0.0, "depths": {"0": 1}, "lengths": None, "warnings": [], "judges": [],
}  # fmt: skip


async def add_dataset(
    database: Database, project_id: str, name: str, *, file_id: str | None = None, exchange_id: str | None = None
) -> dict[str, str]:
    """{"dataset_id": its id}. Its version 1 is completed and has one row."""
    dataset_id, version_id = new_id("dataset_"), new_id("dsver_")
    async with database.session() as session:
        session.add(
            DatasetRow(
                id=dataset_id, project_id=project_id, name=name, description=name, created_at=now(), updated_at=now()
            )
        )
        await session.flush()
        session.add(
            DatasetVersionRow(
                id=version_id, dataset_id=dataset_id, project_id=project_id, number=1,
                recipe=stored(Recipe(kind="sft")), snapshot_at=now(), status="completed", report=REPORT,
                content_sha256="0" * 64, training_file_id=file_id, created_at=now(), created_by="", finished_at=now(),
            )
        )  # fmt: skip
        await session.flush()
        session.add(
            DatasetItemRow(
                version_id=version_id, number=1, split="training", kind="sft", sha256="0" * 64, cluster="0",
                exchange_id=exchange_id, judgment_ids=[], origin_model=name,
            )
        )  # fmt: skip
    return {"dataset_id": dataset_id}
