"""Runs the gateway under granian."""

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops

DRAIN_SECONDS = 25
"""A worker that still has open replies after this long is ended; the supervisor waits a little longer."""


def serve(*, host: str, port: int, workers: int) -> None:
    """Serve until SIGTERM or SIGINT; replies on their way are finished first."""
    Granian(
        "deploy.asgi:app",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        loop=Loops.uvloop,
        http=HTTPModes.auto,
        log_access=False,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_SECONDS,
    ).serve()
