import pytest

from gateway.limits.headers import duration


class TestDuration:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0s"),
            (0.0004, "1ms"),
            (0.012, "12ms"),
            (0.9999, "1s"),
            (1, "1s"),
            (51.189, "51.189s"),
            (6.5, "6.5s"),
            (60, "1m0s"),
            (360, "6m0s"),
            (75.25, "1m15.25s"),
            (3600, "1h0m0s"),
            (86_399.5, "23h59m59.5s"),
        ],
    )
    def test_is_as_go_writes_it(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text
