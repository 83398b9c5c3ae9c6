"""The gateway that benchmarks/calls.py measures, in a process of its own.

usage: calls_measured.py SETTINGS      reads {"order": kinds, "calls": how many of each} lines from standard input and
                                       answers each with a line: kind -> part -> microseconds of CPU for one call
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from gateway.app import App, build_app
from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.keys.service import ensure_admin_key
from gateway.settings import (
    DatabaseSettings,
    ExchangeSettings,
    PriceSettings,
    RedisSettings,
    Secret,
    Settings,
    UpstreamSettings,
)
from tests.conftest import ADMIN_KEY, client_of, create_key

PATH = "/v1/chat/completions"
NEVER = 3600.0
PROMPT = "What would a careful reader of this contract ask the landlord before signing it, and why? " * 12
REQUESTS, TOKENS = 100_000, 100_000_000
"""A minute: much more than this process sends, so that it leases ahead as one does that has room."""
DOLLARS = 1000

told = json.loads(sys.argv[1])
body = json.dumps(
    {
        "model": "echo", "messages": [{"role": "user", "content": PROMPT}], "max_completion_tokens": 256,
        "stream": told["stream"],
    }
).encode()  # fmt: skip


async def main() -> None:
    settings = Settings(
        data_dir=Path(told["data_dir"]),
        secret_key=Secret("k" * 40),
        database=DatabaseSettings(url=told["database"]),
        redis=RedisSettings(url=told["redis"]),
        exchanges=ExchangeSettings(drain_seconds=NEVER, drain="inside"),
        upstreams=(UpstreamSettings(name="fake", base_url=told["upstream"], models=("echo",)),),
        prices=(PriceSettings(model="echo", input=5.0, cached_input=0.5, output=10.0),),
    )
    database = Database(settings.database.url, pool_size=1, timeout=30)
    await upgrade(database.engine)
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=settings.secret_key.reveal())
    await database.close()
    app = build_app(settings)
    async with app.lifespan():
        scopes = await _scopes(app)
        gc.collect()
        gc.freeze()
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            print(json.dumps(await _round(app, scopes, asked["order"], asked["calls"])), flush=True)


async def _scopes(app: App) -> dict[str, dict[str, Any]]:
    """Kind -> the ASGI scope of its calls. Each has a project of its own."""
    found: dict[str, dict[str, Any]] = {}
    async with client_of(app, ADMIN_KEY) as admin:
        for kind in ("neither", "neither again", "budget", "limits", "both"):
            key = await create_key(admin, kind)
            if kind in ("budget", "both"):
                await _limit_spending(admin, key)
            if kind in ("limits", "both"):
                await _limit_rates(admin, key)
            headers = {"authorization": f"Bearer {key['value']}", "content-type": "application/json", "host": "gateway"}
            encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
            found[kind] = {"type": "http", "method": "POST", "path": PATH, "headers": encoded}
    return found


async def _limit_spending(admin: httpx.AsyncClient, key: dict[str, Any]) -> None:
    for whose in ({"project_id": key["project_id"]}, {"api_key_id": key["id"]}):
        (await admin.post("/v1/budgets", json=whose | {"period": "month", "limit_usd": DOLLARS})).raise_for_status()


async def _limit_rates(admin: httpx.AsyncClient, key: dict[str, Any]) -> None:
    url = f"/v1/organization/projects/{key['project_id']}/rate_limits/rl-*"
    amounts = {"max_requests_per_1_minute": REQUESTS, "max_tokens_per_1_minute": TOKENS}
    for whose in ({}, {"api_key_id": key["id"]}):
        (await admin.post(url, params=whose, json=amounts)).raise_for_status()


async def _round(app: App, scopes: dict[str, dict[str, Any]], order: list[str], calls: int) -> dict[str, Any]:
    found: dict[str, dict[str, float]] = {}
    gc.collect()
    for kind in order:
        times = {
            "call": await _cpu(partial(_calls, app, scopes[kind], calls)),
            "log": await _cpu(app.services.drain.drain),
        }
        found[kind] = {part: seconds / calls * 1e6 for part, seconds in times.items()}
    return found


async def _cpu(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds."""
    began = time.process_time()
    await work()
    return time.process_time() - began


async def _calls(app: App, scope: dict[str, Any], calls: int) -> None:
    left = iter(range(calls))

    async def caller() -> None:
        for _ in left:
            await _call(app, scope)

    await asyncio.gather(*(caller() for _ in range(told["at_once"])))


async def _call(app: App, scope: dict[str, Any]) -> None:
    request: list[Any] = [{"type": "http.request", "body": body}]
    status: list[int] = []

    async def receive() -> Any:
        return request.pop() if request else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    await app(dict(scope), receive, send)
    assert status == [200], status


asyncio.run(main())
