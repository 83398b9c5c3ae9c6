"""[telemetry]: where traces go."""

from gateway.kit.section import Section


class TelemetrySettings(Section, frozen=True):
    """Traces of model calls for OpenTelemetry (docs/observability.md); they hold nothing of what was asked or answered."""

    otlp_endpoint: str = ""
    """Base URL of a receiver that speaks OTLP over HTTP, as in http://collector:4318. Empty: no traces."""
    headers: dict[str, str] = {}
    """Sent to it with each request."""
    service_name: str = "tuneway"
    """What it calls this service."""
    sample: float = 1.0
    """Share of the calls without a trace of their own that begin one, 0 to 1. Callers decide for theirs (traceparent)."""
    export_seconds: float = 2.0
    """How often they are sent."""
    timeout: float = 10.0
    """How long it is tried; then they are lost."""

    def __post_init__(self) -> None:
        if self.otlp_endpoint and not self.otlp_endpoint.startswith(("http://", "https://")):
            raise ValueError("otlp_endpoint: it does not begin with http:// or https://")
        if not 0 <= self.sample <= 1:
            raise ValueError(f"sample: {self.sample} is no share from 0 to 1")
        if self.export_seconds <= 0 or self.timeout <= 0:
            raise ValueError("export_seconds and timeout are more than 0")
