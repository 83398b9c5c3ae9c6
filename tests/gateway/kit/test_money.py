"""Nano-dollars."""

from decimal import Decimal

import pytest

from gateway.kit.money import format_usd, nano_from_usd, usd_from_nano


class TestNanoFromUsd:
    @pytest.mark.parametrize(
        ("usd", "nano"),
        [
            (0.0375, 37_500_000),
            (5, 5_000_000_000),
            ("0.000000001", 1),
            (Decimal("0.15"), 150_000_000),
            (0.1 + 0.2, None),
        ],
    )
    def test_is_exact_or_refuses(self, usd: float | str | Decimal, nano: int | None) -> None:
        if nano is None:
            with pytest.raises(ValueError, match="finer than a nano-dollar"):
                nano_from_usd(usd)
        else:
            assert nano_from_usd(usd) == nano


class TestFormatUsd:
    @pytest.mark.parametrize(
        ("nano", "text"),
        [(0, "0"), (1, "0.000000001"), (1_500, "0.0000015"), (10**9, "1"), (10**10, "10"), (1_230_000_000, "1.23")],
    )
    def test_is_exact_and_plain(self, nano: int, text: str) -> None:
        assert format_usd(nano) == text
        assert nano_from_usd(text) == nano


def test_usd_is_the_nearest_number() -> None:
    assert usd_from_nano(82_000) == 0.000082
