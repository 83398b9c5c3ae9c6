"""The worker as a process: a real queue, a real database, the fake trainer and the fake engine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.settings import Settings
from tests.fakes.engine import FakeEngine, running_engine
from tests.fakes.fine_tuning import (
    TRAINER,
    create_job,
    gone,
    job_of,
    messages_of,
    set_mode,
    starts_of,
    with_engine,
)
from tests.polling import until

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
START_SECONDS = 120.0
"""Longer than `until` waits otherwise: a process is started first, and a machine may have other things to do."""


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with running_engine() as engine:
        yield engine


@pytest.fixture
def settings(settings: Settings, engine: FakeEngine) -> Settings:
    return with_engine(settings, engine)


def environment_of(settings: Settings) -> dict[str, str]:
    config = settings.data_dir / "tuneway.toml"
    lines = [
        f"[engine]\nurl = {json.dumps(settings.engine.url)}\nmodel = 'base'\nmodel_path = {json.dumps(settings.engine.model_path)}",
        f"[fine_tuning]\ncommand = {json.dumps(TRAINER)}\nlease_seconds = 30.0",
    ]
    config.write_text("\n".join(lines))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")}
    return kept | {
        "TUNEWAY_CONFIG": str(config),
        "TUNEWAY_DATA_DIR": str(settings.data_dir),
        "TUNEWAY_DATABASE__URL": settings.database.url,
        "TUNEWAY_REDIS__URL": settings.redis.url,
    }


@contextmanager
def working(settings: Settings, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process; stopped with SIGTERM at the end."""
    command = [sys.executable, "-m", "deploy.cli", "worker"]
    with log.open("ab") as output:
        worker = subprocess.Popen(command, env=environment_of(settings) | environment, stdout=output, stderr=output)
    try:
        yield worker
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)


class TestWorker:
    async def test_sigterm_stops_the_training_with_a_checkpoint_and_the_next_worker_goes_on(
        self, client: Client, settings: Settings, tmp_path: Path
    ) -> None:
        set_mode(settings, "hold")
        log = tmp_path / "worker.log"
        job = await create_job(client)

        async def stepped() -> bool:
            return "Checkpoint created at step 1" in await messages_of(client, job["id"])

        with working(settings, log) as worker:
            await until(stepped, START_SECONDS)
        assert worker.returncode == 0, log.read_text()
        (start,) = starts_of(settings, job["id"])
        assert gone(start["pid"])
        assert "Traceback" not in log.read_text()
        (settings.data_dir / "jobs" / job["id"] / "go").touch()

        async def succeeded() -> bool:
            return (await job_of(client, job["id"]))["status"] == "succeeded"

        with working(settings, log):  # the lease was given back: nobody waits the 30 s that it lasts
            await until(succeeded, START_SECONDS)
        told = await messages_of(client, job["id"])
        assert "Training goes on after step 1/3" in told
        assert len(told) == len(set(told))

    async def test_sigterm_while_redis_is_away_ends_it_cleanly(self, settings: Settings, tmp_path: Path) -> None:
        log = tmp_path / "worker.log"
        with working(settings, log, TUNEWAY_REDIS__URL=f"unix://{tmp_path}/nothing") as worker:
            await until(lambda: "redis connection error" in log.read_text(), START_SECONDS)
        assert worker.returncode == 0, log.read_text()
