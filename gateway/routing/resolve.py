"""What a name means: the one place where the `model` of a call becomes models that may answer it.

In this order:

1. `ft:...` is a fine-tuned model, and nothing else: no route and no alias can take its place.
2. A route: the project's own, then the organisation's (gateway/routing/route_book.py). A route may have the name of a
   model: then calls of that name take the route, so that `gpt-4o-mini` can move to another model without a client
   noticing.
3. A model of the settings or of an upstream, by its exact name.
4. An alias ([routing.aliases]), which stands for one of 1 or 3. It can hide neither a route nor a model.

What a route names are models and aliases, never routes: so a route may name the model that it hides, and nothing goes
round in circles. A target or fallback that the calling project may not call is passed over as if it did not exist.

Without a route, a fine-tuned model falls back to its base, and a model to [routing.fallbacks] (those of the base, too,
for a fine-tuned one).
"""

from collections.abc import Iterable, Iterator

from gateway.db.mirror import Mirrors
from gateway.errors import ModelNotFound
from gateway.protocol.routes import Retries, RouteCache, RouteTimeouts
from gateway.routing.catalog import Catalog
from gateway.routing.deployment import Deployment
from gateway.routing.plan import Candidate, Plan
from gateway.routing.route_book import Route, RouteBook
from gateway.settings import RoutingSettings, TimeoutSettings

TUNED = "ft:"
MOST_PLANS = 10_000
"""That are kept, of all projects."""


class Names:
    """Names as one project means them."""

    def __init__(
        self,
        catalog: Catalog,
        routes: RouteBook,
        mirrors: Mirrors,
        routing: RoutingSettings = RoutingSettings(),  # noqa: B008 frozen
        timeouts: TimeoutSettings = TimeoutSettings(),  # noqa: B008 frozen
        *,
        cache: RouteCache | None = None,
    ) -> None:
        """Args: cache: of models that are called without a route."""
        self._catalog = catalog
        self._routes = routes
        self._mirrors = mirrors
        self._routing = routing
        self._timeouts = RouteTimeouts(
            connect=timeouts.connect or None,
            first_token=timeouts.first_token or None,
            idle=timeouts.idle or None,
            total=timeouts.total or None,
        )
        self._retries = Retries(count=routing.retries)
        self._cache = cache
        self._plans: dict[tuple[str, str, bool], Plan] = {}
        """By name, project, and whether a call may fall back: made once of the rows that are in memory now."""
        self._made_of = 0, 0

    def known(self, name: str, project_id: str, *, fall_back: bool = True) -> Plan | None:
        """`plan` where the same was asked for since a route, a model or a provider was last loaded."""
        if self._made_of != (self._routes.loads, self._catalog.loads):
            return None
        return self._plans.get((name, project_id, fall_back))

    async def plan(self, name: str, project_id: str, *, fall_back: bool = True) -> Plan:
        """What may answer a call of `name`.

        Raises:
            ModelNotFound: nothing has that name, or nothing behind it may be called by this project.
        """
        if (known := self.known(name, project_id, fall_back=fall_back)) is not None:
            return known
        if (route := self.route(name, project_id)) is not None:
            plan = self._plan_of_route(route, project_id, fall_back=fall_back)
        else:
            deployment = await self.model(name, project_id)
            plan = self._plan_of_model(name, deployment, project_id, fall_back=fall_back)
        made_of = self._routes.loads, self._catalog.loads
        if made_of != self._made_of or len(self._plans) >= MOST_PLANS:
            self._plans, self._made_of = {}, made_of
        self._plans[name, project_id, fall_back] = plan
        return plan

    async def model(self, name: str, project_id: str) -> Deployment:
        """The model with that name or alias; from memory, except for a fine-tuned one that this process does not know.

        Its job may have ended within the mirror's poll: a script that sees `succeeded` calls the model at once, and no
        SDK tries a 404 again. So such a name is worth one look at the database.

        Raises:
            ModelNotFound: it does not exist, or belongs to another project.
        """
        if found := self._known(name, project_id):
            return found
        if name.startswith(TUNED):
            await self._mirrors.catch_up()
            return self._catalog.find(name, project_id)
        raise ModelNotFound(name)

    def route(self, name: str, project_id: str) -> Route | None:
        """The route that `name` stands for."""
        return None if name.startswith(TUNED) else self._routes.find(name, project_id)

    def visible_to(self, project_id: str) -> tuple[list[Route], list[str]]:
        """What a project may call beside models: routes, and the aliases that neither a route nor a model hides."""
        routes = self._routes.visible_to(project_id)
        taken = {route.name for route in routes} | {each.model for each in self._catalog.visible_to(project_id)}
        aliases = [name for name in self._routing.aliases if name not in taken and self._known(name, project_id)]
        return routes, aliases

    def _plan_of_model(self, name: str, deployment: Deployment, project_id: str, *, fall_back: bool) -> Plan:
        return Plan(
            name=name,
            targets=(Candidate(deployment),),
            fallbacks=tuple(self._fallbacks(deployment, project_id)) if fall_back else (),
            retries=self._retries,
            timeouts=self._timeouts,
            fall_back=fall_back,
            cache=self._cache,
        )

    def _plan_of_route(self, route: Route, project_id: str, *, fall_back: bool) -> Plan:
        spec = route.spec
        targets = tuple(
            Candidate(found, weight=target.weight)
            for target in spec.targets
            if target.weight > 0 and (found := self._known(target.model, project_id))
        )
        fallbacks = tuple(
            Candidate(found, frozenset(each.on))
            for each in (spec.fallbacks if fall_back else ())
            if (found := self._known(each.model, project_id))
        )
        if not targets and not any("not_loaded" in each.on for each in fallbacks):
            raise ModelNotFound(route.name)
        return Plan(
            name=route.name,
            targets=targets,
            fallbacks=fallbacks,
            retries=spec.retries,
            timeouts=self._filled(spec.timeouts),
            breaker=spec.breaker,
            route=route,
            fall_back=fall_back,
            cache=spec.cache,
        )

    def _fallbacks(self, deployment: Deployment, project_id: str) -> Iterator[Candidate]:
        """Of a model that is called without a route."""
        named: Iterable[str] = self._routing.fallbacks.get(deployment.model, ())
        if deployment.base_model and self._routing.fine_tuned_to_base:
            named = (*named, deployment.base_model, *self._routing.fallbacks.get(deployment.base_model, ()))
        seen = {deployment.model}
        for name in named:
            found = self._known(name, project_id)
            if found and found.model not in seen:
                seen.add(found.model)
                yield Candidate(found)

    def _known(self, name: str, project_id: str) -> Deployment | None:
        """A model or alias, as far as this process knows, that the project may call."""
        try:
            return self._catalog.find(name, project_id)
        except ModelNotFound:
            stands_for = None if name.startswith(TUNED) else self._routing.aliases.get(name)
        if stands_for is None:
            return None
        try:
            return self._catalog.find(stands_for, project_id)
        except ModelNotFound:
            return None

    def _filled(self, timeouts: RouteTimeouts) -> RouteTimeouts:
        """A route's, those of the settings where it says nothing."""
        default = self._timeouts
        return RouteTimeouts(
            connect=timeouts.connect or default.connect,
            first_token=timeouts.first_token or default.first_token,
            idle=timeouts.idle or default.idle,
            total=timeouts.total or default.total,
        )
