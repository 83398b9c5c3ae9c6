"""What calls of one page share, and what they never do."""

import asyncio
from typing import Any

import pytest

from gateway.access.page_memory import NAME, once
from gateway.errors import Unauthenticated

pytestmark = pytest.mark.anyio


class Finding:
    """Counts how often it is asked."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.times = 0
        self.failure = failure

    async def __call__(self) -> str:
        self.times += 1
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        return "Ada"


def page() -> dict[str, Any]:
    """The scope of a call that a page makes."""
    return {"state": {NAME: {}}}


class TestOnce:
    async def test_calls_at_once_share_one_look(self) -> None:
        scope, find = page(), Finding()
        assert await asyncio.gather(*(once(scope, "GET", "person", find) for _ in range(5))) == ["Ada"] * 5
        assert find.times == 1

    async def test_different_things_are_looked_up_apart(self) -> None:
        scope, find = page(), Finding()
        for what in (("key", "proj_1"), ("key", "proj_2"), "person"):
            await once(scope, "GET", what, find)
        assert find.times == 3

    async def test_another_page_looks_for_itself(self) -> None:
        find = Finding()
        for _ in range(2):
            await once(page(), "GET", "person", find)
        assert find.times == 2

    @pytest.mark.parametrize("scope", [{}, {"state": {}}])
    async def test_a_call_from_outside_looks_for_itself(self, scope: dict[str, Any]) -> None:
        find = Finding()
        for _ in range(2):
            await once(scope, "GET", "person", find)
        assert find.times == 2

    @pytest.mark.parametrize("method", ["POST", "DELETE"])
    async def test_what_changes_something_looks_for_itself(self, method: str) -> None:
        scope, find = page(), Finding()
        await once(scope, "GET", "person", find)
        for _ in range(2):
            await once(scope, method, "person", find)
        assert find.times == 3

    async def test_a_refusal_is_shared_too(self) -> None:
        scope, find = page(), Finding(Unauthenticated("over"))
        for _ in range(2):
            with pytest.raises(Unauthenticated):
                await once(scope, "GET", "person", find)
        assert find.times == 1
