from datetime import timedelta

from gateway.webhooks.retries import WAITS, wait_after


class TestWaitAfter:
    def test_grows_with_each_try_and_ends_after_about_three_days(self) -> None:
        waits = [wait_after(attempt) for attempt in range(1, len(WAITS) + 1)]
        assert all(least <= (wait or 0) <= least * 1.1 for least, wait in zip(WAITS, waits, strict=True))
        assert list(WAITS) == sorted(WAITS)
        assert timedelta(days=2.5) < timedelta(seconds=sum(WAITS)) < timedelta(days=3.3)
        assert wait_after(len(WAITS) + 1) is None

    def test_differs_by_chance(self) -> None:
        assert len({wait_after(8) for _ in range(10)}) > 1
