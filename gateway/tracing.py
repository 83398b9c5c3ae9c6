"""Traces of model calls: whose trace a call belongs to, what is passed on to upstreams, and what becomes spans.

W3C Trace Context: a caller's `traceparent` and `tracestate` are passed on to the upstream, as any proxy does. With
[telemetry] otlp_endpoint, and where the trace is sampled, the call becomes a span of its own in between, and each try of an
upstream a span below it. On the path of a call nothing more is done than to note times: spans are made after its end, by a
thread (gateway/spans.py), and dropped where that thread cannot keep up.
"""

import random
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from gateway.errors import Refusal, Surprise
from gateway.exchanges.record import Record
from gateway.routing.deployment import Deployment

PARENT, STATE = b"traceparent", b"tracestate"
MOST_WAITING = 4096
"""Calls whose spans are still to be made."""
STATE_LENGTH = 512
"""The least that the standard lets one keep."""
_later = rb"(?:-[\x20-\x7e]{,200})?"
"""What a later version of the standard may have behind."""
_parent = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})" + _later)
_state = re.compile(rb"[\x20-\x7e]+")
_model = re.compile(rb'"model"\s*:\s*"([^"\\]{1,200})"')
_reasons = re.compile(rb'"finish_reason"\s*:\s*"([a-z_]{1,40})"')
LONGEST_WORD = 200
"""Characters of a model's name, or of an id, that somebody else has chosen."""
HEAD, TAIL = 2048, 65_536
"""Bytes of a reply in which its model is looked for, and the reasons why it ended."""


def passed_on(parent: bytes, state: bytes) -> dict[str, str]:
    """Headers for the upstream; none where the caller's are no Trace Context."""
    if not _parent.fullmatch(parent):
        return {}
    found = {"traceparent": parent.decode()}
    if 0 < len(state) <= STATE_LENGTH and _state.fullmatch(state):
        found["tracestate"] = state.decode()
    return found


@dataclass(slots=True)
class Try:
    """One upstream that was asked. Times are those of time.perf_counter."""

    span_id: int
    deployment: Deployment
    replica: str
    began: float
    ended: float | None = None
    """None: it went on until the call's end."""
    error: str | None = None


@dataclass(slots=True)
class Trace:
    """Of one call that becomes spans."""

    trace_id: int
    parent_id: int | None
    state: str
    span_id: int
    tries: list[Try] = field(default_factory=list[Try])

    def begin(self, deployment: Deployment, replica: str) -> Try:
        begun = Try(_new_id(64), deployment, replica, time.perf_counter())
        self.tries.append(begun)
        return begun

    def headers(self, span_id: int) -> dict[str, str]:
        """For an upstream, whose spans belong below this one."""
        found = {"traceparent": f"00-{self.trace_id:032x}-{span_id:016x}-01"}
        return found | {"tracestate": self.state} if self.state else found


@dataclass(frozen=True, slots=True)
class EndedCall:
    """What spans are made of, and nothing of what was asked or answered."""

    trace: Trace
    name: str
    began_ns: int
    """Unix time."""
    started: float
    """The same moment of time.perf_counter."""
    ended: float
    error: str | None
    attributes: Mapping[str, Any]

    def ns(self, moment: float) -> int:
        """Unix time of a moment of time.perf_counter."""
        return self.began_ns + int((moment - self.started) * 1e9)


class Traces(Collector):
    """The calls that become spans, until `take` has them.

    Args:
        sample: share of the calls without a trace of their own that begin one. A caller's trace is followed where the
            caller samples it.
    """

    def __init__(self, sample: float) -> None:
        self._sample = sample
        self._waiting: deque[EndedCall] = deque()
        self.dropped = self.exported = self.failed = 0
        """Calls; `failed` were not taken by the receiver."""

    def begin(self, headers: Mapping[str, str]) -> Trace | None:
        """Args: headers: what `passed_on` made of the caller's."""
        if found := _parent.fullmatch(headers.get("traceparent", "").encode()):
            trace_id, parent_id, flags = (int(each, 16) for each in found.groups())
            return Trace(trace_id, parent_id, headers.get("tracestate", ""), _new_id(64)) if flags & 1 else None
        return Trace(_new_id(128), None, "", _new_id(64)) if random.random() < self._sample else None  # noqa: S311

    def ended(self, trace: Trace, entry: Record, started: float, error: BaseException | None) -> None:
        """Note a call that is over."""
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
            return
        kind = "chat" if entry.endpoint == "/chat/completions" else "text_completion"
        why = "client_left" if entry.outcome == "client_left" else type_of(error) if error else None
        call = EndedCall(
            trace=trace,
            name=f"{kind} {entry.requested_model[:LONGEST_WORD]}",
            began_ns=int(entry.created_at * 1e9),
            started=started,
            ended=started + entry.duration_ms / 1000,
            error=why,
            attributes=_attributes(entry, kind),
        )
        self._waiting.append(call)

    def take(self, most: int) -> list[EndedCall]:
        """The oldest that wait. From any thread."""
        taken: list[EndedCall] = []
        while self._waiting and len(taken) < most:
            taken.append(self._waiting.popleft())
        return taken

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily("tuneway_traced_calls", "Calls whose spans were made", labels=["outcome"])
        for outcome in ("exported", "failed", "dropped"):
            family.add_metric([outcome], getattr(self, outcome))
        yield family


def type_of(error: BaseException) -> str:
    """What `error.type` says of a failure: few and known words."""
    if isinstance(error, Refusal) and not isinstance(error, Surprise):
        return error.code or error.type
    return type(error).__name__


def _new_id(bits: int) -> int:
    return random.getrandbits(bits) or 1


def _attributes(entry: Record, kind: str) -> dict[str, Any]:
    """By the GenAI semantic conventions (opentelemetry.io/docs/specs/semconv/gen-ai), and our own."""
    reply = entry.reply or b""
    model = _model.search(reply[:HEAD])
    found = {
        "gen_ai.operation.name": kind,
        "gen_ai.request.model": entry.requested_model[:LONGEST_WORD],
        "gen_ai.response.model": model[1].decode(errors="replace") if model else entry.served_model,
        "gen_ai.response.id": entry.reply_id[:LONGEST_WORD] if entry.reply_id else None,
        "gen_ai.response.finish_reasons": tuple(each.decode() for each in _reasons.findall(reply[-TAIL:])) or None,
        "gen_ai.usage.input_tokens": entry.input_tokens,
        "gen_ai.usage.output_tokens": entry.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": entry.cached_input_tokens,
        "http.response.status_code": entry.status,
        "tuneway.request_id": entry.id,
        "tuneway.project_id": entry.project_id,
        "tuneway.api_key_id": entry.api_key_id,
        "tuneway.outcome": entry.outcome,
        "tuneway.streamed": entry.streamed,
        "tuneway.model": entry.served_model,
        "tuneway.route": entry.route,
        "tuneway.cost_nano": entry.cost_nano,
        "tuneway.first_token_ms": entry.first_token_ms,
        "tuneway.upstream_ms": entry.upstream_ms,
    }
    return {name: value for name, value in found.items() if value is not None}
