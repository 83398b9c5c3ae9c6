from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.upstreams.http.pool import Pool


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Users' gateways run on uvloop, and much else on asyncio's own loop: they differ in how connections end."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool()
    yield made
    made.end()
