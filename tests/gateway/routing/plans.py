"""Plans and routes for tests, without a database."""

from typing import Any

from gateway.protocol.routes import Fallback, RouteSpec, RouteTimeouts, Target
from gateway.routing.deployment import Deployment
from gateway.routing.plan import ANY, Candidate, Plan
from gateway.routing.route_book import Route
from gateway.routing.upstream import Upstream


def upstream(name: str = "up", replicas: int = 1, *, is_engine: bool = False) -> Upstream:
    return Upstream(name, tuple(f"http://{name}{number}/v1" for number in range(replicas)), is_engine=is_engine)


def deployment(model: str, replicas: int = 1, **more: Any) -> Deployment:
    """On an upstream of its own, which has the model's name."""
    return Deployment(model, upstream(model, replicas, is_engine=more.pop("is_engine", False)), **more)


def route(*targets: str, **spec: Any) -> Route:
    """`a=3` is a target with that weight."""
    made = [
        Target(model=name, weight=float(weight or 1)) for name, _, weight in (each.partition("=") for each in targets)
    ]
    return Route("route_1", "r", None, 1, RouteSpec(targets=tuple(made), **spec))


def fallback(model: str, *on: Any) -> Fallback:
    return Fallback(model=model, on=on) if on else Fallback(model=model)


def plan(of: Route | None = None, *, timeouts: RouteTimeouts | None = None, **more: Any) -> Plan:
    """Of a route whose models are all there; without one, of the model `a`."""
    of_spec = of.spec if of else RouteSpec(targets=(Target(model="a"),))
    replicas: int = more.pop("replicas", 1)
    targets = tuple(Candidate(deployment(each.model, replicas), weight=each.weight) for each in of_spec.targets)
    fallbacks = tuple(Candidate(deployment(each.model), frozenset(each.on) or ANY) for each in of_spec.fallbacks)
    made: dict[str, Any] = {"retries": of_spec.retries, "breaker": of_spec.breaker} | more
    return Plan("r", targets, fallbacks, timeouts=timeouts or of_spec.timeouts, route=of, **made)
