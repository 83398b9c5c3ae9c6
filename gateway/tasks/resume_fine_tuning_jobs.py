"""Jobs whose worker died, or whose message the queue lost, are taken up again."""

from gateway.fine_tuning import repository
from gateway.services import WorkerServices
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job

LOST_AFTER_SECONDS = 10.0
"""A validation that has not ended after this long is started again; doing it twice does no harm."""


async def resume_fine_tuning_jobs(wv: WorkerServices) -> None:
    """What the database says must happen, happens, with or without a message from the queue."""
    async with wv.database.session() as session:
        lost = await repository.unvalidated(session, LOST_AFTER_SECONDS)
    for job_id in lost:
        await validate_fine_tuning_job(wv, job_id)
    wv.background.spawn(train_fine_tuning_jobs(wv), "train")
