"""What bringing the exchange log to the database costs: CPU of the process that does it and of PostgreSQL, for each exchange.

    .venv/bin/python -m benchmarks.drain [--records 20000] [--batch 0] [--inside]

Starts a PostgreSQL of its own, appends exchanges of ten keys in three projects with four models to a spool, as a gateway that
the database was away from would have, and lets the drain's process bring all of them to it: the log, the ledger, sums and
histograms. Kinds of exchanges: whole replies with bodies of 1 kB, streams of 20 pieces, and bodies of 100 kB. With `--batch`
so many are appended at a time, as while the database is there, and the next when they are stored: small batches cost more.

`--inside` does it in this process, as `[exchanges] drain = "inside"`. Memory is the peak of the process that drains.
"""

import argparse
import asyncio
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from gateway.budgets.charges import charge
from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.draining import Draining
from gateway.exchanges import record
from gateway.exchanges.drain import Drain
from gateway.exchanges.followed import Begin
from gateway.exchanges.record import Record
from gateway.exchanges.spool import Spool
from gateway.kit.ids import new_request_id
from gateway.metering.ledger import Ledger
from gateway.metering.rollups import post_rollups
from gateway.metering.traffic_counts import post_traffic
from tests.servers import start_postgres

SEGMENT_BYTES = 16 * 1024 * 1024
SHARES = {"whole, 1 kB": 1.0, "streams": 1.0, "whole, 100 kB": 0.1}
"""Kinds, and how many of each are made of those asked for."""


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="tw-drain-") as name, ExitStack() as stack:
        url = stack.enter_context(start_postgres(Path(name) / "pg", durable=True))
        asyncio.run(_migrate(url))
        print(f"{'':16}{'records':>8}{'/s':>8}{'drain µs':>10}{'PostgreSQL µs':>15}{'peak MB':>9}")
        for kind, share in SHARES.items():
            count = max(int(arguments.records * share), 1)
            asyncio.run(_measure(Path(name) / "spool", url, kind, count, arguments))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


async def _measure(root: Path, url: str, kind: str, count: int, arguments: argparse.Namespace) -> None:
    database = Database(url, pool_size=2, timeout=30)
    spool = Spool(root, segment_bytes=SEGMENT_BYTES)
    inside = Drain(spool, database, post=Ledger([post_rollups, charge]).post, count=post_traffic)
    drain = inside if arguments.inside else _process(spool, database, url, inside)
    for payload in _records(kind, 50):
        spool.append(payload)
    await drain.drain()  # imports, and plans
    before, began = _times(drain), time.perf_counter()
    batch = arguments.batch or count
    for start in range(0, count, batch):
        for payload in _records(kind, min(batch, count - start)):
            spool.append(payload)
        if start == 0:
            before, began = _times(drain), time.perf_counter()
        await drain.drain()
    seconds = time.perf_counter() - began
    own, server = (after - first for after, first in zip(_times(drain), before, strict=True))
    told = f"{count:8,}{count / seconds:8,.0f}{own / count * 1e6:10.0f}{server / count * 1e6:15.0f}{_peak(drain):9.0f}"
    print(f"{kind:16}{told}", flush=True)
    await drain.close()
    await database.close()


def _process(spool: Spool, database: Database, url: str, inside: Drain) -> Any:

    def begin(offsets: dict[str, int]) -> Begin:
        return Begin(
            directory=str(spool.directory),
            offsets=offsets,
            connection=database.arguments,
            url=url,
            seconds=3600,
            answer_seconds=30,
        )

    draining = Draining(spool, begin, inside)
    draining.start()
    return draining


def _times(drain: Any) -> tuple[float, float]:
    """CPU seconds: of who drains, and of PostgreSQL with all its processes."""
    own = _seconds(psutil.Process(_pid(drain)))
    servers = [each for each in psutil.process_iter(["name"]) if each.info["name"] == "postgres" and _is_ours(each)]
    return own, sum(map(_seconds, servers))


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _is_ours(process: psutil.Process) -> bool:
    return os.getpid() in (parent.pid for parent in process.parents())


def _pid(drain: Any) -> int:
    return os.getpid() if isinstance(drain, Drain) else drain._process.pid


def _peak(drain: Any) -> float:
    """MB."""
    if isinstance(drain, Drain):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    status = Path(f"/proc/{_pid(drain)}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def _records(kind: str, count: int) -> Iterator[bytes]:
    for number in range(count):
        yield record.encode(_record(kind, number))


def _record(kind: str, number: int) -> Record:
    words = "a careful reader of this contract asks the landlord before signing " * (1500 if "100" in kind else 13)
    streamed, model = kind == "streams", f"model-{number % 4}"
    reply = _stream(words) if streamed else json.dumps(_reply(words)).encode()
    return Record(
        id=new_request_id(),
        created_at=time.time(),
        project_id=f"proj_{number % 10 % 3}",
        api_key_id=f"key_{number % 10}",
        endpoint="/chat/completions",
        requested_model=model,
        served_model=model,
        upstream="fake",
        streamed=streamed,
        outcome="completed",
        status=200,
        error=None,
        request=json.dumps({"model": model, "messages": [{"role": "user", "content": words}]}).encode(),
        reply=reply,
        reply_id=f"chatcmpl-{number}",
        input_tokens=200,
        cached_input_tokens=100,
        output_tokens=200,
        usage_estimated=False,
        cost_nano=3_550_000,
        priced=True,
        duration_ms=100 + number % 997,
        first_token_ms=40.0 + number % 97 if streamed else None,
        upstream_ms=99.0,
        request_metadata={"team": "a"},
        route="quick@3",
        input_nano=500_000,
        cached_input_nano=50_000,
        output_nano=3_000_000,
        end_user="e" * 32,
    )


def _reply(words: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def _stream(words: str) -> bytes:
    size = len(words) // 20 + 1
    deltas = [{"content": words[start : start + size]} for start in range(0, len(words), size)]
    chunks = [
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": each}],
        }
        for each in deltas
    ]
    return b"\n\n".join(b"data: " + json.dumps(each).encode() for each in chunks)


async def _migrate(url: str) -> None:
    database = Database(url, pool_size=1, timeout=30)
    await upgrade(database.engine)
    await database.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--inside", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
