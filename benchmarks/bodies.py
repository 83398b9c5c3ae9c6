"""How much room bodies of calls take in the log, and what it costs to make them small.

    .venv/bin/python -m benchmarks.bodies --texts FILE [--calls 20000] [--turns 4]

FILE is a JSON list of objects with texts in them; a conversation of `--turns` questions is made of as many, and each of its
calls repeats all that came before, as chats do. The same records are drained into two databases of a PostgreSQL of its own,
once with bodies as they came, which PostgreSQL itself compresses as it likes, and once as they are kept now. CPU is that of
making rows of records, in this process, in turns.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import make_url, text

from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.exchanges import record, rows
from gateway.exchanges.drain import Drain
from gateway.exchanges.record import Record
from gateway.exchanges.spool import Spool
from gateway.kit.ids import new_request_id
from gateway.kit.packing import SHORT_BYTES
from gateway.metering.ledger import Ledger
from tests.gateway.exchanges.records import exchange
from tests.servers import start_postgres

SYSTEM = (
    "You are the assistant of a shop. Answer in the language of the question, briefly and politely, and never guess."
)
SIZES = """SELECT (SELECT CAST(sum(pg_total_relation_size(relid)) AS float8) FROM pg_partition_tree('exchanges')) AS bytes, (SELECT sum(octet_length(request)) FROM exchanges) AS requests,
(SELECT sum(octet_length(reply)) FROM exchanges) AS replies"""
KINDS = {"as they came": lambda body: body, "compressed": rows.pack}


def calls(texts: list[str], count: int, turns: int) -> Iterator[Record]:
    chance = random.Random(1)
    made = 0
    while made < count:
        messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}]
        for question, answer in (chance.sample(texts, 2) for _ in range(min(turns, count - made))):
            messages.append({"role": "user", "content": question})
            asked = json.dumps({"model": "m", "messages": messages, "temperature": 0.7}).encode()
            message = {"role": "assistant", "content": answer, "refusal": None}
            yield exchange(new_request_id(), request=asked, reply=json.dumps(_reply(message)).encode())
            messages.append({"role": "assistant", "content": answer})
            made += 1


def _reply(message: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


async def stored(url: str, records: list[Record], directory: Path) -> Any:
    """Sizes, once all of them are in the log."""
    database = Database(url, pool_size=2, timeout=30)
    await upgrade(database.engine)
    spool = Spool(directory, segment_bytes=2**26)
    drain = Drain(spool, database, post=Ledger([]).post)
    for each in records:
        spool.append(record.encode(each))
    await drain.drain()
    async with database.session() as session:
        sizes = (await session.execute(text(SIZES))).one()
    spool.close()
    await database.close()
    return sizes


def cpu(records: list[Record]) -> float:
    """Microseconds of a record."""
    began = time.process_time()
    for each in records:
        rows.exchange_row(each)
    return (time.process_time() - began) / len(records) * 1e6


async def measure(url: str, records: list[Record], directory: Path) -> None:
    short = [each for each in records if len(each.request) < SHORT_BYTES and len(each.reply or b"") < SHORT_BYTES]
    came = sum(len(each.request) + len(each.reply or b"") for each in records)
    print(f"{len(records)} calls, {came / len(records):.0f} bytes of bodies each, {came / 1e6:.0f} MB together")
    print(
        "| bodies | in the table | bodies alone | table, of what came | CPU of a row | of short ones |\n|---|---|---|---|---|---|"
    )
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(5):
        for kind, pack in KINDS.items():
            rows.pack = pack
            times[kind].append((cpu(records[:5000]), cpu(short[:5000])))
    for number, (kind, pack) in enumerate(KINDS.items()):
        rows.pack = pack
        name = f"bodies_{number}"
        admin = Database(url, pool_size=1, timeout=30)
        async with admin.engine.connect() as connection:
            await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(
                text(f"CREATE DATABASE {name}")
            )
        await admin.close()
        sizes = await stored(
            make_url(url).set(database=name).render_as_string(hide_password=False), records, directory / name
        )
        inside = sizes.requests + sizes.replies
        whole, of_short = (min(each[place] for each in times[kind]) for place in (0, 1))
        print(
            f"| {kind} | {sizes.bytes / 1e6:.0f} MB | {inside / 1e6:.0f} MB | {sizes.bytes / came:.2f} | {whole:.1f} us | {of_short:.1f} us |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=4)
    given = parser.parse_args()
    texts = [value for each in json.loads(given.texts.read_text()) for value in each.values() if isinstance(value, str)]
    records = list(calls([each for each in texts if each], given.calls, given.turns))
    with tempfile.TemporaryDirectory() as directory, start_postgres(Path(directory) / "postgres") as url:
        asyncio.run(measure(url, records, Path(directory)))


if __name__ == "__main__":
    main()
