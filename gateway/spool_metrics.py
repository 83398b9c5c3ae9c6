"""What waits on this process's disk for the database, in `/metrics`: read when it is asked for, so that calls do nothing for it."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.draining import Draining
from gateway.exchanges.spool import Spool


class SpoolMetrics(Collector):
    """Of one gateway process."""

    def __init__(self, spool: Spool, draining: Draining | None) -> None:
        self._spool = spool
        self._draining = draining

    def collect(self) -> Iterator[Metric]:
        spool = self._spool
        yield GaugeMetricFamily(
            "tuneway_spool_bytes", "Exchanges on local disk that the database does not have yet", value=spool.size
        )
        yield GaugeMetricFamily(
            "tuneway_spool_max_bytes", "So many of them may be: then calls are refused", value=spool.max_bytes
        )
        yield GaugeMetricFamily(
            "tuneway_spool_disk_refuses",
            "1 while the disk refuses the exchange log, and calls are refused",
            value=float(spool.trouble is not None),
        )
        yield CounterMetricFamily(
            "tuneway_unrecordable_calls",
            "Calls refused because they could not be recorded: nobody was asked",
            value=spool.refused,
        )
        if self._draining is not None:
            yield CounterMetricFamily(
                "tuneway_drain_starts",
                "Processes that were started to bring the exchange log to the database; one, as long as all is well",
                value=self._draining.starts,
            )
