"""Usage and a price make a cost."""

from gateway.metering.prices import MILLION, Price
from gateway.metering.usage import Usage


def cost_nano(usage: Usage, price: Price) -> int:
    """Nano-dollars of one exchange, rounded up once, at the end: the sum of costs never falls short of the usage."""
    fresh = usage.input_tokens - usage.cached_input_tokens
    millionths = (
        fresh * price.input + usage.cached_input_tokens * price.cached_input + usage.output_tokens * price.output
    )
    return -(-millionths // MILLION)
