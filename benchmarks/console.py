"""How quickly pages of the console are made when the log is long, and how much they ask the database.

    .venv/bin/python -m benchmarks.console [--rows 10000000] [--few 1000] [--rounds 20] [--keep DIR] [--only exchanges]

Starts a PostgreSQL and a Redis of its own, and a gateway with its console within this process. One project gets all the
exchanges: 90 days, 200 keys, 10 models, a question and an answer of 25 words each from a vocabulary of 20,000, of which one
in 500 is judged, and one in 1,000 failed. First it has `--few` of them, then all. For each page: the time from the call of the
application until its last byte (no network), the median and the 95th percentile of `--rounds`, the CPU time of
this process and of the database's in it, which other work on the machine does not stretch, and how many statements were sent. A page takes as many with few exchanges as with many, or the line says so.

Whoever adds a page adds its URL to PAGES. With --keep the database stays, and the next run begins at the questions.
"""

import argparse
import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from admin.console.urls import CONSOLE
from admin.usage import rebuild_usage
from benchmarks.console_evals import add_eval
from gateway.app import App, build_app
from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.db.partitions import PARTITIONED, next_month, parts, split
from gateway.guidance import repository as guidance
from gateway.keys.service import ensure_admin_key
from gateway.kit.clock import from_unix, unix
from gateway.kit.ids import first_request_id
from gateway.protocol.guidance import GuidanceFilters
from gateway.services import worker_services
from gateway.settings import DatabaseSettings, RedisSettings, Secret, Settings
from gateway.tasks.guide_projects import guide_project
from tests.servers import start_postgres, start_redis

ADMIN_KEY, SECRET = "sk-admin-for-a-benchmark", "k" * 40
EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
PROJECT = "benchmark"
ORIGIN = "http://gateway"
DAY = 86_400
DAYS, KEYS, MODELS, TEXTS, VOCABULARY = 90, 200, 10, 20_000, 20_000
TARGET_MS = 100
CHUNK = 500_000
COMMON, RARE = "word1", "order77"
"""A word of one text in six, and one of a single exchange."""

PAGES = (
    ("overview", "/console/overview"),
    ("overview of a project", "{home}"),
    ("keys", "{home}/keys"),
    ("review queues", "{home}/review"),
    ("exchanges", "{home}/exchanges"),
    ("exchanges, older", "{home}/exchanges?after={middle}"),
    ("exchanges, newer", "{home}/exchanges?before={middle}"),
    ("exchanges of a model", "{home}/exchanges?model=model-3"),
    ("exchanges of a key", "{home}/exchanges?api_key_id=key_7"),
    ("exchanges that failed", "{home}/exchanges?outcome=failed"),
    ("exchanges like none", "{home}/exchanges?status=418"),
    ("exchanges of a day", "{home}/exchanges?created_after={day}&created_before={next_day}"),
    ("exchanges that people judged", "{home}/exchanges?judged_by=human"),
    ("exchanges with a common word", "{home}/exchanges?q=" + COMMON),
    ("exchanges with a rare word", "{home}/exchanges?q=" + RARE),
    ("exchanges with no such word", "{home}/exchanges?q=zebra"),
    ("exchanges, new ones", "{home}/exchanges/new?since={newest}"),
    ("an exchange", "{home}/exchanges/{middle}"),
    ("evals", "{home}/evals"),
    ("an eval", "{home}/evals/{eval}"),
    ("an eval, to be run", "{home}/evals/{eval}/start"),
    ("an eval, to be made", "{home}/evals/new"),
    ("a run of an eval", "{home}/evals/{eval}/runs/{run}"),
    ("a run of an eval, what failed", "{home}/evals/{eval}/runs/{run}?status=fail"),
    ("an answer of a run of an eval", "{home}/evals/{eval}/runs/{run}/items/{item}"),
    ("runs of an eval compared", "{home}/evals/{eval}/compare?base={base}&with={run}"),
    ("fine-tuning", "{home}/fine-tuning"),
    ("guidance", "{home}/guidance"),
    ("models", "{home}/models"),
    ("versions compared", "{home}/models/compare"),
    ("timeline", "{home}/timeline"),
    ("routes", "/console/routes"),
    ("people", "/console/people"),
    ("members of a project", "{home}/people"),
    ("retention", "{home}/retention"),
    ("account", "/console/account"),
    ("webhooks", "/console/webhooks"),
    ("admin keys", "/console/admin-keys"),
    ("audit log", "/console/audit-log"),
    ("audit log of an event", "/console/audit-log?event_type=login.failed"),
    ("settings", "/console/settings"),
)
"""Name and URL; `{home}`: the project's; `{newest}` and `{middle}`: exchanges; `{day}`, `{next_day}`: seconds; `{eval}`, `{run}`,
`{base}`, `{item}`: of an eval with two runs of a thousand answers each."""

WORDS = """
CREATE TABLE IF NOT EXISTS benchmark_texts AS
SELECT n AS text, question, answer, to_tsvector('simple', question || ' ' || answer) AS words FROM (
    SELECT n, max(said) FILTER (WHERE part = 0) AS question, max(said) FILTER (WHERE part = 1) AS answer FROM (
        SELECT n, part, string_agg('word' || floor(exp(random() * ln({vocabulary})))::int, ' ') AS said
        FROM generate_series(0, {texts} - 1) n, generate_series(0, 1) part, generate_series(1, 25) w GROUP BY n, part
    ) parts GROUP BY n
) texts
"""
"""Few words are frequent and most are rare (Zipf)."""
FILL = """
INSERT INTO exchanges (id, created_at, project_id, api_key_id, endpoint, requested_model, served_model, upstream,
    streamed, outcome, status, request, reply, input_tokens, cached_input_tokens, output_tokens, usage_estimated,
    cost_nano, priced, duration_ms, first_token_ms, upstream_ms, logging)
SELECT id, at, '{project}', 'key_' || n % {keys}, '/chat/completions', 'model-' || n % {models}, 'model-' || n % {models},
    'engine', n % 2 = 0, CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'completed' END,
    CASE WHEN n % 1000 = 0 THEN 502 ELSE 200 END,
    convert_to('{{"messages": [{{"role": "user", "content": "' || question || ' order' || n || '"}}]}}', 'UTF8'),
    convert_to('{{"choices": [{{"message": {{"role": "assistant", "content": "' || answer || '"}}}}]}}', 'UTF8'),
    tokens, tokens / 4, tokens / 3, false,
    (tokens - tokens / 4) * 150 + tokens / 4 * 75 + tokens / 3 * 600, true, 50 + tokens, 40, 45 + tokens, 'full'
FROM ({calls}) calls JOIN benchmark_texts USING (text)
"""
READ = """
INSERT INTO exchange_texts (exchange_id, question, answer, words)
SELECT id, left(question, 200), left(answer, 200), words || array_to_tsvector(ARRAY['project:{project}', 'order' || n])
FROM ({calls}) calls JOIN benchmark_texts USING (text)
"""
CALLS = """
SELECT n, n % {texts} AS text, 100 + n % 997 AS tokens, to_timestamp({start} + n * {step}::float8) AS at,
    'req_' || lpad(to_hex((({start} + n * {step}::float8) * 1000000000)::bigint), 16, '0') || lpad(to_hex(n), 16, '0') AS id
FROM generate_series({first}, {last}) n
"""
JUDGE = """
INSERT INTO judgments (id, project_id, created_at, exchange_id, source, annotator_id, criterion_id, kind, score, passed, status)
SELECT 'judgment_' || substr(id, 5), '{project}', at, id, 'human', 'key_1', '{criterion}', 'boolean', n % 3 % 2, n % 3 % 2 = 1, 'ok'
FROM ({calls}) calls WHERE n % 500 = 7
"""
POST = """
INSERT INTO ledger (id, created_at, kind, project_id, api_key_id, user_id, holder, model, endpoint, batch, priced, input_tokens,
    cached_input_tokens, output_tokens, device_ms, cost_nano, input_nano, cached_input_nano, output_nano, request_nano)
SELECT id, at, 'call', '{project}', 'key_' || n % {keys}, '', '1-abc', 'model-' || n % {models}, '/chat/completions', false, true,
    tokens, tokens / 4, tokens / 3, 0, (tokens - tokens / 4) * 150 + tokens / 4 * 75 + tokens / 3 * 600,
    (tokens - tokens / 4) * 150, tokens / 4 * 75, tokens / 3 * 600, 0
FROM ({calls}) calls
"""


@dataclass
class Measured:
    """Of one page."""

    median: float
    p95: float
    cpu: float
    """Mean of this process, in ms."""
    database_cpu: float
    """Mean of PostgreSQL's processes."""
    statements: int
    size: int


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as own:
        directory = arguments.keep or Path(own)
        directory.mkdir(parents=True, exist_ok=True)
        with start_postgres(directory / "postgres") as url, start_redis(Path(own) / "redis") as redis:
            settings = Settings(
                data_dir=Path(own), secret_key=Secret(SECRET), database=DatabaseSettings(url=url),
                redis=RedisSettings(url=redis),
            )  # fmt: skip
            asyncio.run(_run(settings, arguments))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--only", default="", help="pages whose name has this")
    return parser.parse_args()


async def _run(settings: Settings, arguments: argparse.Namespace) -> None:
    database = Database(settings.database.url, pool_size=2, timeout=30)
    await upgrade(database.engine)
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=SECRET)
        there = await session.scalar(text("SELECT count(*) FROM exchanges")) or 0
    async with _project(settings) as (project, criterion):
        pass
    few: dict[str, Measured] = {}
    if there != arguments.rows:
        await _fill(settings, database, project, criterion, arguments.few)
        few = await _measured(settings, project, database, arguments)
        await _fill(settings, database, project, criterion, arguments.rows)
    many = await _measured(settings, project, database, arguments)
    await database.close()
    _show(few, many, arguments)


@asynccontextmanager
async def _project(settings: Settings) -> AsyncGenerator[tuple[str, str]]:
    """Its id, and that of a criterion; made at the first time."""
    async with _client(settings) as (_, client):
        admin = {"authorization": f"Bearer {ADMIN_KEY}"}
        projects = (await client.get("/v1/organization/projects", headers=admin)).json()["data"]
        own = next((each for each in projects if each["name"] == PROJECT), None)
        if own is None:
            own = (await client.post("/v1/organization/projects", json={"name": PROJECT}, headers=admin)).json()
            person = {"email": EMAIL, "role": "owner", "password": PASSWORD}
            (await client.post("/v1/organization/users", json=person, headers=admin)).raise_for_status()
        await _sign_in(client)
        wanted = {"name": "thumbs-up", "kind": "boolean"}
        made = await client.post("/v1/criteria", json=wanted, headers={"openai-project": own["id"]})
        yield own["id"], made.json()["id"]


@asynccontextmanager
async def _client(settings: Settings) -> AsyncGenerator[tuple[App, httpx.AsyncClient]]:
    """A gateway with its console, in this process; nobody has signed in."""
    app = build_app(settings, lambda: CONSOLE)
    async with app.lifespan():
        transport: Any = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        headers = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers, timeout=600) as client:
            yield app, client


async def _sign_in(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/sessions", json={"email": EMAIL, "password": PASSWORD})
    client.headers["x-csrf-token"] = answer.json()["csrf_token"]


async def _fill(settings: Settings, database: Database, project: str, criterion: str, rows: int) -> None:
    """From nothing: the days are the same, whatever the number of rows."""
    began = time.perf_counter()
    values = {
        "project": project, "criterion": criterion, "keys": KEYS, "models": MODELS, "texts": TEXTS,
        "vocabulary": VOCABULARY, "start": _start(), "step": DAYS * DAY / rows,
    }  # fmt: skip
    async with database.session() as session:
        await session.execute(text("TRUNCATE exchanges, exchange_texts, unread_exchanges, judgments, ledger"))
        await session.execute(text(WORDS.format(**values)))
        await session.execute(text("DROP INDEX IF EXISTS ix_exchange_texts_words"))
        for table in PARTITIONED:
            await _make_months(session, table)
    for first in range(0, rows, CHUNK):
        calls = CALLS.format(**values, first=first, last=min(first + CHUNK, rows) - 1)
        async with database.session() as session:
            for statement in (FILL, READ, JUDGE, POST):
                await session.execute(text(statement.format(**values, calls=calls).replace(":", "\\:")))
    async with database.session() as session:
        await session.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
        await session.execute(text("CREATE INDEX ix_exchange_texts_words ON exchange_texts USING gin (words)"))
    await rebuild_usage(settings)
    async with database.engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.execute(text("VACUUM ANALYZE"))
    print(f"{rows:,} exchanges in {time.perf_counter() - began:.0f} s", flush=True)


async def _make_months(session: AsyncSession, table: str) -> None:
    """Parts as if the gateway had run all the time; once."""
    earlier, *others = await parts(session, table)
    month, bounds = next_month(from_unix(_start())), list[str]()
    while earlier.end is not None and (bound := first_request_id(unix(month))) < earlier.end:
        bounds.append(bound)
        month = next_month(month)
    if bounds and len(others) == 1:
        await split(session, earlier, bounds)


def _start() -> int:
    """DAYS ago, at midnight: what pages show of the last day is there."""
    return int(time.time()) // DAY * DAY - (DAYS - 1) * DAY


async def _measured(
    settings: Settings, project: str, database: Database, arguments: argparse.Namespace
) -> dict[str, Measured]:
    async with database.session() as session:
        newest, oldest = (
            await session.execute(text("SELECT max(id), min(id) FROM exchanges WHERE project_id = :p"), {"p": project})
        ).one()
        between = text("SELECT id FROM exchanges WHERE project_id = :p AND id >= :middle ORDER BY id LIMIT 1")
        middle = f"req_{(int(newest[4:20], 16) + int(oldest[4:20], 16)) // 2:016x}"
        middle = await session.scalar(between, {"p": project, "middle": middle})
    day = _start() + DAYS // 2 * DAY
    values = {
        "home": f"/console/projects/{project}", "newest": newest, "middle": middle, "day": day, "next_day": day + DAY,
        **await add_eval(database, project),
    }  # fmt: skip
    await _guide(settings, project)
    found: dict[str, Measured] = {}
    async with _client(settings) as (app, client):
        await _sign_in(client)
        gc.collect()
        gc.freeze()  # as deploy/asgi.py does
        for name, url in PAGES:
            if arguments.only in name:
                found[name] = await _measure(app, client, url.format(**values), arguments.rounds)
    return found


async def _guide(settings: Settings, project: str) -> None:
    """What a worker does once somebody has opened the page: the page shows what it made."""
    async with worker_services(settings) as wv:
        async with wv.database.session() as session:
            await guidance.ask(session, project, GuidanceFilters())
        began = time.perf_counter()
        await guide_project(wv, project, guidance.key_of(GuidanceFilters()))
        print(f"guidance computed by a worker in {time.perf_counter() - began:.1f} s", flush=True)


async def _measure(app: App, client: httpx.AsyncClient, url: str, rounds: int) -> Measured:
    """The first time is a warm-up: it fills PostgreSQL's cache, and counts for nothing."""
    times: list[float] = []
    statements, size = 0, 0
    worked, database_worked = 0.0, 0.0
    for number in range(rounds + 1):
        if number == 1:
            worked, database_worked = time.process_time(), await _database_cpu(app)
        with _counted(app) as count:
            began = time.perf_counter()
            answer = await client.get(url)
            times.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
        statements, size = len(count), len(answer.content)
    counted = sorted(times[1:])
    p95 = counted[min(len(counted) - 1, round(0.95 * len(counted)))]
    cpu = (time.process_time() - worked) * 1000 / rounds
    database_cpu = (await _database_cpu(app) - database_worked) * 1000 / rounds
    return Measured(statistics.median(counted), p95, cpu, database_cpu, statements, size)


async def _database_cpu(app: App) -> float:
    """Seconds that the processes of the connections that are there have worked."""
    async with app.services.database.session() as session:
        pids = list(
            await session.scalars(text("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"))
        )
    return sum(_ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    """Of a process, for itself and in the kernel (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextmanager
def _counted(app: App) -> Generator[list[None]]:
    """One for each statement."""
    engine, found = app.services.database.engine.sync_engine, list[None]()

    def add(*_: Any) -> None:
        found.append(None)

    event.listen(engine, "before_cursor_execute", add)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", add)


def _show(few: dict[str, Measured], many: dict[str, Measured], arguments: argparse.Namespace) -> None:
    print(f"\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors, {arguments.rounds} rounds")
    print(
        f"| page | {arguments.few:,}: median | p95 | CPU, database | SQL | {arguments.rows:,}: median | p95 | CPU, database | SQL | size |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, each in many.items():
        before = few.get(name)
        mark = " over the target" if each.p95 >= TARGET_MS else ""
        more = " more SQL" if before and each.statements > before.statements + 1 else ""
        first = _cells(before) if before else "| | |"
        print(f"| {name} | {first} | {_cells(each)}{more} | {each.size / 1024:.0f} kB |{mark}", flush=True)


def _cells(each: Measured) -> str:
    return f"{each.median:.0f} ms | {each.p95:.0f} ms | {each.cpu:.0f}, {each.database_cpu:.0f} ms | {each.statements}"


if __name__ == "__main__":
    main()
