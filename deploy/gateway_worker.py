"""python -m deploy.gateway_worker FD: one process of the gateway, on the listening socket that its parent has bound."""

import ctypes
import socket
import sys
from contextlib import suppress
from typing import Any

import uvicorn

from deploy.gateway_server import BACKLOG, DRAIN_SECONDS

KEEP_ALIVE_SECONDS = 75
"""Longer than the usual minute of load balancers, so that they close a connection and not we."""
KEPT_BYTES = 64 << 20
"""Of memory that large bodies leave behind, for the next ones. What goes back to the kernel comes page by page, each cleared: half
of what a body of 10 MB costs. Memory that nothing ever filled takes no room."""
ONE_KEPT_BYTES = 32 << 20
"""The most that glibc lets one piece of it be (HEAP_MAX_SIZE / 2)."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""malloc.h, for mallopt(3)."""
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "[%(levelname)s] %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"uvicorn.error": {"level": "INFO"}},
}


def main(listener: int) -> None:
    """Serve until SIGTERM or SIGINT; replies on their way are finished first."""
    keep_memory()
    config = uvicorn.Config(
        "deploy.asgi:app",
        interface="asgi3",
        http="deploy.asgi:protocol",  # type: ignore[arg-type] any class, by its name
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=LOGGING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    with suppress(KeyboardInterrupt):  # uvicorn repeats a Ctrl-C that it has stopped for
        uvicorn.Server(config).run(sockets=[socket.socket(fileno=listener)])


def keep_memory() -> None:
    """Of this process alone: no variable of the environment, which others would inherit."""
    with suppress(AttributeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, ONE_KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


if __name__ == "__main__":
    main(int(sys.argv[1]))
