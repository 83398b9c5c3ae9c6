"""What may answer a call: the targets that share it, and what stands in for them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.errors import ModelNotFound
from gateway.protocol.routes import (
    CONDITIONS,
    Breaker,
    Check,
    Condition,
    FewShot,
    Hedge,
    Retries,
    RouteCache,
    RouteTimeouts,
)
from gateway.routing.deployment import Deployment
from gateway.routing.route_book import Route

ANY: frozenset[Condition] = frozenset(CONDITIONS)
USUAL_RETRIES = Retries()
USUAL_BREAKER = Breaker()
NO_LIMITS = RouteTimeouts()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model that may answer."""

    deployment: Deployment
    on: frozenset[Condition] = ANY
    """The failures of others after which it is asked."""
    weight: float = 1.0
    """Of a target: its share of the traffic; above 0."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided about a call before it is sent (gateway/routing/resolve.py makes it)."""

    name: str
    """What the client asked for."""
    targets: tuple[Candidate, ...]
    """They share the traffic; each may also stand in for another. Empty when all of a route's are gone."""
    fallbacks: tuple[Candidate, ...] = ()
    """In order; each only after the failures in its `on`."""
    retries: Retries = USUAL_RETRIES
    timeouts: RouteTimeouts = NO_LIMITS
    """Seconds, those of the settings filled in; None: no limit."""
    breaker: Breaker = USUAL_BREAKER
    route: Route | None = None
    """The route that the name stands for."""
    fall_back: bool = True
    """False: only the first choice may answer."""
    cache: RouteCache | None = None
    """None: no answer is kept."""

    @property
    def checks(self) -> tuple[Check, ...]:
        """What its route holds answers against before they leave."""
        return self.route.spec.checks if self.route else ()

    @property
    def hedge(self) -> Hedge | None:
        """When its route asks a second target beside the first."""
        return self.route.spec.hedge if self.route else None

    @property
    def few_shot(self) -> FewShot | None:
        """The examples that its route shows to models."""
        return self.route.spec.few_shot if self.route else None

    @property
    def route_label(self) -> str | None:
        """`name@revision`, as it appears in headers and in the exchange log."""
        return f"{self.route.name}@{self.route.revision}" if self.route else None

    def among(self, may_serve: Callable[[str], bool]) -> "Plan":
        """The plan without the models that may not serve this call, as if they did not exist.

        Raises:
            ModelNotFound: nothing is left of what the name stands for.
        """
        targets = tuple(each for each in self.targets if may_serve(each.deployment.model))
        fallbacks = tuple(each for each in self.fallbacks if may_serve(each.deployment.model))
        if not targets and not any("not_loaded" in each.on for each in fallbacks if self.route):
            raise ModelNotFound(self.name)
        if len(targets) == len(self.targets) and len(fallbacks) == len(self.fallbacks):
            return self
        return replace(self, targets=targets, fallbacks=fallbacks)
