"""Whether what a route names can be called by those whose calls it answers."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.protocol.routes import RouteSpec
from gateway.routing.catalog import Catalog
from gateway.routing.route_book import Route

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Uncallable:
    """A target or fallback that cannot answer."""

    param: str
    """JSON path: `targets[0].model`."""
    model: str
    owner: str | None
    """The project that has not shared it; None: there is no such model."""

    @property
    def role(self) -> str:
        return "target" if self.param.startswith("targets") else "fallback"


def uncallable(
    catalog: Catalog, aliases: Mapping[str, str], spec: RouteSpec, project_id: str | None
) -> Iterator[Uncallable]:
    """What of a spec cannot be called, in its order.

    Args:
        project_id: whose calls the route answers; None: every project's, so only models that are open to all will do.
    """
    named = [(f"targets[{place}].model", target.model) for place, target in enumerate(spec.targets)]
    named += [(f"fallbacks[{place}].model", fallback.model) for place, fallback in enumerate(spec.fallbacks)]
    for param, model in named:
        found = catalog.named(model) or catalog.named(aliases.get(model, ""))
        if found is None:
            yield Uncallable(param, model, None)
        elif not found.open_to(project_id or ""):
            yield Uncallable(param, model, found.project_id)


def repeated(catalog: Catalog, aliases: Mapping[str, str], spec: RouteSpec) -> tuple[str, str] | None:
    """JSON path of the first target that is an earlier one under another name, and that one's name."""
    seen: dict[str, str] = {}
    for place, target in enumerate(spec.targets):
        name = target.model if catalog.named(target.model) else aliases.get(target.model, target.model)
        if name in seen:
            return f"targets[{place}].model", seen[name]
        seen[name] = target.model
    return None


def tell_of_gaps(catalog: Catalog, aliases: Mapping[str, str], routes: Iterable[Route]) -> None:
    """Log what routes of the settings name in vain. It is no error: a model may still be trained, or be added with
    POST /v1/upstreams."""
    for route in routes:
        for found in uncallable(catalog, aliases, route.spec, route.project_id):
            why = f"belongs to project {found.owner} alone" if found.owner else "does not exist (yet)"
            log.warning("route `%s` of the settings: the %s `%s` %s", route.name, found.role, found.model, why)
