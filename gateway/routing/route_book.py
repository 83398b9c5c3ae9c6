"""Every route, in memory: a call finds what its `model` stands for without a query."""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gateway.db.reading import read
from gateway.kit.clock import unix
from gateway.protocol.routes import RouteSpec
from gateway.settings import RouteSettings

if TYPE_CHECKING:
    from gateway.db.tables import RouteRow

log = logging.getLogger(__name__)

MIRROR = "routes"
CURRENT = """
SELECT r.id, r.name, r.project_id, r.revision, r.created_at, r.updated_at, revision.spec
FROM routes r JOIN route_revisions revision ON revision.route_id = r.id AND revision.number = r.revision
LEFT JOIN projects p ON p.id = r.project_id
WHERE r.deleted_at IS NULL AND p.archived_at IS NULL ORDER BY r.created_at, r.id
"""


@dataclass(frozen=True, slots=True)
class Route:
    """A name, and what may answer it."""

    id: str
    name: str
    project_id: str | None
    """Whose calls it answers; None: every project's."""
    revision: int
    """0 for one of the settings, which have no history."""
    spec: RouteSpec
    created: int = 0
    """Unix seconds; 0 for one of the settings."""
    updated: int = 0

    @property
    def source(self) -> Literal["api", "settings"]:
        return "api" if self.revision else "settings"


class RouteBook:
    """Routes of the settings, plus a mirror of `routes` (gateway/db/mirror.py)."""

    name = MIRROR

    def __init__(self, configured: Iterable[RouteSettings] = ()) -> None:
        self._configured = {each.name: _of_settings(each) for each in configured}
        self._made: dict[tuple[str, str | None], Route] = {}
        self.loads = 0
        """How often it was loaded: as long as that stays, so does what it says."""

    @property
    def has_checks(self) -> bool:
        """Some route holds answers against rules."""
        return any(route.spec.checks for route in (*self._configured.values(), *self._made.values()))

    def find(self, name: str, project_id: str) -> Route | None:
        """What `name` means to a project: its own route before the organisation's, one made through the API before one
        of the settings. A route may have the name of a model: then calls of that name take the route, and its targets,
        which are never routes, may name the model.
        """
        return self._made.get((name, project_id)) or self._made.get((name, None)) or self._configured.get(name)

    def visible_to(self, project_id: str) -> list[Route]:
        """What a project may call, each name once."""
        every = [*self._configured.values(), *self._made.values()]
        names = dict.fromkeys(route.name for route in every if route.project_id in (None, project_id))
        return [route for name in names if (route := self.find(name, project_id))]

    @property
    def configured(self) -> list[Route]:
        """Those of the settings, in their order."""
        return list(self._configured.values())

    async def load(self, connection: Any) -> None:
        """Swap in every route but those of archived projects.

        A revision that cannot be read, because a newer version of the service wrote it, takes no other route down: that
        route stays as this process last knew it.
        """
        known = {route.id: route for route in self._made.values()}
        made: dict[tuple[str, str | None], Route] = {}
        for row in await read(connection, CURRENT, json=["spec"]):
            try:
                made[row.name, row.project_id] = of_row(row, restored(row.spec))
            except msgspec.ValidationError as error:
                last = known.get(row.id)
                stays = f"revision {last.revision} goes on" if last else "it does not answer"
                log.error(
                    "route %s (%s): revision %d is unreadable, %s: %s", row.id, row.name, row.revision, stays, error
                )
                if last:
                    made[row.name, row.project_id] = last
        self._made = made
        self.loads += 1


def restored(spec: dict[str, Any]) -> RouteSpec:
    """As its revision holds it (gateway/routing/routes.py). Raises msgspec.ValidationError: another version of the service wrote it."""
    return msgspec.convert(spec, RouteSpec)


def of_row(row: "RouteRow", spec: RouteSpec) -> Route:
    return Route(row.id, row.name, row.project_id, row.revision, spec, unix(row.created_at), unix(row.updated_at))


def _of_settings(configured: RouteSettings) -> Route:
    """Its id is the same in every process and after every start."""
    fields = {name: getattr(configured, name) for name in RouteSpec.__struct_fields__}
    digest = hashlib.sha256(configured.name.encode()).hexdigest()
    return Route(f"route_{digest[:24]}", configured.name, None, 0, RouteSpec(**fields))
