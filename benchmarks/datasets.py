"""What it takes to make a dataset of a million logged calls: time by stage, and the worker's largest memory.

    .venv/bin/python -m benchmarks.datasets [--exchanges 1000000]

Starts a PostgreSQL of its own and fills it with synthetic calls and thumbs by COPY, then builds a version in a process
of its own, as the worker does. Of the calls six in ten are liked; one in ten is a copy of an earlier one, one in ten is
one with three words changed, one in five begins with one of fifty templates, one in thirty names an e-mail address.
Conversations have four calls. Memory is the peak of the building process, PostgreSQL's is not in it; numbers of bytes on
disk are those of the build's own directory.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import msgspec

from gateway.datasets.building.build import Built, Order, build
from gateway.datasets.building.grounds import Means
from gateway.datasets.building.reading import Snapshot
from gateway.datasets.building.workplace import Workplace
from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.db.tables import ProjectRow
from gateway.exchanges.subjects import subject
from gateway.judgments.criteria import BUILT_IN, find_or_make
from gateway.protocol.dataset_versions import Progress
from gateway.protocol.recipes import Recipe
from judges.rules.behaviour import is_refusal
from tests.servers import start_postgres

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SNAPSHOT = BEGIN + timedelta(days=200)
PROJECT = "proj_benchmark"
SYLLABLES = [a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "er")]
RECENT = 5000
"""Questions that copies are made of."""
ROWS_AT_ONCE = 20_000
Stage = tuple[str, float, float]
"""Name, and the clock and the process's CPU time when it began, in seconds."""
EXCHANGE = (
    "id", "created_at", "project_id", "api_key_id", "endpoint", "requested_model", "served_model", "streamed", "outcome",
    "status", "request", "reply", "usage_estimated", "priced", "duration_ms", "request_metadata", "end_user",
)  # fmt: skip
JUDGMENT = (
    "id", "project_id", "created_at", "exchange_id", "source", "annotator_id", "identifier", "criterion_id", "kind", "score",
    "passed", "status",
)  # fmt: skip


def main() -> None:
    arguments = _arguments()
    if arguments.database:
        asyncio.run(_build(arguments.database, arguments.directory))
        return
    with (
        tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as directory,
        start_postgres(Path(directory) / "postgres") as url,
    ):
        began = time.perf_counter()
        asyncio.run(_fill(url, arguments.exchanges))
        print(f"{arguments.exchanges:,} exchanges written in {time.perf_counter() - began:.0f} s", flush=True)
        command = [sys.executable, "-m", "benchmarks.datasets", "--database", url, "--directory", directory]
        subprocess.run(command, check=True)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors, Python {sys.version.split()[0]}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", type=int, default=1_000_000)
    parser.add_argument("--database", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


@asynccontextmanager
async def _database(url: str) -> AsyncGenerator[Database]:
    database = Database(url, pool_size=2, timeout=30)
    try:
        yield database
    finally:
        await database.engine.dispose()


async def _fill(url: str, count: int) -> None:
    async with _database(url) as database:
        await upgrade(database.engine)
        async with database.session() as session:
            session.add(ProjectRow(id=PROJECT, name="benchmark", created_at=BEGIN))
            await session.flush()
            criterion = await find_or_make(session, PROJECT, BUILT_IN["thumbs"], "")
            criterion.created_at = BEGIN
            criterion_id = criterion.id
        calls = _calls(count)
        while page := list(islice(calls, ROWS_AT_ONCE)):
            thumbs = [thumb for _, liked, call in page if (thumb := _thumb(call, liked, criterion_id))]
            async with database.raw() as connection:
                records = [call for _, _, call in page]
                await connection.copy_records_to_table("exchanges", records=records, columns=EXCHANGE)
                await connection.copy_records_to_table("judgments", records=thumbs, columns=JUDGMENT)
        async with database.raw() as connection:
            await connection.execute("ANALYZE exchanges; ANALYZE judgments")


def _calls(count: int) -> Iterator[tuple[int, bool | None, tuple[Any, ...]]]:
    """Number, whether a person liked it (None: nobody said anything), and the row."""
    chance = random.Random(11)
    known = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 4))) for _ in range(20_000)]
    templates = [chance.choices(known, k=30) for _ in range(50)]
    recent: list[tuple[list[str], list[str]]] = []
    for number in range(count):
        asked, answer = _texts(chance, known, templates, recent)
        if len(recent) < RECENT:
            recent.append((asked, answer))
        else:
            recent[chance.randrange(RECENT)] = asked, answer
        if number % 30 == 0:
            asked = [*asked, f"write to {answer[0]}.{number}@mail.example.com please"]
        lot = chance.random()
        yield (
            number,
            True if lot < 0.6 else False if lot < 0.7 else None,
            _row(number, " ".join(asked), " ".join(answer)),
        )


def _texts(
    chance: random.Random, known: list[str], templates: list[list[str]], recent: list[tuple[list[str], list[str]]]
) -> tuple[list[str], list[str]]:
    kind = chance.random()
    if recent and kind < 0.1:
        return chance.choice(recent)
    if recent and kind < 0.2:
        asked, answer = map(list, chance.choice(recent))
        for text in (asked, answer, answer):
            text[chance.randrange(len(text))] = chance.choice(known)
        return asked, answer
    opening = chance.choice(templates) if kind < 0.4 else []
    return opening + chance.choices(known, k=chance.randint(20, 80)), chance.choices(known, k=chance.randint(30, 120))


def _row(number: int, asked: str, answer: str) -> tuple[Any, ...]:
    created = BEGIN + timedelta(seconds=10 * number)
    message = {"role": "assistant", "content": answer}
    request = {"model": "m", "messages": [{"role": "user", "content": asked}]}
    reply = {
        "id": f"chatcmpl-{number}",
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }
    metadata = json.dumps({"conversation_id": f"c{number // 4}"})
    return (
        f"req_{int(created.timestamp()) * 10**9:016x}{number:016x}", created, PROJECT, "key", "/v1/chat/completions", "m", "m",
        False, "completed", 200, msgspec.json.encode(request), msgspec.json.encode(reply), False, True, 5.0, metadata,
        f"{number % 50_000:032x}",
    )  # fmt: skip


def _thumb(call: tuple[Any, ...], liked: bool | None, criterion_id: str) -> tuple[Any, ...] | None:
    if liked is None:
        return None
    id, created = call[0], call[1] + timedelta(hours=1)
    return (
        f"judgment_{id[4:]}", PROJECT, created, id, "human", "reviewer", "", criterion_id, "boolean", float(liked), liked, "ok",
    )  # fmt: skip


async def _build(url: str, directory: Path) -> None:
    """In a process of its own; prints what it took."""
    recipe = msgspec.convert({"kind": "sft"}, Recipe)
    work = Workplace(directory / "work", "dsver_benchmark")
    stages: list[Stage] = []

    def tell(progress: Progress) -> None:
        if not stages or stages[-1][0] != progress.stage:
            stages.append((progress.stage, time.perf_counter(), time.process_time()))

    async def trusted(_: Collection[str]) -> frozenset[str]:
        return frozenset()

    async with _database(url) as database:
        order = Order("dataset_benchmark", "dsver_benchmark", recipe, Snapshot(PROJECT, SNAPSHOT), key=b"secret")
        tell(Progress(stage="selecting", done=0, total=None))
        built = await build(Means(database, subject, is_refusal, trusted), order, work, tell)
    _show(built, [*stages, ("together", time.perf_counter(), time.process_time())], directory / "work")
    work.close()


def _show(built: Built, stages: list[Stage], place: Path) -> None:
    for (name, began, before), (_, ended, after) in [*pairwise(stages), (("together", *stages[0][1:]), stages[-1])]:
        print(f"{name:12}{ended - began:6.0f} s, CPU {after - before:6.0f} s")
    report = built.report
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MB")
    size = sum(each.stat().st_size for each in place.rglob("*") if each.is_file())
    print(
        f"on disk     {size / 1024**2:6.0f} MB, files {(report.training.bytes + report.validation.bytes) / 1024**2:.0f} MB"
    )
    print(f"considered {report.considered:,}, rows {report.rows:,} ({report.validation.rows:,} for validation)")
    print(f"clusters {report.clusters:,}, redacted {report.redacted}")
    print("left out: " + ", ".join(f"{each.reason} {each.count:,}" for each in report.dropped))


if __name__ == "__main__":
    main()
