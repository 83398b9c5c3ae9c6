"""A gateway of its own, on servers that a test may stop, and two keys: one whose project has a hard budget, one without."""

import asyncio
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.keys.service import ensure_admin_key
from tests.conftest import ADMIN_KEY, create_key, own_database
from tests.gateway.conftest import SECRET_KEY, RunningGateway

CONFIG = """
[[upstreams]]
name = "fake"
base_url = "{url}"
models = ["echo"]
[[prices]]
model = "echo"
input = 5.0
cached_input = 0.5
output = 10.0
"""
ENOUGH_USD = 100_000


@dataclass(frozen=True)
class Servers:
    """What the gateway lives on."""

    database_url: str
    redis_url: str
    upstream_url: str


@dataclass(frozen=True)
class Keys:
    free: str
    bound: str
    """Of a project with a budget."""


@contextmanager
def gateway_at(directory: Path, servers: Servers, **settings: str) -> Generator[RunningGateway]:
    """Args: settings: as the environment has them, `exchanges__drain_seconds="0.05"`."""
    (directory / "tuneway.toml").write_text(CONFIG.format(url=servers.upstream_url))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")}
    environment = kept | {
        "TUNEWAY_CONFIG": str(directory / "tuneway.toml"),
        "TUNEWAY_DATA_DIR": str(directory / "data"),
        "TUNEWAY_SECRET_KEY": SECRET_KEY,
        "TUNEWAY_DATABASE__URL": servers.database_url,
        "TUNEWAY_DATABASE__POOL_SIZE": "4",
        "TUNEWAY_REDIS__URL": servers.redis_url,
    }
    environment |= {f"TUNEWAY_{name.upper()}": value for name, value in settings.items()}
    asyncio.run(_add_admin_key(servers.database_url))
    gateway = RunningGateway(directory, servers.database_url, environment)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


@contextmanager
def own_gateway(template_url: str, redis_url: str, upstream_url: str, **settings: str) -> Generator[RunningGateway]:
    """One with a directory and a database of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="tw-") as directory,
        own_database(template_url) as database_url,
        gateway_at(Path(directory), Servers(database_url, redis_url, upstream_url), **settings) as gateway,
    ):
        yield gateway


def serving(gateway: RunningGateway) -> psutil.Process | None:
    """The one process that answers calls (deploy/gateway_worker.py); None while there is none."""
    try:
        children = psutil.Process(gateway.pid).children()
        found = [child for child in children if _answers_calls(child)]
    except psutil.NoSuchProcess:
        return None
    return found[-1] if found else None


def draining(gateway: RunningGateway) -> psutil.Process | None:
    """The process that brings the log to the database, where that is one of its own."""
    try:
        everyone = psutil.Process(gateway.pid).children(recursive=True)
        found = [each for each in everyone if "gateway.drain_process" in each.cmdline()]
    except psutil.NoSuchProcess:
        return None
    return found[-1] if found else None


def _answers_calls(child: psutil.Process) -> bool:
    alive = child.status() != psutil.STATUS_ZOMBIE
    return alive and "deploy.gateway_worker" in child.cmdline()


async def make_keys(gateway: RunningGateway, limit_usd: float = ENOUGH_USD) -> Keys:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30) as admin:
        free, bound = await create_key(admin, "free"), await create_key(admin, "bound")
        budget: dict[str, Any] = {"project_id": bound["project_id"], "period": "total", "limit_usd": limit_usd}
        (await admin.post("/v1/budgets", json=budget)).raise_for_status()
    return Keys(free["value"], bound["value"])


async def migrate(url: str) -> None:
    engine = create_async_engine(url)
    await upgrade(engine)
    await engine.dispose()


async def _add_admin_key(database_url: str) -> None:
    database = Database(database_url, pool_size=1, timeout=10)
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=SECRET_KEY)
    await database.close()
