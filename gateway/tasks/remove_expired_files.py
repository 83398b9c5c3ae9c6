"""Files that expired are gone from every list at once; their contents follow here, and what uploads left behind."""

import asyncio
import logging

from gateway.files import service, uploads
from gateway.services import WorkerServices

log = logging.getLogger(__name__)

UNFINISHED_SECONDS = 24 * 3600.0
"""Content to which nothing was added for so long belongs to a process that died."""


async def remove_expired_files(wv: WorkerServices) -> None:
    """Raises Unavailable; the next round goes on."""
    if removed := await service.remove_expired(wv.database, wv.files):
        log.info("removed the contents of %s expired files", removed)
    if removed := await asyncio.to_thread(wv.files.remove_unfinished, UNFINISHED_SECONDS):
        log.info("removed %s contents that were never completed", removed)
    while removed := await uploads.remove_leftovers(wv.database, wv.files):
        log.info("removed %s parts of uploads that ended", removed)
