"""Workers as processes beside a gateway, and how they are lost."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import update

from gateway.db.database import Database
from gateway.kit.clock import from_unix
from tests.gateway.conftest import RunningGateway

SECONDS = 180.0
"""A machine that does much else starts a worker in many seconds."""


@dataclass(frozen=True)
class RunningWorker:
    """`tuneway worker`, a process group."""

    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """As if the machine lost these processes at this moment."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=20)


class StartWorker(Protocol):
    """Starts a worker; keywords are settings of it: `eval_calls="1"`."""

    def __call__(self, **settings: str) -> RunningWorker: ...


@contextmanager
def workers_of(gateway: RunningGateway) -> Generator[StartWorker]:
    """Those that still run at the end are killed."""
    with ExitStack() as cleanup:

        def start(**settings: str) -> RunningWorker:
            own = {"gateway_url": gateway.url, **settings}
            environment = gateway.environment | {f"TUNEWAY_WORKER__{name.upper()}": own[name] for name in own}
            log = cleanup.enter_context((gateway.directory / "worker.log").open("ab"))
            command = [sys.executable, "-m", "deploy.cli", "worker"]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            worker = RunningWorker(process)
            cleanup.callback(worker.kill)
            return worker

        yield start


async def let_leases_run_out(gateway: RunningGateway, table: Any) -> None:
    """Of the rows of a table, as if their workers had been dead for long."""
    database = Database(gateway.database_url, pool_size=1, timeout=10)
    try:
        async with database.session() as session:
            await session.execute(update(table).values(leased_until=from_unix(1)))
    finally:
        await database.close()
