"""An upstream that fails three times in ten, hangs, and cuts its answers, behind a route with a fallback: nobody notices."""

import asyncio
import json
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from gateway.inference import CHAT_COMPLETIONS, Call, Reply, run
from gateway.kit.ids import new_request_id
from gateway.protocol.routes import Breaker, Fallback, Retries, RouteTimeouts, Target
from gateway.services import Services
from gateway.settings import RouteSettings, Settings
from tests.conftest import chat
from tests.fakes.upstream import WORDS, Faults, Upstream
from tests.gateway import logged
from tests.polling import until

pytestmark = pytest.mark.anyio

AT_ONCE = 100
SEED = 20261121
ROUTE = RouteSettings(
    name="steady",
    targets=(Target(model="flaky-1"),),
    fallbacks=(Fallback(model="echo"),),
    retries=Retries(count=1, backoff_ms=5, max_backoff_ms=50),
    timeouts=RouteTimeouts(first_token=2.0),
    breaker=Breaker(failures=8, open_seconds=0.2),
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, routes=(ROUTE,))


@dataclass
class Calls:
    """Makes calls, many at a time."""

    sv: Services
    authorization: bytes

    async def make(self, count: int) -> Counter[str]:
        """How many of them were whole, streamed, or failed; every second one is a stream."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> str:
            async with room:
                return await self._call(stream=bool(number % 2))

        return Counter(await asyncio.gather(*map(one, range(count))))

    async def _call(self, *, stream: bool) -> str:
        body = json.dumps(chat("steady", stream=stream)).encode()
        reply = await run(self.sv, Call(CHAT_COMPLETIONS, self.authorization, body, new_request_id()))
        if isinstance(reply, Reply):
            return "whole" if json.loads(reply.body)["choices"][0]["message"]["content"] == "hello" else "failed"
        text = b"".join([frame async for frame in reply.frames]).decode()
        words = [json.loads(event[6:])["choices"][0]["delta"].get("content", "") for event in text.split("\n\n")[:-2]]
        return "streamed" if "".join(words) == "".join(WORDS) and text.endswith("data: [DONE]\n\n") else "failed"


@pytest.fixture
async def calls(sv: Services, project_key: dict[str, Any]) -> Calls:
    return Calls(sv, f"Bearer {project_key['value']}".encode())


def connections(sv: Services) -> tuple[int, int]:
    """In use, and free for the next call."""
    pool: Any = sv.upstreams._pool
    free = sum(map(len, pool._free.values()))
    return len(pool.connections) - free, free


async def quiet(sv: Services, upstream: Upstream) -> None:
    """Nothing is under way any more, here and at the other end."""
    await until(lambda: not (connections(sv)[0] or upstream.hanging))


class TestChaos:
    async def test_every_call_is_answered(self, calls: Calls, upstream: Upstream) -> None:
        upstream.faults = Faults(errors=0.3, hangs=0.1, cuts=0.05, seed=SEED)
        assert await calls.make(1000) == {"whole": 500, "streamed": 500}
        rows = await logged.rows(calls.sv)
        assert len(rows) == len({row.id for row in rows}) == 1000
        assert {row.outcome for row in rows} == {"completed"}
        assert {row.route for row in rows} == {"steady@0"}
        assert {row.served_model for row in rows} == {"flaky-1", "echo"}
        failures = Counter(each["failure"] for row in rows for each in row.attempts or ())
        assert failures.keys() == {"server_error", "rate_limit", "timeout", None}
        for row in rows:
            tries = row.attempts or [{"model": row.served_model, "failure": None}]
            assert [each["failure"] is None for each in tries] == [False] * (len(tries) - 1) + [True]
            assert tries[-1]["model"] == row.served_model
            assert (row.input_tokens, row.output_tokens) == (12, 4), "only the answer is metered"

    async def test_nothing_is_left_behind(self, calls: Calls, upstream: Upstream) -> None:
        sv = calls.sv
        await calls.make(AT_ONCE)  # whatever is made once
        await quiet(sv, upstream)
        tasks, files = asyncio.all_tasks(), len(os.listdir("/proc/self/fd"))
        upstream.faults = Faults(errors=0.3, hangs=0.02, cuts=0.05, seed=SEED)
        made = await calls.make(10_000)
        assert made == {"whole": 5000, "streamed": 5000}
        upstream.faults = Faults()
        await asyncio.sleep(ROUTE.breaker.open_seconds)
        await calls.make(AT_ONCE)  # an upstream that is well again closes its breaker
        await quiet(sv, upstream)
        assert (sv.traffic.load.total, len(sv.traffic.breakers), sv.calls, sv.streams) == (0, 0, set(), set())
        assert connections(sv)[1] <= AT_ONCE
        assert len(os.listdir("/proc/self/fd")) <= files + 2 * AT_ONCE, "both ends of every pooled connection"
        await until(lambda: asyncio.all_tasks() <= tasks)  # none is new, once no background loop is at work
