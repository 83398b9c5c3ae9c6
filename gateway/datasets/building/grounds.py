"""What a build begins with, and selection by it. Nothing heavy is imported here: a route previews recipes."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from gateway.datasets.building.ancestry import Ancestry
from gateway.datasets.building.logged import ReadSubject
from gateway.datasets.building.pair_selection import select_pairs
from gateway.datasets.building.reading import Log, Snapshot, judges_of, required
from gateway.datasets.building.selection import Ground, select_answers
from gateway.datasets.building.tally import Tally
from gateway.datasets.building.workplace import Workplace
from gateway.datasets.tokens import TokenCounter
from gateway.db.database import Database
from gateway.protocol.recipes import Exchanges, Recipe

PLACE = "datasets-at-work"
"""Directory under DATA_DIR."""

Trusted = Callable[[Collection[str]], Awaitable[frozenset[str]]]
"""Of versions of judges those whose agreement with people was shown."""


@dataclass(frozen=True)
class Means:
    """What a build uses, and who brings it."""

    database: Database
    subject: ReadSubject
    refuses: Callable[[str], bool]
    trusted: Trusted
    counter: TokenCounter = field(default_factory=lambda: TokenCounter(None))


async def ground_of(means: Means, snapshot: Snapshot, recipe: Recipe, work: Workplace) -> Ground:
    """Everything that selection asks, as it was at the snapshot."""
    async with means.database.session() as session:
        conditions = await required(session, snapshot, recipe.criteria)
        judges = await judges_of(session, snapshot)
    return Ground(
        log=Log(means.database, snapshot, recipe.sources.exchanges or Exchanges()),
        recipe=recipe,
        work=work,
        tally=Tally(),
        ancestry=Ancestry(means.database),
        subject=means.subject,
        judges=frozenset(judges),
        trusted=await means.trusted(judges),
        required=conditions,
    )


async def select(means: Means, ground: Ground, told: Callable[[int], None], newest: int | None = None) -> None:
    """Fill the workplace with candidates."""
    if ground.recipe.sources.exchanges is not None:
        if ground.recipe.kind == "sft":
            await select_answers(ground, told, newest)
        else:
            await select_pairs(ground, means.refuses, told, newest)
