"""Prometheus metrics of this process. Labels are few and bounded: never a key or a client's text."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.call_counts import CallCounts
from gateway.errors import BudgetBusy, BudgetExhausted, RateLimited
from gateway.exchanges.checked import ERROR_CODES, CheckSaid
from gateway.limits.limit import KINDS
from gateway.overhead import Overhead
from gateway.routing.attempts import Answered, Attempt
from gateway.routing.residency import Residency

SCOPES = ("key", "project")
"""Whose a rate limit is: one key's, or shared."""
BROKEN = {"flag": "flagged", "block": "blocked"}
"""What becomes of an answer that breaks a check's rules, by the check's mode."""


class Metrics:
    """One registry a process, so that tests and workers do not share counts."""

    def __init__(self, residency: Residency | None = None) -> None:
        self.registry = CollectorRegistry()
        if residency:
            self.registry.register(Replicas(residency))
        self.overhead = Overhead()
        self.registry.register(self.overhead)
        self.calls = CallCounts()
        self.registry.register(self.calls)
        self._tell_of_attempts()
        self._tell_of_refusals()
        self._show_refusals()
        self._tell_of_cache()

    def _tell_of_attempts(self) -> None:
        self.failed_attempts = Counter(
            "tuneway_failed_attempts",
            "Tries of models that failed, by why",
            ["model", "condition"],
            registry=self.registry,
        )
        self.fallbacks = Counter(
            "tuneway_fallbacks",
            "Calls that another than the first choice answered, by that model and what led to it",
            ["model", "condition"],
            registry=self.registry,
        )
        self.open_breakers = Gauge(
            "tuneway_open_breakers",
            "Replicas whose breaker is open for a model: no calls, or one at a time",
            ["upstream", "model"],
            registry=self.registry,
        )

    def _tell_of_cache(self) -> None:
        lookups = Counter(
            "tuneway_cache_lookups",
            "Calls that could have been answered with a kept reply: those that were (hit), and others (miss)",
            ["result"],
            registry=self.registry,
        )
        self._hits, self._misses = lookups.labels("hit"), lookups.labels("miss")
        self.cache_bytes = Gauge(
            "tuneway_cache_bytes", "Kept replies in the memory of this process, about", registry=self.registry
        )

    def _tell_of_refusals(self) -> None:
        self.limited = Counter(
            "tuneway_limited_calls",
            "Calls refused by a rate limit: which, and whether it is a key's own or shared by a project's keys",
            ["limit", "scope"],
            registry=self.registry,
        )
        self.unfunded = Counter(
            "tuneway_unfunded_calls",
            "Calls refused by a budget: it is used up (insufficient_quota), or reserved for calls under way"
            " (budget_reserved)",
            ["reason"],
            registry=self.registry,
        )

        self.judging_waiting = Gauge(
            "tuneway_judging_waiting", "Judgments that judges still have to make", registry=self.registry
        )
        self.judging_lag = Gauge(
            "tuneway_judging_lag_seconds", "How long the oldest of them has been waiting", registry=self.registry
        )

        self.checks = Counter(
            "tuneway_checks",
            "Checks of routes on answers before they left, one for each choice: passed, flagged, blocked, or why it could not be"
            " told (timeout, rule, unreadable, fault)",
            ["mode", "outcome"],
            registry=self.registry,
        )

    def observe_refusal(self, error: BaseException | None) -> None:
        """Count what a call ended with, where a rate limit or a budget refused it."""
        match error:
            case RateLimited():
                self.limited.labels(error.limit, SCOPES[error.shared]).inc()
            case BudgetExhausted() | BudgetBusy():
                self.unfunded.labels(error.code).inc()
            case _:
                pass

    def observe_checks(self, verdicts: Iterable[CheckSaid]) -> None:
        """Count what rules said of one answer."""
        for each in verdicts:
            self.checks.labels(each.mode, _outcome(each)).inc()

    def observe_cache(self, *, hit: bool) -> None:
        """Count one look for a kept reply."""
        (self._hits if hit else self._misses).inc()

    def observe_attempts(self, made: Iterable[Attempt], answered: Answered[Any] | None) -> None:
        """Count what was tried for one call."""
        for attempt in made:
            if attempt.failure:
                self.failed_attempts.labels(attempt.model, attempt.failure).inc()
        if answered and answered.fallback:
            self.fallbacks.labels(answered.deployment.model, answered.fallback).inc()

    def show_breakers(self, opened: Mapping[tuple[str, str], int]) -> None:
        """Those that are open now: (upstream, model) -> replicas."""
        self.open_breakers.clear()
        for (upstream, model), replicas in opened.items():
            self.open_breakers.labels(upstream, model).set(replicas)

    def _show_refusals(self) -> None:
        """0 from the beginning: a rate over the first one is right."""
        for kind, scope in product(KINDS, SCOPES):
            self.limited.labels(kind.field, scope)
        for refusal in (BudgetExhausted, BudgetBusy):
            self.unfunded.labels(refusal.code)
        for mode, outcome in product(BROKEN, ERROR_CODES):
            self.checks.labels(mode, outcome)
        for mode, broken in BROKEN.items():
            self.checks.labels(mode, "passed")
            self.checks.labels(mode, broken)

    def show_judging(self, waiting: int, lag_seconds: float) -> None:
        """Of the whole installation: every gateway process tells the same, so take the maximum over them."""
        self.judging_waiting.set(waiting)
        self.judging_lag.set(lag_seconds)

    def render(self) -> bytes:
        return generate_latest(self.registry)


def _outcome(said: CheckSaid) -> str:
    if said.passed is None:
        return said.error_code or "fault"
    return "passed" if said.passed else BROKEN[said.mode]


class Replicas(Collector):
    """What the worker found and did, from its mirror: the worker itself has no endpoint. Every gateway process tells the
    same, so take the maximum over them, not the sum. A replica's label is its base URL."""

    def __init__(self, residency: Residency) -> None:
        self._residency = residency

    def collect(self) -> Iterator[Metric]:
        states, loaded = self._residency.states, self._residency.loaded_counts()
        up = GaugeMetricFamily(
            "tuneway_replica_up", "1 for a replica that answers, 0 down or asleep", labels=["replica"]
        )
        ready = GaugeMetricFamily("tuneway_adapters_ready", "Fine-tuned models loaded and probed", labels=["replica"])
        for replica, state in states.items():
            up.add_metric([replica], float(state == "up"))
            ready.add_metric([replica], loaded[replica])
        yield from (up, ready)
        for name, what in (
            ("loads", "Fine-tuned models that became ready"),
            ("evictions", "Fine-tuned models that left for others"),
            ("failures", "Fine-tuned models that were refused, or failed their probe"),
        ):
            family = CounterMetricFamily(f"tuneway_adapter_{name}", what, labels=["replica"])
            for replica, counts in self._residency.counts.items():
                family.add_metric([replica], getattr(counts, name))
            yield family
