"""How figures are written."""

from decimal import Decimal

import pytest

from admin.console.render import NONE, nano, usd


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        (None, NONE),
        (0, "$0.00"),
        ("1175362.694", "$1,175,362.69"),
        (-2.5, "-$2.50"),
        (0.01, "$0.0100"),
        (Decimal("0.0000123"), "$0.0000123"),
        ("0.000001", "$0.00000100"),
        ("0.0000009999", "<$0.000001"),
        ("-0.0000000001", "-<$0.000001"),
    ],
)
def test_dollars(amount: float | str | Decimal | None, written: str) -> None:
    assert usd(amount) == written


def test_a_price_is_exact_however_small() -> None:
    assert usd("0.000000001", exact=True) == "$0.00000000100"


def test_nano_dollars_are_exact() -> None:
    assert nano(1) == "$0.00000000100"
    assert nano(None) == NONE
