"""One version of a dataset, from the log to files on disk. The same data and the same recipe make the same bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.datasets.building.caps import settle_caps
from gateway.datasets.building.clean import clean
from gateway.datasets.building.contradictions import settle_contradictions
from gateway.datasets.building.examples import select_examples
from gateway.datasets.building.grounds import Means, ground_of, select
from gateway.datasets.building.reading import Snapshot
from gateway.datasets.building.report import report_of
from gateway.datasets.building.selection import Ground, settle_openings
from gateway.datasets.building.threads import in_thread
from gateway.datasets.building.workplace import Workplace
from gateway.datasets.building.writing import Written, write_files
from gateway.protocol.dataset_versions import DatasetReport, Progress
from gateway.protocol.recipes import Recipe

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
    key: bytes = b""
    """Of the placeholders of personal data: at most 64 secret bytes, the same for every version of the dataset."""


@dataclass(frozen=True)
class Built:
    """Files on disk, until the workplace is closed."""

    work: Workplace
    written: Written
    report: DatasetReport


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
    return await in_thread(lambda: _finish(means, order, ground, tell), ground.stop)


def _finish(means: Means, order: Order, ground: Ground, tell: Tell) -> Built:
    """What needs no database."""
    work = ground.work
    if order.recipe.kind == "sft" and order.recipe.turns.learn == "every":
        settle_openings(ground)
    tell(Progress(stage="cleaning", done=0, total=work.count()))
    if order.recipe.kind == "preference":
        settle_contradictions(ground, ground.stop)
    cleaned = clean(ground, order.key, order.suites, ground.stop)
    settle_caps(ground)
    cleaned.split()
    tell(Progress(stage="writing", done=0, total=work.count()))
    written = write_files(ground, cleaned.redact, means.counter, ground.stop)
    report = report_of(ground, written, means.counter, cleaned.redacted)
    return Built(work, written, report)
