"""Clients that call without a pause, whole and streamed in turn, and note what they saw whole and what it costs."""

import asyncio
import itertools
import json
import random
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import aiohttp

from gateway.kit.money import nano_from_usd
from tests.conftest import chat
from tests.fakes.upstream import WORDS
from tests.faults.gateways import Keys
from tests.gateway.conftest import RunningGateway
from tests.polling import until

SECONDS = 60.0
"""The longest that a call, or a wait for some of them, may take."""
PROMPT_NANO = 8 * 5_000 + 4 * 500
"""12 tokens of prompt, 4 of them cached."""
OUTPUT_NANO = 10_000


class Witnesses:
    """`async with Witnesses(...) as clients:` stops them at the end; calls on their way then are given up.

    Args:
        keys: they take turns.
    """

    def __init__(self, gateway: RunningGateway, keys: Keys, *, clients: int = 12, seed: int = 0) -> None:
        self._gateway = gateway
        self._keys = itertools.cycle([("free", keys.free), ("bound", keys.bound)])
        self._clients = clients
        self._chance = random.Random(seed)
        self._tasks: list[asyncio.Task[None]] = []
        self.seen: dict[str, int] = {}
        """Request id of every exchange whose whole reply, or [DONE], was read -> its cost in nano-dollars."""
        self.streams = 0
        """Of those."""
        self.refused: Counter[tuple[str, int, str]] = Counter()
        """Whose key, status and message of whole errors."""
        self.broken: Counter[str] = Counter()
        """What ended without a whole answer, by the kind of failure."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS))
        self._tasks = [asyncio.create_task(self._call_on(number)) for number in range(self._clients)]
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, at: TracebackType | None) -> None:
        for task in self._tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks)
        await self._session.close()

    async def more(self, count: int) -> None:
        """Return once so many more have been seen."""
        wanted = len(self.seen) + count
        await until(lambda: len(self.seen) >= wanted or self._ended(), SECONDS)

    def _ended(self) -> bool:
        """Raises what a client stumbled over, which is not the gateway's fault or very much so."""
        return any(task.done() and task.result() is None for task in self._tasks)

    async def _call_on(self, number: int) -> None:
        for turn in itertools.count(number):
            try:
                await self._call(stream=bool(turn % 2))
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                self.broken[type(error).__name__] += 1
                await asyncio.sleep(0.02)  # nobody listens for a while

    async def _call(self, *, stream: bool) -> None:
        owner, key = next(self._keys)
        tokens = self._chance.randint(1, 500)
        body = chat("echo", stream=stream, max_completion_tokens=500, metadata={"tokens": str(tokens)})
        headers = {"authorization": f"Bearer {key}"}
        url = f"{self._gateway.url}/v1/chat/completions"
        async with self._session.post(url, json=body, headers=headers) as reply:
            text = await reply.text()
            if reply.status != 200:
                self.refused[owner, reply.status, json.loads(text)["error"]["message"]] += 1
                await asyncio.sleep(0.02)
                return
            cost = PROMPT_NANO + tokens * OUTPUT_NANO
            if stream:
                if not _is_whole(text):
                    self.broken["stream without [DONE]"] += 1
                    return
                self.streams += 1
            else:
                assert json.loads(text)["choices"][0]["message"]["content"] == "hello"
                assert nano_from_usd(reply.headers["x-tuneway-cost"]) == cost
            assert reply.headers["x-request-id"] not in self.seen
            self.seen[reply.headers["x-request-id"]] = cost


def _is_whole(text: str) -> bool:
    """Read to [DONE]; then every word of it must be there."""
    *events, last, nothing = text.split("\n\n") if text.endswith("\n\n") else ("", "")
    if last != "data: [DONE]":
        return False
    choices = [choice for event in events for choice in json.loads(event[6:])["choices"]]
    assert not nothing
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "".join(WORDS)
    return True
