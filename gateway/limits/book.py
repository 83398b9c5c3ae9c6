"""Which limits hold for a call, from memory (docs/limits.md).

1. What is set through the API always holds: a key's for that key alone, a project's for all its keys together.
2. Tiers fill in, field by field. A key's tier holds for it alone, where nothing is set for the key. The project's tier,
   or the default one, is shared by those of its keys for which neither a number nor a tier of their own says anything,
   where nothing is set for the project.
3. Numbers for all models together and numbers for one model hold both.
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gateway.db.reading import read
from gateway.limits.limit import KINDS, Limit
from gateway.limits.tiers import NONE, Amounts, Tiers
from gateway.protocol.rate_limits import COLUMNS, UNLIMITED
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.db.tables import RateLimitRow

log = logging.getLogger(__name__)

MIRROR = "rate_limits"
"""Also to be touched when the tier of a project changes."""
LIMITS = f"SELECT project_id, api_key_id, model, {', '.join(COLUMNS.values())} FROM rate_limits"  # noqa: S608 names of columns
TIERS = "SELECT id, tier FROM projects WHERE tier IS NOT NULL"

Place = tuple[str, str | None, str | None]
"""Project, key or None for all, model or None for all."""


class LimitBook:
    """A mirror of `rate_limits` and of the projects' tiers (gateway/db/mirror.py)."""

    name = MIRROR

    def __init__(self, settings: Settings) -> None:
        self.tiers = Tiers(settings)
        self.version = 0
        """Rises when the limits may have changed."""
        self._set: dict[Place, Amounts] = {}
        self._tier_of: dict[str, str] = {}
        self.is_empty = not self.tiers
        """Nothing can be limited: no tiers, and nothing set."""

    def limits(self, project_id: str, api_key_id: str, tier: str | None, model: str) -> Iterator[Limit]:
        """Every limit that holds for calls of a key.

        Args:
            tier: the key's own.
            model: what is called, aliases resolved; of a route its name.
        """
        for place in (None, model):
            own, shared = self._own(project_id, api_key_id, tier, place), self._shared(project_id, place)
            by_hand = self._set.get((project_id, None, place), NONE)
            for kind in KINDS:
                amount = own.get(kind.field)
                if amount is not None and amount < UNLIMITED:
                    yield Limit(kind, amount, project_id, api_key_id, place)
                everyones = (shared if amount is None else by_hand).get(kind.field)
                if everyones is not None and everyones < UNLIMITED:
                    yield Limit(kind, everyones, project_id, None, place)

    def shown(self, project_id: str, api_key_id: str | None, tier: str | None, model: str | None) -> Amounts:
        """The numbers of one project, or of one key, for one model or for all together; nearest first."""
        shared = self._shared(project_id, model)
        return shared if api_key_id is None else {**shared, **self._own(project_id, api_key_id, tier, model)}

    def models(self, project_id: str, api_key_id: str | None) -> list[str]:
        """Those for which something is set."""
        return [model for project, key, model in self._set if (project, key) == (project_id, api_key_id) and model]

    async def load(self, connection: Any) -> None:
        rows = await read(connection, LIMITS)
        self._set = {(row.project_id, row.api_key_id, row.model): amounts_of(row) for row in rows}
        self.is_empty = not self._set and not self.tiers
        self._tier_of = {project: tier for project, tier in await connection.fetch(TIERS) if tier}
        if unknown := sorted({tier for tier in self._tier_of.values() if tier not in self.tiers}):
            log.warning("projects have tiers that [[tiers]] does not name: %s; the default holds", ", ".join(unknown))
        self.version += 1

    def _own(self, project_id: str, api_key_id: str, tier: str | None, model: str | None) -> Amounts:
        by_hand = self._set.get((project_id, api_key_id, model), NONE)
        return {**self.tiers.of_key(tier, model), **by_hand} if tier else by_hand

    def _shared(self, project_id: str, model: str | None) -> Amounts:
        by_hand = self._set.get((project_id, None, model), NONE)
        return {**self.tiers.of_project(self._tier_of.get(project_id), model), **by_hand}


def amounts_of(row: "RateLimitRow") -> Amounts:
    """What is set, also of what nothing here counts."""
    return {field: amount for field in COLUMNS.values() if (amount := getattr(row, field)) is not None}
