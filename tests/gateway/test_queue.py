"""The queue on a real Redis, with a real arq worker in this process."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.client import Pipeline

from deploy.redis import embedded_redis
from gateway import queue as module
from gateway.errors import Unavailable
from gateway.queue import HEALTH_KEY, NAME, Queue, deserialize, serialize, work
from tests.fakes.fine_tuning import until
from tests.servers import start

pytestmark = pytest.mark.anyio


@pytest.fixture
async def url(redis_url: str) -> str:
    """The session's Redis, with nothing in it."""
    client: Any = redis.asyncio.Redis.from_url(redis_url)
    await client.flushdb()
    await client.aclose()
    return redis_url


@pytest.fixture
async def queue(url: str) -> AsyncIterator[Queue]:
    queue = Queue(url)
    yield queue
    await queue.close()


class Tasks:
    """Tasks that remember their calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.gate = asyncio.Event()

    async def remember(self, *arguments: Any) -> None:
        self.calls.append(arguments)

    async def fail(self, *arguments: Any) -> None:
        self.calls.append(arguments)
        raise ValueError("the reason of the failure")

    async def wait(self, *arguments: Any) -> None:
        self.calls.append(arguments)
        await self.gate.wait()

    def all(self) -> dict[str, Any]:
        return {"remember": self.remember, "fail": self.fail, "wait": self.wait}


@asynccontextmanager
async def working(url: str, tasks: Tasks, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
    """A worker until the block ends."""
    worker = asyncio.ensure_future(work(url, tasks.all(), "services", **options))
    try:
        yield worker
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


@asynccontextmanager
async def running_redis(directory: Path) -> AsyncIterator[str]:
    """A Redis of the test's own, which it may stop and start again."""
    with ExitStack() as cleanup:
        server = embedded_redis(directory / "redis", environment=os.environ, cleanup=cleanup)
        child = await start(server.part(), directory / "redis.log")
        try:
            yield server.url
        finally:
            await child.stop()


class TestWork:
    async def test_task_gets_the_services_and_its_strings(self, url: str, queue: Queue) -> None:
        tasks = Tasks()
        await queue.enqueue("remember", "a", "é")
        async with working(url, tasks):
            await queue.enqueue("remember", "b")
            await until(lambda: len(tasks.calls) == 2)
        assert sorted(tasks.calls) == [("services", "a", "é"), ("services", "b")]

    async def test_failure_is_logged_with_its_text_and_the_worker_goes_on(
        self, url: str, queue: Queue, caplog: pytest.LogCaptureFixture
    ) -> None:
        tasks = Tasks()
        with caplog.at_level(logging.ERROR):
            async with working(url, tasks):
                await queue.enqueue("fail", "a")
                await queue.enqueue("unknown task")
                await until(lambda: len(tasks.calls) == 1)
                await queue.enqueue("remember", "b")
                await until(lambda: len(tasks.calls) == 2)
        assert "the reason of the failure" in caplog.text

    async def test_unique_task_is_queued_once(self, url: str, queue: Queue) -> None:
        tasks = Tasks()
        for _ in range(3):
            await queue.enqueue("remember", "a", unique="one")
        await queue.enqueue("remember", "last")
        async with working(url, tasks):
            await until(lambda: ("services", "last") in tasks.calls)
        assert tasks.calls.count(("services", "a")) == 1

    async def test_task_that_a_stopped_worker_did_not_end_is_run_again(self, url: str, queue: Queue) -> None:
        first, second = Tasks(), Tasks()
        await queue.enqueue("wait", "a")
        async with working(url, first):
            await until(lambda: first.calls != [])
        second.gate.set()
        async with working(url, second):
            await until(lambda: second.calls != [])

    async def test_sign_of_life_comes_and_goes(self, url: str, queue: Queue) -> None:
        assert not await queue.worker_alive()
        async with working(url, Tasks()):
            await until(queue.worker_alive)
        assert not await queue.worker_alive()
        assert HEALTH_KEY.startswith(NAME)

    async def test_cancelled_while_it_waits_for_redis_it_ends(self, tmp_path: Path) -> None:
        async with working(f"unix://{tmp_path}/nothing", Tasks(), tries=1000) as worker:
            await asyncio.sleep(0.05)
            worker.cancel()
            with pytest.raises(asyncio.CancelledError):
                await worker

    async def test_stopped_while_it_tidies_up_it_leaves_no_connection(
        self, url: str, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tidying: list[Pipeline] = []
        reset = Pipeline.reset

        async def cut(pipeline: Pipeline) -> None:
            if pipeline.connection and not tidying:
                tidying.append(pipeline)
                await asyncio.Event().wait()
            if pipeline.connection and pipeline in tidying:
                raise asyncio.CancelledError
            await reset(pipeline)

        await queue.enqueue("remember", "a")
        monkeypatch.setattr(Pipeline, "reset", cut)
        async with working(url, Tasks()):
            await until(lambda: tidying != [])
            connection: Any = tidying[0].connection
        assert all(pipeline.connection is None for pipeline in tidying)
        assert not connection.is_connected

    async def test_redis_that_stays_away_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="Redis cannot be reached"):
            await work(f"unix://{tmp_path}/nothing", Tasks().all(), None, tries=0)

    async def test_redis_that_restarts_is_waited_for(self, tmp_path: Path) -> None:
        tasks = Tasks()
        async with running_redis(tmp_path) as url:
            worker = asyncio.ensure_future(work(url, tasks.all(), "services"))
            queue = Queue(url)
            await until(queue.worker_alive)
        with pytest.raises(Unavailable):
            await queue.enqueue("remember", "lost")
        assert not worker.done()
        async with running_redis(tmp_path):
            await queue.enqueue("remember", "found")
            await until(lambda: ("services", "found") in tasks.calls)
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        await queue.close()


class TestQueue:
    async def test_redis_that_is_away_is_unavailable(self, tmp_path: Path) -> None:
        queue = Queue(f"unix://{tmp_path}/nothing")
        for call in (queue.enqueue("remember"), queue.ping(), queue.worker_alive()):
            with pytest.raises(Unavailable, match=r"Redis.*please retry"):
                await call
        await queue.close()

    async def test_redis_that_hangs_is_unavailable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It takes the connection and never answers."""
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
        left = asyncio.Event()

        async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await left.wait()
            writer.close()

        async with await asyncio.start_unix_server(silent, tmp_path / "socket"):
            queue = Queue(f"unix://{tmp_path}/socket")
            with pytest.raises(Unavailable):
                await queue.ping()
            left.set()
            await queue.close()

    async def test_many_at_first_use_share_one_pool(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[Any] = []
        create_pool = module.create_pool

        async def counted(*arguments: Any, **options: Any) -> Any:
            made.append(await create_pool(*arguments, **options))
            return made[-1]

        monkeypatch.setattr(module, "create_pool", counted)
        queue = Queue(url)
        await asyncio.gather(*(queue.ping() for _ in range(5)))
        assert len(made) == 1
        await queue.close()


class TestSerializer:
    def test_is_msgpack_there_and_back(self) -> None:
        job = {"t": 1, "f": "name", "a": ["é"], "k": {}, "et": 1_700_000_000_000}
        assert deserialize(serialize(job)) == job

    def test_text_of_an_exception_survives(self) -> None:
        assert deserialize(serialize({"r": ValueError("the reason")})) == {"r": "ValueError('the reason')"}
