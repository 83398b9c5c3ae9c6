"""What every call counts in: calls, seconds, tokens, and those without a price. Plain numbers until somebody asks."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.exchanges.record import Record
from gateway.plain_histogram import PlainHistogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class CallCounts(Collector):
    """Of one process."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], int] = {}
        self._seconds = PlainHistogram("tuneway_call_seconds", "Whole call, upstream included", "endpoint", SECONDS)
        self._input = self._output = self._unpriced = 0

    def observe(self, entry: Record) -> None:
        """Count one finished exchange."""
        ended = entry.endpoint, entry.outcome
        self._calls[ended] = self._calls.get(ended, 0) + 1
        self._seconds.observe(entry.endpoint, entry.duration_ms / 1000)
        self._input += entry.input_tokens or 0
        self._output += entry.output_tokens or 0
        self._unpriced += not entry.priced

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily("tuneway_calls", "Model calls by how they ended", labels=["endpoint", "outcome"])
        for ended, count in self._calls.items():
            calls.add_metric(ended, count)
        tokens = CounterMetricFamily("tuneway_tokens", "Tokens metered", labels=["direction"])
        tokens.add_metric(["input"], self._input)
        tokens.add_metric(["output"], self._output)
        yield from (calls, self._seconds.family(), tokens)
        yield CounterMetricFamily("tuneway_unpriced_calls", "Calls whose model has no price", value=self._unpriced)
