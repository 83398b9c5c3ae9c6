"""Writes that wait for the end of a turn."""

import asyncio

import pytest

from gateway.kit.outbox import Outbox

pytestmark = pytest.mark.anyio


class TestOutbox:
    async def test_what_is_said_in_one_turn_leaves_together_behind_it(self) -> None:
        outbox, written = Outbox(), list[str]()

        async def say(word: str) -> None:
            outbox.add(lambda: written.append(word))
            written.append(f"said {word}")

        await asyncio.gather(say("a"), say("b"))
        await asyncio.sleep(0)
        assert written == ["said a", "said b", "a", "b"]

    async def test_what_a_write_leads_to_is_the_next_turns(self) -> None:
        outbox, written = Outbox(), list[int]()

        def write() -> None:
            written.append(len(written))
            if len(written) < 3:
                outbox.add(write)

        outbox.add(write)
        for turns in range(1, 4):
            await asyncio.sleep(0)
            assert len(written) == turns

    async def test_one_that_breaks_does_not_take_the_others_with_it(self, caplog: pytest.LogCaptureFixture) -> None:
        outbox, written = Outbox(), list[str]()
        outbox.add(lambda: written.append("before"))
        outbox.add(lambda: 1 / 0)
        outbox.add(lambda: written.append("after"))
        await asyncio.sleep(0)
        assert written == ["before", "after"]
        assert "a write broke" in caplog.text
