"""Hard budgets without a round trip for each call.

A process leases a part of what is left of a budget's window, and reserves and settles out of it in memory. Only when the
lease does not suffice is the database asked, by one call at a time for each window, while the others queue behind it.
What a call reserves is the most that it can cost, so all holders together never spend more than the limit. What it does
not use is free again at once, and whoever lacks it waits for it a while before being refused.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from gateway.budgets.account import UNKNOWN, Account
from gateway.budgets.book import Budget, BudgetBook, Cover
from gateway.budgets.gone import fold_leases
from gateway.budgets.leasing import WANTED_SECONDS, Leasing
from gateway.budgets.reservation import Reservation
from gateway.budgets.waiting import Asked, Demand, Waiting
from gateway.budgets.wants import Place, Wants
from gateway.budgets.windows import window_of
from gateway.db.database import Database
from gateway.kit.clock import from_unix
from gateway.settings import BudgetSettings

log = logging.getLogger(__name__)

LATE_SECONDS = 3600.0
"""So long after the end of a window its account is forgotten."""


class Budgets:
    """The budgets that calls draw on, in one process.

    Args:
        holder: the name of this process in the ledger.
    """

    def __init__(self, database: Database, holder: str, settings: BudgetSettings) -> None:
        self._database = database
        self._settings = settings
        self.leasing = Leasing(database, holder)
        self.book = BudgetBook()
        self.wants = Wants(self._held, self._wanted)
        self._current: dict[str, Account] = {}
        """By budget: the window of the last call."""
        self.accounts: dict[Place, Account] = {}
        self._unopened: set[Place] = set()
        """Windows of soft budgets that calls came in, and that may not be made yet."""

    def of(self, project_id: str, api_key_id: str) -> Cover | None:
        """What a call of this key draws on; None: no budget, and nothing to do."""
        return self.book.of(project_id, api_key_id)

    async def reserve(self, cover: Cover, created_at: float, demand: Demand) -> Reservation:
        """Set aside what a call may cost, in all its hard budgets or in none; at once where leases suffice.

        Args:
            created_at: when the call came in (Unix seconds): it counts in the windows of that moment.

        Raises:
            BudgetExhausted: what is left does not pay for it.
            BudgetBusy: what is left is reserved for other calls, and did not come free while this one waited.
            Unavailable: the lease is used up and the database cannot be reached.
        """
        if cover.soft:
            self.note(cover, created_at)
        most, now = demand.most, time.monotonic()
        accounts: list[Account] = []
        waits = False
        for budget in cover.hard:
            account = self._current.get(budget.id)
            if account is None or account.budget is not budget or not account.starts <= created_at < account.ends:
                account = self._account(budget, created_at, now)
                if account is None:
                    continue
            account.used_at = now
            accounts.append(account)
            waits = waits or account.granted - account.spent - account.reserved < most or account.changed is not None
        if waits:
            return await self._wait_for_all(accounts, demand)
        for account in accounts:
            account.reserved += most
        return Reservation(accounts, most, self._settled)

    def note(self, cover: Cover, created_at: float) -> None:
        """A call came in: the windows of its soft budgets are needed."""
        now = time.monotonic()
        for budget in cover.soft:
            self._account(budget, created_at, now)

    async def released(self, holder: str) -> None:
        """A process has ended, and all that it spent is in the ledger: what it did not spend is free again."""
        async with self._database.raw() as connection:
            await fold_leases(connection, holder)

    async def tend(self) -> None:
        """Make windows of soft budgets, give back what nobody has used lately, forget windows that are long over."""
        for place in list(self._unopened):
            await self.leasing.open(self.accounts[place])
            self._unopened.discard(place)
        now = time.monotonic()
        for place, account in list(self.accounts.items()):
            idle = now - account.used_at > self._settings.idle_seconds and account.slack > 0
            if (idle or account.granted != account.written) and not account.turn.locked():
                await self.leasing.give_back(account)
            if account.ends + LATE_SECONDS < time.time() and not account.reserved:
                self._forget(place, account)

    async def beat(self) -> None:
        """Every BEAT_SECONDS: say that this process runs. Where it was taken for dead, and others may spend what it held,
        it keeps no more than calls under way use. Raises Unavailable."""
        if await self.leasing.beat():
            return
        log.critical(
            "this process was released by an administrator, but runs: budgets may be overspent by what it held"
        )
        for account in self.accounts.values():
            account.drop_slack()

    async def close(self) -> None:
        """Wait for what is being written. What is left of the leases ends after the last drain, by `released`."""
        await self.leasing.close()

    async def _wait_for_all(self, accounts: Sequence[Account], demand: Demand) -> Reservation:
        deadline = asyncio.get_running_loop().time() + self._settings.wait_seconds
        taken: list[tuple[Account, int]] = []
        amount = demand.most
        try:
            for account in accounts:
                asked = Asked(amount, min(amount, demand.enough), demand.least)
                amount = await Waiting(account, asked, deadline, self.leasing).take()
                taken.append((account, amount))
        except BaseException:
            for account, reserved in taken:
                account.free(reserved)
            raise
        for account, reserved in taken:
            account.free(reserved - amount)
        return Reservation(accounts, amount, self._settled)

    def _account(self, budget: Budget, created_at: float, now: float) -> Account | None:
        """None: a total that began later. Args: now: time.monotonic."""
        account = self._current.get(budget.id)
        if account is None or not account.starts <= created_at < account.ends:
            account = self._enter(budget, created_at)
            if account is None:
                return None
        if account.budget is not budget:
            account.renew(budget)
            self._open_later(account)
        account.used_at = now
        return account

    def _enter(self, budget: Budget, created_at: float) -> Account | None:
        """The account of another window than that of the last call."""
        window = window_of(budget.period, budget.created_at, from_unix(created_at))
        if window is None:
            return None
        place = budget.id, window.starts_at
        account = self.accounts.get(place)
        if account is None:
            self.accounts[place] = account = Account(budget, window)
            self._open_later(account)
        self._current[budget.id] = account
        return account

    def _open_later(self, account: Account) -> None:
        """Nobody leases of a soft budget, so its window is made in the background."""
        if not account.budget.hard:
            self._unopened.add((account.budget.id, account.window.starts_at))

    def _forget(self, place: Place, account: Account) -> None:
        del self.accounts[place]
        self._unopened.discard(place)
        if self._current.get(account.budget.id) is account:
            del self._current[account.budget.id]

    def _settled(self, account: Account) -> None:
        if account.slack < 0 or (account.wanted_until and account.wanted_until > self._now()):
            self.leasing.give_back_soon(account)

    def _held(self) -> list[Place]:
        return [
            place
            for place, account in self.accounts.items()
            if account.written > account.spent or account.written == UNKNOWN
        ]

    def _wanted(self, places: Sequence[Place]) -> None:
        until = self._now() + WANTED_SECONDS
        for account in (self.accounts[place] for place in places if place in self.accounts):
            account.wanted_until = until
            self.leasing.give_back_soon(account)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
