"""Makes the log's months before they begin (gateway/db/partitions.py)."""

import logging
from datetime import timedelta

from gateway.db.partitions import PARTITIONED, Busy, add_months, analyse
from gateway.kit.clock import now
from gateway.services import WorkerServices

log = logging.getLogger(__name__)

AHEAD = timedelta(days=62)
"""A worker that is away for two months costs nothing; after that, what came meanwhile moves once it is back."""


async def keep_partitions(wv: WorkerServices) -> None:
    """Raises Unavailable; the next round goes on."""
    for table in PARTITIONED:
        try:
            async with wv.database.session() as session:
                made = await add_months(session, table, now() + AHEAD)
        except Busy:
            log.info("%s is in use: its months are made in the next round", table)
            continue
        if made:
            log.info("made %s months of %s ahead", made, table)
            async with wv.database.session() as session:
                await analyse(session, table)
