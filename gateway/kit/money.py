"""Money is an integer count of nano-dollars (1e-9 USD): sums are exact and no float touches a bill."""

from decimal import Decimal

NANO = 1_000_000_000
MAX_PRICE_USD = 100_000
"""Of a price, whatever it is for: above it the cost of one call could be more than a column of the database holds."""


def nano_from_usd(usd: float | Decimal | str) -> int:
    """Nano-dollars of a dollar amount as a person writes it.

    A float goes through its shortest decimal form, so 0.0375 is exactly 37,500,000 and not one less.

    Raises:
        ValueError: the amount is finer than a nano-dollar.
    """
    nano = Decimal(str(usd)) * NANO
    if nano != nano.to_integral_value():
        raise ValueError(f"{usd} USD is finer than a nano-dollar")
    return int(nano)


def usd_from_nano(nano: int) -> float:
    """Dollars for a wire format that wants a number (OpenAI's costs API): the float that is nearest to them."""
    return nano / NANO  # of two integers Python gives the nearest


def format_usd(nano: int) -> str:
    """Exact dollars without an exponent, for headers and people: 1_500 -> "0.0000015"."""
    dollars, rest = divmod(abs(nano), NANO)
    text = f"{dollars}.{rest:09d}".rstrip("0") if rest else str(dollars)
    return f"-{text}" if nano < 0 else text
