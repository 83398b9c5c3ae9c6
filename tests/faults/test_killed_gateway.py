"""`kill -9` of the gateway in the middle of 200 chats: every reply that a client saw complete is in the log, once."""

import asyncio
from collections.abc import Callable

import psutil
import pytest
from openai import APIError, AsyncOpenAI

from deploy.demo.stack import DemoStack, Key
from tests.faults.parts import is_gone, kill, part, wait_for_restart, wait_until_logged
from tests.openai_sdk.stacks import user, wait_until

pytestmark = pytest.mark.train

CHATS = 200
COMPLETED_BEFORE = 60


class Chats:
    """200 at once: two models, whole and streamed. When some have completed, `then()` is called, once."""

    def __init__(self, client: AsyncOpenAI, then: Callable[[], None]) -> None:
        self._client = client
        self._then = then
        self.seen: list[str] = []
        self.failed: list[Exception] = []

    async def run(self) -> None:
        await asyncio.gather(*map(self._chat, range(CHATS)))

    async def _chat(self, number: int) -> None:
        try:
            self.seen.append(await self._call("starter" if number % 4 > 1 else "echo", stream=number % 2 == 0))
        except (APIError, OSError) as error:
            self.failed.append(error)
        if len(self.seen) == COMPLETED_BEFORE:
            self._then()

    async def _call(self, model: str, *, stream: bool) -> str:
        """One call, read to its end; its request id."""
        create = self._client.chat.completions.with_raw_response.create
        if not stream:
            return str((await create(model=model, messages=user("Hello!"), max_tokens=8)).headers["x-request-id"])
        raw = await create(model=model, messages=user("Hello!"), max_tokens=8, stream=True)
        async with raw.parse() as chunks:
            assert [chunk async for chunk in chunks]
        return str(raw.headers["x-request-id"])


@pytest.mark.parametrize("victim", ["whole gateway", "serving process"])
async def test_nothing_that_completed_is_lost(stack: DemoStack, key: Key, victim: str) -> None:
    before = part(stack, "gateway")
    assert before.pid is not None
    serving = _serving(before.pid)
    pid = before.pid if victim == "whole gateway" else serving.pid
    async with AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=key.value, max_retries=0) as client:
        chats = Chats(client, lambda: kill(pid))
        await chats.run()
    assert COMPLETED_BEFORE <= len(chats.seen) < CHATS
    assert chats.failed
    if victim == "whole gateway":
        wait_for_restart(stack, "gateway", before)
    else:
        wait_until(lambda: stack.is_ready() and _serving(before.pid or 0).pid != pid, "the process is replaced")
    assert is_gone(serving)
    wait_until_logged(stack, key, chats.seen)


def _serving(pid: int) -> psutil.Process:
    """The one process of the gateway that answers calls (uvicorn's worker)."""
    [process] = [
        child for child in psutil.Process(pid).children() if "resource_tracker" not in " ".join(child.cmdline())
    ]
    return process
