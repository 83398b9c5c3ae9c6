"""One PostgreSQL and one Redis a session, a fresh database a test; the gateway in-process or behind uvicorn."""

import asyncio
import gc
import itertools
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import sqlalchemy
from argon2.profiles import CHEAPEST
from litestar import Litestar
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.access import passwords
from gateway.app import App
from gateway.db import sessions as sessions_module
from gateway.db.base import Base
from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.keys.service import ensure_admin_key
from gateway.litestar_app import build_routes
from gateway.services import Services
from gateway.settings import (
    DatabaseSettings,
    ExchangeSettings,
    PriceSettings,
    RedisSettings,
    Secret,
    Settings,
    UpstreamSettings,
)
from tests.fakes.upstream import Upstream, running_upstream
from tests.s3 import S3Server, running_s3
from tests.servers import start_postgres, start_redis
from tests.shares import Shares, long_first

ADMIN_KEY = "sk-admin-for-tests-only"
FAKE_MODELS = (
    "echo", "slow", "status-400", "status-401", "status-429", "status-500", "status-503", "bare-500", "no-usage", "cut",
    "cut-before", "error-first", "error-midway", "no-done", "ends-early", "crlf", "endless", "unicode", "unpriced",
    "not-a-stream", "模型 é", "gated", "no-schema", "assistant",
    "error-long", "empty-200", "flaky-1", "status-402", "status-404",
)  # fmt: skip
_numbers = itertools.count()
_emptied: list[str] = []
"""URLs of databases that a test has left empty."""
_parts: dict[str, str] = {}
"""Of tables, as the migrations leave them: name -> bounds."""
_idle_engines: dict[str, list[AsyncEngine]] = {}
"""URL, connections and seconds -> engines without connections that no `Database` uses now."""
_idle_routes: dict[tuple[int, int], list[Litestar]] = {}
"""Largest body -> routes that no app uses now."""


# As trainer/__main__.py does.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
gc.disable()  # until every test is imported: a third of the time that it takes


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares | None:
    return Shares(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Whether all processes were kept busy until the end: where one waited for long, a share is too large or begins too late."""
    session: Any = config.pluginmanager.get_plugin("dsession")
    if session is not None and isinstance(session.sched, Shares):
        terminalreporter.write_line("; ".join(session.sched.waits()))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items[:] = long_first(items)


def pytest_collection_finish() -> None:
    """Nor does any other collection of garbage walk through what 8,000 tests import: each took most of a second."""
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def session_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tuneway-tests-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def template_url(session_dir: Path) -> Iterator[str]:
    """A migrated database that others are copied from."""
    with start_postgres(session_dir / "postgres") as url:

        async def migrate() -> None:
            engine = create_async_engine(url)
            await upgrade(engine)
            async with engine.connect() as connection:
                _parts.update((row[0], row[1]) for row in await connection.execute(sqlalchemy.text(PARTS)))
            await engine.dispose()

        asyncio.run(migrate())
        yield url


@pytest.fixture
def database_url(template_url: str) -> Iterator[str]:
    """An empty database that no other test uses at this time, with the schema that the migrations build."""
    with own_database(template_url) as url:
        yield url


@contextmanager
def own_database(template_url: str) -> Iterator[str]:
    if not _emptied:
        name = f"test_{next(_numbers)}"
        template = sqlalchemy.make_url(template_url).database
        asyncio.run(_create_database(re.sub(rf"/{template}\b", "/postgres", template_url, count=1), name, template))
        _emptied.append(re.sub(rf"/{template}\b", f"/{name}", template_url, count=1))
    url = _emptied.pop()
    yield url
    if asyncio.run(_empty(url)):  # ten times faster than a new one
        _emptied.append(url)


OTHERS = """SELECT count(*), pg_stat_clear_snapshot() FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
TABLES = """SELECT relname::text, EXISTS (
    SELECT 1 FROM pg_partition_tree(oid) each WHERE pg_relation_size(each.relid) > 0
) OR pg_relation_size(oid) > 0 FROM pg_class
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace"""
PARTS = "SELECT relname::text, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r'"


async def _empty(url: str) -> bool:
    """Delete every row; False when the database cannot be used again: other tables, or somebody is still connected."""
    connection = await asyncpg.connect(sqlalchemy.make_url(url).set(drivername="postgresql").render_as_string(False))
    try:
        for _ in range(40):
            if not await connection.fetchval(OTHERS):
                break
            await asyncio.sleep(0.005)
        else:
            return False
        written: dict[str, bool] = dict(await connection.fetch(TABLES))
        if written.keys() != {"alembic_version", *Base.metadata.tables}:
            return False
        if dict(await connection.fetch(PARTS)) != _parts:
            return False
        full = [name for name in Base.metadata.tables if written[name]]
        deletions = "".join(f'DELETE FROM "{name}";' for name in full)
        await connection.execute(f"SET session_replication_role = replica; {deletions}")
        return True
    finally:
        await connection.close()


async def _create_database(url: str, name: str, template: str | None) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(sqlalchemy.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    await engine.dispose()


@pytest.fixture(scope="session")
def redis_url(session_dir: Path) -> Iterator[str]:
    with start_redis(session_dir / "redis") as url:
        yield url


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture(scope="session")
def running_fake() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(running_fake: Upstream) -> Upstream:
    """The fake upstream, its memory of earlier tests cleared."""
    running_fake.forget()
    return running_fake


@pytest.fixture
def settings(database_url: str, redis_url: str, upstream: Upstream, tmp_path: Path) -> Settings:
    """A gateway in front of the fake upstream, every model priced but one."""
    return Settings(
        data_dir=tmp_path,
        secret_key=Secret("k" * 40),
        encryption_key=Secret("e5" * 32),
        database=DatabaseSettings(url=database_url, pool_size=4),
        redis=RedisSettings(url=redis_url),
        exchanges=ExchangeSettings(drain_seconds=0.05, drain="inside"),
        upstreams=(
            UpstreamSettings(name="fake", base_url=upstream.url, api_key=Secret("sk-fake"), models=FAKE_MODELS),
        ),
        prices=tuple(
            PriceSettings(model=model, input=5.0, cached_input=0.5, output=10.0)
            for model in FAKE_MODELS
            if model != "unpriced"
        ),
    )


@pytest.fixture(scope="session", autouse=True)
def used_engines() -> Iterator[None]:
    """A `Database` gets the engine of one that was closed: it knows the server, and how to write the statements that were asked
    of it, which takes as long as to ask them."""
    make, close = sessions_module.create_async_engine, Database.close
    places: dict[AsyncEngine, str] = {}

    def used_or_new(url: str, **options: Any) -> AsyncEngine:
        place = f"{url} {sorted(options.items(), key=str)}"
        idle = _idle_engines.setdefault(place, [])
        engine = idle.pop() if idle else make(url, **options)
        places[engine] = place
        return engine

    async def closed(database: Database) -> None:
        await close(database)
        loaded = database._loaded
        if loaded is not None and loaded.engine not in (idle := _idle_engines[places[loaded.engine]]):
            idle.append(loaded.engine)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sessions_module, "create_async_engine", used_or_new)
        patched.setattr(Database, "close", closed)
        yield


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.database.url, pool_size=2, timeout=10)
    yield database
    await database.close()


@pytest.fixture
def cheap_passwords() -> Iterator[None]:
    """Passwords of this process take next to no memory; what they take outside of tests is told by test_passwords.py.

    Not by the fixture `monkeypatch`, which would then outlive the application: what a test breaks is mended before.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passwords, "PARAMETERS", replace(CHEAPEST, memory_cost=64))
        yield


@pytest.fixture
async def app(settings: Settings, database: Database, cheap_passwords: None) -> AsyncIterator[App]:
    """The application, started, with one admin key."""
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=settings.secret_key.reveal())
    with app_of(settings) as app:
        async with app.lifespan():
            await app.everything()
            yield app


@pytest.fixture
def sv(app: App) -> Services:
    return app.services


@pytest.fixture
async def admin(app: App) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the app without a socket, as an administrator."""
    async with client_of(app, ADMIN_KEY) as client:
        yield client


@pytest.fixture
async def project_key(admin: httpx.AsyncClient) -> dict[str, Any]:
    """A key of a new project: {"id", "value", "project_id", "name"}."""
    return await create_key(admin, "first")


@pytest.fixture
async def client(app: App, project_key: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the app without a socket, with a project's key."""
    async with client_of(app, project_key["value"]) as client:
        yield client


@pytest.fixture
async def stranger(app: App, admin: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """The key of another project, which must see nothing of the first."""
    key = await create_key(admin, "second")
    async with client_of(app, key["value"]) as client:
        yield client


@contextmanager
def app_of(settings: Settings, routers: Sequence[ControllerRouterHandler] = ()) -> Iterator[App]:
    """As `build_app`, with the routes of an app that has ended: to build them takes longer than most tests."""
    idle = _idle_routes.setdefault((settings.max_body_bytes, id(routers)), [])
    routes = idle.pop() if idle else build_routes(settings.max_body_bytes, routers)
    routes.state = State()
    yield App(settings, lambda: routes)
    idle.append(routes)


def client_of(app: App, key: str | None) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway", headers=headers)  # type: ignore[arg-type]


async def create_key(admin: httpx.AsyncClient, project: str) -> dict[str, Any]:
    made = (await admin.post("/v1/organization/projects", json={"name": project})).json()
    url = f"/v1/organization/projects/{made['id']}/service_accounts"
    account = (await admin.post(url, json={"name": "app"})).json()
    key = account["api_key"]
    return {
        "id": key["id"],
        "value": key["value"],
        "project_id": made["id"],
        "name": key["name"],
        "account": account["id"],
    }


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
