"""What this gateway adds to a call: everything but the waiting for whoever answers it.

| part | from | to |
|---|---|---|
| `whole` | a call that is answered in one piece: its arrival until the first upstream is asked, and the last byte of the answer until it is recorded, its checks included | |
| `first_token` | a stream: its arrival until the first upstream is asked, and the first token until the client gets it | |
| `rest` | a stream: the upstream's last word until it is recorded | |

Between asking and the answer lie retries, their pauses, fallbacks and the loading of a model: they are the upstreams' time. Calls
that nobody answered are not counted.
"""

from collections.abc import Iterator

from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

from gateway.plain_histogram import PlainHistogram

WHOLE, FIRST_TOKEN, REST = "whole", "first_token", "rest"
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds, in seconds."""


class Overhead(Collector):
    """Of one process."""

    def __init__(self) -> None:
        documentation = "What the gateway adds to a call, without waiting for upstreams"
        self._histogram = PlainHistogram("tuneway_overhead_seconds", documentation, "part", BOUNDS)
        for part in (WHOLE, FIRST_TOKEN, REST):
            self._histogram.show(part)
        self.observe = self._histogram.observe

    def collect(self) -> Iterator[HistogramMetricFamily]:
        yield self._histogram.family()
