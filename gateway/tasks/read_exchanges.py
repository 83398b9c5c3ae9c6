"""Makes the log searchable, behind the calls."""

from gateway.exchanges.reading import read_next
from gateway.services import WorkerServices

BATCHES = 50
"""A round; the next one goes on."""


async def read_exchanges(wv: WorkerServices) -> int:
    """How many exchanges were read. Raises Unavailable; the next round goes on."""
    count = 0
    for _ in range(BATCHES):
        async with wv.database.session() as session:
            taken = await read_next(session)
        count += taken
        if not taken:
            break
    return count
