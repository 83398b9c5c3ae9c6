"""A histogram in plain numbers: Prometheus' own takes a microsecond and more for each observation."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString


class PlainHistogram:
    """For one label, each of whose values has its own counts.

    Args:
        bounds: upper ones, ascending; what is above the last counts as infinite.
    """

    def __init__(self, name: str, documentation: str, label: str, bounds: Sequence[float]) -> None:
        self._name, self._documentation, self._label = name, documentation, label
        self._bounds = bounds
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def show(self, label: str) -> None:
        """0 from the beginning."""
        self._counts.setdefault(label, [0] * (len(self._bounds) + 1))
        self._sums.setdefault(label, 0.0)

    def observe(self, label: str, value: float) -> None:
        if label not in self._counts:
            self.show(label)
        self._counts[label][bisect_left(self._bounds, value)] += 1
        self._sums[label] += value

    def family(self) -> HistogramMetricFamily:
        """As it is shown."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=[self._label])
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        for label, counts in self._counts.items():
            family.add_metric([label], list(zip(names, accumulate(counts), strict=True)), self._sums[label])
        return family
