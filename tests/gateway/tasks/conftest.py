"""A gateway with the fake engine, and a worker with the fake trainer."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import Settings
from tests.fakes.engine import FakeEngine, running_engine
from tests.fakes.evals import Straight, in_process, working
from tests.fakes.fine_tuning import set_mode, until, with_engine
from tests.fakes.paid_jobs import PaidJobs


@pytest.fixture(scope="package")
def running_fake_engine() -> Iterator[FakeEngine]:
    with running_engine() as engine:
        yield engine


@pytest.fixture
def engine(running_fake_engine: FakeEngine) -> FakeEngine:
    running_fake_engine.reset()
    return running_fake_engine


@pytest.fixture
def settings(settings: Settings, engine: FakeEngine) -> Settings:
    set_mode(settings, "succeed")
    return with_engine(settings, engine, lease_seconds=5.0)


@pytest.fixture
async def wv(settings: Settings) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as wv:
        yield wv
        await until(lambda: not wv.training.locked())


@pytest.fixture
def jobs(client: httpx.AsyncClient, sv: Services, wv: WorkerServices, project_key: dict[str, Any]) -> PaidJobs:
    """Of the first project; the module's settings say what training costs."""
    return PaidJobs(client, sv, wv, project_key["project_id"])


@pytest.fixture
def no_processes(app: App) -> None:
    """What evals have other processes do is done here."""
    in_process(app.services)


@pytest.fixture
async def worker(
    settings: Settings, app: App, project_key: dict[str, Any], no_processes: None
) -> AsyncIterator[Straight]:
    """Does runs of evals; its calls."""
    async with working(settings, app, project_key) as straight:
        yield straight
