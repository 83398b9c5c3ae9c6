"""Hearing of a signal beside its handler."""

import asyncio
import os
import signal

import pytest

from gateway.kit.signals import when_told_to_stop
from tests.polling import until

pytestmark = pytest.mark.anyio


class TestWhenToldToStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_acts_once_and_the_loops_own_handler_too(self, number: signal.Signals) -> None:
        acted: list[str] = []
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(number, lambda: acted.append("server"))
        try:
            with when_told_to_stop(lambda: acted.append("we")):
                os.kill(os.getpid(), number)
                await until(lambda: len(acted) == 2)
                os.kill(os.getpid(), number)
                await until(lambda: len(acted) == 3)
        finally:
            loop.remove_signal_handler(number)
        assert sorted(acted) == ["server", "server", "we"]

    async def test_a_plain_handler_is_called_too(self) -> None:
        heard: list[int] = []
        before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
        try:
            acted = asyncio.Event()
            with when_told_to_stop(acted.set):
                os.kill(os.getpid(), signal.SIGTERM)
                await until(acted.is_set)
        finally:
            signal.signal(signal.SIGTERM, before)
        assert heard == [signal.SIGTERM]

    async def test_leaves_everything_as_it_was(self) -> None:
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        with when_told_to_stop(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is not before[0]
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before

    async def test_outside_the_main_thread_it_does_nothing(self) -> None:
        def elsewhere() -> bool:
            before = signal.getsignal(signal.SIGTERM)
            with when_told_to_stop(lambda: None):
                return signal.getsignal(signal.SIGTERM) is before

        assert await asyncio.to_thread(elsewhere)
