"""python -m gateway.drain_process: brings the exchange log of a gateway process to the database, beside it.

Standard input brings a Begin and then lines that ask for a round at once; standard output takes what is done (both in
gateway/exchanges/followed.py). Its end of the pipe is gone when the gateway has ended, however that came about: then what is
left is drained, the gateway's leases of budgets end, and this process does too. It has inherited the lock of the spool, so
nobody else adopts it before. What it cannot bring to the database then, the next process adopts.

It is small, and quickly there: neither SQLAlchemy nor the framework is loaded. SIGTERM and SIGINT are the gateway's business.
"""

import asyncio
import importlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from gateway.budgets.charges import charge
from gateway.budgets.gone import fold_leases
from gateway.db.blobs import LargeBodies
from gateway.db.connection import Connection
from gateway.exchanges.drain import Drain
from gateway.exchanges.followed import Begin, Followed, Told
from gateway.kit.background import Background
from gateway.kit.section import restored
from gateway.late_judgments import LateJudgments
from gateway.metering.ledger import Ledger
from gateway.metering.rollups import post_rollups
from gateway.metering.traffic_counts import post_traffic

log = logging.getLogger(__name__)

NICE = 5
"""Calls come first, but not so much that the log never comes to its turn on a busy machine."""
ORPHANS_SECONDS = 10.0
LAST_SECONDS = 300.0
"""For what is left when the gateway has ended."""
LONGEST_REASON = 500
LINE_BYTES = 16 * 1024 * 1024


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    stand_back()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return asyncio.run(follow())


def stand_back() -> None:
    """For calls: a smaller share of a busy machine, and where there is another policy for what is no hurry, none of the turns of
    whoever just runs."""
    os.nice(NICE)
    if hasattr(os, "SCHED_BATCH"):  # Linux
        with suppress(OSError):  # a sandbox that knows no such policy
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def follow() -> int:
    """Until the gateway has ended, and what it left is drained; the exit status."""
    lines = await _standard_input()
    begin = msgspec.json.decode(await lines.readline(), type=Begin)
    connection, background = Connection(begin.connection, begin.answer_seconds), Background()
    connection.large_bodies = LargeBodies(LateBlobs(begin), begin.blob_bytes)
    followed = Followed(begin, _tell)
    drain = _drain(followed, connection, begin.url)
    background.repeat(drain.adopt_orphans, ORPHANS_SECONDS, "adopt exchange logs of dead processes")
    try:
        await _rounds(drain, lines, begin.seconds, background)
        await background.close()
        followed.seal()
        async with asyncio.timeout(LAST_SECONDS):
            await drain.close()
    finally:
        await background.close()
        await connection.close()
    return 0


async def _standard_input() -> asyncio.StreamReader:
    lines = asyncio.StreamReader(limit=LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    return lines


def _drain(followed: Followed, connection: Connection, url: str) -> Drain:
    async def released(holder: str) -> None:
        async with connection.raw() as transaction:
            await fold_leases(transaction, holder)

    post = Ledger([post_rollups, charge]).post
    judgments = LateJudgments(
        lambda: importlib.import_module("gateway.db.database").Database(url, pool_size=1, timeout=10)
    )
    return Drain(followed, connection, post=post, count=post_traffic, released=released, judgments=judgments)


async def _rounds(drain: Drain, lines: asyncio.StreamReader, seconds: float, background: Background) -> None:
    asked = asyncio.Event()
    listening = background.spawn(_listen(lines, asked), "listen to the gateway")
    while not listening.done():
        asked.clear()
        try:
            await drain.drain()
        except Exception as error:  # noqa: BLE001 whatever it is, the next round may do better
            _tell(Told(failed=(str(error) or repr(error))[:LONGEST_REASON]))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asked.wait()


async def _listen(lines: asyncio.StreamReader, asked: asyncio.Event) -> None:
    """Until the end of standard input."""
    try:
        while await lines.readline():
            asked.set()
    except ConnectionError:  # the gateway was killed
        pass
    finally:
        asked.set()


def _tell(told: Told) -> None:
    """Nobody hears it once the gateway has ended."""
    with suppress(OSError):
        line = msgspec.json.encode(told) + b"\n"
        while line:
            line = line[os.write(sys.stdout.fileno(), line) :]


class LateBlobs:
    """gateway/files/store.py, loaded with the first large body: most of the log has none."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._loaded: Any = None

    async def put(self, key: str, pieces: AsyncIterable[bytes], *, max_bytes: int) -> Any:
        return await self._store.put(key, pieces, max_bytes=max_bytes)

    def get(self, key: str) -> AsyncIterator[bytes]:
        return self._store.get(key)

    async def delete(self, *keys: str) -> None:
        await self._store.delete(*keys)

    @property
    def _store(self) -> Any:
        if self._loaded is None:
            settings = restored(importlib.import_module("gateway.settings").FileSettings, self._begin.files)
            self._loaded = importlib.import_module("gateway.files.store").FileStore(
                settings, Path(self._begin.data_dir)
            )
        return self._loaded


if __name__ == "__main__":
    sys.exit(main())
