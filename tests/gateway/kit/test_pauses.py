"""All of it, in order, with room for others between."""

import asyncio

import pytest

from gateway.kit import pauses
from gateway.kit.pauses import ALL_PAUSES_SECONDS, LONGEST_PAUSE_SECONDS, PIECE, with_pauses

pytestmark = pytest.mark.anyio


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each pause was to be."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(pauses.asyncio, "sleep", sleep)
    return found


class TestWithPauses:
    @pytest.mark.parametrize("count", [0, 1, PIECE - 1, PIECE, PIECE + 1, 10 * PIECE])
    async def test_each_of_them_in_order(self, count: int, slept: list[float]) -> None:
        assert [each async for each in with_pauses(range(count))] == list(range(count))

    async def test_a_few_have_none(self, slept: list[float]) -> None:
        assert [each async for each in with_pauses(range(PIECE))]
        assert slept == []

    async def test_one_between_two_pieces(self, slept: list[float]) -> None:
        assert [each async for each in with_pauses(range(2 * PIECE + 1))]
        assert slept == [LONGEST_PAUSE_SECONDS] * 2

    async def test_of_many_all_together_are_bounded(self, slept: list[float]) -> None:
        assert [each async for each in with_pauses(range(1000 * PIECE))]
        assert sum(slept) <= ALL_PAUSES_SECONDS

    async def test_others_come_to_their_turn(self) -> None:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        assert [each async for each in with_pauses(range(2 * PIECE))]
        assert turns > 1
        task.cancel()
