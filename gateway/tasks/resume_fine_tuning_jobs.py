"""Jobs whose worker died, or whose message the queue lost, are taken up again."""

import logging

from gateway.errors import Refusal
from gateway.fine_tuning import claims
from gateway.services import WorkerServices
from gateway.tasks.pauses import PAUSES, Pauses
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job

log = logging.getLogger(__name__)

LOST_AFTER_SECONDS = 10.0
"""A job that nobody validates this long after its creation is taken up without a message from the queue."""


async def resume_fine_tuning_jobs(
    wv: WorkerServices, *, lost_after: float = LOST_AFTER_SECONDS, pauses: Pauses = PAUSES
) -> None:
    """What the database says must happen, happens, with or without a message from the queue. Raises Unavailable."""
    wv.background.spawn(train_fine_tuning_jobs(wv, pauses), "train")
    async with wv.database.session() as session:
        lost = await claims.unvalidated(session, lost_after)
    for job_id in lost:
        try:
            await validate_fine_tuning_job(wv, job_id, pauses)
        except Refusal as refusal:  # of this job's files, perhaps; the others go on
            log.warning("validation of %s is interrupted: %s", job_id, refusal)
