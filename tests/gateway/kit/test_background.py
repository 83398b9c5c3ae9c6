"""Background work."""

import asyncio
import logging
from contextlib import suppress

import pytest

from gateway.kit.background import Background
from tests.polling import until

pytestmark = pytest.mark.anyio


class TestSpawn:
    async def test_logs_what_it_raises(self, caplog: pytest.LogCaptureFixture) -> None:
        async def fails() -> None:
            raise RuntimeError("boom")

        task = Background().spawn(fails(), "the failing one")
        await asyncio.wait([task])
        await until(lambda: caplog.records)
        assert "the failing one" in caplog.text
        assert "boom" in caplog.text


class TestRepeat:
    async def test_goes_on_after_a_failure_and_says_so_once(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING)
        calls = 0

        async def fails_thrice() -> None:
            nonlocal calls
            calls += 1
            if calls <= 3:
                raise RuntimeError("away")

        background = Background()
        background.repeat(fails_thrice, 0, "the loop")
        await until(lambda: calls > 5)
        await background.close()
        assert [record.getMessage() for record in caplog.records] == [
            "the loop failed, will be tried again every 0 s: away",
            "the loop works again",
        ]


class TestClose:
    async def test_ends_a_loop_whose_work_takes_a_cancellation_for_a_failure(self) -> None:
        started = asyncio.Event()

        async def mistaken() -> None:
            try:
                started.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise RuntimeError("the database is away") from None

        background = Background()
        task = background.repeat(mistaken, 0, "the loop")
        await started.wait()
        closing = asyncio.ensure_future(background.close())
        await asyncio.wait([closing], timeout=5)
        ended = closing.done()
        task.cancel()
        await closing
        assert ended

    async def test_ends_a_loop_whose_work_loses_a_cancellation(self) -> None:
        """As a round trip to Redis did: the gateway's shutdown then waited for ever."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        rounds = 0

        async def round_trip() -> None:
            nonlocal rounds
            rounds += 1
            with suppress(asyncio.CancelledError):
                await answered

        background = Background()
        task = background.repeat(round_trip, 0, "the loop")
        await until(lambda: rounds)
        closing = asyncio.ensure_future(background.close())
        await asyncio.wait([closing], timeout=5)
        ended = closing.done()
        task.cancel()
        await closing
        assert ended
        assert rounds == 1

    async def test_waits_until_everything_has_ended(self) -> None:
        ended = asyncio.Event()
        started = asyncio.Event()

        async def long() -> None:
            try:
                started.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.set()

        background = Background()
        background.spawn(long(), "long")
        await started.wait()
        await background.close()
        assert ended.is_set()
