"""A gateway with a route whose targets are broken, so that only its fallback answers, and one that keeps answers."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import ADMIN_KEY, create_key
from tests.gateway.conftest import RunningGateway, StartGateway, start_gateway

__all__ = ["start_gateway"]

NewKey = Callable[[str], dict[str, Any]]

CONFIG = """
[[routes]]
name = "support-bot"
targets = [{ model = "status-503" }, { model = "cut-before" }]
fallbacks = [{ model = "assistant" }]
retries = { count = 0 }
breaker = { failures = 0 }

[[routes]]
name = "kept"
targets = [{ model = "assistant" }]
cache = {}
"""


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway(config=CONFIG)


@pytest.fixture(scope="module")
def admin(gateway: RunningGateway) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def new_key(gateway: RunningGateway) -> NewKey:
    """Makes a project and a key of it."""

    async def make(project: str) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30) as client:
            return await create_key(client, project)

    return lambda project: asyncio.run(make(project))
