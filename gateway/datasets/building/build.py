"""One version of a dataset, from the log to files on disk. The same data and the same recipe make the same bytes."""

import threading
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.datasets.building.ancestry import Ancestry
from gateway.datasets.building.caps import settle_caps
from gateway.datasets.building.clean import Cleaned, clean
from gateway.datasets.building.examples import select_examples
from gateway.datasets.building.logged import ReadSubject
from gateway.datasets.building.pair_selection import select_pairs
from gateway.datasets.building.reading import Log, Snapshot, judges_of, required
from gateway.datasets.building.report import report_of
from gateway.datasets.building.selection import Ground, select_answers, settle_openings
from gateway.datasets.building.tally import Tally
from gateway.datasets.building.threads import in_thread
from gateway.datasets.building.workplace import Workplace
from gateway.datasets.building.writing import Written, write_files
from gateway.datasets.tokens import TokenCounter
from gateway.db.database import Database
from gateway.protocol.dataset_versions import DatasetReport, Progress
from gateway.protocol.recipes import Exchanges, Recipe

PLACE = "datasets-at-work"
"""Directory under DATA_DIR."""

Trusted = Callable[[Collection[str]], Awaitable[frozenset[str]]]
"""Of versions of judges those whose agreement with people was shown."""
Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Order:
    """What is to be built."""

    dataset_id: str
    version_id: str
    recipe: Recipe
    snapshot: Snapshot
    suites: Sequence[Path] = ()
    """Files with the items of test suites, a JSON object a line."""


@dataclass(frozen=True)
class Means:
    """What a build uses, and who brings it."""

    database: Database
    directory: Path
    """DATA_DIR."""
    subject: ReadSubject
    refuses: Callable[[str], bool]
    trusted: Trusted
    counter: TokenCounter = field(default_factory=lambda: TokenCounter(None))


@dataclass(frozen=True)
class Built:
    """Files on disk, until the workplace is closed."""

    work: Workplace
    written: Written
    report: DatasetReport


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


async def build(means: Means, order: Order, work: Workplace, tell: Tell) -> Built:
    """Build one version in `work`, which the caller closes.

    Raises:
        Interrupted: this was cancelled.
        Unavailable: the database is away.
    """
    ground = await ground_of(means, order.snapshot, order.recipe, work)
    total = await ground.log.count() if order.recipe.sources.exchanges else 0
    await select(means, ground, lambda done: tell(Progress(stage="selecting", done=done, total=total)))
    if order.recipe.sources.examples is not None:
        await select_examples(means.database, order.snapshot, ground)
    stop = threading.Event()
    return await in_thread(lambda: _finish(means, order, ground, tell, stop), stop)


def _finish(means: Means, order: Order, ground: Ground, tell: Tell, stop: threading.Event) -> Built:
    """What needs no database."""
    work = ground.work
    if order.recipe.kind == "sft" and order.recipe.turns.learn == "every":
        settle_openings(ground)
    tell(Progress(stage="cleaning", done=0, total=work.count()))
    cleaned: Cleaned = clean(ground, order.dataset_id, order.suites, stop)
    settle_caps(ground)
    cleaned.split()
    tell(Progress(stage="writing", done=0, total=work.count()))
    written = write_files(ground, cleaned.redact, means.counter, stop)
    report = report_of(work, ground.tally, written, means.counter, cleaned.redacted)
    return Built(work, written, report)
