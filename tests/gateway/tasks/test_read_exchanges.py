"""The log becomes searchable behind the calls."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import func, null, select

from gateway.db.tables import ExchangeTextRow, UnreadExchangeRow
from gateway.exchanges import erasure, reading, removal
from gateway.kit.clock import now
from gateway.kit.ids import first_request_id
from gateway.services import WorkerServices
from gateway.tasks import read_exchanges as task
from gateway.tasks.read_exchanges import read_exchanges
from tests.gateway.routes.test_exchange_search import answered, asked
from tests.gateway.routes.test_exchanges import add, ids

pytestmark = pytest.mark.anyio


async def unread(wv: WorkerServices, project_key: dict[str, Any], *changes: dict[str, Any]) -> list[str]:
    own = {"project_id": project_key["project_id"], "request": asked("zebra"), "reply": answered("x"), "error": null()}
    made = await add(wv.database, *(own | each for each in changes))
    async with wv.database.session() as session:
        session.add_all(UnreadExchangeRow(exchange_id=id) for id in made)
    return made


class TestAged:
    """What may not be kept any longer while it is being read."""

    async def test_bodies_wait_for_the_reader_and_take_its_texts_along(
        self, wv: WorkerServices, project_key: dict[str, Any]
    ) -> None:
        (id,) = await unread(wv, project_key, {})

        async def empty() -> None:
            async with wv.database.session() as session:
                await erasure.empty_aged(session, project_key["project_id"], [id])

        await self.while_read(wv, empty)

    async def test_exchanges_too(self, wv: WorkerServices, project_key: dict[str, Any]) -> None:
        await unread(wv, project_key, {})

        async def remove() -> None:
            async with wv.database.session() as session:
                end = first_request_id(int(time.time()) + 3600)
                assert await removal.remove_next(session, project_key["project_id"], end, now()) == 1

        await self.while_read(wv, remove)

    async def while_read(self, wv: WorkerServices, act: Callable[[], Awaitable[None]]) -> None:
        async with wv.database.session() as session:
            assert await reading.read_next(session) == 1
            acting = asyncio.ensure_future(act())
            await asyncio.sleep(0.3)
            assert not acting.done()
        await acting
        async with wv.database.session() as session:
            assert await session.scalar(select(func.count()).select_from(ExchangeTextRow)) == 0


class TestReadExchanges:
    async def test_reads_batch_after_batch_the_newest_first(
        self,
        client: httpx.AsyncClient,
        wv: WorkerServices,
        project_key: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(reading, "AT_A_TIME", 2)
        monkeypatch.setattr(task, "BATCHES", 2)
        made = await unread(wv, project_key, *({} for _ in range(5)))
        assert await read_exchanges(wv) == 4
        assert await ids(client, q="zebra") == made[:0:-1]
        assert await read_exchanges(wv) == 1
        assert await ids(client, q="zebra") == made[::-1]
        assert await read_exchanges(wv) == 0

    async def test_what_is_too_large_or_cannot_be_read_holds_up_nothing(
        self,
        client: httpx.AsyncClient,
        wv: WorkerServices,
        project_key: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(reading, "READ_BYTES", 1000)
        large, odd, plain = await unread(
            wv, project_key, {"request": asked("zebra " * 200)}, {"request": b"\xff\x00", "reply": b"["}, {}
        )
        assert await read_exchanges(wv) == 3
        assert await ids(client, q="zebra") == [plain]
        async with wv.database.session() as session:
            assert set(await session.scalars(select(ExchangeTextRow.exchange_id))) == {odd, plain}
        assert large

    async def test_two_workers_share_the_work(self, wv: WorkerServices, project_key: dict[str, Any]) -> None:
        """What one is at, the other passes over; what one gave up, the next takes."""
        await unread(wv, project_key, {})
        async with wv.database.session() as first:
            assert await reading.read_next(first) == 1
            assert await read_exchanges(wv) == 0
            await first.rollback()
        assert await read_exchanges(wv) == 1
        async with wv.database.session() as session:
            assert await session.scalar(select(func.count()).select_from(UnreadExchangeRow)) == 0
