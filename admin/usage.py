"""`tuneway usage rebuild`: whether usage, budgets and the exchange log agree with the ledger, and making them agree.

Unlike the other commands of an administrator it works on the database itself, like `tuneway migrate`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.budgets import reconciliation
from gateway.db.database import Database
from gateway.metering.rebuild import Compared, compare, compare_with_exchanges, rebuild
from gateway.metering.traffic_rebuild import compare_traffic, rebuild_traffic
from gateway.settings import Settings


class _Undo(Exception):
    """Ends a transaction without its changes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found."""

    ledger: Compared
    rollups: list[Compared]
    budgets: list[reconciliation.Difference]

    @property
    def agrees(self) -> bool:
        return not (self.ledger.different or self.budgets or any(each.different for each in self.rollups))

    def lines(self) -> Iterator[str]:
        """For people: every difference, then every table."""
        for compared in (self.ledger, *self.rollups):
            for each in compared.differences:
                yield f"{compared.table}: {each.what}: {_sums(each.before)}, should be {_sums(each.truly)}"
            yield f"{compared.table}: {compared.rows} rows, {compared.different} different"
        for each in self.budgets:
            holder = f" holder={each.holder}" if each.holder is not None else ""
            yield (
                f"budgets: {each.budget_id} from {each.starts_at}{holder}: spent_nano={each.before},"
                f" should be spent_nano={each.truly}"
            )
        yield f"budgets: {len(self.budgets)} different"


async def check_usage(settings: Settings) -> Outcome:
    """Compare only. Raises Unavailable."""
    return await _run(settings, mend=False)


async def rebuild_usage(settings: Settings) -> Outcome:
    """Compare, and make the rollups and budgets what the ledger says. Raises Unavailable."""
    return await _run(settings, mend=True)


async def _run(settings: Settings, *, mend: bool) -> Outcome:
    """Budgets in a transaction of their own: it has the ledger to itself, for as long as it takes to sum it up. And the sums
    of traffic, which follow from the log, a day after the other."""
    database = Database.of(settings)
    try:
        async with database.session() as session:
            ledger = await compare_with_exchanges(session)
            rollups = await (rebuild if mend else compare)(session)
        rollups += await (rebuild_traffic if mend else compare_traffic)(database)
        return Outcome(ledger, rollups, await _budgets(database, mend=mend))
    finally:
        await database.close()


async def _budgets(database: Database, *, mend: bool) -> list[reconciliation.Difference]:
    found: list[reconciliation.Difference] = []
    try:
        async with database.session() as session:
            found = await reconciliation.reconcile(session)
            if not mend:
                raise _Undo
    except _Undo:
        pass
    return found


def _sums(sums: dict[str, int] | None) -> str:
    return "missing" if sums is None else " ".join(f"{name}={value}" for name, value in sums.items())
