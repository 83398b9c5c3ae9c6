"""Usage and a price make a cost."""

import msgspec

from gateway.metering.prices import MILLION, Price
from gateway.metering.usage import Usage


class Cost(msgspec.Struct, frozen=True, gc=False):
    """Nano-dollars of one exchange, or of one charge of a training: `total` is exactly the sum of the others."""

    total: int
    input: int
    """Of the input that came from no cache, rounded down; of a training, its tokens."""
    cached_input: int
    """Rounded down."""
    output: int
    """Rounded down."""
    request: int
    """The price of a request, or of a training's time on devices; and what rounding up the total added."""

    def at_most(self, total: int) -> "Cost":
        """What is above goes from the output first, then from the input."""
        parts = {"output": self.output, "input": self.input, "cached_input": self.cached_input, "request": self.request}
        above = max(self.total - total, 0)
        for name, nano in parts.items():
            parts[name] = max(nano - above, 0)
            above -= nano - parts[name]
        return Cost(total=min(self.total, total), **parts)


def cost(usage: Usage, price: Price) -> Cost:
    """Rounded up once, at the end: the sum of costs never falls short of the usage."""
    cached = usage.cached_input_tokens * price.cached_input
    fresh = (usage.input_tokens - usage.cached_input_tokens) * price.input
    output = usage.output_tokens * price.output
    total = price.request - (-(fresh + cached + output) // MILLION)
    fresh, cached, output = fresh // MILLION, cached // MILLION, output // MILLION
    return Cost(total, fresh, cached, output, total - fresh - cached - output)
