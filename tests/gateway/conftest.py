"""A real gateway: uvicorn on a socket, in front of the fake upstream."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from gateway.db.database import Database
from gateway.db.tables import ExchangeRow
from gateway.keys.service import ensure_admin_key
from gateway.kit.background import Background
from tests.conftest import ADMIN_KEY, FAKE_MODELS, create_key, own_database
from tests.fakes.upstream import Upstream
from tests.gateway import logged

SECRET_KEY = "k" * 40
START_SECONDS = 60.0


@dataclass
class RunningGateway:
    """A gateway process: where it is, how it ends, and what it has logged."""

    directory: Path
    database_url: str
    environment: dict[str, str]
    port: int = 0
    key: dict[str, Any] = field(default_factory=dict)
    """A project's key: {"id", "value", "project_id", ...}."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.directory / "gateway.log").read_text()

    def start(self) -> None:
        """Start it, on a new port, and wait until it answers."""
        self.port = free_port()
        command = [sys.executable, "-m", "deploy.cli", "gateway", "--port", str(self.port)]
        with (self.directory / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def terminate(self) -> None:
        """Ask it to stop, without waiting."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        assert self._process is not None
        status = self._process.wait(timeout=40)
        self._process = None
        return status

    def kill(self) -> None:
        """As if the machine lost these processes at this moment."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        if self._process is not None:
            self.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    async def rows(self) -> list[ExchangeRow]:
        """What has reached the database."""
        database = Database(self.database_url, pool_size=1, timeout=10)
        try:
            return await logged.stored(database)
        finally:
            await database.close()


class StartGateway(Protocol):
    """Starts a gateway; keywords are settings: `timeouts__drain="1"`, `config` is more of its settings file."""

    def __call__(self, *, config: str = "", **settings: str) -> RunningGateway: ...


@pytest.fixture(scope="module")
def start_gateway(
    template_url: str, redis_url: str, running_fake: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartGateway]:
    """Starts gateways with a database of their own each, and stops those that still run at the end."""
    with ExitStack() as cleanup:

        def start(*, config: str = "", **settings: str) -> RunningGateway:
            database_url = cleanup.enter_context(own_database(template_url))
            directory = tmp_path_factory.mktemp("gateway")
            environment = _environment(directory, database_url, redis_url, running_fake.url)
            with (directory / "tuneway.toml").open("a") as file:
                file.write(config)
            environment |= {f"TUNEWAY_{name.upper()}": value for name, value in settings.items()}
            gateway = RunningGateway(directory, database_url, environment)
            asyncio.run(_add_admin_key(database_url))
            gateway.start()
            cleanup.callback(gateway.stop)
            gateway.key = asyncio.run(_project_key(gateway))
            return gateway

        yield start


@pytest.fixture(scope="module")
def running_gateway(start_gateway: StartGateway) -> RunningGateway:
    """One for all tests of a module that do not end it."""
    return start_gateway()


def _environment(directory: Path, database_url: str, redis_url: str, upstream_url: str) -> dict[str, str]:
    priced = [model for model in FAKE_MODELS if model != "unpriced"]
    prices = [f'[[prices]]\nmodel = "{model}"\ninput = 5.0\ncached_input = 0.5\noutput = 10.0\n' for model in priced]
    upstream = f'[[upstreams]]\nname = "fake"\nbase_url = "{upstream_url}"\nmodels = {json.dumps(FAKE_MODELS)}\n'
    (directory / "tuneway.toml").write_text(upstream + "".join(prices))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")}
    return kept | {
        "TUNEWAY_CONFIG": str(directory / "tuneway.toml"),
        "TUNEWAY_DATA_DIR": str(directory),
        "TUNEWAY_SECRET_KEY": SECRET_KEY,
        "TUNEWAY_DATABASE__URL": database_url,
        "TUNEWAY_DATABASE__POOL_SIZE": "4",
        "TUNEWAY_REDIS__URL": redis_url,
        "TUNEWAY_TIMEOUTS__DRAIN": "0.2",
        "TUNEWAY_EXCHANGES__DRAIN_SECONDS": "0.05",
    }


async def _add_admin_key(database_url: str) -> None:
    database = Database(database_url, pool_size=1, timeout=10)
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=SECRET_KEY)
    await database.close()


async def _project_key(gateway: RunningGateway) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30) as admin:
        return await create_key(admin, "over a socket")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
async def background() -> AsyncIterator[Background]:
    background = Background()
    yield background
    await background.close()
