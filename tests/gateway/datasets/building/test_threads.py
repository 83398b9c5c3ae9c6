"""Long computations beside the event loop."""

import asyncio
import threading

import pytest

from gateway.datasets.building.threads import in_thread

pytestmark = pytest.mark.anyio


class TestInThread:
    async def test_what_the_work_returns_or_raises(self) -> None:
        assert await in_thread(lambda: 42, threading.Event()) == 42
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0, threading.Event())

    async def test_cancelled_it_tells_the_thread_and_waits_for_it(self) -> None:
        """So that nobody closes what the thread still uses."""
        stop, begun, ended = threading.Event(), threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            assert stop.wait(20)
            ended.set()

        task = asyncio.ensure_future(in_thread(work, stop))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()
