"""Spans of ended calls, made with OpenTelemetry's SDK and sent to an OTLP receiver over HTTP, in a thread.

Imported by that thread alone, and only where [telemetry] is on: the SDK and its exporter take 20 MB.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from gateway.routing.deployment import Deployment
from gateway.tracing import EndedCall, Trace, Try

SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Exporter:
    """Where spans go."""

    def __init__(self, endpoint: str, headers: dict[str, str], service_name: str, timeout: float) -> None:
        self._exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", headers=headers, timeout=timeout)
        self._resource = Resource.create({"service.name": service_name})
        self._scope = InstrumentationScope("tuneway")

    def export(self, calls: list[EndedCall]) -> bool:
        """Whether the receiver has taken them; it is asked again for `timeout` seconds."""
        spans = [span for call in calls for span in self._spans(call)]
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        self._exporter.shutdown()

    def _spans(self, call: EndedCall) -> Iterator[ReadableSpan]:
        trace = call.trace
        context = _context(trace, trace.span_id)
        last = trace.tries[-1] if trace.tries else None
        yield ReadableSpan(
            call.name,
            context,
            _context(trace, trace.parent_id, remote=True) if trace.parent_id is not None else None,
            self._resource,
            {**call.attributes, **(_place(last) if last else {}), **_failure(call.error)},
            kind=SpanKind.SERVER,
            status=_status(call.error),
            start_time=call.began_ns,
            end_time=call.ns(call.ended),
            instrumentation_scope=self._scope,
        )
        for each in trace.tries:
            error = each.error or (call.error if each.ended is None else None)
            kind = call.attributes["gen_ai.operation.name"]
            yield ReadableSpan(
                f"{kind} {each.deployment.model}",
                _context(trace, each.span_id),
                context,
                self._resource,
                {
                    "gen_ai.operation.name": kind,
                    "gen_ai.request.model": each.deployment.served_name or each.deployment.model,
                    "tuneway.upstream": each.deployment.upstream.name,
                    **_place(each),
                    **_failure(error),
                },
                kind=SpanKind.CLIENT,
                status=_status(error),
                start_time=call.ns(each.began),
                end_time=call.ns(call.ended if each.ended is None else each.ended),
                instrumentation_scope=self._scope,
            )


def _context(trace: Trace, span_id: int, *, remote: bool = False) -> SpanContext:
    state = TraceState.from_header([trace.state]) if trace.state else None
    return SpanContext(trace.trace_id, span_id, is_remote=remote, trace_flags=SAMPLED, trace_state=state)


def _place(each: Try) -> dict[str, str | int]:
    url = urlsplit(each.replica)
    port = url.port or (443 if url.scheme == "https" else 80)
    return {
        "gen_ai.provider.name": _provider(each.deployment),
        "server.address": url.hostname or "",
        "server.port": port,
    }


def _provider(deployment: Deployment) -> str:
    """Whose API it is, as the conventions name it; the engine here is ours."""
    return "tuneway" if deployment.upstream.is_engine else deployment.upstream.kind


def _failure(error: str | None) -> dict[str, str]:
    return {"error.type": error} if error else {}


def _status(error: str | None) -> Status:
    return Status(StatusCode.ERROR, error) if error else Status(StatusCode.UNSET)
