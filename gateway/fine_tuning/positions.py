"""Events that tell how many jobs are ahead in the queue: when a job begins to wait, and when the number changes."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningEventRow
from gateway.fine_tuning import claims, repository
from gateway.fine_tuning.turns import in_order
from gateway.kit.ids import new_id

Event = FineTuningEventRow

POSITIONS = 7_305_002
"""Advisory lock of whoever tells positions, so that two do not tell the same."""
POSITION = "position-"
"""Keys of these events."""
EACH_UP_TO = 10
"""Further back only every tenth part is news, or a long queue would be told of in a square number of events."""


async def tell_positions(session: AsyncSession) -> None:
    """Nothing is told twice: what was told last is in the events."""
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(POSITIONS))):
        return
    queue = await claims.read_queue(session)
    order = in_order(queue.waiting, queue.running, queue.last_start)
    told = await _last_told(session, [job.job_id for job in order])
    for ahead, job in enumerate(order, start=len(queue.running)):
        if ahead and is_news(told.get(job.job_id), ahead):
            await repository.add_event(
                session, job.job_id, new_id(POSITION), message(ahead), values={"jobs_ahead": ahead}
            )


def message(ahead: int) -> str:
    return f"Waiting in the queue: {'1 job is' if ahead == 1 else f'{ahead} jobs are'} ahead"


def is_news(before: int | None, ahead: int) -> bool:
    if before is None or ahead <= EACH_UP_TO:
        return ahead != before
    return abs(ahead - before) >= before / 10


async def _last_told(session: AsyncSession, job_ids: list[str]) -> dict[str, int]:
    query = select(Event.job_id, Event.values).where(Event.job_id.in_(job_ids))
    query = query.where(Event.key.startswith(POSITION, autoescape=True))
    rows = (await session.execute(query.order_by(Event.number))).all()
    return {job_id: values["jobs_ahead"] for job_id, values in rows if values}
