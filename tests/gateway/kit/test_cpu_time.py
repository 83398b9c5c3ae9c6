"""Work in a thread, bounded by the CPU time that it takes."""

import threading
import time

import pytest

from gateway.kit import cpu_time
from gateway.kit.cpu_time import in_cpu_time

LIMIT = 0.1


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_time, "LOOK_SECONDS", 0.005)


def burn(seconds: float, stop: threading.Event | None = None) -> None:
    """CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end and not (stop and stop.is_set()):
        pass


class TestInCpuTime:
    async def test_returns_what_the_work_returns(self) -> None:
        assert await in_cpu_time(lambda: 3, LIMIT) == 3

    async def test_raises_what_the_work_raises(self) -> None:
        with pytest.raises(ZeroDivisionError):
            await in_cpu_time(lambda: 1 // 0, LIMIT)

    async def test_work_that_takes_more_is_given_up(self) -> None:
        stop = threading.Event()
        try:
            with pytest.raises(TimeoutError):
                await in_cpu_time(lambda: burn(60.0, stop), LIMIT)
        finally:
            stop.set()

    async def test_what_others_take_meanwhile_does_not_count(self) -> None:
        """Neither the time by the clock, nor that of the process."""

        def wait_for_another() -> str:
            other = threading.Thread(target=burn, args=(5 * LIMIT,))
            other.start()
            other.join()
            return "done"

        assert await in_cpu_time(wait_for_another, LIMIT) == "done"

    async def test_what_the_thread_took_before_does_not_count(self) -> None:
        """Threads are used again."""
        for _ in range(4):
            assert await in_cpu_time(lambda: burn(LIMIT / 2), LIMIT) is None
