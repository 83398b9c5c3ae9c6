"""The life of the server process: load, listen, and stop well."""

import asyncio
import logging
import signal
from dataclasses import dataclass

from aiohttp import web

from trainer.engine.engine import Engine
from trainer.engine.server import build_app

logger = logging.getLogger("tuneway.engine")

DRAIN_SECONDS = 5.0
"""How long answers that are being written may go on after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


async def serve(engine: Engine, address: Address) -> None:
    """Serves until SIGTERM or SIGINT: then no new connection, running answers get DRAIN_SECONDS."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    engine.start()
    # handler_cancellation: a client that leaves ends its handler, which frees its place.
    runner = web.AppRunner(build_app(engine), handler_cancellation=True, shutdown_timeout=1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, address.host, address.port, backlog=1024)
    try:
        await site.start()
        logger.info("Serving %s on http://%s:%s", engine.base.name, address.host, address.port)
        await stop.wait()
        await site.stop()
        await engine.drain(DRAIN_SECONDS)
    finally:
        await runner.cleanup()
        engine.stop()
