"""Brings spans out of the process: a thread that nobody on the path of a call waits for."""

import logging
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gateway.settings import SettingsError
from gateway.telemetry_settings import TelemetrySettings
from gateway.tracing import Traces

if TYPE_CHECKING:
    from gateway.spans import Exporter

log = logging.getLogger(__name__)

BATCH = 512
"""Calls in one request."""
CLOSE_SECONDS = 5.0
"""What is left is sent within this when the process ends."""


class Telemetry:
    """Traces, and the thread that exports them. Raises SettingsError: the packages for it are not installed."""

    def __init__(self, settings: TelemetrySettings) -> None:
        if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
            raise SettingsError("telemetry.otlp_endpoint: traces need `pip install tuneway[telemetry]`")
        self.traces = Traces(settings.sample)
        self._settings = settings
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._is_failing = False

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Send what is left; a receiver that does not take it in time loses it."""
        self._ending.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        from gateway.spans import Exporter  # the SDK is for this thread alone

        settings = self._settings
        exporter = Exporter(settings.otlp_endpoint, dict(settings.headers), settings.service_name, settings.timeout)
        while not self._ending.wait(settings.export_seconds):
            self._export(exporter)
        self._export(exporter)
        exporter.close()

    def _export(self, exporter: "Exporter") -> None:
        while calls := self.traces.take(BATCH):
            try:
                taken = exporter.export(calls)
            except Exception:
                log.exception("traces could not be exported")
                taken = False
            if taken:
                self.traces.exported += len(calls)
            else:
                self.traces.failed += len(calls)
            if taken is self._is_failing:
                self._is_failing = not taken
                log.warning("traces are %s by %s", "taken" if taken else "not taken", self._settings.otlp_endpoint)
