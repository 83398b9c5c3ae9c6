"""Blobs of bodies that the log names no more: of exchanges that were erased or are past their time, or of a process that died."""

import logging

from gateway.exchanges import left_bodies
from gateway.services import WorkerServices

log = logging.getLogger(__name__)


async def remove_bodies(wv: WorkerServices) -> None:
    """Raises Unavailable; the next round goes on."""
    while removed := await left_bodies.remove_left(wv.database):
        log.info("removed %s large bodies that the log names no more", removed)


async def doom_bodies(wv: WorkerServices) -> None:
    """Raises Unavailable; the next round begins anew."""
    if doomed := await left_bodies.doom_unnamed(wv.database):
        log.info("%s large bodies are of exchanges that left the log", doomed)
