"""How quickly usage and costs are answered with many exchanges in the log.

    .venv/bin/python -m benchmarks.admin [--rows 10000000] [--rounds 7] [--keep DIR]

Starts a PostgreSQL and a Redis of its own, fills the exchange log and the ledger (90 days, 20 projects, 200 keys,
10 models; every key calls every model), makes the rollups with the code of `tuneway usage rebuild`, and asks a gateway
over HTTP on a socket. For each query it prints the median, the 95th percentile and the longest, and how large the
answer was. With --keep the database stays, and the next run with it begins at the questions.
"""

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text

from admin.usage import check_usage, rebuild_usage
from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.keys.service import ensure_admin_key
from gateway.settings import DatabaseSettings, RedisSettings, Secret, Settings
from tests.conftest import create_key
from tests.servers import start_postgres, start_redis

ADMIN_KEY, SECRET = "sk-admin-for-a-benchmark", "k" * 40
DAY = 86_400
DAYS, PROJECTS, KEYS, MODELS = 90, 20, 200, 10
END = 1_795_219_200 + 13 * 3600 + 1800
"""Half past one: the last day and the last hour are cut."""
START = END - DAYS * DAY
TARGET_MS = 100

FILL = """
INSERT INTO exchanges (id, created_at, project_id, api_key_id, endpoint, requested_model, served_model, upstream,
    streamed, outcome, status, request, reply, input_tokens, cached_input_tokens, output_tokens, usage_estimated,
    cost_nano, priced, duration_ms, logging)
SELECT 'req_' || lpad(to_hex((extract(epoch FROM at) * 1000000000)::bigint), 16, '0') || left(md5(n::text), 16), at,
    'proj_' || key % {projects}, 'key_' || key,
    CASE WHEN n % 20 = 0 THEN '/completions' ELSE '/chat/completions' END, 'model-' || model, 'model-' || model, 'engine',
    n % 2 = 0, 'completed', 200, '', '', tokens, tokens / 4, tokens / 3, false,
    (tokens - tokens / 4) * 150 + tokens / 4 * 75 + tokens / 3 * 600, true, 12.5, 'metadata'
FROM (
    SELECT n, to_timestamp({start} + n * ({end} - {start})::float8 / {rows}) AS at, (random() * 100000)::int % {keys} AS key,
           (random() * 100000)::int % {models} AS model, 100 + (random() * 4000)::int AS tokens
    FROM generate_series({first}, {last}) n
) calls
"""
POST = """
INSERT INTO ledger
SELECT id, created_at, 'call', project_id, api_key_id, CASE WHEN right(api_key_id, 1) = '7' THEN 'user-' || api_key_id
       ELSE '' END, '1-abc', served_model, endpoint, false, true, input_tokens, cached_input_tokens, output_tokens, 0,
       cost_nano, (input_tokens - cached_input_tokens) * 150, cached_input_tokens * 75, output_tokens * 600, 0
FROM exchanges
"""
CHUNK = 1_000_000


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as own:
        kept = arguments.keep
        directory = kept or Path(own)
        directory.mkdir(parents=True, exist_ok=True)
        with (
            start_postgres(directory / "postgres") as url,
            start_redis(Path(own) / "redis") as redis,
        ):
            settings = Settings(
                data_dir=Path(own), secret_key=Secret(SECRET), database=DatabaseSettings(url=url),
                redis=RedisSettings(url=redis),
            )  # fmt: skip
            asyncio.run(_fill(settings, arguments.rows))
            with _gateway(settings) as address:
                asyncio.run(_measure(address, settings, arguments.rounds))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keep", type=Path, default=None)
    return parser.parse_args()


async def _fill(settings: Settings, rows: int) -> None:
    database = Database(settings.database.url, pool_size=2, timeout=30)
    await upgrade(database.engine)
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=SECRET)
        there = await session.scalar(text("SELECT count(*) FROM ledger")) or 0
    if there != rows:
        began = time.perf_counter()
        for first in range(0, rows, CHUNK):
            values = {
                "first": first, "last": min(first + CHUNK, rows) - 1, "start": START, "end": END, "rows": rows,
                "projects": PROJECTS, "keys": KEYS, "models": MODELS,
            }  # fmt: skip
            async with database.session() as session:
                await session.execute(text(FILL.format(**values)))
        async with database.session() as session:
            await session.execute(text(POST))
        print(f"{rows:,} exchanges and rows of the ledger in {time.perf_counter() - began:.0f} s", flush=True)
        await _timed("tuneway usage rebuild, from nothing", rebuild_usage(settings))
        await _timed("tuneway usage rebuild --check", check_usage(settings))
        async with database.engine.connect() as connection:
            autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await autocommit.execute(text("VACUUM ANALYZE"))
    await _sizes(database)
    await database.close()


async def _timed(what: str, work: Any) -> None:
    began = time.perf_counter()
    found = await work
    print(f"{what}: {time.perf_counter() - began:.0f} s, agrees: {found.agrees}", flush=True)


async def _sizes(database: Database) -> None:
    async with database.session() as session:
        for table in ("exchanges", "ledger", "usage_hours", "usage_days", "project_hours", "project_days"):
            rows = await session.scalar(text(f"SELECT count(*) FROM {table}"))
            size = await session.scalar(text(f"SELECT pg_size_pretty(pg_total_relation_size('{table}'))"))
            print(f"{table}: {rows:,} rows, {size}", flush=True)


@contextmanager
def _gateway(settings: Settings) -> Generator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "TUNEWAY_DATA_DIR": str(settings.data_dir), "TUNEWAY_SECRET_KEY": SECRET,
        "TUNEWAY_DATABASE__URL": settings.database.url, "TUNEWAY_REDIS__URL": settings.redis.url,
    }  # fmt: skip
    command = [sys.executable, "-m", "deploy.cli", "gateway", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            if httpx.get(f"{address}/health").status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the gateway did not start")


def _queries() -> list[tuple[str, str, dict[str, Any]]]:
    """What is asked: name, path and parameters."""
    usage, costs = "/v1/organization/usage/completions", "/v1/organization/costs"
    midnight = END - END % DAY
    last = {"start_time": midnight - 29 * DAY, "end_time": midnight + DAY, "limit": 31}
    ragged = {"start_time": START + 4321, "end_time": END - 1234, "limit": 31}
    week = {"start_time": midnight - 7 * DAY, "end_time": midnight, "bucket_width": "1h", "limit": 168}
    hours = {"start_time": midnight - DAY, "bucket_width": "1h", "end_time": END}
    minutes = {"start_time": END - 3600, "end_time": END, "bucket_width": "1m"}
    all_minutes = {"start_time": END - DAY, "end_time": END, "bucket_width": "1m", "limit": 1440}
    everything = {"start_time": START, "end_time": END, "limit": 180}
    found: list[tuple[str, str, dict[str, Any]]] = []
    for group in ([], ["model"], ["project_id"], ["api_key_id"], ["user_id"], ["project_id", "model"]):
        by = f" by {', '.join(group)}" if group else ""
        found += [(f"usage 1d, 30 days{by}", usage, last | {"group_by": group})]
        found += [(f"usage 1h, 24 hours{by}", usage, hours | {"group_by": group})]
        found += [(f"usage 1m, an hour{by}", usage, minutes | {"group_by": group})]
    for group in ([], ["model"], ["project_id"]):
        by = f" by {', '.join(group)}" if group else ""
        found += [(f"usage 1h, 168 hours{by}", usage, week | {"group_by": group})]
    for group in ([], ["line_item"], ["project_id"], ["project_id", "line_item"], ["api_key_id"]):
        by = f" by {', '.join(group)}" if group else ""
        found += [(f"costs 90 days{by}", costs, everything | {"group_by": group})]
    one = {"api_key_ids": ["key_7"], "models": ["model-3"]}
    project = {"project_ids": ["proj_3"]}
    found += [
        ("usage 1d, 31 days, ragged ends", usage, ragged),
        ("usage 1d, 31 days, ragged ends by model", usage, ragged | {"group_by": ["model"]}),
        ("usage 1m, 1440 minutes", usage, all_minutes),
        ("usage 1m, 1440 minutes, one project", usage, all_minutes | project),
        ("usage 1d, 30 days, one key and model", usage, last | one),
        ("usage 1h, 168 hours, one project by api_key_id", usage, week | project | {"group_by": ["api_key_id"]}),
        ("costs 90 days, one project by line_item", costs, everything | project | {"group_by": ["line_item"]}),
        ("costs 90 days, one line item", costs, everything | {"line_items": ["model-3, output"]}),
        ("costs 7 days (default)", costs, {"start_time": midnight - 6 * DAY, "end_time": END}),
    ]
    return found


async def _measure(address: str, settings: Settings, rounds: int) -> None:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=120) as client:
        print(f"\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        print(f"{'query':52} {'median':>8} {'p95':>8} {'longest':>8} {'answer':>10}")
        for name, path, query in _queries():
            await _ask(client, name, path, query, rounds)
        pages = {"start_time": START, "end_time": END, "limit": 7, "group_by": ["model"]}
        await _later_pages(client, "/v1/organization/usage/completions", pages, rounds)
        key = await create_key(client, "benchmark")
        await _exchanges(address, settings, key, rounds)


async def _exchanges(address: str, settings: Settings, key: dict[str, Any], rounds: int) -> None:
    """/v1/exchanges of a project that has its share of them all."""
    database = Database(settings.database.url, pool_size=2, timeout=30)
    async with database.session() as session:
        move = "UPDATE exchanges SET project_id = :id WHERE project_id = 'proj_5'"
        await session.execute(text(move), {"id": key["project_id"]})
        await session.execute(text("ANALYZE exchanges"))
    headers = {"authorization": f"Bearer {key['value']}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=120) as client:
        page = (await client.get("/v1/exchanges", params={"limit": 100})).json()
        middle = {"created_after": START + 40 * DAY, "created_before": START + 41 * DAY}
        await _ask(client, "exchanges, first page", "/v1/exchanges", {"limit": 100}, rounds)
        await _ask(client, "exchanges, second page", "/v1/exchanges", {"after": page["last_id"], "limit": 100}, rounds)
        await _ask(client, "exchanges, a day in the middle", "/v1/exchanges", middle, rounds)
        await _ask(client, "exchanges of one model", "/v1/exchanges", {"model": "model-3", "limit": 100}, rounds)
        await _ask(client, "exchanges that failed (none)", "/v1/exchanges", {"status": 500, "limit": 100}, rounds)
    async with database.session() as session:
        back = "UPDATE exchanges SET project_id = 'proj_5' WHERE project_id = :id"
        await session.execute(text(back), {"id": key["project_id"]})
    await database.close()


async def _later_pages(client: httpx.AsyncClient, path: str, query: dict[str, Any], rounds: int) -> None:
    page: str | None = None
    for number in range(13):
        asked = query | ({"page": page} if page else {})
        if number in (0, 6, 12):
            await _ask(client, f"usage 1d by model, 7 days, page {number + 1}", path, asked, rounds)
        page = (await client.get(path, params=asked)).json()["next_page"]


async def _ask(client: httpx.AsyncClient, name: str, path: str, query: dict[str, Any], rounds: int) -> None:
    """The first time is a warm-up: it fills PostgreSQL's cache, and counts for nothing."""
    times: list[float] = []
    size = 0
    for _ in range(rounds + 1):
        began = time.perf_counter()
        answer = await client.get(path, params=query)
        times.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
        size = len(answer.content)
    counted = sorted(times[1:])
    median, p95 = statistics.median(counted), counted[min(len(counted) - 1, round(0.95 * len(counted)))]
    mark = "" if median < TARGET_MS else "  over the target"
    print(f"{name:52} {median:6.0f}ms {p95:6.0f}ms {counted[-1]:6.0f}ms {size / 1024:8.0f}kB{mark}", flush=True)


if __name__ == "__main__":
    main()
