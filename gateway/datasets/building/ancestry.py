"""How many trainings lie behind the answers of a model: learning from one's own answers again and again is how models
collapse (arXiv 2412.14689)."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database
from gateway.db.tables import DatasetItemRow, DatasetVersionRow, FineTuningJobRow, ModelRow


class Ancestry:
    """Depths of models, each looked up once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._depths: dict[str, int] = {}

    async def depth(self, model: str) -> int:
        """0 for one that was not trained here; else one more than the deepest of what it was trained on: its base, and
        the models that answered in its training data."""
        if model not in self._depths:
            async with self._database.session() as session:
                parents = await _parents(session, model)
            depths = [await self.depth(parent) for parent in parents or ()]
            self._depths[model] = 0 if parents is None else 1 + max(depths, default=0)
        return self._depths[model]


async def _parents(session: AsyncSession, model: str) -> list[str] | None:
    """None: it was not trained here."""
    of_model = select(FineTuningJobRow).join(ModelRow, ModelRow.job_id == FineTuningJobRow.id)
    job = await session.scalar(of_model.where(ModelRow.id == model))
    if job is None:
        return None
    origins = (
        select(DatasetItemRow.origin_model)
        .join(DatasetVersionRow, DatasetVersionRow.id == DatasetItemRow.version_id)
        .where(
            DatasetVersionRow.training_file_id == job.training_file,
            DatasetItemRow.split == "training",
            DatasetItemRow.origin_model.is_not(None),
        )
    )
    found = [each for each in await session.scalars(origins.distinct()) if each is not None]
    return [job.model, *sorted(found)]
