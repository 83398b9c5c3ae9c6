"""Amounts of money in a request: JSON numbers in dollars, read digit by digit and never through a float."""

from decimal import Context, Decimal, DecimalException, localcontext

import msgspec

from gateway.errors import InvalidRequest
from gateway.kit.money import nano_from_usd

LONGEST = 40
"""Characters of a number; every amount that is accepted can be written with fewer."""
SMALLEST = Decimal("0.000000001")


def nano_of(raw: msgspec.Raw, param: str, *, highest: int, lowest: int = 0) -> int:
    """Nano-dollars of a JSON number.

    Args:
        highest: in dollars, as `lowest`; both included.

    Raises:
        InvalidRequest: it is no number, out of bounds, or finer than a nano-dollar.
    """
    text = bytes(raw).decode(errors="replace")
    amount = _number(text)
    if amount is None:
        message = f"Invalid '{param}': expected a number of US dollars, as in 0.15, got {text[:LONGEST]}."
        raise InvalidRequest(message, param=param, code="invalid_type")
    if not lowest <= amount <= highest:
        code = "decimal_below_min_value" if amount < lowest else "decimal_above_max_value"
        message = f"Invalid '{param}': expected US dollars from {lowest} to {highest:,}, got {text}."
        raise InvalidRequest(message, param=param, code=code)
    try:
        return _nano(amount)
    except ValueError:
        message = f"Invalid '{param}': {text} USD is finer than a nano-dollar (0.000000001)."
        raise InvalidRequest(message, param=param) from None


def _number(text: str) -> Decimal | None:
    """JSON's numbers, no more: neither "1" nor true, which Python takes for one."""
    if len(text) > LONGEST or text[:1] not in tuple("-0123456789"):
        return None
    try:
        amount = Decimal(text)
    except DecimalException:
        return None
    return amount if amount.is_finite() else None


def _nano(amount: Decimal) -> int:
    """Raises ValueError. What is far too fine would be rounded to nothing by the multiplication."""
    if amount and abs(amount) < SMALLEST:
        raise ValueError
    with localcontext(Context(prec=2 * LONGEST)):
        return nano_from_usd(amount)
