"""The segment of a gateway that was killed, torn or garbled at random places: everything before that comes to the log, what lies
behind it is kept aside, and no gateway stumbles over it."""

import asyncio
import itertools
import os
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.exchanges import record
from gateway.exchanges.segments import HEADER, Segment
from tests.fakes.upstream import Upstream
from tests.faults.books import Books, stopped
from tests.faults.gateways import make_keys, own_gateway, serving
from tests.faults.witnesses import Witnesses
from tests.gateway.conftest import RunningGateway
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WHOLE = 12
"""Exchanges in the segment."""
COPIES = 36
SEGMENT = "00000001.seg"
SEED = int(os.environ.get("FAULTS_SEED", "20261122"))
SECONDS = 60.0


@pytest.fixture
def gateway(template_url: str, redis_url: str, running_fake: Upstream) -> Iterator[RunningGateway]:
    """It brings nothing to the log before it ends."""
    with own_gateway(template_url, redis_url, running_fake.url, exchanges__drain_seconds="3600") as gateway:
        yield gateway


class Wreck:
    """A dead process's directory, made of another's with ids of its own, and damaged.

    Args:
        records: payloads and the ids in them.
        number: of this copy.
    """

    def __init__(self, spool: Path, records: list[tuple[bytes, str]], number: int, chance: random.Random) -> None:
        ids = [f"{name[:-8]}{number:08x}" for _, name in records]
        pieces = [
            _record(payload.replace(name.encode(), own.encode()))
            for (payload, name), own in zip(records, ids, strict=True)
        ]
        ends = list(itertools.accumulate(map(len, pieces)))
        at = chance.choice([*ends, *(chance.randrange(ends[-1]) for _ in ends)])
        damaged = DAMAGES[number % len(DAMAGES)](b"".join(pieces), at)
        self.whole = {name for name, end in zip(ids, ends, strict=True) if end <= at}
        """Ids of the records before the first byte that is wrong or missing."""
        self.rest = damaged[max((end for end in ends if end <= at), default=0) :]
        """From the first record on that is not whole."""
        self.directory = spool / f"{90_000 + number}-{number:08x}"
        self.directory.mkdir(mode=0o700)
        (self.directory / SEGMENT).write_bytes(damaged)


def _record(payload: bytes) -> bytes:
    return HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def _torn(whole: bytes, at: int) -> bytes:
    return whole[:at]


def _zeros(whole: bytes, at: int) -> bytes:
    """What some file systems leave of writes that were not over when the power went."""
    return whole[:at] + bytes(len(whole) - at)


def _flipped(whole: bytes, at: int) -> bytes:
    return whole[:at] + bytes(each ^ 0x55 for each in whole[at : at + 1]) + whole[at + 1 :]


DAMAGES = (_torn, _zeros, _flipped)


async def test_everything_before_it_comes_to_the_log(gateway: RunningGateway) -> None:
    place, books, chance = gateway.directory / "data", Books(gateway), random.Random(SEED)
    async with Witnesses(gateway, await make_keys(gateway)) as clients:
        await clients.more(WHOLE)
    await asyncio.to_thread(gateway.kill)
    [dead] = (place / "spool").iterdir()
    records = _records(dead)
    assert clients.seen.keys() <= {name for _, name in records}
    wrecks = [Wreck(place / "spool", records[:WHOLE], number, chance) for number in range(COPIES)]
    await asyncio.to_thread(gateway.start)
    worker = serving(gateway)
    adopted = [dead, *(wreck.directory for wreck in wrecks)]
    await until(lambda: not any(directory.exists() for directory in adopted), SECONDS)
    found = (await books.logged()).keys()
    assert found == {name for _, name in records}.union(*(wreck.whole for wreck in wrecks))
    kept = {path.name: path.read_bytes() for path in (place / "rejected").iterdir()}
    torn = {f"{wreck.directory.name}-{SEGMENT}": wreck.rest for wreck in wrecks if wreck.rest}
    assert kept.keys() == torn.keys(), "nothing else is"
    assert all(kept[name].endswith(rest) for name, rest in torn.items())
    assert serving(gateway) == worker, "it did not stumble"
    await asyncio.to_thread(gateway.stop)
    await asyncio.to_thread(gateway.start)  # nor does the next one
    await books.reports_agree()
    await stopped(gateway)
    assert await books.agree_on(clients.seen) == len(found)


def _records(directory: Path) -> list[tuple[bytes, str]]:
    """Of a process that has ended: payloads, and the ids in them."""
    path = directory / SEGMENT
    payloads, end = Segment(path).read(max_records=10_000, max_bytes=2**26)
    assert end == path.stat().st_size
    return [(payload, record.decode(payload).id) for payload in payloads]
