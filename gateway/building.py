"""What builds of datasets need of other folders: who reads a logged call, and which judges are trusted."""

from collections.abc import Collection
from contextlib import suppress

from gateway.datasets.building.grounds import Means
from gateway.datasets.tokens import TokenCounter
from gateway.db.database import Database
from gateway.errors import Conflict
from gateway.exchanges.subjects import subject
from gateway.judging.trust import require_trusted
from judges.rules.behaviour import is_refusal


def means_of(database: Database, counter: TokenCounter) -> Means:
    """Args: counter: of the base model's tokens."""

    async def trusted(judges: Collection[str]) -> frozenset[str]:
        found: set[str] = set()
        async with database.session() as session:
            for version_id in sorted(judges):
                with suppress(Conflict):
                    await require_trusted(session, [version_id])
                    found.add(version_id)
        return frozenset(found)

    return Means(database=database, subject=subject, refuses=is_refusal, trusted=trusted, counter=counter)
